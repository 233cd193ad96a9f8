package io.github.dsnetedge.core.live

import io.github.dsnetedge.core.BundleException
import io.github.dsnetedge.core.SharedFiles
import io.github.dsnetedge.core.bundle.DType
import io.github.dsnetedge.core.bundle.Program
import io.github.dsnetedge.core.bundle.Runtime
import io.github.dsnetedge.core.image.PixelRows
import io.github.dsnetedge.core.install.BundleInstaller
import io.github.dsnetedge.core.install.BundleSource
import io.github.dsnetedge.core.runtime.Engine
import io.github.dsnetedge.core.runtime.ScriptedEngine
import io.github.dsnetedge.core.runtime.Step
import io.github.dsnetedge.core.runtime.Tensor
import java.io.File
import java.io.FileInputStream
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

/** Zeros for everything, but that the last class is the likeliest. */
private fun outputs(program: Program): Map<String, Tensor> = program.outputs.associate { info ->
    info.name to when (info.dtype) {
        DType.FLOAT32 -> Tensor.Floats(FloatArray(info.elements).also { it[it.lastIndex] = 9f })
        DType.INT8 -> Tensor.Bytes(ByteArray(info.elements).also { it[it.lastIndex] = 99 })
    }
}

private val GREY = object : PixelRows {
    override val width = 5
    override val height = 4

    override fun row(y: Int, into: IntArray) = into.fill(0x808080)
}

private val NOTHING = object : PixelRows {
    override val width = 0
    override val height = 0

    override fun row(y: Int, into: IntArray) = Unit
}

class LiveClassifierTest {
    @get:Rule
    val temporary = TemporaryFolder()

    private val golden = File(SharedFiles.golden, "bundle")
    private val network = File(SharedFiles.networks, "first")
    private val screens = mutableListOf<Screen>()
    private val engine = ScriptedEngine(Runtime.LITERT, outputs = ::outputs)
    private val ready: Screen.Ready get() = screens.last() as Screen.Ready
    private var free = 1L shl 40

    private fun live(folder: File = golden, vararg engines: Engine = arrayOf(engine)): LiveClassifier {
        val installer = BundleInstaller(BundleSource { FileInputStream(File(folder, it)) }, temporary.root) { free }
        return LiveClassifier(installer::install, engines.toList()) { screens += it }
    }

    private fun failure(): String = (screens.last() as Screen.Failed).message

    @Test
    fun `it starts with the first choice, and says meanwhile what it does`() {
        live().start(null)
        val preparing = screens.filterIsInstance<Screen.Preparing>().map { it.what }.distinct()
        assertEquals(listOf("Copying the bundle", "Loading the network"), preparing)
        assertEquals(Selection("LiteRT int8", "fast"), ready.picker.selection)
    }

    @Test
    fun `it starts with what was chosen last time`() {
        live().start(Selection("LiteRT int8", "width 1 (16)"))
        assertEquals("width 1 (16)", ready.picker.selection.choice)
        assertTrue("${engine.log}", "load tail_00" !in engine.log)
    }

    @Test
    fun `what was chosen last time and is gone falls back to the first choice`() {
        live().start(Selection("LiteRT wi8", "slow"))
        assertEquals(Selection("LiteRT int8", "fast"), ready.picker.selection)
    }

    @Test
    fun `an answer says class, probability, width, time and score`() {
        val live = live().apply { start(Selection("LiteRT int8", "balanced")) }
        live.classify(GREY)
        assertEquals("triangle", ready.answer?.title)
        val detail = ready.answer?.detail.orEmpty()
        assertTrue(detail, Regex("100% · width 1 · \\d+\\.\\d\\d ms · score 1\\.00").matches(detail))
        assertEquals(listOf(1 to 1.0), ready.strip.bars.map { it.width to it.shade })
    }

