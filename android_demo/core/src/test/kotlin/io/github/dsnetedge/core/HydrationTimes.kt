package io.github.dsnetedge.core

import io.github.dsnetedge.core.bundle.BundleFolder
import io.github.dsnetedge.core.bundle.HashedFiles
import io.github.dsnetedge.core.bundle.Runtime
import io.github.dsnetedge.core.json.Json
import io.github.dsnetedge.core.json.toText
import io.github.dsnetedge.core.nested.ExecuTorchFiles
import java.io.File
import java.lang.management.ManagementFactory
import java.lang.management.MemoryType

/**
 * For `benchmarks/android_hydration.py`: hydrates the programs named on each line of standard input, from opening the
 * bundle to files on disk, into an empty folder, and prints how long that took and the peak of the heap.
 *
 * Arguments: the bundle, the precision, the folder.
 */
fun main(arguments: Array<String>) {
    val (bundle, precision, folder) = arguments
    for (line in generateSequence(::readLine)) {
        File(folder).deleteRecursively()
        val heap = ManagementFactory.getMemoryPoolMXBeans().filter { it.type == MemoryType.HEAP }
        heap.forEach { it.resetPeakUsage() }
        val start = System.nanoTime()
        hydrate(File(bundle), precision, File(folder), line.split(' '))
        val ms = (System.nanoTime() - start) / 1e6
        val peak = heap.sumOf { it.peakUsage.used }
        println(Json.Object(mapOf("ms" to Json.Decimal(ms), "heap_bytes" to Json.Integer(peak))).toText())
    }
}

private fun hydrate(root: File, precision: String, folder: File, programs: List<String>) {
    val bundle = BundleFolder.open(root)
    val artifact = bundle.artifact(Runtime.EXECUTORCH, precision)
    val wanted = artifact.programs.filter { it.name in programs }
    ExecuTorchFiles(bundle, artifact, HashedFiles(folder)).use { files -> wanted.forEach(files::of) }
}
