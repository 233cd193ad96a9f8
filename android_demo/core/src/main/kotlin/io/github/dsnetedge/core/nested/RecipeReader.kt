package io.github.dsnetedge.core.nested

import io.github.dsnetedge.core.BundleException
import io.github.dsnetedge.core.bundle.SHA256
import io.github.dsnetedge.core.bundle.fileNameProblem
import io.github.dsnetedge.core.json.JsonNode
import io.github.dsnetedge.core.json.parseRecord

const val RECIPE_FORMAT = "dsnet-recipe/2"

/** The oldest that is read, too. */
private const val WITHOUT_POSITIONS = "dsnet-recipe/1"

private const val ALIGNMENT = 64
private const val MAX_ENTRIES = 1 shl 16
private const val MAX_NAME = 256
private const val MAX_RATIO = 100L

/** Below this size a high ratio of compression does no harm. */
private const val RATIO_FREE_BYTES = 1 shl 20
private const val MAX_BYTES = (1 shl 30) - 1
private val SIZE = 1..MAX_BYTES
private val OFFSET = 0..MAX_BYTES
private val KEY = Regex("[A-Za-z0-9_]{1,96}")

/**
 * The checked recipe in [data]; [origin] is what errors call it. Nothing it says is believed before its sums fit.
 *
 * @throws BundleException for anything else
 */
fun readRecipe(data: ByteArray, origin: String = "recipe.json"): Recipe {
    val node = parseRecord(data, RECIPE_FORMAT, origin, oldest = WITHOUT_POSITIONS)
    val hasPositions = node["format"].text().substringBefore('.') != WITHOUT_POSITIONS
    val storeBytes = node["store_bytes"].int(SIZE)
    val templateBytes = node["template_bytes"].int(SIZE)
    val tensors = node["tensors"].list(0..MAX_ENTRIES).map { readTensor(it, storeBytes) }
    val slices = node["slices"].list(0..MAX_ENTRIES).map { readSlice(it, tensors, hasPositions) }
    val unfilled = Recipe(storeBytes, templateBytes, tensors, slices, emptyList())
    val files = node["files"].list(0..MAX_ENTRIES).map { readFile(it, unfilled) }
    if (slices.distinctBy { it.key }.size < slices.size) node.refuse("two slices have one key")
    checkPaths(node, files.map { it.path })
    return Recipe(storeBytes, templateBytes, tensors, slices, files)
}

private fun readTensor(node: JsonNode, storeBytes: Int): StoredTensor {
    val name = node["name"].text()
    if (name.codePointCount(0, name.length) > MAX_NAME) node.refuse("its name is longer than $MAX_NAME characters")
    val type = node["dtype"].oneOf(ElementType.entries) { it.key }
    val shape = readShape(node["shape"])
    val offset = node["offset"].int(OFFSET)
    if (offset % ALIGNMENT != 0 || offset + bytes(node, shape, type) > storeBytes) {
        node.refuse("not aligned to $ALIGNMENT bytes inside a store of $storeBytes")
    }
    return StoredTensor(type, shape, offset)
}

private fun readShape(node: JsonNode): Shape {
    val (rows, positions, columns) = node.list(3..3).map { it.int(SIZE) }
    return Shape(rows, positions, columns)
}

/** Refuses what no store could hold, factor by factor: every product of two checked numbers fits into 64 bits. */
private fun bytes(node: JsonNode, shape: Shape, type: ElementType): Long =
    listOf(shape.rows, shape.positions, shape.columns).fold(type.bytes.toLong()) { product, size ->
        (product * size).also { if (it > MAX_BYTES) node.refuse("has more than $MAX_BYTES bytes") }
    }

