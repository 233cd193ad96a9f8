package io.github.dsnetedge.core.runtime

import io.github.dsnetedge.core.SharedFiles
import io.github.dsnetedge.core.bundle.BundleFolder
import io.github.dsnetedge.core.bundle.HashedFiles
import io.github.dsnetedge.core.bundle.Program
import io.github.dsnetedge.core.bundle.Runtime
import io.github.dsnetedge.core.bundle.WeightsRole
import io.github.dsnetedge.core.bundle.sha256
import io.github.dsnetedge.core.nested.readRecipe
import io.github.dsnetedge.core.refusal
import java.io.File
import java.io.IOException
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

class SessionTest {
    @get:Rule
    val temporary = TemporaryFolder()

    private val bundle = BundleFolder.open(File(SharedFiles.golden, "bundle"))
    private val artifact = bundle.artifact()
    private val programs = artifact.programs.take(2)

    private fun open(engine: Engine, progress: (Int, Int) -> Unit = { _, _ -> }): Session =
        openFiles(bundle, artifact, HashedFiles(temporary.root)).use {
            openSession(programs, it, engine, threads = 1, progress)
        }

    @Test
    fun `programs are loaded one after the other, run by name and closed together`() {
        val engine = ScriptedEngine(Runtime.LITERT)
        val progress = mutableListOf<Pair<Int, Int>>()
        open(engine) { done, of -> progress += done to of }.use { session ->
            session.run(programs[1], emptyMap())
            assertThrows(IllegalArgumentException::class.java) { session.run(artifact.programs[2], emptyMap()) }
        }
        val (first, second) = programs.map { it.name }
        assertEquals(
            listOf("load $first", "load $second", "run $second", "close $first", "close $second"), engine.log
        )
        assertEquals(listOf(1 to 2, 2 to 2), progress)
    }

    @Test
    fun `what a runtime throws is said in one line, and nothing stays loaded`() {
        val (first, second) = programs.map { it.name }
        val engine = ScriptedEngine(Runtime.LITERT, refused = second)
        assertEquals("scripted 1.0 cannot load $second: two lines", refusal { open(engine) })
        assertEquals(listOf("load $first", "close $first"), engine.log)
    }

    @Test
    fun `a program that stops while it runs is said in one line`() {
        val first = programs.first()
        val engine = ScriptedEngine(Runtime.LITERT, refused = first.name, at = Step.RUN, error = RuntimeException())
        val said = open(engine).use { session -> refusal { session.run(first, emptyMap()) } }
        assertEquals("scripted 1.0 cannot run ${first.name}: RuntimeException", said)
    }

    @Test
    fun `a runtime that does not tell its version is said in one line`() {
        val silent = object : Engine by ScriptedEngine(Runtime.LITERT) {
            override val version: String get() = throw IllegalStateException("not\nset up")
        }
        assertEquals("litert does not tell its version: not set up", refusal { open(silent) })
    }

    @Test
    fun `every program is closed, also after one that fails then`() {
        val engine = ScriptedEngine(Runtime.LITERT, refused = programs[0].name, at = Step.CLOSE)
        val session = open(engine)
        assertEquals("scripted 1.0 cannot close a program: two lines", refusal { session.close() })
        val closed = engine.log.filter { it.startsWith("close") }
        assertEquals(programs.map { "close ${it.name}" }, closed)
        session.close()
        assertEquals("closed twice", closed, engine.log.filter { it.startsWith("close") })
    }

    @Test
    fun `what keeps programs from being closed comes with the error that made them useless, once`() {
        val stuck = IllegalStateException("stuck")
        val engine = object : Engine by ScriptedEngine(Runtime.LITERT) {
            override fun load(program: Program, file: File, threads: Int): LoadedProgram {
                if (program == programs[1]) throw IOException("full")
                return object : LoadedProgram {
                    override fun run(inputs: Map<String, Tensor>) = inputs
                    override fun close() = throw stuck
                }
            }
        }
        val error = assertThrows(IOException::class.java) { open(engine) }
        assertEquals("scripted 1.0 cannot close a program: stuck", error.suppressed.single().message)
        val out = OutOfMemoryError("the only one")
        val both = ScriptedEngine(Runtime.LITERT, refused = programs[0].name, at = Step.CLOSE, error = out)
        val thrown = assertThrows(OutOfMemoryError::class.java) { open(both) { _, _ -> throw out } }
        assertEquals(0, thrown.suppressed.size)
    }

    @Test
    fun `storage that fails stays a failure of the storage`() {
        val engine = ScriptedEngine(Runtime.LITERT, refused = programs[0].name, error = IOException("full"))
        assertThrows(IOException::class.java) { open(engine) }
    }

    @Test
    fun `LiteRT's programs are all in one file`() {
        val engine = ScriptedEngine(Runtime.LITERT)
        open(engine).close()
        assertEquals(setOf(bundle.verified(artifact)), engine.files.values.toSet())
    }

    @Test
    fun `ExecuTorch's programs are plain files, made when they are asked for`() {
        val network = BundleFolder.open(File(SharedFiles.networks, "first"))
        val float = network.artifact(precision = "fp32")
        val engine = ScriptedEngine(Runtime.EXECUTORCH)
        openFiles(network, float, HashedFiles(temporary.root)).use { files ->
            openSession(float.programs.take(1), files, engine, threads = 1).close()
        }
        val recipe = readRecipe(network.verified(network.weights(float, WeightsRole.RECIPE)).readBytes())
        val made = temporary.root.listFiles().orEmpty().map { it.inputStream().use(::sha256) }
        assertEquals(listOf(recipe.file("${float.programs.first().name}.pte").sha256), made)
    }
}
