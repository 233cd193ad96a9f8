package io.github.dsnetedge.core.policy

import io.github.dsnetedge.core.SharedFiles
import io.github.dsnetedge.core.bundle.Limit
import io.github.dsnetedge.core.bundle.OperatingPoint
import io.github.dsnetedge.core.bundle.Statistic
import io.github.dsnetedge.core.bundle.readOperatingPoint
import io.github.dsnetedge.core.json.JsonNode
import io.github.dsnetedge.core.refusal
import kotlin.math.abs
import kotlin.math.ulp
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

class AdaptiveCasesTest {
    private val cases = SharedFiles.cases("adaptive.json")

    private fun points(case: JsonNode) = case["points"].list().map(::readOperatingPoint)

    private fun settings(node: JsonNode) = AdaptiveSettings(
        window = node["window"].int(1..1024),
        trimmed = node["trimmed"].int(0..512),
        tolerance = node["tolerance"].number(),
        dwellS = node["dwell_s"].number(),
        maxDwellS = node["max_dwell_s"].number(),
    )

    @Test
    fun `the same point answers after every image of every case`() {
        assertTrue(cases.size > 10)
        for (case in cases) {
            val policy = AdaptivePolicy(points(case), case.optional("target_ms")?.number(), settings(case["settings"]))
            case["images"].list().zip(case["after"].list()).forEachIndexed { number, (image, after) ->
                val (width, ms, atS) = image.list()
                val (name, slowdown) = after.list()
                val point = policy.observe(width.int(0..255), ms.number(), atS.number())
                val place = "${case["case"].text()}, image $number"
                assertEquals(place, name.text(), point.name)
                // The same operations in the same order, but for the sum of at most 16 terms, compensated from Python
                // 3.12 on.
                val bound = 16 * slowdown.number().ulp
                assertTrue("$place: ${policy.slowdown}", abs(policy.slowdown - slowdown.number()) <= bound)
            }
        }
    }

    @Test
    fun `points that cannot be compared are refused`() {
        val points = points(cases.first())
        val another = points.first().copy(name = "another", threads = 9)
        assertTrue("another" in refusal { AdaptivePolicy(points + another) })
        refusal { AdaptivePolicy(points.map { it.copy(shares = emptyList()) }) }
        refusal { AdaptivePolicy(points, targetMs = 0.01) }
        refusal { AdaptivePolicy(points.map { it.copy(limits = listOf(Limit(Statistic.ACCURACY, 0.5, 0.7))) }) }
        refusal { AdaptivePolicy(points.map { it.copy(expectedMeanMs = 0.0) }) }
    }

    @Test
    fun `arguments without a meaning are mistakes of the caller`() {
        val points = points(cases.first())
        val wrong: List<() -> Any> = listOf(
            { AdaptivePolicy(emptyList<OperatingPoint>()) },
            { AdaptivePolicy(points, targetMs = Double.NaN) },
            { AdaptivePolicy(points).observe(200, 1.0, 0.0) },
            { AdaptivePolicy(points).observe(points.first().policy.widths.first(), 0.0, 0.0) },
            { AdaptiveSettings(window = 6, trimmed = 3) },
            { AdaptiveSettings(dwellS = 0.0) },
            { AdaptiveSettings(tolerance = Double.POSITIVE_INFINITY) },
        )
        for (action in wrong) assertThrows(IllegalArgumentException::class.java) { action() }
    }
}
