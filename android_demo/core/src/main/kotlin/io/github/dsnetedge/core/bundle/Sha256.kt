package io.github.dsnetedge.core.bundle

import java.io.InputStream
import java.security.MessageDigest

internal const val BUFFER_BYTES = 1 shl 16

internal fun sha256Digest(): MessageDigest = MessageDigest.getInstance("SHA-256")

/** Lower-case hexadecimal. */
internal fun MessageDigest.hexadecimal(): String = digest().joinToString("") { "%02x".format(it) }

/** The hexadecimal SHA-256 of what is left of a stream, read in blocks. */
fun sha256(stream: InputStream): String {
    val digest = sha256Digest()
    val buffer = ByteArray(BUFFER_BYTES)
    while (true) {
        val count = stream.read(buffer)
        if (count < 0) return digest.hexadecimal()
        digest.update(buffer, 0, count)
    }
}
