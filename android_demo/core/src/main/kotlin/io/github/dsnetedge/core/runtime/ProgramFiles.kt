package io.github.dsnetedge.core.runtime

import io.github.dsnetedge.core.BundleException
import io.github.dsnetedge.core.bundle.Artifact
import io.github.dsnetedge.core.bundle.BundleFolder
import io.github.dsnetedge.core.bundle.HashedFiles
import io.github.dsnetedge.core.bundle.Program
import io.github.dsnetedge.core.bundle.Runtime
import io.github.dsnetedge.core.nested.ExecuTorchFiles
import java.io.Closeable
import java.io.File

/** The file to load each program from, as the runtime takes it. Programs that are loaded need it no longer. */
interface ProgramFiles : Closeable {
    /**
     * @throws BundleException for a file that is not what the manifest or the recipe says
     * @throws java.io.IOException when the storage fails or is full
     */
    fun of(program: Program): File
}

/** One file with every program: LiteRT's, nested. */
class OneFile(private val file: File) : ProgramFiles {
    override fun of(program: Program): File = file

    override fun close() = Unit
}

/**
 * The files of an artifact, compared with the manifest before they are used.
 *
 * @param cache where plain files are kept that a runtime needs and the bundle does not have
 * @throws BundleException for a runtime that Android does not have, or files that are not what the manifest says
 */
fun openFiles(bundle: BundleFolder, artifact: Artifact, cache: HashedFiles): ProgramFiles = when (artifact.runtime) {
    Runtime.LITERT -> OneFile(bundle.verified(artifact))
    Runtime.EXECUTORCH -> ExecuTorchFiles(bundle, artifact, cache)
    Runtime.COREML -> throw BundleException("$artifact does not run on Android")
}
