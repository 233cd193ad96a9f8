package io.github.dsnetedge.core.nested

import io.github.dsnetedge.core.SharedFiles
import io.github.dsnetedge.core.bundle.Artifact
import io.github.dsnetedge.core.bundle.BundleFolder
import io.github.dsnetedge.core.bundle.HashedFiles
import io.github.dsnetedge.core.bundle.WeightsRole
import io.github.dsnetedge.core.bundle.sha256
import io.github.dsnetedge.core.refusal
import java.io.ByteArrayOutputStream
import java.io.File
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

class NestedWeightsTest {
    @get:Rule
    val temporary = TemporaryFolder()

    private val golden = File(SharedFiles.golden, "nested")

    private fun golden(store: File = File(golden, "store.bin"), template: File = File(golden, "template.bin")) =
        NestedWeights(readRecipe(File(golden, "recipe.json").readBytes()), store, template)

    /** Every artifact with nested weights of the native runner's networks. */
    private fun artifacts(): List<Pair<BundleFolder, Artifact>> =
        SharedFiles.networks.listFiles().orEmpty().map(BundleFolder::open).flatMap { bundle ->
            bundle.manifest.artifacts.map { bundle to it }
        }

    /** Slices with positions: version 2. */
    private fun goldenPositions(): NestedWeights {
        val folder = File(SharedFiles.golden, "nested_positions")
        val recipe = readRecipe(File(folder, "recipe.json").readBytes())
        return NestedWeights(recipe, File(folder, "store.bin"), File(folder, "template.bin"))
    }

    @Test
    fun `the golden file is rebuilt to the byte`() {
        val found = ByteArrayOutputStream()
        golden().use { it.write(it.recipe.file("plain.bin"), found) }
        assertArrayEquals(File(golden, "plain.bin").readBytes(), found.toByteArray())
    }

    @Test
    fun `the golden file of slices with positions is rebuilt to the byte`() {
        val found = ByteArrayOutputStream()
        goldenPositions().use { it.write(it.recipe.file("plain.bin"), found) }
        val expected = File(SharedFiles.golden, "nested_positions/plain.bin").readBytes()
        assertArrayEquals(expected, found.toByteArray())
    }

    @Test
    fun `every slice has the hash that is its key`() {
        val (bundle, artifact) = artifacts().first()
        fun path(role: WeightsRole) = bundle.verified(bundle.weights(artifact, role))
        val recipe = readRecipe(path(WeightsRole.RECIPE).readBytes())
        val weights = listOf(golden(), goldenPositions(), NestedWeights(recipe, path(WeightsRole.STORE), path(WeightsRole.TEMPLATE)))
        for (nested in weights) {
            for (slice in nested.recipe.slices) {
                val bytes = ByteArrayOutputStream().also { nested.write(slice, it) }.toByteArray()
                assertEquals(nested.recipe.bytes(slice), bytes.size)
                assertEquals(slice.key.removePrefix("scale_"), sha256(bytes.inputStream()))
            }
        }
    }

    @Test
    fun `every program of every ExecuTorch artifact is what the stock exporter wrote`() {
        val files = HashedFiles(temporary.root)
        for ((bundle, artifact) in artifacts()) {
            val recipe = readRecipe(bundle.verified(bundle.weights(artifact, WeightsRole.RECIPE)).readBytes())
            ExecuTorchFiles(bundle, artifact, files).use { hydrated ->
                for (program in artifact.programs) {
                    val expected = recipe.file("${program.name}.pte").sha256
                    assertEquals(expected, hydrated.of(program).inputStream().use(::sha256))
                }
            }
        }
        assertTrue("only ${temporary.root.list()?.size} files", temporary.root.list().orEmpty().size >= 9)
    }

    @Test
    fun `a file that is there needs no store`() {
        val source = File(SharedFiles.networks, "first")
        val copy = File(temporary.root, "bundle").also { source.copyRecursively(it) }
        val files = HashedFiles(File(temporary.root, "cache"))
        val bundle = BundleFolder.open(copy)
        val artifact = bundle.artifact(precision = "fp32")
        val (prefix, tail) = artifact.programs
        val made = ExecuTorchFiles(bundle, artifact, files).use { it.of(prefix) }
        File(copy, bundle.weights(artifact, WeightsRole.STORE).file).delete()
        ExecuTorchFiles(bundle, artifact, files).use { hydrated ->
            assertEquals(made, hydrated.of(prefix))
            assertTrue("no such file" in refusal { hydrated.of(tail) })
        }
    }

    @Test
    fun `a damaged template is refused`() {
        val bytes = File(golden, "template.bin").readBytes()
        for (at in bytes.indices) {
            val damaged = bytes.clone().also { it[at] = (it[at].toInt() xor 0xFF).toByte() }
            val template = temporary.newFile().also { it.writeBytes(damaged) }
            golden(template = template).use { nested ->
                val plain = nested.recipe.file("plain.bin")
                val files = HashedFiles(temporary.root)
                refusal { files.file(plain.sha256, plain.bytes.toLong(), "") { nested.write(plain, it) } }
            }
        }
    }

    @Test
    fun `a store of another size is refused`() {
        val store = temporary.newFile().also { it.writeBytes(ByteArray(600)) }
        assertTrue("for a store of 664 bytes, not 600" in refusal { golden(store = store) })
    }

    @Test
    fun `a file that the recipe has not is named`() {
        assertTrue("it has plain.bin" in refusal { golden().use { it.recipe.file("other.bin") } })
    }
}
