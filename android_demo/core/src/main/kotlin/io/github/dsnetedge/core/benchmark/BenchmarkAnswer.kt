package io.github.dsnetedge.core.benchmark

import io.github.dsnetedge.core.BundleException
import io.github.dsnetedge.core.json.Json
import io.github.dsnetedge.core.json.toText
import java.io.File
import java.io.IOException
import java.nio.file.Files
import java.nio.file.StandardCopyOption

const val ANSWER_FORMAT = "dsnet-app-answer/1"

private val TOKEN = Regex("[0-9a-f]{32}")

/** What the app answers to a [BenchmarkRequest]: docs/profiling.md, "The app's contract". */
sealed interface BenchmarkAnswer {
    data class Measured(
        /** The runtime's name and version. */
        val runtimeVersion: String,
        /** The unit's very first run in this process. */
        val firstRunMs: Double,
        /** As many times as runs were asked for. */
        val samplesMs: List<Double>,
        /** [canaryMs], after the runs. */
        val canaryMs: Double,
    ) : BenchmarkAnswer

    /** [error] is one line. */
    data class Failed(val error: String) : BenchmarkAnswer
}

/** The answer as JSON on one line. */
fun BenchmarkAnswer.toJson(): String {
    val fields = when (this) {
        is BenchmarkAnswer.Failed -> mapOf("error" to Json.Text(error))
        is BenchmarkAnswer.Measured -> mapOf(
            "runtime_version" to Json.Text(runtimeVersion),
            "first_run_ms" to Json.Decimal(firstRunMs),
            "samples_ms" to Json.Array(samplesMs.map(Json::Decimal)),
            "canary_ms" to Json.Decimal(canaryMs),
        )
    }
    return Json.Object(mapOf("format" to Json.Text(ANSWER_FORMAT)) + fields).toText()
}

/**
 * Leaves an answer in [folder] under the request's token, 32 lower-case hexadecimal digits: whole or not at all. Earlier
 * answers, which nobody waits for any longer, are removed.
 *
 * @throws BundleException for a token that is none, as it names a file
 * @throws IOException when the storage fails or is full
 */
fun writeAnswer(folder: File, token: String, answer: String) {
    if (!TOKEN.matches(token)) throw BundleException("the token is not 32 lower-case hexadecimal digits")
    if (!folder.isDirectory && !folder.mkdirs()) throw IOException("$folder cannot be made")
    folder.listFiles()?.forEach { it.delete() }
    val part = File(folder, "$token.part")
    part.writeText(answer)
    Files.move(part.toPath(), File(folder, token).toPath(), StandardCopyOption.ATOMIC_MOVE)
}
