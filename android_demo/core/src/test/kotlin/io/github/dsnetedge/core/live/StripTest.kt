package io.github.dsnetedge.core.live

import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

class StripTest {
    private fun strip(vararg ms: Double, budget: Double? = null) =
        ms.fold(Strip(budget)) { strip, value -> strip + Bar(value, 0, 0.0) }

    @Test
    fun `the oldest image leaves when a new one no longer fits`() {
        val strip = strip(*DoubleArray(Strip.CAPACITY + 2) { it + 1.0 })
        assertEquals(Strip.CAPACITY, strip.bars.size)
        assertEquals(3.0, strip.bars.first().ms, 0.0)
    }

    @Test
    fun `the scale ends at 1, 2 or 5 times a power of ten`() {
        val tops = listOf(0.003, 0.9, 1.0, 1.1, 2.1, 4.9, 5.0, 5.1, 10.0, 187.0).map { strip(it).topMs }
        assertEquals(listOf(0.005, 1.0, 1.0, 2.0, 5.0, 5.0, 5.0, 10.0, 10.0, 200.0), tops)
    }

    @Test
    fun `the top of the scale is written without needless digits`() {
        val words = listOf(0.003, 0.3, 3.0, 187.0).map { strip(it).topInWords() }
        assertEquals(listOf("0.005 ms", "0.5 ms", "5 ms", "200 ms"), words)
    }

    @Test
    fun `the budget is on the scale`() {
        val strip = strip(1.0, budget = 8.0)
        assertEquals(10.0, strip.topMs, 0.0)
        assertEquals(0.8, strip.height(8.0), 1e-12)
    }

    @Test
    fun `without images there is still a scale`() {
        assertEquals(1.0, Strip().topMs, 0.0)
        assertEquals("No images yet", Strip().inWords())
    }

    @Test
    fun `the chart can be read aloud`() {
        val words = strip(1.0, 3.0, 2.0, budget = 2.5).inWords()
        assertEquals("Last 3 images: median 2.00 ms, slowest 3.00 ms, budget 2.50 ms, widths 0", words)
    }

    @Test
    fun `heights stay on the chart`() {
        for (ms in listOf(-1.0, 0.0, 1.0, 1e9)) {
            val height = strip(1.0).height(ms)
            assertTrue("$ms ms: $height", height in 0.0..1.0)
        }
    }
}
