package io.github.dsnetedge.core.nested

import io.github.dsnetedge.core.BundleException

/**
 * `dsnet-recipe/1` and `/2`: how to cut every constant of every width from a store, and how to rebuild a runtime's plain files
 * (docs/bundle.md, "Nested weights outside of a runtime's file"). [readRecipe] checks that it holds together.
 */
class Recipe internal constructor(
    val storeBytes: Int,
    val templateBytes: Int,
    val tensors: List<StoredTensor>,
    val slices: List<Slice>,
    val files: List<PlainFile>,
) {
    /** How many bytes a slice has. */
    fun bytes(slice: Slice): Int = slice.shape.elements * tensors[slice.tensor].type.bytes

    /** The plain file with a path; a [BundleException] where there is none. */
    fun file(path: String): PlainFile = files.firstOrNull { it.path == path }
        ?: throw BundleException("no file $path in this recipe; it has ${files.joinToString { it.path }}")
}

/** What tensors are made of; float16 is for runtimes that Android does not have. */
enum class ElementType(val key: String, val bytes: Int) { FLOAT32("float32", 4), INT32("int32", 4), INT8("int8", 1) }

/** Rows, kernel positions and columns, row-major. A vector is (1, 1, n). */
data class Shape(val rows: Int, val positions: Int, val columns: Int) {
    /** For shapes of a checked recipe, whose tensors fit into 2^30 bytes. */
    val elements: Int get() = rows * positions * columns

    operator fun contains(other: Shape): Boolean =
        other.rows <= rows && other.positions <= positions && other.columns <= columns
}

/** A dense little-endian array in the store, at the widest range that any program uses. */
data class StoredTensor(val type: ElementType, val shape: Shape, val offset: Int)

/** Which index of a slice picks the element of its scale. */
enum class Axis(val number: Int) { ROWS(0), COLUMNS(2) }

/** The float32 vector, by its tensor, that multiplies a slice along an axis. */
data class Scale(val tensor: Int, val axis: Axis)

/** One constant of a program: the first rows, positions and columns of a tensor, times a scale where it says so. */
data class Slice(
    val key: String,
    val tensor: Int,
    val shape: Shape,
    val scale: Scale?,
    /** Which position of the tensor each of the slice's is; null where they are the first ones in their order. */
    val positions: List<Int>?,
)

/** So many literal bytes, then a slice. */
data class Piece(val literalBytes: Int, val slice: Int)

/** A runtime's plain file: literal bytes from the template with slices in between; the remaining literals come last. */
data class PlainFile(
    val path: String,
    val bytes: Int,
    val sha256: String,
    /** Where its literals start in the template, as one stream of raw DEFLATE (RFC 1951). */
    val offset: Int,
    val compressedBytes: Int,
    val literalBytes: Int,
    val pieces: List<Piece>,
)
