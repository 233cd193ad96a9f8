package io.github.dsnetedge.core.runtime

import io.github.dsnetedge.core.SharedFiles
import io.github.dsnetedge.core.bundle.BundleFolder
import io.github.dsnetedge.core.bundle.FEATURES
import io.github.dsnetedge.core.bundle.GATE_LOGITS
import io.github.dsnetedge.core.bundle.LOGITS
import io.github.dsnetedge.core.bundle.Program
import io.github.dsnetedge.core.bundle.Quantization
import io.github.dsnetedge.core.bundle.Role
import io.github.dsnetedge.core.policy.Leaf
import io.github.dsnetedge.core.policy.Node
import io.github.dsnetedge.core.policy.WidthPolicy
import io.github.dsnetedge.core.policy.score
import io.github.dsnetedge.core.refusal
import java.io.File
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Assert.assertTrue
import org.junit.Test

class DynamicClassifierTest {
    private val artifact = BundleFolder.open(File(SharedFiles.golden, "bundle")).artifact()
    private val image = FloatArray(8 * 8 * 3)

    private fun session(gate: List<Float>, vararg logits: List<Float>) = ScriptedSession { program: Program ->
        if (program.role.answers) {
            mapOf(LOGITS to Tensor.Floats(logits[program.widths.single()].toFloatArray()))
        } else {
            mapOf(FEATURES to Tensor.Bytes(ByteArray(32)), GATE_LOGITS to Tensor.Floats(gate.toFloatArray()))
        }
    }

    private val sure = listOf(0f, 9f, 0f)
    private val unsure = listOf(0f, 0f, 0.1f)

    @Test
    fun `the gate picks the one width that runs`() {
        val thresholds = WidthPolicy.Thresholds(listOf(0, 1), listOf(0.5))
        for ((gate, width) in listOf(listOf(3f, -3f) to 0, listOf(-3f, 3f) to 1)) {
            val session = session(gate, sure, unsure)
            val answer = DynamicClassifier(session, artifact, PolicySource.Always(thresholds)).answer(image)
            assertEquals(listOf("prefix", "tail_0$width"), session.log)
            assertEquals(listOf(width), answer.ran)
            assertEquals(if (width == 0) 1 else 2, answer.classIndex)
        }
    }

    @Test
    fun `an unsure width is followed by the next one of a cascade, and the head runs once`() {
        val session = session(listOf(0f, 0f), unsure, sure)
        val cascade = PolicySource.Always(WidthPolicy.Cascade(listOf(0, 1), listOf(0.9)))
        val answer = DynamicClassifier(session, artifact, cascade).answer(image)
        assertEquals(listOf("prefix", "tail_00", "tail_01"), session.log)
        assertEquals(1, answer.width)
        assertTrue("${answer.probability}", answer.probability > 0.99)
    }

    @Test
    fun `a side gate that is not asked does not run`() {
        val net = artifact.programs.filter { it.role.answers }.map { tail ->
            val (name, inputs) = tail.name.replace("tail", "net") to artifact.programs.first().inputs
            tail.copy(name = name, role = Role.NET, inputs = inputs)
        }
        val gate = artifact.programs.first().let { head ->
            head.copy(name = "gate", role = Role.GATE, outputs = head.outputs.filter { it.name == GATE_LOGITS })
        }
        val side = artifact.copy(programs = listOf(gate) + net)
        val session = session(listOf(0f, 0f), sure, sure)
        val one = WidthPolicy.Thresholds(listOf(1), emptyList())
        val answer = DynamicClassifier(session, side, PolicySource.Always(one)).answer(image)
        assertEquals(listOf("net_01"), session.log)
        assertNull(answer.score)
        assertEquals(listOf("net_01"), residentPrograms(side, listOf(one)).map { it.name })
    }

    /** Two gates and four widths: what is scripted decides by role, so all tensors are the golden bundle's. */
    private val twoGates = artifact.programs.let { (prefix, tail) ->
        val stage = tail.copy(role = Role.STAGE, outputs = prefix.outputs)
        fun program(like: Program, name: String, vararg widths: Int) = like.copy(name = name, widths = widths.toList())
        val stages = listOf(program(stage, "stage_1_00", 0, 1), program(stage, "stage_1_01", 2, 3))
        val tails = List(4) { program(tail, "tail_0${it / 2}_0${it % 2}", it) }
        artifact.copy(programs = listOf(program(prefix, "prefix", 0, 1, 2, 3)) + stages + tails)
    }

