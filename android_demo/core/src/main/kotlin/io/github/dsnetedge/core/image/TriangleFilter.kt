package io.github.dsnetedge.core.image

import kotlin.math.abs
import kotlin.math.ceil

/**
 * Scaling along one axis exactly as Pillow's `Image.resize(…, Resampling.BILINEAR)` does for 8-bit pixels
 * (`src/libImaging/Resample.c`): a triangle filter that widens by the factor that the image shrinks, in fixed point.
 *
 * For output i the inputs [start] (i) until [start] (i) + [count] (i) count, with the weights from i · [stride] on.
 */
internal class TriangleFilter(inputs: Int, outputs: Int) {
    private val scale = inputs.toDouble() / outputs
    private val widening = maxOf(scale, 1.0)

    val stride = ceil(widening).toInt() * 2 + 1
    val weights = IntArray(outputs * stride)
    private val starts = IntArray(outputs)
    private val counts = IntArray(outputs)

    init {
        for (output in 0 until outputs) {
            val centre = (output + 0.5) * scale
            val first = maxOf(0, (centre - widening + 0.5).toInt())
            val end = minOf(inputs, (centre + widening + 0.5).toInt())
            starts[output] = first
            counts[output] = end - first
            setWeights(output, centre)
        }
    }

    fun start(output: Int): Int = starts[output]

    fun count(output: Int): Int = counts[output]

    private fun setWeights(output: Int, centre: Double) {
        // Pillow multiplies by the reciprocal, which rounds otherwise than a division would.
        val narrowing = 1.0 / widening
        val heights = DoubleArray(counts[output]) {
            maxOf(0.0, 1.0 - abs((it + starts[output] - centre + 0.5) * narrowing))
        }
        val sum = heights.sum()
        for ((index, height) in heights.withIndex()) {
            val share = if (sum != 0.0) height / sum else height
            weights[output * stride + index] = (0.5 + share * (1 shl PRECISION_BITS)).toInt()
        }
    }

    companion object {
        /** Of weights: 32 bits hold 8-bit pixels times weights that add up to 1, and two bits for overshoot. */
        const val PRECISION_BITS = 32 - 8 - 2
        private const val HALF = 1 shl (PRECISION_BITS - 1)

        /** Rounds a sum of pixels times weights to a pixel, to nearest. */
        fun rounded(sum: Int): Int = ((sum + HALF) shr PRECISION_BITS).coerceIn(0, 255)
    }
}
