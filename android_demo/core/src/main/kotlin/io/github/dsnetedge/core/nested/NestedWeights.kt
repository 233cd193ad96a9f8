package io.github.dsnetedge.core.nested

import io.github.dsnetedge.core.BundleException
import java.io.Closeable
import java.io.File
import java.io.OutputStream
import java.io.RandomAccessFile
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.channels.FileChannel

/**
 * A store, its recipe and its templates: rebuilds a runtime's plain files without any code of that runtime.
 *
 * The store is mapped, not read, and files are written as they are made: the heap holds a few buffers of 64 KiB,
 * whatever the size of the network. The files must not change meanwhile.
 *
 * @throws BundleException for a store or template of another size than the recipe's, whose offsets were checked by that
 */
class NestedWeights(val recipe: Recipe, store: File, template: File) : Closeable {
    private val storeBytes: ByteBuffer
    private val templateFile: RandomAccessFile

    init {
        check("store", store, recipe.storeBytes)
        check("template", template, recipe.templateBytes)
        storeBytes = RandomAccessFile(store, "r").use {
            it.channel.map(FileChannel.MapMode.READ_ONLY, 0, recipe.storeBytes.toLong())
        }.order(ByteOrder.LITTLE_ENDIAN)
        templateFile = RandomAccessFile(template, "r")
    }

    /**
     * Writes a plain file. Whoever keeps it MUST compare its SHA-256 with the recipe's, as
     * [io.github.dsnetedge.core.bundle.HashedFiles] does.
     *
     * @throws BundleException where the template is damaged
     */
    fun write(file: PlainFile, out: OutputStream) {
        Literals(templateFile, file).use { literals ->
            val slices = SliceWriter(recipe, storeBytes, out)
            for (piece in file.pieces) {
                literals.copyTo(out, piece.literalBytes)
                slices.write(recipe.slices[piece.slice])
            }
            literals.copyTo(out, file.literalBytes - file.pieces.sumOf { it.literalBytes })
        }
    }

    /** Writes the bytes of one constant. */
    fun write(slice: Slice, out: OutputStream) = SliceWriter(recipe, storeBytes, out).write(slice)

    override fun close() = templateFile.close()

    private fun check(name: String, file: File, expected: Int) {
        val found = file.length()
        if (found == expected.toLong()) return
        throw BundleException("the recipe is for a $name of $expected bytes, not $found; copy the bundle again")
    }
}
