package io.github.dsnetedge.core.benchmark

import io.github.dsnetedge.core.BundleException
import java.util.Base64

/**
 * The answer to a request in base64, in base64: all that an entry point of the app has to pass on.
 *
 * Nothing is thrown: whatever goes wrong, in the request, the files or the runtime, becomes the answer's error.
 *
 * @param open loads a request's programs with its threads
 */
fun answerTo(request: String, open: (BenchmarkRequest) -> BlockRunner): String {
    val answer = try {
        val parsed = readBenchmarkRequest(decoded(request))
        open(parsed).use { measure(it, parsed) }
    } catch (error: Exception) {
        BenchmarkAnswer.Failed(oneLine(error))
    } catch (error: LinkageError) { // a runtime without its native library
        BenchmarkAnswer.Failed(oneLine(error))
    }
    return Base64.getEncoder().encodeToString(answer.toJson().toByteArray())
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

private fun oneLine(error: Throwable): String =
    (error.message ?: error.javaClass.simpleName).split(Regex("\\s+")).joinToString(" ").trim()
