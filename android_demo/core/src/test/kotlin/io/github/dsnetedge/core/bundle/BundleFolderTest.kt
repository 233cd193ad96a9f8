package io.github.dsnetedge.core.bundle

import io.github.dsnetedge.core.SharedFiles
import io.github.dsnetedge.core.policy.WidthPolicy
import io.github.dsnetedge.core.refusal
import java.io.File
import java.nio.file.Files
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

class BundleFolderTest {
    @get:Rule
    val temporary = TemporaryFolder()

    private val golden = File(SharedFiles.golden, "bundle")

    @Test
    fun `the golden bundle is read`() {
        val bundle = BundleFolder.open(golden)
        val artifact = bundle.artifact(Runtime.LITERT, "int8")
        assertEquals(listOf("prefix", "tail_00", "tail_01"), artifact.programs.map { it.name })
        assertEquals(listOf(0, 1), artifact.widths)
        assertEquals(Quantization(0.05, -4), artifact.path(1).last().inputs.single().quantization)
        assertEquals(WidthPolicy.Thresholds(listOf(0, 1), listOf(0.5)), bundle.operatingPoint("balanced").policy)
        assertEquals(5600L, bundle.verified(artifact).length())
    }

    @Test
    fun `every bundle of the native runner's networks is read`() {
        for (folder in SharedFiles.networks.listFiles().orEmpty()) {
            val bundle = BundleFolder.open(folder)
            for (item in bundle.manifest.artifacts + bundle.manifest.weights) bundle.verified(item)
        }
    }

    @Test
    fun `unknown fields and minor versions are accepted`() {
        val text = File(golden, MANIFEST_NAME).readText()
        val later = text.replace("dsnet-bundle/2", "dsnet-bundle/2.3").replaceFirst("{", "{\"novelty\": [1, {}],")
        assertEquals(readManifest(text.toByteArray()), readManifest(later.toByteArray()))
    }

    @Test
    fun `a manifest of the first format is read as what it says in the second`() {
        val first = readManifest(File(SharedFiles.golden, "format_1.json").readBytes())
        assertEquals(readManifest(File(golden, MANIFEST_NAME).readBytes()), first)
    }

    @Test
    fun `in the first format what all images run may lie anywhere`() {
        val text = File(SharedFiles.golden, "format_1.json").readText()
        val start = text.indexOf('{', text.indexOf("\"programs\": ["))
        val next = text.indexOf('{', text.indexOf("\"root_offset\"", start))
        val (prefix, others) = text.substring(start, next).trim().removeSuffix(",") to text.substring(next)
        val end = others.indexOf("\n   ]")
        val moved = text.substring(0, start) + others.substring(0, end) + ",\n" + prefix + others.substring(end)
        assertEquals(readManifest(text.toByteArray()), readManifest(moved.toByteArray()))
    }

    @Test
    fun `more programs than widths and gates can have are refused`() {
        val text = File(golden, MANIFEST_NAME).readText()
        val many = text.replace("\"programs\": [", "\"programs\": [" + "{},".repeat(2047))
        assertTrue("must hold 1 to 2049 items, found 2050" in refusal { readManifest(many.toByteArray()) })
    }

    @Test
    fun `a point from before there were policies is one of thresholds`() {
        val text = File(golden, MANIFEST_NAME).readText()
        val policy = Regex("\"policy\": \\{.*?},\\s*\"objective.*?limits\": \\[.*?],", RegexOption.DOT_MATCHES_ALL)
        val old = policy.replace(text) {
            "\"widths\": [0], \"thresholds\": [], \"statistic\": \"p90\", \"budget_ms\": 3, \"expected_budget_ms\": 2,"
        }.replace(Regex("\"shares\": \\[.*?]", RegexOption.DOT_MATCHES_ALL), "\"shares\": []")
        val point = readManifest(old.toByteArray()).operatingPoints.first()
        assertEquals(WidthPolicy.Thresholds(listOf(0), emptyList()), point.policy)
        assertEquals(listOf(Limit(Statistic.P90_MS, 3.0, 2.0)), point.limits)
    }

    @Test
    fun `malformed bundles are not opened`() {
        val folders = SharedFiles.malformed("bundles", "open").filter { it.isDirectory }
        assertTrue("only ${folders.size}", folders.size > 50)
        for (folder in folders) {
            try {
                refusal { BundleFolder.open(folder) }
            } catch (error: AssertionError) {
                throw AssertionError("${folder.name} was opened", error)
            }
        }
    }

    @Test
    fun `altered artifacts are refused`() {
        for (folder in SharedFiles.malformed("bundles", "artifact")) {
            val bundle = BundleFolder.open(folder)
            refusal { bundle.verified(bundle.artifact()) }
        }
    }

    @Test
    fun `a point of another bundle is refused`() {
        for (folder in SharedFiles.malformed("bundles", "operating point")) {
            val bundle = BundleFolder.open(folder)
            assertTrue("of another bundle" in refusal { bundle.operatingPoint("balanced") })
        }
    }

    @Test
    fun `a choice that is not there names those that are`() {
        val bundle = BundleFolder.open(golden)
        assertTrue("fast, balanced" in refusal { bundle.operatingPoint("slow") })
        assertTrue("litert int8" in refusal { bundle.artifact(Runtime.EXECUTORCH) })
    }

    @Test
    fun `links out of the bundle are not followed`() {
        val copy = File(temporary.root, "bundle").also { golden.copyRecursively(it) }
        val model = File(copy, "litert/model.tflite")
        val outside = File(temporary.root, "model.tflite").also { model.renameTo(it) }
        Files.createSymbolicLink(model.toPath(), outside.toPath())
        val bundle = BundleFolder.open(copy)
        assertTrue("leads outside" in refusal { bundle.verified(bundle.artifact()) })
        val manifest = File(copy, MANIFEST_NAME)
        val moved = File(temporary.root, "manifest.json").also { manifest.renameTo(it) }
        Files.createSymbolicLink(manifest.toPath(), moved.toPath())
        assertTrue("leads outside" in refusal { BundleFolder.open(copy) })
    }

    @Test
    fun `a manifest over the size limit is not read`() {
        val copy = File(temporary.root, "bundle").also { golden.copyRecursively(it) }
        java.io.RandomAccessFile(File(copy, MANIFEST_NAME), "rw").use { it.setLength((16L shl 20) + 1) }
        assertTrue("larger than the limit" in refusal { BundleFolder.open(copy) })
    }
}
