package io.github.dsnetedge.core.live

import io.github.dsnetedge.core.image.PixelRows

/** Decoded pixels as they are stored; on Android a bitmap's. */
interface PixelBlock {
    val width: Int
    val height: Int

    /** Writes a rectangle, row by row, to the start of [into], a pixel as 0xAARRGGBB. */
    fun read(x: Int, y: Int, width: Int, height: Int, into: IntArray)
}

/** How an image is stored, by the number of EXIF's tag Orientation: where its upright rows are found. */
enum class Orientation(
    val exif: Int,
    /** Upright rows are stored columns. */
    val isTurned: Boolean,
    /** The first upright row is the last one stored. */
    val rowsFromEnd: Boolean,
    /** The first upright column is the last one stored. */
    val columnsFromEnd: Boolean,
) {
    UPRIGHT(1, false, false, false),
    MIRRORED(2, false, false, true),
    UPSIDE_DOWN(3, false, true, true),
    FLIPPED(4, false, true, false),
    TRANSPOSED(5, true, false, false),
    TURN_RIGHT(6, true, false, true),
    TRANSVERSED(7, true, true, true),
    TURN_LEFT(8, true, true, false);

    companion object {
        /** As Pillow does, a number that EXIF does not have leaves the image as it is. */
        fun of(exif: Int): Orientation = entries.firstOrNull { it.exif == exif } ?: UPRIGHT
    }
}

/** An image turned upright as it is read: no second copy of a large photo is made. */
class UprightImage(private val stored: PixelBlock, private val orientation: Orientation) : PixelRows {
    override val width: Int = if (orientation.isTurned) stored.height else stored.width
    override val height: Int = if (orientation.isTurned) stored.width else stored.height

    override fun row(y: Int, into: IntArray) {
        val line = if (orientation.rowsFromEnd) height - 1 - y else y
        if (orientation.isTurned) stored.read(line, 0, 1, width, into) else stored.read(0, line, width, 1, into)
        if (orientation.columnsFromEnd) into.reverse(0, width)
    }
}

/** A small upright picture to show, as 0xAARRGGBB. */
class Thumbnail(val width: Int, val height: Int, val pixels: IntArray)

/** Every n-th pixel, so that neither side is longer than [side]. */
fun thumbnail(image: PixelRows, side: Int): Thumbnail {
    val step = (maxOf(image.width, image.height) + side - 1) / side
    val (width, height) = (image.width + step - 1) / step to (image.height + step - 1) / step
    val pixels = IntArray(width * height)
    val row = IntArray(image.width)
    for (y in 0 until height) {
        image.row(y * step, row)
        for (x in 0 until width) pixels[y * width + x] = row[x * step]
    }
    return Thumbnail(width, height, pixels)
}
