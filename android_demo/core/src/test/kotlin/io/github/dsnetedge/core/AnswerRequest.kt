package io.github.dsnetedge.core

import io.github.dsnetedge.core.benchmark.answerTo
import io.github.dsnetedge.core.benchmark.openRunner
import io.github.dsnetedge.core.benchmark.writeAnswer
import io.github.dsnetedge.core.bundle.HashedFiles
import java.io.File

/**
 * For `tests/android/test_app_runner.py`: what the app's activity does, in the process of an emulated app.
 *
 * Arguments: the port of the runtime, the app's folder of answers, its cache, the request, the answer's token.
 */
fun main(arguments: Array<String>) {
    val (port, answers, cache, request, token) = arguments
    val engines = listOf(RemoteEngine(port.toInt()))
    writeAnswer(File(answers), token, answerTo(request) { openRunner(it, HashedFiles(File(cache)), engines) })
}
