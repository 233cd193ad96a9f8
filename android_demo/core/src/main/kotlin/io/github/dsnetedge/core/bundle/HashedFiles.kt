package io.github.dsnetedge.core.bundle

import io.github.dsnetedge.core.BundleException
import java.io.BufferedOutputStream
import java.io.File
import java.io.FileOutputStream
import java.io.IOException
import java.io.OutputStream
import java.nio.file.Files
import java.nio.file.StandardCopyOption
import java.security.DigestOutputStream

/**
 * A folder of files that are named by their content, so that what was made once is never made again.
 *
 * A file is there whole or not at all: it is written beside its place, compared with its hash, flushed and renamed.
 * Only this app may write to the folder: what bears the name and has the size is not read again.
 */
class HashedFiles(private val folder: File) {
    /**
     * The file whose content has the hexadecimal [sha256] and [bytes] bytes; [write] makes it where it is not there.
     *
     * @throws BundleException when what was written is anything else
     * @throws IOException when the storage fails or is full
     */
    fun file(sha256: String, bytes: Long, suffix: String, write: (OutputStream) -> Unit): File {
        val target = place(sha256, suffix)
        if (target.isFile && target.length() == bytes) return target
        if (!folder.isDirectory && !folder.mkdirs()) throw IOException("$folder cannot be made")
        val part = File.createTempFile("$sha256.", PART, folder)
        try {
            if (written(part, write) != sha256) {
                throw BundleException("$sha256: what was written is not what it should be; copy the bundle again")
            }
            Files.move(part.toPath(), target.toPath(), StandardCopyOption.ATOMIC_MOVE)
        } finally {
            part.delete()
        }
        return target
    }

    /** Where a file is, or would be. */
    fun place(sha256: String, suffix: String) = File(folder, sha256 + suffix)

    /** Removes what does not belong to [kept], and what a killed app left behind. */
    fun retain(kept: Set<File>) {
        folder.listFiles()?.filter { it.isFile && it !in kept }?.forEach { it.delete() }
    }

    /** Writes a file to the storage itself and returns its SHA-256. */
    private fun written(part: File, write: (OutputStream) -> Unit): String {
        val digest = sha256Digest()
        FileOutputStream(part).use { file ->
            val out = BufferedOutputStream(DigestOutputStream(file, digest), BUFFER_BYTES)
            write(out)
            out.flush()
            file.fd.sync()
        }
        return digest.hexadecimal()
    }

    private companion object {
        const val PART = ".part"
    }
}
