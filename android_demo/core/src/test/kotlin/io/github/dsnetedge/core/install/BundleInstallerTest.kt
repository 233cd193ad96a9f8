package io.github.dsnetedge.core.install

import io.github.dsnetedge.core.SharedFiles
import io.github.dsnetedge.core.bundle.Runtime
import io.github.dsnetedge.core.refusal
import io.github.dsnetedge.core.runtime.openFiles
import java.io.File
import java.io.FileInputStream
import java.io.IOException
import java.io.InputStream
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

private const val PLENTY = 1L shl 40

class BundleInstallerTest {
    @get:Rule
    val temporary = TemporaryFolder()

    private val root by lazy { File(temporary.root, "files") }
    private val network = File(SharedFiles.networks, "first")
    private val golden = File(SharedFiles.golden, "bundle")
    private val opened = mutableListOf<String>()

    private fun carrying(folder: File) = BundleSource { path ->
        opened += path
        FileInputStream(File(folder, path))
    }

    private fun installer(source: BundleSource, free: Long = PLENTY) = BundleInstaller(source, root) { free }

    private fun files(): Set<String> =
        root.walk().filter { it.isFile }.map { it.relativeTo(root).path }.toSet()

    @Test
    fun `a bundle is installed whole`() {
        val installed = installer(carrying(network)).install()
        for (item in installed.bundle.manifest.artifacts + installed.bundle.manifest.weights) {
            assertArrayEquals(File(network, item.file).readBytes(), installed.bundle.verified(item).readBytes())
        }
    }

    @Test
    fun `progress ends at all that is copied, and does not go back`() {
        val seen = mutableListOf<Progress>()
        installer(carrying(network)).install { seen += it }
        assertEquals(seen.map { it.done }.sorted(), seen.map { it.done })
        assertEquals(seen.last().of, seen.last().done)
        assertEquals(1, seen.map { it.of }.distinct().size)
    }

    @Test
    fun `what is installed is not copied again`() {
        installer(carrying(network)).install()
        opened.clear()
        val seen = mutableListOf<Progress>()
        installer(carrying(network), free = 0).install { seen += it }
        assertEquals(listOf("manifest.json"), opened)
        assertEquals(emptyList<Progress>(), seen)
    }

    @Test
    fun `after a kill only what was not finished is copied`() {
        val all = mutableListOf<String>()
        val killed = BundleSource { path ->
            all += path
            if (all.size > 3) throw Killed() else FileInputStream(File(network, path))
        }
        assertThrows(Killed::class.java) { installer(killed).install() }
        val finished = all.subList(1, 3).toSet()
        File(root, "bundle/executorch/half.bin.part").writeText("what a kill leaves")
        val installed = installer(carrying(network)).install()
        assertEquals(emptySet<String>(), finished.intersect(opened.toSet()))
        assertTrue("$opened", opened.size > 2)
        assertEquals(emptyList<String>(), files().filter { it.endsWith(".part") })
        installed.bundle.manifest.weights.forEach { installed.bundle.verified(it) }
    }

    private class Killed : Error()

    @Test
    fun `a file that was damaged since is copied again`() {
        installer(carrying(golden)).install()
        val model = File(root, "bundle/litert/model.tflite")
        val bytes = model.readBytes()
        model.writeBytes(bytes.clone().also { it[100] = (it[100] + 1).toByte() })
        val installed = installer(carrying(golden)).install()
        assertArrayEquals(bytes, installed.bundle.verified(installed.artifacts.single()).readBytes())
    }

    @Test
    fun `the bundle of an older app goes, what was rebuilt from it too`() {
        val older = installer(carrying(network)).install()
        val artifact = older.artifacts.first()
        openFiles(older.bundle, artifact, older.rebuilt).use { it.of(artifact.programs.first()) }
        assertEquals(1, files().count { it.endsWith(".pte") && it.startsWith("programs") })
        installer(carrying(golden)).install()
        assertEquals(setOf("bundle/manifest.json", "bundle/litert/model.tflite"), files())
    }

