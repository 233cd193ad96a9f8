package io.github.dsnetedge.demo

import android.content.ContentResolver
import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.net.Uri
import androidx.exifinterface.media.ExifInterface
import io.github.dsnetedge.core.BundleException
import io.github.dsnetedge.core.image.PixelRows
import io.github.dsnetedge.core.live.Orientation
import io.github.dsnetedge.core.live.PixelBlock
import io.github.dsnetedge.core.live.UprightImage
import io.github.dsnetedge.core.live.decoderShrink
import io.github.dsnetedge.core.live.thumbnail
import java.io.IOException
import java.io.InputStream

/** Longest side of a picture on the screen, in pixels: what every GPU can draw. */
private const val SHOWN_SIDE = 1024

/**
 * A photo as the network is to see it: upright, and whole as far as memory allows ([decoderShrink]).
 *
 * @throws BundleException for what is no photo
 * @throws IOException when it cannot be read
 */
fun readPhoto(resolver: ContentResolver, uri: Uri): PixelRows {
    val size = BitmapFactory.Options().apply { inJustDecodeBounds = true }
    opened(resolver, uri).use { BitmapFactory.decodeStream(it, null, size) }
    val options = BitmapFactory.Options().apply {
        inSampleSize = decoderShrink(size.outWidth, size.outHeight)
        // Transparency is not looked at, as in Python: colours must not be multiplied by it.
        inPremultiplied = false
    }
    val bitmap = opened(resolver, uri).use { BitmapFactory.decodeStream(it, null, options) }
        ?: throw BundleException("the file is damaged; choose another")
    val exif = opened(resolver, uri).use { ExifInterface(it) }
    val orientation = exif.getAttributeInt(ExifInterface.TAG_ORIENTATION, ExifInterface.ORIENTATION_UNDEFINED)
    return UprightImage(BitmapBlock(bitmap), Orientation.of(orientation))
}

/** A frame that is upright already. */
fun upright(bitmap: Bitmap): PixelRows = UprightImage(BitmapBlock(bitmap), Orientation.UPRIGHT)

/** A picture of an image, small enough to be kept and drawn. */
fun shown(image: PixelRows): Bitmap = thumbnail(image, SHOWN_SIDE).let {
    Bitmap.createBitmap(it.pixels, it.width, it.height, Bitmap.Config.ARGB_8888)
}

private fun opened(resolver: ContentResolver, uri: Uri): InputStream =
    resolver.openInputStream(uri) ?: throw IOException("its app does not give it")

private class BitmapBlock(private val bitmap: Bitmap) : PixelBlock {
    override val width get() = bitmap.width
    override val height get() = bitmap.height

    override fun read(x: Int, y: Int, width: Int, height: Int, into: IntArray) =
        bitmap.getPixels(into, 0, width, x, y, width, height)
}
