package io.github.dsnetedge.core.runtime

import io.github.dsnetedge.core.SharedFiles
import io.github.dsnetedge.core.bundle.BundleFolder
import io.github.dsnetedge.core.bundle.FEATURES
import io.github.dsnetedge.core.bundle.GATE_LOGITS
import io.github.dsnetedge.core.bundle.LOGITS
import io.github.dsnetedge.core.bundle.Program
import io.github.dsnetedge.core.bundle.Quantization
import io.github.dsnetedge.core.bundle.Role
import io.github.dsnetedge.core.policy.WidthPolicy
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