    @Test
    fun `an adaptive answer says which point answers, and how slow the device is`() {
        val carried = File(temporary.root, "carried").also { golden.copyRecursively(it) }
        val manifest = File(carried, "manifest.json")
        val timed = manifest.readText().replace("\"mean_ms\": null", "\"mean_ms\": 1e6")
        manifest.writeText(timed.replaceFirst("\"calibration_accuracy\": 0.75", "\"calibration_accuracy\": 0.5"))
        val live = live(carried).apply { start(Selection("LiteRT int8", "balanced, adaptive")) }
        live.classify(GREY)
        val detail = ready.answer?.detail.orEmpty()
        assertTrue(detail, Regex(".* · balanced at \\d\\.\\d\\d× the time").matches(detail))
    }

    @Test
    fun `every program has run before the first image`() {
        live().start(Selection("LiteRT int8", "balanced"))
        assertEquals(listOf("run prefix", "run tail_00", "run tail_01"), engine.log.filter { it.startsWith("run") })
    }

    @Test
    fun `another choice closes what was loaded and begins a new chart`() {
        val live = live().apply { start(null) }
        live.classify(GREY)
        engine.log.clear()
        live.choose(ready.picker.choices.indexOf("width 1 (16)"))
        assertTrue("${engine.log}", engine.log.first().startsWith("close"))
        assertEquals(0, ready.strip.bars.size)
    }

    @Test
    fun `choosing what is chosen does nothing`() {
        val live = live().apply { start(null) }
        val before = screens.size
        live.choose(ready.picker.choice)
        live.chooseArtifact(ready.picker.artifact)
        assertEquals(before, screens.size)
    }

    @Test
    fun `another artifact keeps the choice of the same name`() {
        val both = ScriptedEngine(Runtime.EXECUTORCH, outputs = ::outputs)
        val live = live(network, both).apply { start(Selection("ExecuTorch fp32", "width 1 (16)")) }
        val wanted = ready.picker.choices.last()
        live.choose(ready.picker.choices.lastIndex)
        live.chooseArtifact(1)
        assertEquals(Selection("ExecuTorch int8", wanted), ready.picker.selection)
        val loaded = both.files.values.map { it.parentFile.name }.distinct()
        assertEquals(listOf("programs"), loaded)
    }

    @Test
    fun `closing closes every program, and images after that are left out`() {
        val live = live().apply { start(null) }
        live.close()
        live.classify(GREY)
        val (opened, closed) = engine.log.partition { it.startsWith("load") }
        assertEquals(opened.size, closed.count { it.startsWith("close") })
        assertEquals(null, ready.answer)
    }

    @Test
    fun `an app without a bundle says how to put one in, and can try again`() {
        val live = live(temporary.newFolder("empty")).apply { start(null) }
        assertTrue(failure(), "dsnet android-assets" in failure())
        val before = screens.size
        live.retry(null)
        assertTrue("${screens.size}", screens.size > before)
    }

    @Test
    fun `too little storage is said, and more of it helps`() {
        free = 0
        val live = live().apply { start(null) }
        assertTrue(failure(), "make room and try again" in failure())
        free = 1L shl 40
        live.retry(null)
        assertEquals("LiteRT int8", ready.picker.selection.artifact)
    }

    @Test
    fun `too little storage for rebuilt files leaves the other choices`() {
        val live = live(network, ScriptedEngine(Runtime.EXECUTORCH, outputs = ::outputs))
        live.start(null)
        live.close()
        free = 0
        live.choose(1)
        assertTrue(failure(), "make room" in failure())
        assertEquals(1, (screens.last() as Screen.Failed).picker?.choice)
        free = 1L shl 40
        live.retry(null)
        assertEquals(1, ready.picker.choice)
    }

    @Test
    fun `a program that the runtime refuses leaves nothing loaded and the picker there`() {
        val broken = ScriptedEngine(Runtime.LITERT, refused = "tail_01", outputs = ::outputs)
        val live = live(golden, broken).apply { start(Selection("LiteRT int8", "balanced")) }
        assertTrue(failure(), "scripted 1.0 cannot load tail_01: two lines" in failure())
        assertEquals(broken.log.count { it.startsWith("load") }, broken.log.count { it.startsWith("close") })
        live.choose(ready(screens.last()).choices.indexOf("width 0 (8)"))
        assertEquals("width 0 (8)", ready.picker.selection.choice)
    }

