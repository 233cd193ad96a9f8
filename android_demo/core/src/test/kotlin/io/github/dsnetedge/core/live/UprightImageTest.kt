package io.github.dsnetedge.core.live

import io.github.dsnetedge.core.refusal
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

/** 3 × 2 pixels, numbered row by row. */
private val BLOCK = object : PixelBlock {
    override val width = 3
    override val height = 2

    override fun read(x: Int, y: Int, width: Int, height: Int, into: IntArray) {
        for (row in 0 until height) {
            for (column in 0 until width) into[row * width + column] = (y + row) * this.width + x + column
        }
    }
}

class UprightImageTest {
    /** What Pillow's `ImageOps.exif_transpose` makes of the same pixels. */
    private val pillow = mapOf(
        0 to listOf(listOf(0, 1, 2), listOf(3, 4, 5)),
        1 to listOf(listOf(0, 1, 2), listOf(3, 4, 5)),
        2 to listOf(listOf(2, 1, 0), listOf(5, 4, 3)),
        3 to listOf(listOf(5, 4, 3), listOf(2, 1, 0)),
        4 to listOf(listOf(3, 4, 5), listOf(0, 1, 2)),
        5 to listOf(listOf(0, 3), listOf(1, 4), listOf(2, 5)),
        6 to listOf(listOf(3, 0), listOf(4, 1), listOf(5, 2)),
        7 to listOf(listOf(5, 2), listOf(4, 1), listOf(3, 0)),
        8 to listOf(listOf(2, 5), listOf(1, 4), listOf(0, 3)),
        9 to listOf(listOf(0, 1, 2), listOf(3, 4, 5)),
    )

    private fun rows(orientation: Int): List<List<Int>> {
        val image = UprightImage(BLOCK, Orientation.of(orientation))
        return List(image.height) { y -> IntArray(image.width + 2).also { image.row(y, it) }.take(image.width) }
    }

    @Test
    fun `every orientation of EXIF is turned as Python turns it`() {
        assertEquals(pillow, pillow.keys.associateWith(::rows))
    }

    @Test
    fun `a thumbnail keeps small images as they are`() {
        val found = thumbnail(UprightImage(BLOCK, Orientation.TURN_RIGHT), side = 3)
        assertEquals(listOf(2, 3), listOf(found.width, found.height))
        assertEquals(listOf(3, 0, 4, 1, 5, 2), found.pixels.toList())
    }

    @Test
    fun `a thumbnail of a larger image takes every n-th pixel`() {
        val found = thumbnail(UprightImage(BLOCK, Orientation.UPRIGHT), side = 2)
        assertEquals(listOf(2, 1), listOf(found.width, found.height))
        assertEquals(listOf(0, 2), found.pixels.toList())
    }

    @Test
    fun `photos are shrunk only as far as memory needs`() {
        val sizes = listOf(1 to 1, 4000 to 3000, 4096 to 4096, 4097 to 4096, 8160 to 6120, 16320 to 12240)
        assertEquals(listOf(1, 1, 1, 2, 2, 4), sizes.map { (width, height) -> decoderShrink(width, height) })
    }

    @Test
    fun `what is no image is refused`() {
        assertTrue("choose another" in refusal { decoderShrink(-1, -1) })
    }
}
