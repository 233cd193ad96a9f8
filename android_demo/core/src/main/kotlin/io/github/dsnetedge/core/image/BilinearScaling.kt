package io.github.dsnetedge.core.image

internal const val CHANNELS = 3

/**
 * An image as 8-bit RGB, size · size · 3 bytes: the pixels of Pillow 13's `Image.resize(…, Resampling.BILINEAR)`.
 *
 * Each axis has a pass of its own that rounds to 8 bits, so their order shows in the last bit. Rows are read as they
 * are needed; no copy of the image is made.
 */
internal fun scaledToSquare(image: PixelRows, size: Int): ByteArray {
    val (across, down) = TriangleFilter(image.width, size) to TriangleFilter(image.height, size)
    return if (isDownFirst(image, size)) downThenAcross(image, size, across, down)
    else acrossThenDown(image, size, across, down)
}

/** Pillow's rule since version 13: the height shrinks by more than twice as many pixels as the width does. */
private fun isDownFirst(image: PixelRows, size: Int): Boolean =
    image.height > size && image.height - size > 2 * (image.width - size)

/** Every row is scaled once, and added to the output rows that it counts for. */
private fun acrossThenDown(image: PixelRows, size: Int, across: TriangleFilter, down: TriangleFilter): ByteArray {
    val source = IntArray(image.width)
    val row = IntArray(size * CHANNELS)
    val sums = IntArray(size * row.size)
    for (y in 0 until image.height) {
        image.row(y, source)
        scale(source, across, row)
        for (output in 0 until size) {
            val index = y - down.start(output)
            if (index !in 0 until down.count(output)) continue
            val weight = down.weights[output * down.stride + index]
            for (x in row.indices) sums[output * row.size + x] += row[x] * weight
        }
    }
    return ByteArray(sums.size) { TriangleFilter.rounded(sums[it]).toByte() }
}

/** An output row at a time. The height shrinks then: no row is read for more than three of them. */
private fun downThenAcross(image: PixelRows, size: Int, across: TriangleFilter, down: TriangleFilter): ByteArray {
    val source = IntArray(image.width)
    val sums = IntArray(image.width * CHANNELS)
    val row = IntArray(size * CHANNELS)
    val scaled = ByteArray(size * row.size)
    for (output in 0 until size) {
        sums.fill(0)
        for (index in 0 until down.count(output)) {
            image.row(down.start(output) + index, source)
            add(source, down.weights[output * down.stride + index], sums)
        }
        for (x in source.indices) source[x] = packed(sums, x * CHANNELS)
        scale(source, across, row)
        for (x in row.indices) scaled[output * row.size + x] = row[x].toByte()
    }
    return scaled
}

private fun add(source: IntArray, weight: Int, sums: IntArray) {
    for (x in source.indices) {
        val pixel = source[x]
        sums[x * CHANNELS] += (pixel shr 16 and 0xFF) * weight
        sums[x * CHANNELS + 1] += (pixel shr 8 and 0xFF) * weight
        sums[x * CHANNELS + 2] += (pixel and 0xFF) * weight
    }
}

private fun packed(sums: IntArray, at: Int): Int {
    val (red, green) = TriangleFilter.rounded(sums[at]) to TriangleFilter.rounded(sums[at + 1])
    return (red shl 16) or (green shl 8) or TriangleFilter.rounded(sums[at + 2])
}

/** Scales a row of packed pixels to one of separate channels. */
private fun scale(source: IntArray, filter: TriangleFilter, scaled: IntArray) {
    for (x in 0 until scaled.size / CHANNELS) {
        val (start, weights) = filter.start(x) to x * filter.stride
        var red = 0
        var green = 0
        var blue = 0
        for (index in 0 until filter.count(x)) {
            val weight = filter.weights[weights + index]
            val pixel = source[start + index]
            red += (pixel shr 16 and 0xFF) * weight
            green += (pixel shr 8 and 0xFF) * weight
            blue += (pixel and 0xFF) * weight
        }
        scaled[x * CHANNELS] = TriangleFilter.rounded(red)
        scaled[x * CHANNELS + 1] = TriangleFilter.rounded(green)
        scaled[x * CHANNELS + 2] = TriangleFilter.rounded(blue)
    }
}
