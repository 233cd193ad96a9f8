package io.github.dsnetedge.core

/**
 * What is wrong with a bundle, or with anything else that came from a stranger, in one line.
 *
 * It is all that malformed input ever causes. Storage that fails or fills up is a [java.io.IOException]; an argument
 * that makes no sense is an [IllegalArgumentException], a mistake in the program that calls.
 */
class BundleException(message: String, cause: Throwable? = null) : Exception(message, cause)

/** What an error says, on one line: those of runtimes and of the JDK may have several, or none. */
fun Throwable.oneLine(): String =
    message.orEmpty().split(Regex("\\s+")).joinToString(" ").trim().ifEmpty { javaClass.simpleName }
