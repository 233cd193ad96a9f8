package io.github.dsnetedge.core.policy

import kotlin.math.exp

/** Most widths that a bundle may have. */
const val MAX_WIDTHS = 256

/** Which width answers an image (docs/policies.md). Positions count from 0 in [widths], narrow to wide. */
sealed interface WidthPolicy {
    val widths: List<Int>

    /** What is known of the width that runs first before any gate has run. */
    val start: Decision

    /** Whether a gate's logits are needed to choose. With one width there is nothing to choose. */
    val asksGate: Boolean get() = start is Undecided

    /** Whether the answer at a position stands; if not, the next width runs as well. */
    fun stands(position: Int, logits: FloatArray): Boolean = true

    /** The first gate's score, compared with thresholds that do not decrease, one fewer than widths. */
    data class Thresholds(override val widths: List<Int>, val thresholds: List<Double>) : WidthPolicy {
        override val start = firstGate(widths) { thresholdsBelow(thresholds, it) }
    }

    /** The score of each gate in turn, compared with the thresholds of where the gates before it have led. */
    data class Tree(override val widths: List<Int>, val root: Node) : WidthPolicy {
        override val start = decision(root, gate = 0)

        /** Where all ways lead to one width, nothing is asked. */
        private fun decision(branch: Branch, gate: Int): Decision = when (branch) {
            is Leaf -> Decided(widths.indexOf(branch.width))
            is Node -> {
                val below = branch.next.map { decision(it, gate + 1) }
                below.distinct().singleOrNull() as? Decided
                    ?: Undecided(gate, below) { thresholdsBelow(branch.thresholds, it) }
            }
        }
    }

    /** Each width's chance of being right, less a price for its cost; the first of the highest answers. */
    data class Utility(
        override val widths: List<Int>,
        /** A row per width, in it a number per logit of the first gate. */
        val weights: List<List<Double>>,
        val biases: List<Double>,
        val penalties: List<Double>,
    ) : WidthPolicy {
        override val start = firstGate(widths, ::best)
        val gateLogits: Int get() = weights.first().size

        private fun best(gateLogits: FloatArray): Int {
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
        override val start = Decided(0)

        override fun stands(position: Int, logits: FloatArray): Boolean =
            position == widths.lastIndex || confidence(logits) >= confidences[position]
    }
}

/** What is known of the width that runs first; [position] is one that it may have. */
sealed interface Decision {
    val position: Int
}

/** The width at [position] runs first. */
data class Decided(override val position: Int) : Decision

/**
 * The logits of a gate say what is next.
 *
 * @param gate its number, in the order in which gates decide
 * @param branches what it can lead to
 * @param choose gate logits to an index of a branch
 */
class Undecided(val gate: Int, val branches: List<Decision>, private val choose: (FloatArray) -> Int) : Decision {
    override val position: Int get() = branches.first().position

    fun next(gateLogits: FloatArray): Decision = branches[choose(gateLogits)]
}

/** Where a tree leads. */
sealed interface Branch

data class Leaf(val width: Int) : Branch

/** The branch after as many [thresholds] as are below the score of the node's gate is [next]. */
data class Node(val thresholds: List<Double>, val next: List<Branch>) : Branch

private fun firstGate(widths: List<Int>, choose: (FloatArray) -> Int): Decision =
    if (widths.size == 1) Decided(0) else Undecided(0, widths.indices.map(::Decided), choose)

private fun thresholdsBelow(thresholds: List<Double>, gateLogits: FloatArray): Int {
    val found = score(gateLogits)
    // Not `it < found`, which NaN would make easy.
    return thresholds.count { !(it >= found) }
}
