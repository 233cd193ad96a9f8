package io.github.dsnetedge.core

import io.github.dsnetedge.core.benchmark.answerAndLeave
import java.io.File
import kotlin.system.exitProcess

/**
 * For `tests/android/test_app_runner.py`: what the app's activity does, in the process of an emulated app.
 *
 * Arguments: the port of the runtime, the app's folder of answers, its cache, the request, the answer's token.
 */
fun main(arguments: Array<String>) {
    val (port, answers, cache, request, token) = arguments
    val engines = listOf(RemoteEngine(port.toInt()))
    val problem = answerAndLeave(request, token, File(answers), File(cache), engines, leftFront = { false })
    if (problem != null) {
        System.err.println(problem)
        exitProcess(1)
    }
}
