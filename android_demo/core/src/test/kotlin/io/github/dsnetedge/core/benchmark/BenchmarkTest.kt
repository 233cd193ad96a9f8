package io.github.dsnetedge.core.benchmark

import io.github.dsnetedge.core.SharedFiles
import io.github.dsnetedge.core.bundle.BundleFolder
import io.github.dsnetedge.core.bundle.FEATURES
import io.github.dsnetedge.core.bundle.GATE_LOGITS
import io.github.dsnetedge.core.bundle.LOGITS
import io.github.dsnetedge.core.bundle.MANIFEST_NAME
import io.github.dsnetedge.core.bundle.Runtime
import io.github.dsnetedge.core.json.Json
import io.github.dsnetedge.core.json.JsonNode
import io.github.dsnetedge.core.json.parseJson
import io.github.dsnetedge.core.json.parseRecord
import io.github.dsnetedge.core.json.toText
import io.github.dsnetedge.core.mutants
import io.github.dsnetedge.core.refusal
import io.github.dsnetedge.core.runtime.ScriptedSession
import io.github.dsnetedge.core.runtime.Tensor
import java.io.File
import java.util.Base64
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

/** docs/profiling.md, "The app's contract". */
class BenchmarkTest {
    private val golden = File(SharedFiles.golden, "bundle")
    private val session = ScriptedSession { program ->
        if (program.width == null) {
            mapOf(FEATURES to Tensor.Bytes(ByteArray(32)), GATE_LOGITS to Tensor.Floats(FloatArray(2)))
        } else {
            mapOf(LOGITS to Tensor.Floats(FloatArray(3)))
        }
    }

    /** A request as the profiler sends it; the programs are the manifest's text. */
    private fun request(vararg units: String, changes: Map<String, Json> = emptyMap()): ByteArray {
        val manifest = parseJson(File(golden, MANIFEST_NAME).readBytes(), MANIFEST_NAME) as Json.Object
        val artifact = (manifest.fields.getValue("artifacts") as Json.Array).items.single() as Json.Object
        val fields = mapOf(
            "format" to Json.Text(REQUEST_FORMAT),
            "runtime" to Json.Text("litert"),
            "files" to Json.Object(mapOf("model" to Json.Text("/data/local/tmp/model"))),
            "programs" to artifact.fields.getValue("programs"),
            "threads" to Json.Integer(2),
            "thresholds" to Json.Array(listOf(Json.Decimal(0.5))),
            "units" to Json.Array(units.map(Json::Text)),
            "warm_up_runs" to Json.Integer(3),
            "runs" to Json.Integer(4),
            "novelty" to Json.Null,
        )
        return Json.Object(fields + changes).toText().toByteArray()
    }

    private fun answer(request: ByteArray): JsonNode {
        val sent = Base64.getEncoder().encodeToString(request)
        val answer = Base64.getDecoder().decode(answerTo(sent) { SessionRunner(session, it) })
        return parseRecord(answer, ANSWER_FORMAT, "answer")
    }

    @Test
    fun `a request is read`() {
        val found = readBenchmarkRequest(request("prefix", "tail_01"))
        assertEquals(Runtime.LITERT, found.runtime)
        assertEquals(mapOf("model" to "/data/local/tmp/model"), found.files)
        assertEquals(BundleFolder.open(golden).artifact().programs, found.programs)
        assertEquals(listOf("prefix", "tail_01"), found.units.map { it.name })
        assertEquals(listOf(2, 3, 4), listOf(found.threads, found.warmUpRuns, found.runs))
    }

    @Test
    fun `ExecuTorch's files may hold a template`() {
        for (roles in listOf(listOf("pte", "store", "recipe"), listOf("pte", "store", "recipe", "template"))) {
            val files = Json.Object(roles.associateWith { Json.Text("/data/$it") })
            val changes = mapOf("runtime" to Json.Text("executorch"), "files" to files)
            assertEquals(roles.toSet(), readBenchmarkRequest(request("prefix", changes = changes)).files.keys)
        }
    }

