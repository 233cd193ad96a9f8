package io.github.dsnetedge.core.benchmark

import io.github.dsnetedge.core.SharedFiles
import io.github.dsnetedge.core.bundle.BundleFolder
import io.github.dsnetedge.core.bundle.FEATURES
import io.github.dsnetedge.core.bundle.GATE_LOGITS
import io.github.dsnetedge.core.bundle.HashedFiles
import io.github.dsnetedge.core.bundle.LOGITS
import io.github.dsnetedge.core.bundle.MANIFEST_NAME
import io.github.dsnetedge.core.bundle.Program
import io.github.dsnetedge.core.bundle.Runtime
import io.github.dsnetedge.core.bundle.WeightsRole
import io.github.dsnetedge.core.bundle.sha256
import io.github.dsnetedge.core.json.Json
import io.github.dsnetedge.core.json.JsonNode
import io.github.dsnetedge.core.json.parseJson
import io.github.dsnetedge.core.json.parseRecord
import io.github.dsnetedge.core.json.toText
import io.github.dsnetedge.core.mutants
import io.github.dsnetedge.core.refusal
import io.github.dsnetedge.core.runtime.ScriptedEngine
import io.github.dsnetedge.core.runtime.ScriptedSession
import io.github.dsnetedge.core.runtime.Step
import io.github.dsnetedge.core.runtime.Tensor
import java.io.File
import java.util.Base64
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

/** docs/profiling.md, "The app's contract". */
class BenchmarkTest {
    @get:Rule
    val temporary = TemporaryFolder()

    private val golden = File(SharedFiles.golden, "bundle")
    private val outputs = { program: Program ->
        if (program.role.answers) {
            mapOf(LOGITS to Tensor.Floats(FloatArray(3)))
        } else {
            mapOf(FEATURES to Tensor.Bytes(ByteArray(32)), GATE_LOGITS to Tensor.Floats(FloatArray(2)))
        }
    }
    private val session = ScriptedSession(outputs)
    private val model = BundleFolder.open(golden).let { it.verified(it.artifact()) }
    private val cache by lazy { File(temporary.root, "programs") }

    /** An entry of a request's `files`. */
    private fun pushed(file: File, sha256: String = file.inputStream().use(::sha256)) = Json.Object(
        mapOf(
            "path" to Json.Text(file.path),
            "bytes" to Json.Integer(file.length()),
            "sha256" to Json.Text(sha256),
        ),
    )

    /** What an ExecuTorch artifact changes in a request: its runtime, its files and its programs. */
    private fun executorch(folder: File = File(SharedFiles.networks, "first")): Map<String, Json> {
        val bundle = BundleFolder.open(folder)
        val weights = WeightsRole.entries.associateWith { bundle.weights(bundle.artifact(precision = "fp32"), it) }
        val files = weights.map { (role, item) -> role.key to pushed(File(folder, item.file), item.sha256) }
        return mapOf("runtime" to Json.Text("executorch"), "files" to Json.Object(files.toMap()))
    }

    private fun openRunner(request: ByteArray, vararg engines: ScriptedEngine) =
        openRunner(readBenchmarkRequest(request), HashedFiles(cache), engines.toList())

    private fun cached(): Map<String, Long> =
        cache.listFiles().orEmpty().associate { it.inputStream().use(::sha256) to it.lastModified() }

    /** A request as the profiler sends it; the programs are the manifest's text. */
    private fun request(vararg units: String, changes: Map<String, Json> = emptyMap()): ByteArray {
        val manifest = parseJson(File(golden, MANIFEST_NAME).readBytes(), MANIFEST_NAME) as Json.Object
        val artifact = (manifest.fields.getValue("artifacts") as Json.Array).items.single() as Json.Object
        val fields = mapOf(
            "format" to Json.Text(REQUEST_FORMAT),
            "runtime" to Json.Text("litert"),
            "files" to Json.Object(mapOf("model" to pushed(model))),
            "programs" to artifact.fields.getValue("programs"),
            "threads" to Json.Integer(2),
            "policy" to Json.Object(
                mapOf(
                    "kind" to Json.Text("thresholds"),
                    "widths" to Json.Array(listOf(Json.Integer(0), Json.Integer(1))),
                    "thresholds" to Json.Array(listOf(Json.Decimal(0.5))),
                ),
            ),
            "units" to Json.Array(units.map(Json::Text)),
            "warm_up_runs" to Json.Integer(3),
            "runs" to Json.Integer(4),
            "novelty" to Json.Null,
        )
        return Json.Object(fields + changes).toText().toByteArray()
    }

