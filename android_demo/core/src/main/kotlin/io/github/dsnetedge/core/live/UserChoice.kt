package io.github.dsnetedge.core.live

/**
 * Tells what the user chose in a list from what the screen itself set there: widgets report both alike, and later, when
 * the screen may be about to show something else. Passed on, the screen's own would be chosen again, without end.
 *
 * @param choose is given each position that the user chose
 */
class UserChoice(private val choose: (Int) -> Unit) {
    private var known: Int? = null

    /** The screen sets a position. */
    fun set(position: Int) {
        known = position
    }

    /** The list reports that a position is selected. */
    fun selected(position: Int) {
        if (position == known) return
        known = position
        choose(position)
    }
}
