package io.github.dsnetedge.core.policy

import io.github.dsnetedge.core.json.JsonNode

private val READERS = mapOf("thresholds" to ::readThresholds, "utility" to ::readUtility, "cascade" to ::readCascade)

/** A checked policy (docs/policies.md, "What readers check"), or a [io.github.dsnetedge.core.BundleException]. */
fun readPolicy(node: JsonNode): WidthPolicy = node["kind"].oneOf(READERS.entries) { it.key }.value(node)

internal fun readThresholds(node: JsonNode): WidthPolicy {
    val widths = readWidths(node)
    val thresholds = node["thresholds"].list(between(widths)).map { it.number() }
    if (thresholds.zipWithNext().any { (low, high) -> low > high }) node.refuse("thresholds must not decrease")
    return WidthPolicy.Thresholds(widths, thresholds)
}

private fun readUtility(node: JsonNode): WidthPolicy {
    val widths = readWidths(node)
    val forEach = widths.size..widths.size
    val weights = node["weights"].list(forEach).map { row -> row.list(1..MAX_WIDTHS).map { it.number() } }
    if (weights.distinctBy { it.size }.size > 1) node.refuse("weights must be rows of equal length")
    return WidthPolicy.Utility(
        widths,
        weights,
        biases = node["biases"].list(forEach).map { it.number() },
        penalties = node["penalties"].list(forEach).map { it.number() },
    )
}

private fun readCascade(node: JsonNode): WidthPolicy {
    val widths = readWidths(node)
    val confidences = node["confidences"].list(between(widths)).map { it.number(0.0..Double.MAX_VALUE) }
    return WidthPolicy.Cascade(widths, confidences)
}

private fun readWidths(node: JsonNode): List<Int> {
    val widths = node["widths"].list(1..MAX_WIDTHS).map { it.int(0 until MAX_WIDTHS) }
    if (widths.zipWithNext().any { (narrow, wide) -> narrow >= wide }) node.refuse("widths must ascend")
    return widths
}

/** How many numbers decide between neighbouring widths. */
private fun between(widths: List<Int>): IntRange = widths.lastIndex..widths.lastIndex
