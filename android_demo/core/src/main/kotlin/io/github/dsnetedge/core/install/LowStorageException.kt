package io.github.dsnetedge.core.install

import java.io.IOException

private const val BYTES_PER_MB = 1e6

/** Less storage is free than is about to be written: said before anything is. */
class LowStorageException(needed: Long, free: Long) :
    IOException("%.1f MB of storage are needed, %.1f MB are free".format(needed / BYTES_PER_MB, free / BYTES_PER_MB))

/** What Android and other apps should be left with. */
private const val RESERVE_BYTES = 16L shl 20

/** @throws LowStorageException where [needed] bytes would not leave a reserve of 16 MiB */
internal fun requireRoom(needed: Long, free: Long) {
    if (needed > 0 && needed + RESERVE_BYTES > free) throw LowStorageException(needed + RESERVE_BYTES, free)
}
