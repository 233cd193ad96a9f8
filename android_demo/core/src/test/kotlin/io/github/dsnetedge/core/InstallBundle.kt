package io.github.dsnetedge.core

import io.github.dsnetedge.core.install.BundleInstaller
import io.github.dsnetedge.core.install.BundleSource
import io.github.dsnetedge.core.json.Json
import io.github.dsnetedge.core.json.toText
import io.github.dsnetedge.core.live.choices
import java.io.File
import java.io.FileInputStream

/** Installs the bundle in the first folder below the second one, and prints what can be chosen for each artifact. */
fun main(arguments: Array<String>) {
    val (carried, root) = arguments.map(::File)
    val installed = BundleInstaller(BundleSource { FileInputStream(File(carried, it)) }, root).install()
    for (artifact in installed.artifacts) {
        val labels = choices(installed.bundle.manifest, artifact).map { Json.Text(it.label) }
        val fields = mapOf("artifact" to Json.Text("$artifact"), "choices" to Json.Array(labels))
        println(Json.Object(fields).toText())
    }
}
