package io.github.dsnetedge.core.policy

/** How quickly to switch; docs/adaptive.md derives the defaults. */
data class AdaptiveSettings(
    /** Images that the slowdown is estimated from. */
    val window: Int = 16,
    /** The fastest and the slowest images of the window that are left out, as many of each. */
    val trimmed: Int = 3,
    /** A point is left when it misses the target by more than this fraction. */
    val tolerance: Double = 0.05,
    /** A better point must have kept the target in the mean of this long, and of [window] images. */
    val dwellS: Double = 5.0,
    /** Where a better point had to be left within [dwellS], the next wait is twice as long, up to this. */
    val maxDwellS: Double = 320.0,
) {
    init {
        require(trimmed >= 0 && 2 * trimmed < window && window <= 1024) {
            "window $window must be above 2 x trimmed $trimmed, and at most 1024"
        }
        require(tolerance >= 0 && tolerance.isFinite()) { "tolerance $tolerance must be at least 0" }
        require(dwellS > 0 && dwellS <= maxDwellS && maxDwellS.isFinite()) {
            "dwellS $dwellS must be above 0 and at most maxDwellS $maxDwellS"
        }
    }
}
