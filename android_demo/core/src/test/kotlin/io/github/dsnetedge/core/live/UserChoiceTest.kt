package io.github.dsnetedge.core.live

import org.junit.Assert.assertEquals
import org.junit.Test

class UserChoiceTest {
    private val chosen = mutableListOf<Int>()
    private val choice = UserChoice { chosen += it }

    @Test
    fun `what the user selects is chosen`() {
        choice.set(0)
        choice.selected(2)
        choice.selected(1)
        assertEquals(listOf(2, 1), chosen)
    }

    @Test
    fun `what the screen sets is not chosen, however late and often it is reported`() {
        choice.set(3)
        choice.set(1)
        repeat(2) { choice.selected(1) }
        assertEquals(emptyList<Int>(), chosen)
    }

    @Test
    fun `what the screen has replaced can be chosen again`() {
        choice.selected(2)
        choice.set(0)
        choice.selected(2)
        assertEquals(listOf(2, 2), chosen)
    }

    @Test
    fun `two choices while the app is busy end with the second`() {
        var shown = 0
        choice.set(shown)
        for (position in listOf(2, 1)) choice.selected(position)
        // The app comes to both of them, one after the other, and each new screen's position is reported.
        var handled = 0
        while (handled < chosen.size) {
            check(handled < 10) { "it never ends: $chosen" }
            shown = chosen[handled++]
            choice.set(shown)
            choice.selected(shown)
        }
        assertEquals(listOf(2, 1) to 1, chosen to shown)
    }
}
