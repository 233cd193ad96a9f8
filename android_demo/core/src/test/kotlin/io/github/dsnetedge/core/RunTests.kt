package io.github.dsnetedge.core

import io.github.dsnetedge.core.json.Json
import io.github.dsnetedge.core.json.toText
import org.junit.runner.Description
import org.junit.runner.JUnitCore
import org.junit.runner.notification.Failure
import org.junit.runner.notification.RunListener

/** Runs the test classes that it is given and prints one line of JSON per test: class, test, and how it failed. */
fun main(classes: Array<String>) {
    val core = JUnitCore()
    core.addListener(Lines())
    core.run(*classes.map { Class.forName(it) }.toTypedArray())
}

private class Lines : RunListener() {
    private val failures = mutableMapOf<Description, String>()

    override fun testFailure(failure: Failure) {
        failures[failure.description] = failure.trace
        // A class that cannot be set up has no tests that could finish.
        if (!failure.description.isTest) print(failure.description)
    }

    override fun testFinished(description: Description) = print(description)

    private fun print(description: Description) {
        val fields = mapOf(
            "class" to Json.Text(description.className),
            "test" to Json.Text(description.methodName ?: "set up"),
            "failure" to (failures[description]?.let(Json::Text) ?: Json.Null),
        )
        println(Json.Object(fields).toText())
    }
}
