package io.github.dsnetedge.core.policy

import kotlin.math.exp

/** Most widths that a bundle may have. */
const val MAX_WIDTHS = 256

/** Which width answers an image (docs/policies.md). Positions count from 0 in [widths], narrow to wide. */
sealed interface WidthPolicy {
    val widths: List<Int>

    /** Whether [first] reads the gate's logits. With one width there is nothing to choose. */
    val asksGate: Boolean get() = widths.size > 1

    /** The position of the width that runs first; the last one where the gate's logits make no number. */
    fun first(gateLogits: FloatArray): Int

    /** Whether the answer at a position stands; if not, the next width runs as well. */
    fun stands(position: Int, logits: FloatArray): Boolean = true

    /** The gate's score, compared with thresholds that do not decrease, one fewer than widths. */
    data class Thresholds(override val widths: List<Int>, val thresholds: List<Double>) : WidthPolicy {
        override fun first(gateLogits: FloatArray): Int {
            val found = score(gateLogits)
            // Not `it < found`, which NaN would make easy.
            return thresholds.count { !(it >= found) }
        }
    }

    /** Each width's chance of being right, less a price for its cost; the first of the highest answers. */
    data class Utility(
        override val widths: List<Int>,
        /** A row per width, in it a number per gate logit. */
        val weights: List<List<Double>>,
        val biases: List<Double>,
        val penalties: List<Double>,
    ) : WidthPolicy {
        val gateLogits: Int get() = weights.first().size

        override fun first(gateLogits: FloatArray): Int {
            val found = utilities(gateLogits)
            if (found.any { it.isNaN() }) return widths.lastIndex
            return found.indices.maxBy { found[it] }
        }

        /** sigmoid(weights · gate logits + bias) − penalty of every width. */
        fun utilities(gateLogits: FloatArray): List<Double> = widths.indices.map { position ->
            val sum = gateLogits.foldIndexed(biases[position]) { j, sum, logit -> sum + weights[position][j] * logit }
            1 / (1 + exp(-sum)) - penalties[position]
        }
    }

    /** The narrowest width answers; the answer at a position stands from its confidence on. */
    data class Cascade(override val widths: List<Int>, val confidences: List<Double>) : WidthPolicy {
        override val asksGate: Boolean get() = false

        override fun first(gateLogits: FloatArray): Int = 0

        override fun stands(position: Int, logits: FloatArray): Boolean =
            position == widths.lastIndex || confidence(logits) >= confidences[position]
    }
}
