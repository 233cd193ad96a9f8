package io.github.dsnetedge.core.policy

import io.github.dsnetedge.core.SharedFiles
import io.github.dsnetedge.core.json.JsonNode
import io.github.dsnetedge.core.json.parseJson
import io.github.dsnetedge.core.refusal
import kotlin.math.abs
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

/** docs/policies.md: the widths that ran must be equal, the numbers on the way within its bounds. */
class PolicyCasesTest {
    private val cases = SharedFiles.cases("policies.json")

    private fun JsonNode.floats() = list().map { it.number().toFloat() }.toFloatArray()

    private fun name(case: JsonNode) = "${case["policy"]["kind"].text()}: ${case["name"].text()}"

    private fun assertNear(message: String, expected: Double, found: Double, bound: Double) =
        assertTrue("$message: $found instead of $expected, allowed are $bound", abs(found - expected) <= bound)

    @Test
    fun `every case runs the widths that it should`() {
        assertTrue(cases.size > 80)
        for (case in cases) {
            val policy = readPolicy(case["policy"])
            val gates = case.optional("gates")?.list()?.map { it.floats() }
                ?: listOfNotNull(case.optional("gate_logits")?.floats())
            val logits = case.optional("logits")?.list()?.map { it.floats() }
            var position = decided(policy, gates)
            val ran = mutableListOf(policy.widths[position])
            while (logits != null && !policy.stands(position, logits[position])) ran += policy.widths[++position]
            assertEquals(name(case), case["ran"].list().map { it.int(0..255) }, ran)
        }
    }

    @Test
    fun `scores and confidences are within their bound`() {
        for (case in cases) {
            case.optional("scores")?.list()?.zip(case["gates"].list())?.forEach { (expected, row) ->
                val logits = row.floats()
                assertNear(name(case), expected.number(), score(logits), rounding(logits.size) * expected.number())
            }
            case.optional("score")?.number()?.let { expected ->
                val logits = case["gate_logits"].floats()
                assertNear(name(case), expected, score(logits), rounding(logits.size) * expected)
            }
            case.optional("confidences")?.list()?.zip(case["logits"].list())?.forEach { (expected, row) ->
                val logits = row.floats()
                assertNear(name(case), expected.number(), confidence(logits), rounding(logits.size) * expected.number())
            }
        }
    }

    @Test
    fun `utilities are within their bound`() {
        for (case in cases) {
            val expected = case.optional("utilities")?.list()?.map { it.number() } ?: continue
            val policy = readPolicy(case["policy"]) as WidthPolicy.Utility
            val logits = case["gate_logits"].floats()
            policy.utilities(logits).forEachIndexed { position, found ->
                assertNear(name(case), expected[position], found, utilityRounding(policy, logits, position))
            }
        }
    }

    @Test
    fun `logits that are no numbers count as hard`() {
        val bad = listOf(Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY)
        for (logit in bad) {
            val logits = floatArrayOf(logit, logit)
            assertEquals(1, decided(WidthPolicy.Thresholds(listOf(0, 1), listOf(1e300)), listOf(logits)))
            val rows = listOf(listOf(1.0, -1.0), listOf(0.0, 0.0))
            val utility = WidthPolicy.Utility(listOf(0, 1), rows, listOf(0.0, 0.0), listOf(0.0, 9.0))
            assertEquals(1, decided(utility, listOf(logits)))
            assertEquals(false, WidthPolicy.Cascade(listOf(0, 1), listOf(0.0)).stands(0, logits))
            assertEquals(true, WidthPolicy.Cascade(listOf(0, 1), listOf(0.0)).stands(1, logits))
        }
    }

    @Test
    fun `an unknown kind is refused by name`() {
        val node = JsonNode(parseJson("""{"kind": "dice", "widths": [0]}""".toByteArray(), "policy"), "policy")
        val expected = "policy: kind: 'dice' is unknown; valid: thresholds, tree, utility, cascade"
        assertEquals(expected, refusal { readPolicy(node) })
    }

    @Test
    fun `a tree that does not hold together is refused`() {
        fun refused(widths: String, root: String): String {
            val text = """{"kind": "tree", "widths": $widths, "root": $root}"""
            return refusal { readPolicy(JsonNode(parseJson(text.toByteArray(), "policy"), "policy")) }
        }
        val deep = (1..8).fold("""{"thresholds": [0.5], "next": [0, 1]}""") { node, _ ->
            """{"thresholds": [], "next": [$node]}"""
        }
        val wide = List(200) { it % 2 }.let { """{"thresholds": ${List(199) { 0.5 }}, "next": $it}""" }
        assertTrue("hold 1 to 1 items" in refused("[0, 1]", """{"thresholds": [], "next": [0, 1]}"""))
        assertTrue("hold 1 to 256 items" in refused("[0]", """{"thresholds": [], "next": []}"""))
        assertTrue("must not decrease" in refused("[0, 1]", """{"thresholds": [1, 0.5], "next": [0, 1, 0]}"""))
        assertTrue("those that the tree ends with" in refused("[0, 1]", """{"thresholds": [], "next": [0]}"""))
        assertTrue("more nodes below one another" in refused("[0, 1]", deep))
        assertTrue("more than 256 widths" in refused("[0, 1]", """{"thresholds": [0.5], "next": [$wide, $wide]}"""))
    }

    /** The position of the width that runs first, for what each gate says. */
    private fun decided(policy: WidthPolicy, gates: List<FloatArray>): Int {
        var decision = policy.start
        while (decision is Undecided) decision = decision.next(gates[decision.gate])
        return decision.position
    }

    private fun rounding(count: Int) = (count + 2) * Math.scalb(1.0, -50)

    private fun utilityRounding(policy: WidthPolicy.Utility, logits: FloatArray, position: Int): Double {
        val terms = policy.weights[position].mapIndexed { j, weight -> abs(weight * logits[j]) }
        val size = terms.sum() + abs(policy.biases[position])
        return ((logits.size + 1) * size + 4 * abs(policy.penalties[position]) + 20) * Math.scalb(1.0, -53)
    }
}
