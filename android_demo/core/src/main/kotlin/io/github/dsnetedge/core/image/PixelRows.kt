package io.github.dsnetedge.core.image

/**
 * An upright image that is read row by row, so that a large photo need not be in the heap.
 *
 * On Android a bitmap's `getPixels` gives the rows; decoding and turning by the EXIF orientation are the platform's.
 */
interface PixelRows {
    val width: Int
    val height: Int

    /** Writes row [y] to the start of [into], a pixel as 0xAARRGGBB; alpha is not looked at. */
    fun row(y: Int, into: IntArray)
}

/** Most pixels that an image may have, as in Python: more than any phone's camera writes. */
const val MAX_PIXELS = 100_000_000L

/** Longest side of an image: a JPEG's. One row of it is kept while it is scaled. */
const val MAX_SIDE = 65_535
