package io.github.dsnetedge.core.nested

import io.github.dsnetedge.core.BundleException
import io.github.dsnetedge.core.bundle.BUFFER_BYTES
import java.io.Closeable
import java.io.OutputStream
import java.io.RandomAccessFile
import java.util.zip.DataFormatException
import java.util.zip.Inflater

/** The literal bytes of one plain file, inflated from the template as they are asked for. */
internal class Literals(private val template: RandomAccessFile, private val file: PlainFile) : Closeable {
    private val inflater = Inflater(true)
    private val compressed = ByteArray(BUFFER_BYTES)
    private val plain = ByteArray(BUFFER_BYTES)
    private var position = file.offset

    /** Copies the next [count] bytes. */
    fun copyTo(out: OutputStream, count: Int) {
        var left = count
        while (left > 0) {
            val part = inflate(minOf(left, plain.size))
            out.write(plain, 0, part)
            left -= part
        }
    }

    override fun close() = inflater.end()

    /** Inflates 1 to [most] bytes. */
    private fun inflate(most: Int): Int {
        while (true) {
            val count = try {
                inflater.inflate(plain, 0, most)
            } catch (error: DataFormatException) {
                throw damaged("is damaged", error)
            }
            if (count > 0) return count
            if (!inflater.needsInput() || !refill()) throw damaged("has fewer than ${file.literalBytes} bytes")
        }
    }

    private fun refill(): Boolean {
        val count = minOf(file.offset + file.compressedBytes - position, compressed.size)
        if (count == 0) return false
        template.seek(position.toLong())
        template.readFully(compressed, 0, count)
        position += count
        inflater.setInput(compressed, 0, count)
        return true
    }

    private fun damaged(problem: String, cause: Throwable? = null) =
        BundleException("${file.path}: its template $problem; copy the bundle again", cause)
}