    private val tree = listOf(0, 2).map { Node(listOf(0.5), listOf(Leaf(it), Leaf(it + 1))) }
        .let { WidthPolicy.Tree(listOf(0, 1, 2, 3), Node(listOf(0.5), it)) }

    private fun gates(first: List<Float>, second: List<Float>, answer: (Int) -> List<Float>) =
        ScriptedSession { program ->
            val logits = if (program.role == Role.PREFIX) first else second
            if (program.role.answers) {
                mapOf(LOGITS to Tensor.Floats(answer(program.widths.single()).toFloatArray()))
            } else {
                mapOf(FEATURES to Tensor.Bytes(ByteArray(32)), GATE_LOGITS to Tensor.Floats(logits.toFloatArray()))
            }
        }

    @Test
    fun `gate after gate picks the one program that runs next`() {
        val (easy, hard) = listOf(3f, -3f) to listOf(-3f, 3f)
        val ways = mapOf(
            (easy to hard) to listOf("prefix", "stage_1_00", "tail_00_01"),
            (hard to easy) to listOf("prefix", "stage_1_01", "tail_01_00"),
        )
        for ((said, way) in ways) {
            val session = gates(said.first, said.second) { sure }
            val answer = DynamicClassifier(session, twoGates, PolicySource.Always(tree)).answer(image)
            assertEquals(way, session.log)
            assertEquals(listOf(twoGates.programs.single { it.name == way.last() }.widths.single()), answer.ran)
            assertEquals(score(said.first.toFloatArray()), answer.score)
        }
    }

    @Test
    fun `what an image has been through is not run again by a cascade`() {
        val session = gates(listOf(0f, 0f), listOf(0f, 0f)) { if (it == 3) sure else unsure }
        val cascade = WidthPolicy.Cascade(listOf(0, 1, 3), listOf(0.9, 0.9))
        val answer = DynamicClassifier(session, twoGates, PolicySource.Always(cascade)).answer(image)
        val further = listOf("tail_00_01", "stage_1_01", "tail_01_01")
        assertEquals(listOf("prefix", "stage_1_00", "tail_00_00") + further, session.log)
        assertEquals(listOf(0, 1, 3), answer.ran)
    }

    @Test
    fun `a tree needs all programs of its widths and no others`() {
        val half = WidthPolicy.Tree(listOf(2, 3), Node(emptyList(), listOf(tree.root.next.last())))
        val needed = listOf("prefix", "stage_1_01", "tail_01_00", "tail_01_01")
        assertEquals(needed, residentPrograms(twoGates, listOf(half)).map { it.name })
    }

    @Test
    fun `a tail needs the prefix even where nothing is chosen`() {
        val one = WidthPolicy.Thresholds(listOf(1), emptyList())
        assertEquals(listOf("prefix", "tail_01"), residentPrograms(artifact, listOf(one)).map { it.name })
    }

    @Test
    fun `a width that the artifact has not is named`() {
        val missing = WidthPolicy.Thresholds(listOf(7), emptyList())
        assertTrue("choose from [0, 1]" in refusal { residentPrograms(artifact, listOf(missing)) })
    }

    @Test
    fun `quantized outputs become real numbers by one rounding`() {
        val tail = artifact.programs.last()
        val quantized = tail.copy(outputs = tail.outputs.map { it.copy(quantization = Quantization(0.1, -128)) })
        val found = realValues(quantized, mapOf(LOGITS to Tensor.Bytes(byteArrayOf(-128, 0, 127))), LOGITS)
        assertArrayEquals(floatArrayOf(0f, 128 * 0.1f, 255 * 0.1f), found, 0f)
    }

    @Test
    fun `a runtime that gives too few numbers is refused`() {
        val session = session(listOf(0f, 0f), listOf(1f), sure)
        val one = PolicySource.Always(WidthPolicy.Thresholds(listOf(0), emptyList()))
        assertTrue("1 numbers" in refusal { DynamicClassifier(session, artifact, one).answer(image) })
    }
}
