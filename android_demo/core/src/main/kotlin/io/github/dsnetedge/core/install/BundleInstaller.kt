package io.github.dsnetedge.core.install

import io.github.dsnetedge.core.BundleException
import io.github.dsnetedge.core.bundle.BUFFER_BYTES
import io.github.dsnetedge.core.bundle.BundleFile
import io.github.dsnetedge.core.bundle.BundleFolder
import io.github.dsnetedge.core.bundle.MANIFEST_NAME
import io.github.dsnetedge.core.bundle.Manifest
import io.github.dsnetedge.core.bundle.Runtime
import io.github.dsnetedge.core.bundle.readManifest
import io.github.dsnetedge.core.bundle.sha256
import io.github.dsnetedge.core.json.MAX_JSON_BYTES
import java.io.ByteArrayOutputStream
import java.io.File
import java.io.FileNotFoundException
import java.io.FileOutputStream
import java.io.IOException
import java.io.InputStream
import java.io.OutputStream
import java.nio.file.Files
import java.nio.file.StandardCopyOption

/** Bytes copied of all that have to be. */
data class Progress(val done: Long, val of: Long)

/**
 * Brings the bundle that an app carries to the device's storage, where its files can be mapped.
 *
 * A file that is there with the manifest's SHA-256 stays, whoever wrote it: what a killed app had finished, and what an
 * update of the app did not change. Everything else goes first, to make room. Then each missing file is copied beside
 * its place, compared, flushed and renamed; the manifest comes last. Only one installer may work on a folder.
 *
 * @param root a folder that only this app writes to; the bundle becomes `bundle` in it, rebuilt files go to `programs`
 * @param freeBytes of the storage that holds [root]
 */
class BundleInstaller(
    private val source: BundleSource,
    private val root: File,
    private val freeBytes: () -> Long = root::getUsableSpace,
) {
    private val folder = File(root, "bundle")

    /**
     * Installs what is not yet installed and returns the bundle; [progress] is told after every block.
     *
     * @throws BundleException when the app carries no bundle, or one that is damaged
     * @throws LowStorageException before anything is copied, when it would not fit
     * @throws IOException when the storage fails or fills up meanwhile
     */
    fun install(progress: (Progress) -> Unit = {}): InstalledBundle {
        val manifestBytes = carriedManifest()
        val (installed, missing) = files(readManifest(manifestBytes, MANIFEST_NAME)).partition(::isInstalled)
        val manifest = File(folder, MANIFEST_NAME)
        removeAllBut(installed.map { File(folder, it.file) } + manifest)
        makeFolder(root) // storage that is not there has no room
        requireRoom(missing.sumOf { it.bytes }, freeBytes())
        copy(missing, progress)
        if (!manifest.isFile || !manifest.readBytes().contentEquals(manifestBytes)) {
            write(manifest) { it.write(manifestBytes) }
        }
        return InstalledBundle(BundleFolder.open(folder), File(root, "programs"), freeBytes)
            .apply { removeStrangers() }
    }

    private fun carriedManifest(): ByteArray {
        val bytes = ByteArrayOutputStream()
        try {
            source.open(MANIFEST_NAME).use { copy(it, bytes, MANIFEST_NAME, MAX_JSON_BYTES.toLong()) }
        } catch (error: FileNotFoundException) {
            throw BundleException("this app has no bundle in it; run dsnet android-assets and build again", error)
        }
        return bytes.toByteArray()
    }

    private fun files(manifest: Manifest): List<BundleFile> {
        val artifacts = manifest.artifacts.filter { it.runtime != Runtime.COREML }
        if (artifacts.isEmpty()) {
            throw BundleException("the bundle has nothing for Android; run dsnet android-assets and build again")
        }
        return (artifacts + manifest.weights.filter { it.runtime != Runtime.COREML }).distinctBy { it.file }
    }

    private fun isInstalled(item: BundleFile): Boolean {
        val file = File(folder, item.file)
        return file.isFile && file.length() == item.bytes && file.inputStream().use(::sha256) == item.sha256
    }

    private fun copy(items: List<BundleFile>, progress: (Progress) -> Unit) {
        val all = items.sumOf { it.bytes }
        var done = 0L
        for (item in items) {
            write(File(folder, item.file), item) { out ->
                opened(item).use { carried ->
                    copy(carried, out, item.file, item.bytes) { progress(Progress(done + it, all)) }
                }
            }
            done += item.bytes
        }
    }

    private fun opened(item: BundleFile): InputStream = try {
        source.open(item.file)
    } catch (error: FileNotFoundException) {
        throw BundleException("${item.file}: not in this app; run dsnet android-assets and build again", error)
    }

    /** Writes a file whole or not at all, and, given [item], only as the manifest describes it. */
    private fun write(target: File, item: BundleFile? = null, content: (OutputStream) -> Unit) {
        target.parentFile?.let(::makeFolder)
        val part = File(target.path + ".part")
        try {
            FileOutputStream(part).use { out ->
                content(out)
                out.fd.sync()
            }
            if (item != null && part.inputStream().use(::sha256) != item.sha256) {
                throw BundleException("${item.file}: damaged in this app; run dsnet android-assets and build again")
            }
            Files.move(part.toPath(), target.toPath(), StandardCopyOption.ATOMIC_MOVE)
        } finally {
            part.delete()
        }
    }

    private fun makeFolder(path: File) {
        if (!path.isDirectory && !path.mkdirs()) throw IOException("$path cannot be made")
    }

    private fun removeAllBut(kept: List<File>) {
        val ours = kept.toSet()
        folder.walkBottomUp().filter { it.isFile && it !in ours }.forEach { it.delete() }
        // A folder that still holds something refuses to be deleted.
        folder.walkBottomUp().filter { it.isDirectory && it != folder }.forEach { it.delete() }
    }
}

/** Copies a stream in blocks; [BundleException] for more than [limit] bytes, so that nothing fills the storage. */
private fun copy(from: InputStream, to: OutputStream, name: String, limit: Long, copied: (Long) -> Unit = {}) {
    val buffer = ByteArray(BUFFER_BYTES)
    var total = 0L
    while (true) {
        val count = from.read(buffer)
        if (count < 0) return
        total += count
        if (total > limit) throw BundleException("$name: larger than $limit bytes; run dsnet android-assets again")
        to.write(buffer, 0, count)
        copied(total)
    }
}