private fun readSlice(node: JsonNode, tensors: List<StoredTensor>, hasPositions: Boolean): Slice {
    val slice = Slice(
        key = node["key"].matching(KEY),
        tensor = node["tensor"].index(tensors),
        shape = readShape(node["shape"]),
        scale = readScale(node, tensors),
        positions = node.optional("positions")?.list(1..MAX_ENTRIES)?.map { it.int(OFFSET) },
    )
    val tensor = tensors[slice.tensor]
    if (slice.positions != null) {
        if (!hasPositions) node.refuse("positions, which $WITHOUT_POSITIONS has not; they need $RECIPE_FORMAT")
        checkPositions(node, slice.positions, slice.shape.positions, tensor.shape.positions)
    }
    if (slice.shape !in tensor.shape) node.refuse("takes ${slice.shape} of ${tensor.shape}")
    if (node.optional("cast") != null) node.refuse("a cast is for runtimes with float16, which this reader is not for")
    val scale = slice.scale ?: return slice
    val factors = tensors[scale.tensor]
    val count = when (scale.axis) {
        Axis.ROWS -> slice.shape.rows
        Axis.COLUMNS -> slice.shape.columns
    }
    if (factors.type != ElementType.FLOAT32 || tensor.type != ElementType.FLOAT32) {
        node.refuse("a scale and what it is for must both be float32")
    }
    if (factors.shape.copy(columns = 1) != Shape(1, 1, 1) || factors.shape.columns < count) {
        node.refuse("tensor ${scale.tensor} is no vector of $count elements")
    }
    return slice
}

private fun checkPositions(node: JsonNode, positions: List<Int>, taken: Int, there: Int) {
    if (positions.size != taken || positions.toSet().size != taken || positions.max() >= there) {
        node.refuse("its positions are not $taken different ones of $there")
    }
}

private fun readScale(node: JsonNode, tensors: List<StoredTensor>): Scale? {
    val (tensor, axis) = node.optional("scale") to node.optional("axis")
    if ((tensor == null) != (axis == null)) node.refuse("scale and axis go together")
    if (tensor == null || axis == null) return null
    val number = axis.int(0..2)
    val along = Axis.entries.firstOrNull { it.number == number } ?: axis.refuse("must be 0 or 2, found $number")
    return Scale(tensor.index(tensors), along)
}

private fun readFile(node: JsonNode, recipe: Recipe): PlainFile {
    val file = PlainFile(
        path = node["path"].text(),
        bytes = node["bytes"].int(SIZE),
        sha256 = node["sha256"].matching(SHA256),
        offset = node["offset"].int(OFFSET),
        compressedBytes = node["compressed_bytes"].int(SIZE),
        literalBytes = node["literal_bytes"].int(SIZE),
        pieces = node["pieces"].list(0..MAX_ENTRIES).map { readPiece(it, recipe) },
    )
    fileNameProblem(file.path)?.let { node.refuse(it) }
    if (file.literalBytes > RATIO_FREE_BYTES && file.literalBytes > MAX_RATIO * file.compressedBytes) {
        node.refuse("${file.compressedBytes} bytes give ${file.literalBytes}; a ratio above $MAX_RATIO is refused")
    }
    if (file.offset > recipe.templateBytes - file.compressedBytes) {
        node.refuse("lies outside a template of ${recipe.templateBytes} bytes")
    }
    // At most 2^16 pieces of less than 2^30 bytes each: the sums stay far inside 64 bits.
    if (file.pieces.sumOf { it.literalBytes.toLong() } > file.literalBytes) {
        node.refuse("its pieces need more than ${file.literalBytes} literal bytes")
    }
    val total = file.literalBytes + file.pieces.sumOf { recipe.bytes(recipe.slices[it.slice]).toLong() }
    if (total != file.bytes.toLong()) node.refuse("its literals and slices do not add up to ${file.bytes} bytes")
    return file
}

private fun readPiece(node: JsonNode, recipe: Recipe): Piece {
    val (literals, slice) = node.list(2..2)
    return Piece(literals.int(OFFSET), slice.index(recipe.slices))
}

private fun JsonNode.index(items: List<*>): Int {
    if (items.isEmpty()) refuse("there is nothing to refer to")
    return int(items.indices)
}

private fun checkPaths(node: JsonNode, paths: List<String>) {
    val unique = paths.toSet()
    if (unique.size < paths.size) node.refuse("two files have one path")
    for (path in unique) {
        val folders = generateSequence(path.substringBeforeLast('/', "")) { it.substringBeforeLast('/', "") }
        if (folders.takeWhile { it.isNotEmpty() }.any { it in unique }) node.refuse("a file's path is another's folder")
    }
}
