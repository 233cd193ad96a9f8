package io.github.dsnetedge.core.live

import io.github.dsnetedge.core.BundleException

/** Most pixels of a photo that are decoded at once: 64 MiB at four bytes each, above a phone's usual 12 megapixels. */
const val MAX_DECODED_PIXELS = 1L shl 24

/**
 * By what power of two a decoder has to shrink a photo. Up to [MAX_DECODED_PIXELS] it is 1, and the network reads what
 * Python's would; what a decoder shrinks may differ from that.
 *
 * @param width as the file's header says; decoders give −1 for what is no image
 */
fun decoderShrink(width: Int, height: Int): Int {
    if (width < 1 || height < 1) throw BundleException("this is no photo that Android can read; choose another")
    // A decoder rounds each side up.
    fun pixels(shrink: Int) = ((width + shrink - 1L) / shrink) * ((height + shrink - 1L) / shrink)
    return generateSequence(1) { it * 2 }.first { pixels(it) <= MAX_DECODED_PIXELS }
}
