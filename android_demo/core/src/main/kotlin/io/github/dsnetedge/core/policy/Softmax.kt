package io.github.dsnetedge.core.policy

import kotlin.math.exp

/** Σ_j j · softmax(gate logits)_j in float64: from 0 (easy) up (docs/policies.md, "The arithmetic"). */
fun score(gateLogits: FloatArray): Double = softmax(gateLogits).foldIndexed(0.0) { j, sum, p -> sum + j * p }

/** The top-1 softmax probability in float64; NaN where a logit is no number. */
fun confidence(logits: FloatArray): Double = softmax(logits).fold(0.0) { most, p -> maxOf(most, p) }

private fun softmax(logits: FloatArray): DoubleArray {
    // maxOf keeps NaN; the maximum is subtracted because logits of ±1000 are legal.
    val largest = logits.fold(Double.NEGATIVE_INFINITY) { most, logit -> maxOf(most, logit.toDouble()) }
    val weights = DoubleArray(logits.size) { exp(logits[it].toDouble() - largest) }
    val sum = weights.sum()
    return DoubleArray(logits.size) { weights[it] / sum }
}