    private fun answer(request: ByteArray): JsonNode {
        val sent = Base64.getEncoder().encodeToString(request)
        return read(answerTo(sent, { false }) { SessionRunner(session, it) })
    }

    private fun read(answer: String): JsonNode = parseRecord(answer.toByteArray(), ANSWER_FORMAT, "answer")

    @Test
    fun `a request is read`() {
        val found = readBenchmarkRequest(request("prefix", "tail_01"))
        assertEquals(Runtime.LITERT, found.runtime)
        val expected = PushedFile(model, model.length(), model.inputStream().use(::sha256))
        assertEquals(mapOf("model" to expected), found.files)
        assertEquals(BundleFolder.open(golden).artifact().programs, found.programs)
        assertEquals(listOf("prefix", "tail_01"), found.units.map { it.name })
        assertEquals(listOf(2, 3, 4), listOf(found.threads, found.warmUpRuns, found.runs))
    }

    @Test
    fun `ExecuTorch's files are what plain ones are rebuilt from`() {
        val roles = setOf("store", "recipe", "template")
        fun files(names: Set<String>) = Json.Object(names.associateWith { pushed(model) })
        fun changes(names: Set<String>) = mapOf("runtime" to Json.Text("executorch"), "files" to files(names))
        assertEquals(roles, readBenchmarkRequest(request("prefix", changes = changes(roles))).files.keys)
        for (role in roles) {
            val missing = refusal { readBenchmarkRequest(request("prefix", changes = changes(roles - role))) }
            assertTrue(missing, "'$role' is missing" in missing)
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

    /** A request whose programs, between the prefix and tail_00, have a stage that reads and gives their features. */
    private fun staged(vararg units: String): ByteArray {
        val (prefix, tail) = BundleFolder.open(golden).artifact().programs
        val entries = (parseJson(request("prefix"), "request") as Json.Object).fields.getValue("programs") as Json.Array
        val (first, last) = entries.items.map { (it as Json.Object).fields }
        val stage = last + mapOf(
            "name" to Json.Text("stage_1_00"),
            "role" to Json.Text("stage"),
            "outputs" to first.getValue("outputs"),
        )
        check(prefix.outputs.single { it.name == FEATURES } == tail.inputs.single())
        val programs = listOf(first, stage, last).map(Json::Object)
        return request(*units, changes = mapOf("programs" to Json.Array(programs)))
    }

    @Test
    fun `units of any number run one after the other`() {
        answer(staged("prefix", "stage_1_00", "tail_00"))
        assertEquals(List(7) { listOf("prefix", "stage_1_00", "tail_00") }.flatten(), session.log)
    }

    @Test
    fun `a unit alone reads what those before it made once`() {
        answer(staged("tail_00"))
        assertEquals(listOf("prefix", "stage_1_00") + List(7) { "tail_00" }, session.log)
    }

    @Test
    fun `programs are loaded by the engine of the request's runtime, from the request's files`() {
        val other = ScriptedEngine(Runtime.EXECUTORCH)
        val engine = ScriptedEngine(Runtime.LITERT, outputs = outputs)
        openRunner(request("tail_00"), other, engine).use { it.runOnce() }
        val loaded = BundleFolder.open(golden).artifact().programs.map { "load ${it.name}" }
        assertEquals(loaded + listOf("run prefix", "run tail_00"), engine.log.take(loaded.size + 2))
        assertEquals(emptyList<String>(), other.log)
    }

    @Test
    fun `a LiteRT model is copied once, as only a copy of its own can be mapped by the app`() {
        val engine = ScriptedEngine(Runtime.LITERT, outputs = outputs)
        openRunner(request("prefix"), engine).close()
        val first = cached()
        assertEquals(setOf(model.inputStream().use(::sha256)), first.keys)
        assertEquals(cache.listFiles().orEmpty().toSet(), engine.files.values.toSet())
        cache.listFiles().orEmpty().forEach { it.setLastModified(0) }
        openRunner(request("tail_00"), engine).close()
        assertEquals("not copied again", setOf(0L), cached().values.toSet())
    }

    @Test
    fun `what an earlier request left in the cache goes, half files too`() {
        openRunner(request("prefix"), ScriptedEngine(Runtime.LITERT, outputs = outputs)).close()
        File(cache, "half.1.part").writeText("what a kill leaves")
        val engine = ScriptedEngine(Runtime.EXECUTORCH, outputs = outputs)
        repeat(2) { openRunner(request("prefix", changes = executorch()), engine).close() }
        val plain = engine.files.values.toSet()
        assertEquals(plain, cache.listFiles().orEmpty().toSet())
        openRunner(request("prefix"), ScriptedEngine(Runtime.LITERT, outputs = outputs)).close()
        assertEquals(setOf(model.inputStream().use(::sha256)), cached().keys)
    }

    @Test
    fun `a pushed file that was altered is refused before it is used`() {
        val folder = temporary.newFolder("pushed").also { File(SharedFiles.networks, "first").copyRecursively(it, true) }
        val asked = executorch(folder)
        val files = (asked.getValue("files") as Json.Object).fields + ("model" to pushed(model))
        for ((role, file) in files) {
            val altered = File(folder, role).also {
                it.writeBytes(ByteArray(((file as Json.Object).fields.getValue("bytes") as Json.Integer).value.toInt()))
            }
            val path = "path" to Json.Text(altered.path)
            val changed = Json.Object(files + (role to Json.Object((file as Json.Object).fields + path)))
            val runtime = if (role == "model") emptyMap() else asked
            val engines = arrayOf(ScriptedEngine(Runtime.LITERT), ScriptedEngine(Runtime.EXECUTORCH))
            val said = refusal { openRunner(request("prefix", changes = runtime + ("files" to changed)), *engines) }
            assertTrue(said, said.startsWith("$altered: its SHA-256 is not the manifest's"))
            assertEquals(emptyList<String>(), cache.list().orEmpty().toList())
        }
    }

    @Test
    fun `an app without the runtime says which ones it has`() {
        val said = refusal { openRunner(request("prefix"), ScriptedEngine(Runtime.EXECUTORCH)) }
        assertEquals("no litert in this app; it has executorch", said)
    }

    @Test
    fun `a prefix that fails before the first run leaves nothing loaded`() {
        val asked = readBenchmarkRequest(request("tail_00"))
        val engine = ScriptedEngine(Runtime.LITERT, refused = "prefix", at = Step.RUN)
        refusal { openRunner(request("tail_00"), engine) }
        assertEquals(asked.programs.map { "close ${it.name}" }, engine.log.filter { it.startsWith("close") })
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
            mapOf("format" to Json.Text("dsnet-app-request/3")),
            mapOf("format" to Json.Text("dsnet-app-request/1")),
            mapOf("runtime" to Json.Text("coreml")),
            mapOf("runtime" to Json.Text("executorch")),
            mapOf("files" to Json.Object(emptyMap())),
            mapOf("files" to Json.Object(mapOf("model" to Json.Text("/data/local/tmp/model")))),
            mapOf("files" to Json.Object(mapOf("model" to pushed(model, sha256 = "0")))),
            mapOf("programs" to Json.Array(emptyList())),
            mapOf("threads" to Json.Integer(0)),
            mapOf("policy" to Json.Text("0.5")),
            mapOf("units" to Json.Array(emptyList())),
            mapOf("units" to Json.Array(listOf(Json.Text("tail_09")))),
            mapOf("units" to Json.Array(listOf(Json.Text("tail_00"), Json.Text("prefix")))),
            mapOf("units" to Json.Array(listOf(Json.Text("tail_00"), Json.Text("tail_01")))),
            mapOf("units" to Json.Array(List(10) { Json.Text("prefix") })),
            mapOf("runs" to Json.Integer(0)),
            mapOf("runs" to Json.Integer(Long.MAX_VALUE)),
            mapOf("warm_up_runs" to Json.Integer(0)),
        )
        for (changes in wrong) refusal { readBenchmarkRequest(request("prefix", changes = changes)) }
    }

    @Test
    fun `whatever goes wrong is the answer's error, in one line`() {
        val failures = listOf(
            { _: BenchmarkRequest -> throw IllegalStateException("two\nlines") },
            { _: BenchmarkRequest -> throw UnsatisfiedLinkError() },
            { _: BenchmarkRequest -> throw OutOfMemoryError("no room") },
        )
        val sent = Base64.getEncoder().encodeToString(request("prefix"))
        val answers = failures.map { answerTo(sent, { false }, it) } +
            answerTo("not base64!", { false }) { error("never opened") }
        val errors = answers.map { read(it)["error"].text() }
        assertEquals(listOf("two lines", "UnsatisfiedLinkError", "no room", "the request is not base64"), errors)
    }

    @Test
    fun `an answer is left under its token, alone`() {
        val folder = File(temporary.root, "answers")
        val token = "0123456789abcdef".repeat(2)
        writeAnswer(folder, "0".repeat(32), "earlier")
        writeAnswer(folder, token, "{}")
        assertEquals(listOf(token to "{}"), folder.listFiles().orEmpty().map { it.name to it.readText() })
        for (wrong in listOf("", "../$token", token.uppercase(), token + "0", "$token\n")) {
            refusal { writeAnswer(folder, wrong, "{}") }
        }
        assertEquals(1, folder.list().orEmpty().size)
    }

    @Test
    fun `what was measured while another app was in front is no answer`() {
        var ran = false
        val runner = object : BlockRunner by BenchmarkRunnerThatDoesNothing {
            override fun runOnce() {
                ran = true
            }
        }
        val sent = Base64.getEncoder().encodeToString(request("prefix"))
        val answer = read(answerTo(sent, { ran }) { runner })
        assertEquals("the app left the front while it measured", answer["error"].text())
    }

    @Test
    fun `a request is answered and the answer left, or it is said why none is`() {
        val sent = Base64.getEncoder().encodeToString(request("prefix"))
        val token = "0".repeat(32)
        val folder = File(temporary.root, "answers")
        val engine = ScriptedEngine(Runtime.LITERT, outputs = outputs)
        fun left(request: String, token: String, folder: File?): String? =
            answerAndLeave(request, token, folder, cache, listOf(engine), leftFront = { false })
        fun answer() = read(File(folder, token).readText())
        assertEquals(null, left(sent, token, folder))
        assertEquals(4, answer()["samples_ms"].list().size)
        assertEquals(null, left("not base64!", token, folder))
        assertEquals("the request is not base64", answer()["error"].text())
        val noFolder = temporary.newFile()
        val problems = listOf(left(sent, token, null), left(sent, token, noFolder), left(sent, "../answer", folder))
        val expected = listOf("no external storage", "$noFolder cannot be made", "the token is not 32 lower-case")
        for ((problem, said) in problems.zip(expected)) assertTrue("$problem", problem.orEmpty().startsWith(said))
    }

    @Test
    fun `mutants of a request are answered, too`() {
        val text = request("prefix", "tail_00")
        for (mutant in mutants(text, count = 300, seed = 5)) {
            val sent = Base64.getEncoder().encodeToString(mutant)
            read(answerTo(sent, { false }) { BenchmarkRunnerThatDoesNothing })
        }
    }

    private object BenchmarkRunnerThatDoesNothing : BlockRunner {
        override val runtimeVersion = "none"
        override fun runOnce() = Unit
        override fun close() = Unit
    }
}
