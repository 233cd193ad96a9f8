package io.github.dsnetedge.core.litert

import io.github.dsnetedge.core.BundleException
import io.github.dsnetedge.core.bundle.BUFFER_BYTES
import java.io.DataInputStream
import java.io.File
import java.io.InputStream
import java.io.OutputStream
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.channels.FileChannel
import java.nio.channels.FileChannel.MapMode
import java.nio.file.StandardOpenOption.READ
import java.nio.file.StandardOpenOption.WRITE

/**
 * One program of a nested LiteRT file (docs/bundle.md, "Nested LiteRT files"): the file with the program's root offset
 * in its first four bytes. A runtime sees that program alone then, and unpacks no other's weights.
 *
 * It is mapped copy-on-write: the file stays as it is, all programs share its pages, and each one's first page is its
 * own.
 *
 * @param model a file that this app may write to, as Java maps no other copy-on-write
 * @param rootOffset of the program in the manifest; null leaves the file as it is, with every program
 * @throws java.io.IOException for a file that may only be read: copy it
 */
fun liteRtProgram(model: File, rootOffset: Long?): ByteBuffer {
    if (model.length() > Int.MAX_VALUE) throw BundleException("${model.name}: larger than ${Int.MAX_VALUE} bytes")
    val content = FileChannel.open(model.toPath(), READ, WRITE).use { it.map(MapMode.PRIVATE, 0, it.size()) }
    content.order(ByteOrder.nativeOrder())
    if (rootOffset != null) {
        if (rootOffset > content.capacity() - Int.SIZE_BYTES) {
            throw BundleException("root_offset $rootOffset lies outside of ${model.name}")
        }
        patch(content, rootOffset)
    }
    return content
}

/** Copies a nested file as [liteRtProgram] gives it, for runtimes that take paths alone, in blocks of 64 KiB. */
fun copyLiteRtProgram(model: InputStream, rootOffset: Long, out: OutputStream) {
    val first = ByteArray(Int.SIZE_BYTES)
    DataInputStream(model).readFully(first)
    patch(ByteBuffer.wrap(first), rootOffset)
    out.write(first)
    model.copyTo(out, BUFFER_BYTES)
}

private fun patch(content: ByteBuffer, rootOffset: Long) {
    if (rootOffset !in Int.SIZE_BYTES..UInt.MAX_VALUE.toLong()) {
        throw BundleException("root_offset $rootOffset is no unsigned number of 32 bits")
    }
    val order = content.order()
    content.order(ByteOrder.LITTLE_ENDIAN).putInt(0, rootOffset.toInt()).order(order)
}
