package io.github.dsnetedge.core.policy

import io.github.dsnetedge.core.BundleException
import io.github.dsnetedge.core.bundle.OperatingPoint

/**
 * Which operating point answers the next image, from what the last ones took: docs/adaptive.md, step by step.
 *
 * Time is an argument and nothing is random. In any s seconds it switches at most p + 1 + 2·⌊s / dwellS⌋ times, for p
 * points and any latencies (Hespanha and Morse, CDC 1999). Not for several threads at once.
 *
 * @param points of one artifact, device, runner and thread count
 * @param targetMs a mean latency to keep; null: what the first point was asked for
 * @throws BundleException when no point keeps the target, or one does not say what it expects
 */
class AdaptivePolicy(
    points: List<OperatingPoint>,
    targetMs: Double? = null,
    private val settings: AdaptiveSettings = AdaptiveSettings(),
) {
    private val rungs = ladder(points, targetMs)
    private val ratios = ArrayDeque(List(settings.window) { 1.0 })
    private var current = bestAt(1.0)
    private var waitS = settings.dwellS
    private var raisedAtS: Double? = null
    private var period = Period()

    /** The operating point for the next image. */
    val point: OperatingPoint get() = rungs[current].point

    /** Every point that may answer, from the cheapest to the most accurate. */
    val points: List<OperatingPoint> get() = rungs.map { it.point }

    /** How many times as long as on the calibrated device an image takes: a trimmed mean. */
    var slowdown = 1.0
        private set

    /**
     * Takes in that [width] answered an image in [ms], from image to answer, at [atS] seconds of a clock that does not
     * go back; returns the point for the next image.
     */
    fun observe(width: Int, ms: Double, atS: Double): OperatingPoint {
        val expectedMs = rungs[current].expectedMs[width]
        require(expectedMs != null) { "operating point ${point.name} does not use width $width" }
        require(ms > 0 && ms.isFinite() && atS.isFinite()) { "an image took $ms ms at $atS s" }
        ratios.removeFirst()
        ratios.addLast(ms / expectedMs)
        slowdown = trimmedMean()
        val best = bestAt(slowdown)
        if (best < current) fall(best, atS) else riseIfItLasts(atS)
        return point
    }

    /** The most accurate point that keeps the target at a slowdown, else the cheapest. */
    private fun bestAt(slowdown: Double): Int {
        val bearable = slowdown / (1 + settings.tolerance)
        return maxOf(0, rungs.indexOfLast { bearable <= it.allowedSlowdown })
    }

    private fun fall(best: Int, atS: Double) {
        current = best
        period = Period()
        val raised = raisedAtS ?: return
        val factor = if (atS - raised < settings.dwellS) 2.0 else 0.5
        waitS = (factor * waitS).coerceIn(settings.dwellS, settings.maxDwellS)
        raisedAtS = null
    }

    /** At the end of a period, goes one point up if a better one fits its mean slowdown, and the last one too. */
    private fun riseIfItLasts(atS: Double) {
        period.add(slowdown, atS)
        if (period.images < settings.window || atS - period.startS < waitS) return
        if (bestAt(maxOf(period.mean, slowdown)) > current) {
            current++
            raisedAtS = atS
        }
        period = Period()
    }

    /** Tukey and McLaughlin, Sankhyā A 25, 1963. */
    private fun trimmedMean(): Double =
        ratios.sorted().subList(settings.trimmed, ratios.size - settings.trimmed).let { it.sum() / it.size }

    /** The images since the last switch, or since a better point was last considered. */
    private class Period {
        var startS = 0.0
        var images = 0

        /** Of the slowdown. */
        var mean = 0.0

        fun add(slowdown: Double, atS: Double) {
            if (images == 0) startS = atS
            images++
            mean += (slowdown - mean) / images
        }
    }
}
