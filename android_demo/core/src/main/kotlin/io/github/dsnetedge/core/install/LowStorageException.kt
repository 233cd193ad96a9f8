package io.github.dsnetedge.core.install

import java.io.IOException
import java.util.Locale

private const val BYTES_PER_MB = 1e6

/** Less storage is free than is about to be written: said before anything is. */
class LowStorageException(needed: Long, free: Long) :
    IOException("${megabytes(needed)} of storage are needed, ${megabytes(free)} are free")

private fun megabytes(bytes: Long): String = "%.1f MB".format(Locale.ROOT, bytes / BYTES_PER_MB)

/** What Android and other apps should be left with. */
private const val RESERVE_BYTES = 16L shl 20

/** @throws LowStorageException where [needed] bytes would not leave a reserve of 16 MiB */
internal fun requireRoom(needed: Long, free: Long) {
    if (needed > 0 && needed + RESERVE_BYTES > free) throw LowStorageException(needed + RESERVE_BYTES, free)
}