    @Test
    fun `a head and a body run one after the other, as often as asked`() {
        val answer = answer(request("prefix", "tail_01"))
        assertEquals(List(7) { listOf("prefix", "tail_01") }.flatten(), session.log)
        assertEquals(4, answer["samples_ms"].list().size)
        for (time in answer["samples_ms"].list() + answer["first_run_ms"] + answer["canary_ms"]) {
            assertTrue(time.number() >= 0)
        }
        assertEquals("scripted 1.0", answer["runtime_version"].text())
        assertTrue("the session is still open", session.isClosed)
    }

    @Test
    fun `a tail alone reads what the prefix made once`() {
        answer(request("tail_00"))
        assertEquals(listOf("prefix") + List(7) { "tail_00" }, session.log)
    }

    @Test
    fun `times are those of the clock, canary last`() {
        var now = 0L
        val clock = { now }
        val runner = object : BlockRunner {
            var count = 0
            override val runtimeVersion = "fake 1.0"
            override fun runOnce() {
                now += 1_000_000L * ++count
            }
            override fun close() = Unit
        }
        val expected = BenchmarkAnswer.Measured("fake 1.0", 1.0, listOf(4.0, 5.0, 6.0, 7.0), 0.0)
        assertEquals(expected, measure(runner, readBenchmarkRequest(request("prefix")), clock))
    }

    @Test
    fun `the canary takes time`() {
        assertTrue(canaryMs() > 0)
    }

    @Test
    fun `malformed requests are refused in one line`() {
        val wrong = listOf(
            mapOf("format" to Json.Text("dsnet-app-request/2")),
            mapOf("runtime" to Json.Text("coreml")),
            mapOf("runtime" to Json.Text("executorch")),
            mapOf("files" to Json.Object(emptyMap())),
            mapOf("programs" to Json.Array(emptyList())),
            mapOf("threads" to Json.Integer(0)),
            mapOf("thresholds" to Json.Text("0.5")),
            mapOf("units" to Json.Array(emptyList())),
            mapOf("units" to Json.Array(listOf(Json.Text("tail_09")))),
            mapOf("units" to Json.Array(listOf(Json.Text("tail_00"), Json.Text("prefix")))),
            mapOf("runs" to Json.Integer(0)),
            mapOf("runs" to Json.Integer(Long.MAX_VALUE)),
            mapOf("warm_up_runs" to Json.Integer(-1)),
        )
        for (changes in wrong) refusal { readBenchmarkRequest(request("prefix", changes = changes)) }
    }

    @Test
    fun `whatever goes wrong is the answer's error, in one line`() {
        val failures = listOf(
            { _: BenchmarkRequest -> throw IllegalStateException("two\nlines") },
            { _: BenchmarkRequest -> throw UnsatisfiedLinkError() },
        )
        val sent = Base64.getEncoder().encodeToString(request("prefix"))
        val answers = failures.map { answerTo(sent, it) } + answerTo("not base64!") { error("never opened") }
        val errors = answers.map(Base64.getDecoder()::decode).map { parseRecord(it, ANSWER_FORMAT, "answer") }
            .map { it["error"].text() }
        assertEquals(listOf("two lines", "UnsatisfiedLinkError", "the request is not base64"), errors)
    }

    @Test
    fun `mutants of a request are answered, too`() {
        val text = request("prefix", "tail_00")
        for (mutant in mutants(text, count = 300, seed = 5)) {
            val sent = Base64.getEncoder().encodeToString(mutant)
            answerTo(sent) { BenchmarkRunnerThatDoesNothing }
        }
    }

    private object BenchmarkRunnerThatDoesNothing : BlockRunner {
        override val runtimeVersion = "none"
        override fun runOnce() = Unit
        override fun close() = Unit
    }
}
