package io.github.dsnetedge.core

import io.github.dsnetedge.core.bundle.readManifest
import io.github.dsnetedge.core.json.Json
import io.github.dsnetedge.core.json.toText
import io.github.dsnetedge.core.nested.readRecipe
import java.io.File

/**
 * For `tests/android/test_readers_agree.py`: reads the `manifest*` and `recipe*` files that it is given and prints, for
 * each, one line of JSON: the file's name, and what it is refused with or null.
 */
fun main(files: Array<String>) {
    for (file in files.map(::File)) {
        val error = try {
            if (file.name.startsWith("manifest")) readManifest(file.readBytes()) else readRecipe(file.readBytes())
            Json.Null
        } catch (refused: BundleException) {
            Json.Text(refused.message.orEmpty())
        }
        println(Json.Object(mapOf("file" to Json.Text(file.name), "error" to error)).toText())
    }
}
