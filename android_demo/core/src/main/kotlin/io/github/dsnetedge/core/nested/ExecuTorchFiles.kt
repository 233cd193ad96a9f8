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

    /** Where all that the recipe can make is, or would be. */
    val places: Set<File> get() = recipe.files.map(::place).toSet()

    /** The file of a program: byte for byte what the stock exporter wrote, by its SHA-256. */
    override fun of(program: Program): File {
        val plain = plain(program)
        return cache.file(plain.sha256, plain.bytes.toLong(), SUFFIX) { weights.value.write(plain, it) }
    }

    /** How many bytes have to be written before every one of [programs] has its file. */
    fun missingBytes(programs: List<Program>): Long =
        programs.map(::plain).filterNot { place(it).isFile }.sumOf { it.bytes.toLong() }

    override fun close() {
        if (weights.isInitialized()) weights.value.close()
    }

    private fun plain(program: Program): PlainFile = recipe.file("${program.name}$SUFFIX")

    private fun place(plain: PlainFile): File = cache.place(plain.sha256, SUFFIX)

    private companion object {
        const val SUFFIX = ".pte"
    }
}
