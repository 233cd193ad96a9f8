package io.github.dsnetedge.core.benchmark

import io.github.dsnetedge.core.bundle.MAX_GATES
import io.github.dsnetedge.core.bundle.POSITIVE
import io.github.dsnetedge.core.bundle.Program
import io.github.dsnetedge.core.bundle.Role
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

const val REQUEST_FORMAT = "dsnet-app-request/2"

private const val MAX_THREADS = 1024
private const val MAX_UNITS = MAX_GATES + 1
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
    /** What to load, in running order: the units, and what makes the features that the first of them reads. */
    val programs: List<Program>,
    val threads: Int,
    /** What decides between units; the result is not used, as the units are given. */
    val policy: WidthPolicy,
    /** What runs one after the other: a program, or several that follow one another. */
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
    if (!units.zipWithNext().all { (before, unit) -> follows(before.role, unit.role) }) {
        node.refuse("units must follow one another: a stage or tail a prefix or stage, a net a gate")
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

private fun follows(before: Role, role: Role): Boolean =
    if (role.readsFeatures) before.givesFeatures else before == Role.GATE && role == Role.NET

private fun readFiles(node: JsonNode, runtime: Runtime): Map<String, PushedFile> {
    val roles = ROLES[runtime] ?: node.refuse("runtime ${runtime.key} does not run on Android")
    return roles.associateWith { role ->
        val file = node["files"][role]
        PushedFile(File(file["path"].text()), file["bytes"].long(POSITIVE), file["sha256"].matching(SHA256))
    }
}
