package io.github.dsnetedge.core.live

import io.github.dsnetedge.core.SharedFiles
import io.github.dsnetedge.core.bundle.BundleFolder
import io.github.dsnetedge.core.bundle.Limit
import io.github.dsnetedge.core.bundle.OperatingPoint
import io.github.dsnetedge.core.bundle.Share
import io.github.dsnetedge.core.bundle.Statistic
import io.github.dsnetedge.core.policy.WidthPolicy
import io.github.dsnetedge.core.runtime.PolicySource
import java.io.File
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

class ChoiceTest {
    private val manifest = BundleFolder.open(File(SharedFiles.golden, "bundle")).manifest
    private val artifact = manifest.artifacts.single()

    private fun point(name: String, ms: Double, accuracy: Double, threads: Int = 2): OperatingPoint =
        manifest.operatingPoints.first().copy(
            name = name,
            threads = threads,
            policy = WidthPolicy.Thresholds(listOf(0), emptyList()),
            limits = listOf(Limit(Statistic.MEAN_MS, ms, ms)),
            shares = listOf(Share(0, 1.0, ms)),
            expectedMeanMs = ms,
            calibrationAccuracy = accuracy,
        )

    private fun found(vararg points: OperatingPoint): List<Choice> =
        choices(manifest.copy(operatingPoints = points.toList()), artifact)

    @Test
    fun `every point and every width can be chosen`() {
        val labels = choices(manifest, artifact).map { it.label }
        assertTrue("$labels", labels.containsAll(manifest.operatingPoints.map { it.name }))
        assertEquals(listOf("width 0 (8)", "width 1 (16)"), labels.takeLast(2))
    }

    @Test
    fun `without points there are the widths, on one thread`() {
        assertEquals(listOf(1, 1), found().map { it.threads })
    }

    @Test
    fun `widths run with the threads of the points that they are compared with`() {
        assertEquals(setOf(2), found(point("p", 3.0, 0.7)).map { it.threads }.toSet())
    }

    @Test
    fun `thresholds of another artifact are left out`() {
        val stale = point("stale", 3.0, 0.7).copy(artifactSha256 = "0".repeat(64))
        assertEquals(found(), found(stale))
    }

    @Test
    fun `a point that a cheaper one can stand in for may be adaptive`() {
        val labels = found(point("dear", 8.0, 0.8), point("cheap", 3.0, 0.7)).map { it.label }
        assertTrue("$labels", "dear, adaptive" in labels)
    }

    @Test
    fun `an adaptive choice starts with the point that it is named after`() {
        val choices = found(point("dear", 8.0, 0.8), point("cheap", 3.0, 0.7))
        val source = choices.first { it.label == "dear, adaptive" }.source() as PolicySource.Adaptive
        assertEquals("dear", source.point.name)
        assertEquals(listOf("cheap", "dear"), source.adaptive.points.map { it.name })
    }

    @Test
    fun `points that cannot be compared are no alternatives`() {
        val labels = found(point("dear", 8.0, 0.8), point("cheap", 3.0, 0.7, threads = 4)).map { it.label }
        assertEquals(emptyList<String>(), labels.filter { "adaptive" in it })
    }

    @Test
    fun `a point alone has nothing to switch to`() {
        assertEquals(emptyList<String>(), found(point("only", 8.0, 0.8)).map { it.label }.filter { "adaptive" in it })
    }

    @Test
    fun `the budget is the mean's, else the first on latency, in milliseconds`() {
        val mean = Limit(Statistic.MEAN_MS, 3.0, 2.0)
        val p99 = Limit(Statistic.P99_MS, 9.0, 8.0)
        val rate = Limit(Statistic.IMAGES_PER_S, 250.0, 300.0)
        val accuracy = Limit(Statistic.ACCURACY, 0.7, 0.8)
        val budgets = listOf(listOf(p99, mean), listOf(accuracy, p99), listOf(rate), listOf(accuracy)).map {
            budgetMs(point("p", 1.0, 0.5).copy(limits = it))
        }
        assertEquals(listOf(3.0, 9.0, 4.0, null), budgets)
    }
}
