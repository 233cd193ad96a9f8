package io.github.dsnetedge.core.live

import io.github.dsnetedge.core.BundleException
import io.github.dsnetedge.core.bundle.Artifact
import io.github.dsnetedge.core.bundle.Manifest
import io.github.dsnetedge.core.bundle.OperatingPoint
import io.github.dsnetedge.core.bundle.Width
import io.github.dsnetedge.core.policy.AdaptivePolicy
import io.github.dsnetedge.core.policy.WidthPolicy
import io.github.dsnetedge.core.runtime.PolicySource

/** What can answer images: a line of the picker. */
sealed interface Choice {
    /** Unique among the choices of an artifact, and the same when the app starts again. */
    val label: String

    /** Everything that may answer, so that its programs can be loaded. */
    val policies: List<WidthPolicy>
    val threads: Int

    /** What an image may take; null where nothing limits it. */
    val budgetMs: Double?

    /** A new source: an adaptive one starts as if the device were as calibrated. */
    fun source(): PolicySource

    /** An operating point of the bundle. */
    data class Point(val point: OperatingPoint) : Choice {
        override val label get() = point.name
        override val policies get() = listOf(point.policy)
        override val threads get() = point.threads
        override val budgetMs get() = budgetMs(point)

        override fun source() = PolicySource.Always(point.policy)
    }

    /** An operating point that cheaper ones stand in for while the device is slow (docs/adaptive.md). */
    data class Adaptive(val point: OperatingPoint, val alternatives: List<OperatingPoint>) : Choice {
        override val label get() = "${point.name}, adaptive"
        override val policies get() = (alternatives + point).map { it.policy }
        override val threads get() = point.threads
        override val budgetMs get() = budgetMs(point)

        override fun source() = PolicySource.Adaptive(AdaptivePolicy(listOf(point) + alternatives))
    }

    /** One width for every image. */
    data class OneWidth(val width: Width, override val threads: Int) : Choice {
        override val label get() = "width ${width.index} (${width.name})"
        override val policies get() = listOf(WidthPolicy.Thresholds(listOf(width.index), emptyList()))
        override val budgetMs get() = null

        override fun source() = PolicySource.Always(policies.single())
    }
}

/**
 * Operating points of an artifact first, then those that can be adapted, then every width; thresholds of another
 * artifact are left out. Widths run with as many threads as the first point, so that they can be compared with it.
 */
fun choices(manifest: Manifest, artifact: Artifact): List<Choice> {
    val points = manifest.operatingPoints.filter {
        it.runtime == artifact.runtime && it.precision == artifact.precision && it.artifactSha256 == artifact.sha256
    }
    val threads = points.firstOrNull()?.threads ?: 1
    return points.map(Choice::Point) +
        points.mapNotNull { adaptive(it, points - it) } +
        manifest.widths.filter { it.index in artifact.widths }.map { Choice.OneWidth(it, threads) }
}

/** Null where no other point is cheaper or better, so that nothing would ever be switched. */
private fun adaptive(point: OperatingPoint, others: List<OperatingPoint>): Choice.Adaptive? {
    val comparable = others.filter { ladder(listOf(point, it)) != null }
    val points = ladder(listOf(point) + comparable) ?: return null
    return Choice.Adaptive(point, points - point).takeIf { points.size > 1 }
}

/** The points that would answer; null where they cannot be compared: other devices, limits or thread counts. */
private fun ladder(points: List<OperatingPoint>): List<OperatingPoint>? = try {
    AdaptivePolicy(points).points
} catch (_: BundleException) {
    null
}
