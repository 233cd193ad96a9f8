package io.github.dsnetedge.core.benchmark

import io.github.dsnetedge.core.bundle.Program
import io.github.dsnetedge.core.bundle.Runtime
import io.github.dsnetedge.core.bundle.readProgram
import io.github.dsnetedge.core.bundle.readRuntime
import io.github.dsnetedge.core.json.JsonNode
import io.github.dsnetedge.core.json.parseRecord

const val REQUEST_FORMAT = "dsnet-app-request/1"

private const val MAX_THREADS = 1024
private const val MAX_UNITS = 2
private const val MAX_RUNS = 1_000_000

/** One block to be measured: docs/profiling.md, "The app's contract". */
data class BenchmarkRequest(
    val runtime: Runtime,
    /** Paths on the device by role: `model` for LiteRT; `pte`, `store`, `recipe`, perhaps `template` otherwise. */
    val files: Map<String, String>,
    val programs: List<Program>,
    val threads: Int,
    /** What the gate's score is compared with between head and body. */
    val thresholds: List<Double>,
    /** What runs one after the other: a program, or a head and a body. */
    val units: List<Program>,
    /** Untimed runs before the timed ones. */
    val warmUpRuns: Int,
    val runs: Int,
)

private val ROLES = mapOf(
    Runtime.LITERT to listOf("model"),
    Runtime.EXECUTORCH to listOf("pte", "store", "recipe"),
)

/** What plain files are rebuilt with, where the runtime takes no other. */
private const val TEMPLATE = "template"

/** The checked request in [data]; a [io.github.dsnetedge.core.BundleException] for anything else. */
fun readBenchmarkRequest(data: ByteArray): BenchmarkRequest {
    val node = parseRecord(data, REQUEST_FORMAT, "the request")
    val runtime = readRuntime(node)
    val programs = node["programs"].list(1..Int.MAX_VALUE).map(::readProgram)
    val units = node["units"].list(1..MAX_UNITS).map { unit -> unit.oneOf(programs) { it.name } }
    if (units.size > 1 && (!units.first().role.isHead || units.last().role.isHead)) {
        node.refuse("units must be one program, or a head and a body")
    }
    return BenchmarkRequest(
        runtime,
        files = readFiles(node, runtime),
        programs,
        threads = node["threads"].int(1..MAX_THREADS),
        thresholds = node["thresholds"].list().map { it.number() },
        units,
        warmUpRuns = node["warm_up_runs"].int(0..MAX_RUNS),
        runs = node["runs"].int(1..MAX_RUNS),
    )
}

private fun readFiles(node: JsonNode, runtime: Runtime): Map<String, String> {
    val roles = ROLES[runtime] ?: node.refuse("runtime ${runtime.key} does not run on Android")
    val files = node["files"]
    val template = files.optional(TEMPLATE)?.let { mapOf(TEMPLATE to it.text()) }.orEmpty()
    return roles.associateWith { files[it].text() } + template
}
