package io.github.dsnetedge.core.image

import io.github.dsnetedge.core.BundleException
import io.github.dsnetedge.core.bundle.Model
import io.github.dsnetedge.core.bundle.Runtime

/** Where the channels of a tensor are. */
enum class Layout { NHWC, NCHW }

/**
 * From an upright image to the tensor that a program reads, to the last bit what `edge/runtime/images.py` computes:
 * scaled to a square as Pillow does, without keeping the aspect ratio, then (pixel / 255 − mean) / std in float32.
 */
class Preprocessing(private val size: Int, mean: List<Double>, std: List<Double>, private val layout: Layout) {
    /** LiteRT reads NHWC, the others NCHW. */
    constructor(model: Model, runtime: Runtime) : this(
        model.inputSize, model.mean, model.std, if (runtime == Runtime.LITERT) Layout.NHWC else Layout.NCHW
    )

    /** What a pixel of 0 to 255 becomes, by channel. */
    private val values = List(CHANNELS) { channel ->
        FloatArray(PIXEL_VALUES) { (it / 255f - mean[channel].toFloat()) / std[channel].toFloat() }
    }

    /**
     * The tensor of an image, float32 [1, size, size, 3] or [1, 3, size, size].
     *
     * @throws BundleException for an image without pixels, or of more than [MAX_PIXELS] or a side above [MAX_SIDE]
     */
    fun tensor(image: PixelRows): FloatArray = normalised(scaled(image))

    /** The image as 8-bit RGB, size · size · 3 bytes. Every row is read once, and none is kept. */
    fun scaled(image: PixelRows): ByteArray {
        check(image)
        val (across, down) = TriangleFilter(image.width, size) to TriangleFilter(image.height, size)
        val source = IntArray(image.width)
        val row = IntArray(size * CHANNELS)
        val sums = IntArray(size * row.size)
        for (y in 0 until image.height) {
            image.row(y, source)
            scaleRow(source, across, row)
            for (output in 0 until size) {
                val index = y - down.start(output)
                if (index in 0 until down.count(output)) {
                    add(row, down.weights[output * down.stride + index], sums, output * row.size)
                }
            }
        }
        return ByteArray(sums.size) { TriangleFilter.rounded(sums[it]).toByte() }
    }

    private fun check(image: PixelRows) {
        val (width, height) = image.width to image.height
        if (width !in 1..MAX_SIDE || height !in 1..MAX_SIDE || width.toLong() * height > MAX_PIXELS) {
            throw BundleException("an image of $width×$height pixels; valid: 1 to $MAX_PIXELS, a side to $MAX_SIDE")
        }
    }

    private fun scaleRow(source: IntArray, filter: TriangleFilter, scaled: IntArray) {
        for (x in 0 until size) {
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

    private fun add(row: IntArray, weight: Int, sums: IntArray, start: Int) {
        for (x in row.indices) sums[start + x] += row[x] * weight
    }

    private fun normalised(pixels: ByteArray): FloatArray {
        val area = size * size
        val tensor = FloatArray(area * CHANNELS)
        for (place in 0 until area) {
            for (channel in 0 until CHANNELS) {
                val at = if (layout == Layout.NHWC) place * CHANNELS + channel else channel * area + place
                tensor[at] = values[channel][pixels[place * CHANNELS + channel].toInt() and 0xFF]
            }
        }
        return tensor
    }

    private companion object {
        const val CHANNELS = 3
        const val PIXEL_VALUES = 256
    }
}
