package io.github.dsnetedge.core.benchmark

import io.github.dsnetedge.core.statistics.median

/** About 1 ms at 3 GHz: each step depends on the one before. The same work as the native runner's. */
private const val STEPS = 500_000
private const val REPETITIONS = 5
private const val SEED = 88172645463325252L

/**
 * Fixed integer work, median of five, in milliseconds: it slows only when the device does.
 *
 * As often without a time first: a process that has just started interprets the loop until it is compiled.
 */
fun canaryMs(nanoTime: () -> Long = System::nanoTime): Double {
    repeat(REPETITIONS) { xorshift() }
    return median(List(REPETITIONS) { timedMs(nanoTime, ::xorshift) })
}

/** How long [action] takes on a monotonic clock. */
internal inline fun timedMs(nanoTime: () -> Long, action: () -> Unit): Double {
    val start = nanoTime()
    action()
    return (nanoTime() - start) / 1e6
}

/** Without a reader the compiler may leave the loop out. */
@Volatile
private var result = 0L

/** xorshift64: Marsaglia, "Xorshift RNGs", 2003. */
private fun xorshift() {
    var state = SEED
    repeat(STEPS) {
        state = state xor (state shl 13)
        state = state xor (state ushr 7)
        state = state xor (state shl 17)
    }
    result = state
}