    @Test
    fun `a program that fails when it is first run leaves nothing loaded`() {
        val broken = ScriptedEngine(Runtime.LITERT, refused = "tail_01", at = Step.RUN, outputs = ::outputs)
        live(golden, broken).start(Selection("LiteRT int8", "balanced"))
        assertTrue(failure(), "scripted 1.0 cannot run tail_01: two lines" in failure())
        assertEquals(3, broken.log.count { it.startsWith("load") })
        assertEquals(3, broken.log.count { it.startsWith("close") })
    }

    private fun ready(screen: Screen): Picker = checkNotNull((screen as Screen.Failed).picker)

    @Test
    fun `a runtime without its native library is one line`() {
        val missing = object : Engine by engine {
            override val version: String get() = throw UnsatisfiedLinkError("no such library")
        }
        live(golden, missing).start(null)
        assertEquals("LiteRT int8 does not run on this device: no such library; choose another", failure())
    }

    @Test
    fun `a bundle for a runtime that this app has not is named`() {
        live(network, engine).start(null)
        assertEquals("this app has litert, the bundle has none of it", failure())
    }

    @Test
    fun `an image that cannot be classified is a notice beside the last answer, until it is taken away`() {
        val live = live().apply { start(null) }
        live.classify(GREY)
        live.classify(NOTHING)
        assertTrue("${ready.notice}", "0×0 pixels" in ready.notice.orEmpty())
        assertEquals("triangle", ready.answer?.title)
        live.classify(GREY)
        assertTrue("${ready.notice}", "0×0 pixels" in ready.notice.orEmpty())
        live.notice(null)
        assertEquals(null to 2, ready.notice to ready.strip.bars.size)
    }

    @Test
    fun `a program that fails in use is a notice`() {
        var fails = false
        val failing = ScriptedEngine(Runtime.LITERT) { program ->
            if (fails) throw BundleException("no more") else outputs(program)
        }
        val live = live(golden, failing).apply { start(null) }
        fails = true
        live.classify(GREY)
        assertEquals("no more", ready.notice)
    }

    @Test
    fun `what breaks the runtime in use is said, and another choice helps`() {
        val errors = mapOf(
            UnsatisfiedLinkError("no such symbol") to
                "LiteRT int8 does not run on this device: no such symbol; choose another",
            OutOfMemoryError() to "LiteRT int8 does not fit into memory; choose one width",
        )
        for ((error, said) in errors) {
            var fails = false
            val breaking = ScriptedEngine(Runtime.LITERT) { if (fails) throw error else outputs(it) }
            val live = live(golden, breaking).apply { start(null) }
            fails = true
            live.classify(GREY)
            assertEquals(said, failure())
            val before = screens.size
            live.classify(GREY)
            assertEquals("images are left out", before, screens.size)
            fails = false
            live.choose(1)
            assertEquals(1, ready.picker.choice)
            live.close()
            val (loads, closes) = listOf("load", "close").map { what -> breaking.log.count { it.startsWith(what) } }
            assertEquals(loads, closes)
        }
    }

    @Test
    fun `a runtime that does not tell its version is one line`() {
        val silent = object : Engine by engine {
            override val version: String get() = throw IllegalStateException("not set up")
        }
        live(golden, silent).start(null)
        assertEquals("litert does not tell its version: not set up", failure())
    }

    @Test
    fun `a program that cannot be closed does not keep the next choice from being loaded`() {
        val stuck = ScriptedEngine(Runtime.LITERT, refused = "prefix", at = Step.CLOSE, outputs = ::outputs)
        val live = live(golden, stuck).apply { start(Selection("LiteRT int8", "balanced")) }
        live.choose(ready.picker.choices.indexOf("width 1 (16)"))
        assertEquals("width 1 (16)", ready.picker.selection.choice)
        live.close()
    }

    @Test
    fun `a notice that comes while nothing is loaded is said when something is`() {
        free = 0
        val live = live().apply { start(null) }
        live.notice("the camera was not allowed")
        free = 1L shl 40
        live.retry(null)
        assertEquals("the camera was not allowed", ready.notice)
        live.choose(1)
        assertEquals("another choice", null, ready.notice)
    }
}
