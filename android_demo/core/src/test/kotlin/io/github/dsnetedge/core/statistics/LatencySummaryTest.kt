package io.github.dsnetedge.core.statistics

import io.github.dsnetedge.core.SharedFiles
import kotlin.math.abs
import kotlin.math.ulp
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

/** `tests/golden/statistics.json`: what Python says of the same samples. */
class LatencySummaryTest {
    private val cases = SharedFiles.cases("statistics.json")

    /** Sums in another order: of n terms that are not negative, off by n − 1 roundings on each side. */
    private fun assertNear(what: String, expected: Double, found: Double, roundings: Int) =
        assertTrue("$what: $found instead of $expected", abs(found - expected) <= roundings * expected.ulp)

    @Test
    fun `statistics are Python's`() {
        for (case in cases) {
            val samples = case["samples_ms"].list().map { it.number() }
            val (found, name) = summarise(samples) to case["case"].text()
            val between = mapOf("p50" to found.p50, "p90" to found.p90, "p99" to found.p99, "mad" to found.mad)
            for ((statistic, value) in between) {
                assertNear("$name $statistic", case["${statistic}_ms"].number(), value, 4)
            }
            assertNear("$name mean_ms", case["mean_ms"].number(), found.mean, 2 * samples.size)
            val interval = case.nullable("median_interval_ms")
            if (interval == null) {
                assertNull(name, found.medianInterval)
            } else {
                assertEquals(name, interval["low"].number()..interval["high"].number(), found.medianInterval)
            }
            assertEquals(samples.size, found.runs)
        }
    }

    @Test
    fun `no samples have no statistics`() {
        assertThrows(IllegalArgumentException::class.java) { summarise(emptyList()) }
    }
}
