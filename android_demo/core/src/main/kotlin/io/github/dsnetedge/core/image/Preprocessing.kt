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

    /** The image as 8-bit RGB, size · size · 3 bytes. */
    fun scaled(image: PixelRows): ByteArray {
        check(image)
        return scaledToSquare(image, size)
    }

    private fun check(image: PixelRows) {
        val (width, height) = image.width to image.height
        if (width !in 1..MAX_SIDE || height !in 1..MAX_SIDE || width.toLong() * height > MAX_PIXELS) {
            throw BundleException("an image of $width×$height pixels; valid: 1 to $MAX_PIXELS, a side to $MAX_SIDE")
        }
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
        const val PIXEL_VALUES = 256
    }
}
