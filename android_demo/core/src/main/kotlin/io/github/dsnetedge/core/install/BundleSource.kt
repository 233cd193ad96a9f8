package io.github.dsnetedge.core.install

import java.io.InputStream

/** Where the app was given its bundle: on Android, the assets of its APK. */
fun interface BundleSource {
    /**
     * A file of the bundle, from its beginning.
     *
     * @throws java.io.FileNotFoundException where there is no such file
     */
    fun open(path: String): InputStream
}
