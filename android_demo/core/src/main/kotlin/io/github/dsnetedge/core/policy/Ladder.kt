package io.github.dsnetedge.core.policy

import io.github.dsnetedge.core.BundleException
import io.github.dsnetedge.core.bundle.OperatingPoint
import io.github.dsnetedge.core.bundle.Statistic

/** An operating point and what it means for one target: docs/adaptive.md, "Points and target". */
internal class Rung(val point: OperatingPoint, target: Map<Statistic, Double>) {
    /** Mean latency of an image, by the width that answers it. */
    val expectedMs: Map<Int, Double> = point.policy.widths.associateWith { width ->
        point.shares.firstOrNull { it.width == width }?.meanMs
            ?: throw BundleException("operating point ${point.name} has no mean_ms for width $width; calibrate again")
    }

    /** The slowdown at which the point just keeps the target. */
    val allowedSlowdown: Double = target.minOf { (statistic, limit) ->
        if (statistic == Statistic.IMAGES_PER_S) expected(statistic) / limit else limit / expected(statistic)
    }

    private fun expected(statistic: Statistic): Double {
        val found = when (statistic) {
            Statistic.MEAN_MS -> point.expectedMeanMs
            Statistic.IMAGES_PER_S -> if (point.expectedMeanMs > 0) MS_PER_S / point.expectedMeanMs else 0.0
            else -> point.limits.firstOrNull { it.statistic == statistic }?.expected ?: 0.0
        }
        if (found > 0) return found
        throw BundleException("operating point ${point.name} does not say its ${statistic.key}; calibrate again")
    }

    private companion object {
        const val MS_PER_S = 1000
    }
}

/** The points from cheap to dear, each more accurate than those before it. */
internal fun ladder(points: List<OperatingPoint>, targetMs: Double?): List<Rung> {
    checkOneDevice(points)
    val target = target(points.first(), targetMs)
    val rungs = points.map { Rung(it, target) }
        .sortedWith(compareByDescending<Rung> { it.allowedSlowdown }.thenByDescending { it.point.calibrationAccuracy })
    if (rungs.first().allowedSlowdown < 1) {
        throw BundleException("even operating point ${rungs.first().point.name} misses the target as calibrated")
    }
    val kept = mutableListOf<Rung>()
    for (rung in rungs) {
        if (kept.isEmpty() || rung.point.calibrationAccuracy > kept.last().point.calibrationAccuracy) kept += rung
    }
    return kept
}

private fun target(asked: OperatingPoint, targetMs: Double?): Map<Statistic, Double> {
    if (targetMs != null) {
        require(targetMs > 0 && targetMs.isFinite()) { "a target of $targetMs ms" }
        return mapOf(Statistic.MEAN_MS to targetMs)
    }
    val target = asked.limits.filter { it.statistic.isLatency }.associate { it.statistic to it.value }
    if (target.isEmpty()) throw BundleException("operating point ${asked.name} limits no latency; give a target")
    return target
}

/** Times of other artifacts, devices or thread counts cannot be compared. */
private fun checkOneDevice(points: List<OperatingPoint>) {
    require(points.isNotEmpty()) { "no operating points to switch between" }
    val kinds = points.distinctBy {
        listOf(it.artifactSha256, it.runtime, it.precision, it.device, it.runner, it.threads, it.sustained)
    }
    if (kinds.size > 1) {
        val names = kinds.joinToString(" and ") { it.name }
        throw BundleException("operating points $names differ in artifact, runtime, device, runner, threads or load")
    }
}
