package io.github.dsnetedge.core.benchmark

import io.github.dsnetedge.core.BundleException
import io.github.dsnetedge.core.bundle.HashedFiles
import io.github.dsnetedge.core.oneLine
import io.github.dsnetedge.core.runtime.Engine
import java.io.File
import java.io.IOException
import java.util.Base64

/**
 * What is asked of the app, from start to end: measures, and leaves the answer where the other side looks for it.
 *
 * @param folder of answers; null where the device has none at the moment
 * @param cache where [openRunner] keeps files
 * @param leftFront asked after the measurement: another app in front had the fast cores meanwhile
 * @return why no answer could be left, in one line, or null: the other side learns that only from the process' end
 */
fun answerAndLeave(
    request: String,
    token: String,
    folder: File?,
    cache: File,
    engines: List<Engine>,
    leftFront: () -> Boolean,
): String? = try {
    val answer = answerTo(request, leftFront) { openRunner(it, HashedFiles(cache), engines) }
    writeAnswer(folder ?: throw IOException("no external storage"), token, answer)
    null
} catch (error: Exception) {
    error.oneLine()
}

/**
 * The answer, in JSON, to a request in base64.
 *
 * Nothing is thrown: whatever goes wrong, in the request, the files or the runtime, becomes the answer's error. That is
 * also a runtime without its native library, or a network too large for the memory.
 *
 * @param leftFront asked after the measurement: whether the app was not in front all the time
 * @param open loads a request's programs: [openRunner] with the app's cache and engines
 */
fun answerTo(request: String, leftFront: () -> Boolean, open: (BenchmarkRequest) -> BlockRunner): String {
    val answer = try {
        val parsed = readBenchmarkRequest(decoded(request))
        val measured = open(parsed).use { measure(it, parsed) }
        if (leftFront()) BenchmarkAnswer.Failed("the app left the front while it measured") else measured
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
