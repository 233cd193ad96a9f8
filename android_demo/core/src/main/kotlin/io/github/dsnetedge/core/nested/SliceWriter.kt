package io.github.dsnetedge.core.nested

import io.github.dsnetedge.core.bundle.BUFFER_BYTES
import java.io.OutputStream
import java.nio.Buffer
import java.nio.ByteBuffer
import java.nio.ByteOrder

/** Cuts slices out of a little-endian store and writes them densely, through one buffer. */
internal class SliceWriter(private val recipe: Recipe, private val store: ByteBuffer, private val out: OutputStream) {
    private val bytes = ByteArray(BUFFER_BYTES)
    private val buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN)

    private var filled = 0

    /** Reads runs at a position of its own. */
    private val source = store.duplicate()

    /** ByteBuffer's own `position` returns another type since Java 9, which Android has only from API 29 on. */
    private val cursor: Buffer = source

    fun write(slice: Slice) {
        val tensor = recipe.tensors[slice.tensor]
        when (slice.scale) {
            null -> copy(slice, tensor)
            else -> multiply(slice, tensor, slice.scale)
        }
        flush()
    }

    /** Dimensions that are taken whole make longer runs. */
    private fun copy(slice: Slice, tensor: StoredTensor) {
        val taken = slice.shape
        val (_, positions, columns) = tensor.shape
        val isWholeRow = taken.columns == columns && slice.positions == null
        val run = tensor.type.bytes * taken.columns
        when {
            isWholeRow && taken.positions == positions -> copyRun(tensor.offset, taken.rows * positions * run)
            isWholeRow -> repeat(taken.rows) { row -> copyRun(start(tensor, row, 0), taken.positions * run) }
            else -> forEachRun(slice) { row, position -> copyRun(start(tensor, row, position), run) }
        }
    }

    /** One float32 product per element, rounded to nearest (docs/bundle.md, "Nested weights", 2). */
    private fun multiply(slice: Slice, tensor: StoredTensor, scale: Scale) {
        val columns = slice.shape.columns
        val factors = recipe.tensors[scale.tensor].offset
        forEachRun(slice) { row, position ->
            val start = start(tensor, row, position)
            when (scale.axis) {
                Axis.ROWS -> {
                    val factor = store.getFloat(factors + row * Float.SIZE_BYTES)
                    for (column in 0 until columns) {
                        put(store.getFloat(start + column * Float.SIZE_BYTES) * factor)
                    }
                }
                Axis.COLUMNS -> for (column in 0 until columns) {
                    val place = column * Float.SIZE_BYTES
                    put(store.getFloat(start + place) * store.getFloat(factors + place))
                }
            }
        }
    }

    /** Calls [run] with each row and each of the tensor's positions that the slice has, in the slice's order. */
    private inline fun forEachRun(slice: Slice, run: (row: Int, position: Int) -> Unit) {
        for (row in 0 until slice.shape.rows) {
            for (position in 0 until slice.shape.positions) run(row, slice.positions?.get(position) ?: position)
        }
    }

    private fun start(tensor: StoredTensor, row: Int, position: Int): Int =
        tensor.offset + (row * tensor.shape.positions + position) * tensor.shape.columns * tensor.type.bytes

    private fun copyRun(start: Int, count: Int) {
        cursor.position(start)
        var left = count
        while (left > 0) {
            if (filled == bytes.size) flush()
            val part = minOf(left, bytes.size - filled)
            source.get(bytes, filled, part)
            filled += part
            left -= part
        }
    }

    private fun put(value: Float) {
        if (bytes.size - filled < Float.SIZE_BYTES) flush()
        buffer.putFloat(filled, value)
        filled += Float.SIZE_BYTES
    }

    private fun flush() {
        out.write(bytes, 0, filled)
        filled = 0
    }
}
