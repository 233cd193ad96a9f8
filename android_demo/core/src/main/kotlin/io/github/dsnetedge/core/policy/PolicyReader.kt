package io.github.dsnetedge.core.policy

import io.github.dsnetedge.core.bundle.MAX_GATES
import io.github.dsnetedge.core.json.JsonNode

private val READERS = mapOf(
    "thresholds" to ::readThresholds,
    "tree" to ::readTree,
    "utility" to ::readUtility,
    "cascade" to ::readCascade,
)

/** A checked policy (docs/policies.md, "What readers check"), or a [io.github.dsnetedge.core.BundleException]. */
fun readPolicy(node: JsonNode): WidthPolicy = node["kind"].oneOf(READERS.entries) { it.key }.value(node)

internal fun readThresholds(node: JsonNode): WidthPolicy {
    val widths = readWidths(node)
    return WidthPolicy.Thresholds(widths, readThresholds(node, between(widths)))
}

private fun readThresholds(node: JsonNode, sizes: IntRange): List<Double> {
    val thresholds = node["thresholds"].list(sizes).map { it.number() }
    if (thresholds.zipWithNext().any { (low, high) -> low > high }) node.refuse("thresholds must not decrease")
    return thresholds
}

private fun readTree(node: JsonNode): WidthPolicy {
    val widths = readWidths(node)
    val root = TreeReader().node(node["root"], MAX_GATES)
    if (leaves(root).toSet() != widths.toSet()) node.refuse("widths must be those that the tree ends with")
    return WidthPolicy.Tree(widths, root)
}

/** Reads one tree and builds no more of it than the bounds allow: every node ends in widths, which it counts. */
private class TreeReader {
    private var leaves = 0

    fun node(node: JsonNode, gates: Int): Node {
        if (gates == 0) node.refuse("more nodes below one another than a network may have gates, $MAX_GATES")
        val next = node["next"].list(1..MAX_WIDTHS)
        val thresholds = readThresholds(node, between(next))
        return Node(thresholds, next.map { if (it.isObject) node(it, gates - 1) else leaf(it) })
    }

    private fun leaf(node: JsonNode): Leaf {
        leaves += 1
        if (leaves > MAX_WIDTHS) node.refuse("a tree with more than $MAX_WIDTHS widths")
        return Leaf(node.int(0 until MAX_WIDTHS))
    }
}

/** The widths that answer below a place in a tree, from left to right. */
internal fun leaves(branch: Branch): List<Int> = when (branch) {
    is Leaf -> listOf(branch.width)
    is Node -> branch.next.flatMap(::leaves)
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

/** Indices that ascend, at least one. */
internal fun readWidths(node: JsonNode): List<Int> {
    val widths = node["widths"].list(1..MAX_WIDTHS).map { it.int(0 until MAX_WIDTHS) }
    if (widths.zipWithNext().any { (narrow, wide) -> narrow >= wide }) node.refuse("widths must ascend")
    return widths
}

/** How many numbers decide between neighbours. */
private fun between(items: List<*>): IntRange = items.lastIndex..items.lastIndex
