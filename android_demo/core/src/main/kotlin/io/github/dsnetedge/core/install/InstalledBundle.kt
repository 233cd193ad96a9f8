package io.github.dsnetedge.core.install

import io.github.dsnetedge.core.bundle.Artifact
import io.github.dsnetedge.core.bundle.BundleFolder
import io.github.dsnetedge.core.bundle.HashedFiles
import io.github.dsnetedge.core.bundle.Program
import io.github.dsnetedge.core.bundle.Runtime
import io.github.dsnetedge.core.nested.ExecuTorchFiles
import java.io.File

/** A bundle on the device's storage, and the folder of the plain files that are rebuilt from it. */
class InstalledBundle internal constructor(
    val bundle: BundleFolder,
    folder: File,
    private val freeBytes: () -> Long,
) {
    /** Plain files by their hash, for [ExecuTorchFiles]. */
    val rebuilt = HashedFiles(folder)

    /** The artifacts that Android has a runtime for, in the manifest's order. */
    val artifacts: List<Artifact> = bundle.manifest.artifacts.filter { it.runtime != Runtime.COREML }

    /** @throws LowStorageException where the files that [programs] still lack would not fit */
    fun requireRoomFor(artifact: Artifact, programs: List<Program>) {
        if (artifact.runtime != Runtime.EXECUTORCH) return
        val missing = ExecuTorchFiles(bundle, artifact, rebuilt).use { it.missingBytes(programs) }
        requireRoom(missing, freeBytes())
    }

    /** Removes what was rebuilt for the bundle of an older app, and what a killed app left behind. */
    internal fun removeStrangers() {
        val ours = artifacts.filter { it.runtime == Runtime.EXECUTORCH }.flatMap { artifact ->
            ExecuTorchFiles(bundle, artifact, rebuilt).use { it.places }
        }
        rebuilt.retain(ours.toSet())
    }
}
