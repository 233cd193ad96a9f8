package io.github.dsnetedge.core.nested

import io.github.dsnetedge.core.bundle.Artifact
import io.github.dsnetedge.core.bundle.BundleFolder
import io.github.dsnetedge.core.bundle.HashedFiles
import io.github.dsnetedge.core.bundle.Program
import io.github.dsnetedge.core.bundle.WeightsRole
import io.github.dsnetedge.core.bundle.readBounded
import io.github.dsnetedge.core.runtime.ProgramFiles
import java.io.File

/**
 * The plain `.pte` files of an ExecuTorch artifact, one per program: rebuilt when they are first asked for, then kept.
 *
 * @param path of the recipe, which is read at once; of store and template, which are large, only before a file has to
 * be made from them
 */
class ExecuTorchFiles(private val cache: HashedFiles, path: (WeightsRole) -> File) : ProgramFiles {
    /** Those of a bundle; what is read is compared with the manifest first. */
    constructor(bundle: BundleFolder, artifact: Artifact, cache: HashedFiles) :
        this(cache, { bundle.verified(bundle.weights(artifact, it)) })

    private val recipe = path(WeightsRole.RECIPE).let { readRecipe(readBounded(it), it.name) }
    private val weights = lazy { NestedWeights(recipe, path(WeightsRole.STORE), path(WeightsRole.TEMPLATE)) }

    /** The file of a program: byte for byte what the stock exporter wrote, by its SHA-256. */
    override fun of(program: Program): File {
        val plain = recipe.file("${program.name}.pte")
        return cache.file(plain.sha256, plain.bytes.toLong(), ".pte") { weights.value.write(plain, it) }
    }

    override fun close() {
        if (weights.isInitialized()) weights.value.close()
    }
}