    @Test
    fun `an older bundle makes room for the new one before there has to be any`() {
        val older = network.walk().filter { it.isFile }.sumOf { it.length() }
        val storage = { (16L shl 20) + older - root.walk().filter { it.isFile }.sumOf { it.length() } }
        BundleInstaller(carrying(network), root, storage).install()
        BundleInstaller(carrying(golden), root, storage).install()
        assertEquals(setOf("bundle/manifest.json", "bundle/litert/model.tflite"), files())
    }

    @Test
    fun `a folder may stand where the older bundle had a file`() {
        File(root, "bundle").mkdirs()
        File(root, "bundle/litert").writeText("a file")
        installer(carrying(golden)).install()
        assertEquals(setOf("bundle/manifest.json", "bundle/litert/model.tflite"), files())
    }

    @Test
    fun `the storage itself says how much room it has`() {
        BundleInstaller(carrying(golden), File(root, "not/yet/there")).install()
    }

    @Test
    fun `what was rebuilt stays when the app starts again`() {
        val first = installer(carrying(network)).install()
        val artifact = first.artifacts.first()
        val before = openFiles(first.bundle, artifact, first.rebuilt).use { it.of(artifact.programs.first()) }
        before.setLastModified(0)
        val second = installer(carrying(network)).install()
        val after = openFiles(second.bundle, artifact, second.rebuilt).use { it.of(artifact.programs.first()) }
        assertEquals(before, after)
        assertEquals(0, after.lastModified())
    }

    @Test
    fun `too little storage is said before anything is written`() {
        val error = assertThrows(LowStorageException::class.java) {
            installer(carrying(network), free = 1_000_000).install()
        }
        assertTrue("${error.message}", "1.0 MB are free" in error.message.orEmpty())
        assertEquals(emptySet<String>(), files())
    }

    @Test
    fun `too little storage for rebuilt files is said before any is rebuilt`() {
        val installed = installer(carrying(network)).install()
        val scarce = installer(carrying(network), free = 0).install()
        val artifact = scarce.artifacts.first()
        assertThrows(LowStorageException::class.java) { scarce.requireRoomFor(artifact, artifact.programs) }
        openFiles(installed.bundle, artifact, installed.rebuilt).use { files -> artifact.programs.forEach(files::of) }
        scarce.requireRoomFor(artifact, artifact.programs)
    }

    @Test
    fun `storage that fills up leaves no half file`() {
        val filling = BundleSource { path ->
            val stream = FileInputStream(File(network, path))
            if (path == "manifest.json") stream else FailingAfter(stream, 10)
        }
        assertThrows(IOException::class.java) { installer(filling).install() }
        assertEquals(emptySet<String>(), files())
    }

    private class FailingAfter(private val stream: InputStream, private var left: Int) : InputStream() {
        override fun read(): Int = if (left-- > 0) stream.read() else throw IOException("no space left on device")
    }

    @Test
    fun `an app without a bundle says how to put one in`() {
        assertTrue("dsnet android-assets" in refusal { installer(carrying(temporary.root)).install() })
    }

    @Test
    fun `a damaged bundle is refused, and what it lacks is named`() {
        val copy = File(temporary.root, "carried").also { golden.copyRecursively(it) }
        val model = File(copy, "litert/model.tflite")
        val bytes = model.readBytes()
        model.writeBytes(bytes.clone().also { it[100] = (it[100] + 1).toByte() })
        assertTrue("model.tflite: damaged" in refusal { installer(carrying(copy)).install() })
        model.writeBytes(bytes + 0)
        assertTrue("larger than" in refusal { installer(carrying(copy)).install() })
        model.delete()
        assertTrue("model.tflite: not in this app" in refusal { installer(carrying(copy)).install() })
        assertEquals(emptySet<String>(), files())
    }

    @Test
    fun `malformed bundles are refused`() {
        for (folder in SharedFiles.malformed("bundles", "open").filter { File(it, "manifest.json").isFile }) {
            refusal { installer(carrying(folder)).install() }
        }
    }

    @Test
    fun `only artifacts that Android has a runtime for are offered`() {
        val installed = installer(carrying(network)).install()
        assertEquals(setOf(Runtime.EXECUTORCH), installed.artifacts.map { it.runtime }.toSet())
    }
}
