package io.github.dsnetedge.core.nested

import io.github.dsnetedge.core.bundle.Artifact
import io.github.dsnetedge.core.bundle.BundleFolder
import io.github.dsnetedge.core.bundle.HashedFiles
import io.github.dsnetedge.core.bundle.WeightsRole
import io.github.dsnetedge.core.bundle.readBounded
import java.io.Closeable
import java.io.File

/**
 * The plain `.pte` files of an ExecuTorch artifact, one per program: rebuilt when they are first asked for, then kept.
 *
 * The recipe is checked at once; store and template, which are large, only before a file has to be made from them.
 */
class ExecuTorchFiles(
    private val bundle: BundleFolder,
    private val artifact: Artifact,
    private val cache: HashedFiles,
) : Closeable {
    private val recipe = path(WeightsRole.RECIPE).let { readRecipe(readBounded(it), it.name) }
    private val weights = lazy { NestedWeights(recipe, path(WeightsRole.STORE), path(WeightsRole.TEMPLATE)) }

    /** The file of a program: byte for byte what the stock exporter wrote, by its SHA-256. */
    fun of(program: String): File {
        val plain = recipe.file("$program.pte")
        return cache.file(plain.sha256, plain.bytes.toLong(), ".pte") { weights.value.write(plain, it) }
    }

    override fun close() {
        if (weights.isInitialized()) weights.value.close()
    }

    private fun path(role: WeightsRole): File = bundle.verified(bundle.weights(artifact, role))
}
