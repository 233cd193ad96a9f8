package io.github.dsnetedge.core.install

import io.github.dsnetedge.core.bundle.Artifact
import io.github.dsnetedge.core.bundle.BundleFolder
import io.github.dsnetedge.core.bundle.HashedFiles
import io.github.dsnetedge.core.bundle.Program
import io.github.dsnetedge.core.bundle.Runtime
import io.github.dsnetedge.core.bundle.WeightsRole
import io.github.dsnetedge.core.bundle.readBounded
import io.github.dsnetedge.core.nested.PlainFile
import io.github.dsnetedge.core.nested.readRecipe
import java.io.File

/** A bundle on the device's storage, and the folder of the plain files that are rebuilt from it. */
class InstalledBundle internal constructor(
    val bundle: BundleFolder,
    private val folder: File,
    private val freeBytes: () -> Long,
) {
    /** Plain files by their hash, for [io.github.dsnetedge.core.nested.ExecuTorchFiles]. */
    val rebuilt = HashedFiles(folder)

    /** The artifacts that Android has a runtime for, in the manifest's order. */
    val artifacts: List<Artifact> = bundle.manifest.artifacts.filter { it.runtime != Runtime.COREML }

    /** @throws LowStorageException where the files that [programs] still lack would not fit */
    fun requireRoomFor(artifact: Artifact, programs: List<Program>) {
        if (artifact.runtime != Runtime.EXECUTORCH) return
        val paths = programs.map { "${it.name}.pte" }
        val missing = plainFiles(artifact).filter { it.path in paths && !place(it).isFile }
        requireRoom(missing.sumOf { it.bytes.toLong() }, freeBytes())
    }

    /** Removes what was rebuilt for the bundle of an older app, and what a killed app left behind. */
    internal fun removeStrangers() {
        val ours = artifacts.filter { it.runtime == Runtime.EXECUTORCH }.flatMap(::plainFiles).map(::place)
        rebuilt.retain(ours.toSet())
    }

    private fun place(file: PlainFile) = File(folder, "${file.sha256}.pte")

    private fun plainFiles(artifact: Artifact): List<PlainFile> {
        val recipe = bundle.verified(bundle.weights(artifact, WeightsRole.RECIPE))
        return readRecipe(readBounded(recipe), recipe.name).files
    }
}
