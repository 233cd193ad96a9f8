package io.github.dsnetedge.core.benchmark

import io.github.dsnetedge.core.BundleException
import io.github.dsnetedge.core.oneLine
import java.util.Base64

/**
 * The answer, in JSON, to a request in base64.
 *
 * Nothing is thrown: whatever goes wrong, in the request, the files or the runtime, becomes the answer's error. That is
 * also a runtime without its native library, or a network too large for the memory.
 *
 * @param open loads a request's programs: [openRunner] with the app's cache and engines
 */
fun answerTo(request: String, open: (BenchmarkRequest) -> BlockRunner): String {
    val answer = try {
        val parsed = readBenchmarkRequest(decoded(request))
        open(parsed).use { measure(it, parsed) }
    } catch (error: Throwable) {
        BenchmarkAnswer.Failed(error.oneLine())
    }
    return answer.toJson()
}

/** Runs a block; the very first run is the first of the untimed ones. [nanoTime] must not go back. */
fun measure(runner: BlockRunner, request: BenchmarkRequest, nanoTime: () -> Long = System::nanoTime): BenchmarkAnswer {
    val firstRunMs = timedMs(nanoTime, runner::runOnce)
    repeat(request.warmUpRuns - 1) { runner.runOnce() }
    val samplesMs = List(request.runs) { timedMs(nanoTime, runner::runOnce) }
    return BenchmarkAnswer.Measured(runner.runtimeVersion, firstRunMs, samplesMs, canaryMs(nanoTime))
}

private fun decoded(request: String): ByteArray = try {
    Base64.getDecoder().decode(request)
} catch (error: IllegalArgumentException) {
    throw BundleException("the request is not base64", error)
}
