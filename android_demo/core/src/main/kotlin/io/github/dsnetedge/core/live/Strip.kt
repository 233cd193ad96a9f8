package io.github.dsnetedge.core.live

import kotlin.math.floor
import kotlin.math.log10
import kotlin.math.pow

/** One image of the chart. */
data class Bar(
    val ms: Double,
    val width: Int,
    /** The width's place among the artifact's, from 0 (narrowest) to 1 (widest): its colour. */
    val shade: Double,
)

/** The last images, oldest first: height is what an image took, colour the width that answered it. */
data class Strip(val budgetMs: Double? = null, val bars: List<Bar> = emptyList()) {
    /** The strip with one image more, and without those that no longer fit. */
    operator fun plus(bar: Bar): Strip = copy(bars = (bars + bar).takeLast(CAPACITY))

    /** The top of the scale in milliseconds: 1, 2 or 5 times a power of ten, so that it seldom changes. */
    val topMs: Double get() = roundedUp(maxOf(bars.maxOfOrNull { it.ms } ?: 0.0, budgetMs ?: 0.0))

    /** How high something of [ms] stands, from 0 to 1. */
    fun height(ms: Double): Double = (ms / topMs).coerceIn(0.0, 1.0)

    companion object {
        /** As many as a small phone shows with bars that can be told apart. */
        const val CAPACITY = 48
    }
}

private fun roundedUp(ms: Double): Double {
    if (!(ms > 0 && ms.isFinite())) return 1.0
    val power = 10.0.pow(floor(log10(ms)))
    return listOf(1.0, 2.0, 5.0, 10.0).map { it * power }.first { it >= ms || it == 10 * power }
}
