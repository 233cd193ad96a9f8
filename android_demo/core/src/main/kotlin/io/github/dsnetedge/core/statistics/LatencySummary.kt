package io.github.dsnetedge.core.statistics

import kotlin.math.abs
import kotlin.math.floor

/** What samples of a latency say, in the samples' unit; as `edge/profiling/statistics.py` computes it. */
data class LatencySummary(
    val runs: Int,
    val p50: Double,
    val p90: Double,
    val p99: Double,
    val mean: Double,
    /** Median absolute deviation from the median, unscaled. */
    val mad: Double,
    /** 95% confidence interval of p50; null below 6 runs. */
    val medianInterval: ClosedRange<Double>?,
)

/** The statistics of one or more finite samples. */
fun summarise(samples: List<Double>): LatencySummary {
    require(samples.isNotEmpty()) { "no samples" }
    val ordered = samples.sorted()
    val p50 = percentile(ordered, 0.5)
    return LatencySummary(
        runs = samples.size,
        p50 = p50,
        p90 = percentile(ordered, 0.9),
        p99 = percentile(ordered, 0.99),
        mean = samples.average(),
        mad = percentile(samples.map { abs(it - p50) }.sorted(), 0.5),
        medianInterval = medianInterval(ordered),
    )
}

/** The median of one or more samples. */
fun median(samples: List<Double>): Double = percentile(samples.sorted(), 0.5)

/** Hyndman and Fan's definition 7 (The American Statistician 50, 1996), NumPy's default: linear between ranks. */
private fun percentile(ordered: List<Double>, share: Double): Double {
    val rank = share * (ordered.size - 1)
    val below = floor(rank).toInt()
    val (low, high) = ordered[below] to ordered[minOf(below + 1, ordered.lastIndex)]
    val fraction = rank - below
    // From the nearer end, as NumPy does, so that the result is never beyond either.
    return if (fraction < 0.5) low + (high - low) * fraction else high - (high - low) * (1 - fraction)
}
