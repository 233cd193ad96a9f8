package io.github.dsnetedge.core.image

import io.github.dsnetedge.core.SharedFiles
import io.github.dsnetedge.core.bundle.sha256
import io.github.dsnetedge.core.json.JsonNode
import io.github.dsnetedge.core.refusal
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.Base64
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Test

/** `tests/golden/preprocessing.json`: pixels and tensors that Python made of the same images, equal to the last bit. */
class PreprocessingTest {
    private val cases = SharedFiles.cases("preprocessing.json")

    /** The image that the golden file's builder draws. */
    private class Drawn(override val width: Int, override val height: Int) : PixelRows {
        override fun row(y: Int, into: IntArray) {
            for (x in 0 until width) into[x] = (value(x, y, 0) shl 16) or (value(x, y, 1) shl 8) or value(x, y, 2)
        }

        private fun value(x: Int, y: Int, channel: Int) = (x * 37 + y * 101 + channel * 59 + x * y * 13) % 256
    }

    private fun image(case: JsonNode) = Drawn(case["width"].int(1..10_000), case["height"].int(1..10_000))

    private fun preprocessing(case: JsonNode) = Preprocessing(
        case["size"].int(1..1000),
        case["mean"].list().map { it.number() },
        case["std"].list().map { it.number() },
        case["layout"].oneOf(Layout.entries) { it.name },
    )

    @Test
    fun `images are scaled to the pixels that Pillow gives`() {
        for (case in cases) {
            val expected = Base64.getDecoder().decode(case["pixels"].text())
            assertArrayEquals(case["case"].text(), expected, preprocessing(case).scaled(image(case)))
        }
    }

    @Test
    fun `tensors are equal to the last bit`() {
        for (case in cases) {
            val tensor = preprocessing(case).tensor(image(case))
            val bytes = ByteBuffer.allocate(tensor.size * Float.SIZE_BYTES).order(ByteOrder.LITTLE_ENDIAN)
            bytes.asFloatBuffer().put(tensor)
            assertEquals(case["case"].text(), case["tensor_sha256"].text(), sha256(bytes.array().inputStream()))
        }
    }

    @Test
    fun `images without pixels or beyond the limits are refused before anything is allocated`() {
        val preprocessing = preprocessing(cases.first())
        for ((width, height) in listOf(0 to 1, 1 to 0, 65_536 to 1, 1 to 65_536, 10_001 to 10_000)) {
            refusal { preprocessing.tensor(Drawn(width, height)) }
        }
    }
}
