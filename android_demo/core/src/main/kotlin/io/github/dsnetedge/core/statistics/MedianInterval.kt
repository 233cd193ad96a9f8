package io.github.dsnetedge.core.statistics

import java.math.BigInteger

private const val CONFIDENCE = 0.95

/** 2^53: a share of it is exact in float64. */
private const val EXACT = 9007199254740992.0

/**
 * The 95% order-statistic confidence interval of the median of ascending samples; null when there are too few.
 *
 * [x_(k), x_(n+1−k)] covers the median with probability 1 − 2·P(Binomial(n, ½) < k); the largest k that keeps this at
 * 95% or above gives the narrowest one (David and Nagaraja, Order Statistics, 3rd ed., §7.1).
 */
internal fun medianInterval(ordered: List<Double>): ClosedRange<Double>? {
    val rank = medianRank(ordered.size)
    return if (rank == 0) null else ordered[rank - 1]..ordered[ordered.size - rank]
}

/** The largest k with P(Binomial(count, ½) < k) ≤ 2.5%, in exact integers. */
private fun medianRank(count: Int): Int {
    val share = BigInteger.valueOf(((1 - CONFIDENCE) / 2 * EXACT).toLong())
    val allowed = share.shiftLeft(count).shiftRight(53)
    var below = BigInteger.ZERO
    var term = BigInteger.ONE
    for (rank in 0..count) {
        below += term
        if (below > allowed) return rank
        term = term * BigInteger.valueOf((count - rank).toLong()) / BigInteger.valueOf(rank + 1L)
    }
    return 0
}
