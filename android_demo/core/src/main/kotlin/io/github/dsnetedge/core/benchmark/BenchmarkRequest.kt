package io.github.dsnetedge.core.benchmark

import io.github.dsnetedge.core.bundle.POSITIVE
import io.github.dsnetedge.core.bundle.Program
import io.github.dsnetedge.core.bundle.Runtime
import io.github.dsnetedge.core.bundle.SHA256
import io.github.dsnetedge.core.bundle.WeightsRole
import io.github.dsnetedge.core.bundle.readProgram
import io.github.dsnetedge.core.bundle.readRuntime
import io.github.dsnetedge.core.json.JsonNode
import io.github.dsnetedge.core.json.parseRecord
import io.github.dsnetedge.core.policy.WidthPolicy
import io.github.dsnetedge.core.policy.readPolicy
import java.io.File

const val REQUEST_FORMAT = "dsnet-app-request/1"

private const val MAX_THREADS = 1024
private const val MAX_UNITS = 2
private const val MAX_RUNS = 1_000_000

/** A file that was pushed to the device, and what it must be. */
data class PushedFile(
    val path: File,
    val bytes: Long,
    /** Lower-case hexadecimal. */
    val sha256: String,
)

/** One block to be measured: docs/profiling.md, "The app's contract". */
data class BenchmarkRequest(
    val runtime: Runtime,
    /** On the device, by role: `model` for LiteRT; `store`, `recipe`, `template` for ExecuTorch. */
    val files: Map<String, PushedFile>,
    /** What to load: the units, and the head where one of them reads its features. */
    val programs: List<Program>,
    val threads: Int,
    /** What decides between head and body; the result is not used, as the body is given. */
    val policy: WidthPolicy,
    /** What runs one after the other: a program, or a head and a body. */
    val units: List<Program>,
    /** Runs before the ones that count, the very first one among them. */
    val warmUpRuns: Int,
    val runs: Int,
)

internal const val MODEL = "model"

private val ROLES = mapOf(
    Runtime.LITERT to listOf(MODEL),
    Runtime.EXECUTORCH to WeightsRole.entries.map { it.key },
)

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
        policy = readPolicy(node["policy"]),
        units,
        warmUpRuns = node["warm_up_runs"].int(1..MAX_RUNS),
        runs = node["runs"].int(1..MAX_RUNS),
    )
}

private fun readFiles(node: JsonNode, runtime: Runtime): Map<String, PushedFile> {
    val roles = ROLES[runtime] ?: node.refuse("runtime ${runtime.key} does not run on Android")
    return roles.associateWith { role ->
        val file = node["files"][role]
        PushedFile(File(file["path"].text()), file["bytes"].long(POSITIVE), file["sha256"].matching(SHA256))
    }
}
