package io.github.dsnetedge.core.benchmark

import io.github.dsnetedge.core.json.Json
import io.github.dsnetedge.core.json.toText

const val ANSWER_FORMAT = "dsnet-app-answer/1"

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
