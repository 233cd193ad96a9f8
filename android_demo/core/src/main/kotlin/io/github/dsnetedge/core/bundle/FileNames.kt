package io.github.dsnetedge.core.bundle

import io.github.dsnetedge.core.json.shown

private const val MAX_NAME = 255
private val UNPRINTABLE = setOf(
    CharCategory.CONTROL, CharCategory.FORMAT, CharCategory.SURROGATE, CharCategory.PRIVATE_USE,
    CharCategory.UNASSIGNED, CharCategory.LINE_SEPARATOR, CharCategory.PARAGRAPH_SEPARATOR,
)

/** What is wrong with a file name inside a bundle (relative, forward slashes, no ..), or null (docs/bundle.md, 2). */
internal fun fileNameProblem(name: String): String? {
    val parts = name.split('/')
    return when {
        name.isEmpty() || name.codePointCount(0, name.length) > MAX_NAME || name.any { it.isUnprintable() } ->
            "file name ${shown(name)} is not 1 to $MAX_NAME printable characters"
        name.startsWith('/') || '\\' in name || ':' in name ->
            "file name ${shown(name)} must be relative to the bundle, with forward slashes"
        parts.any { it.isEmpty() || it == "." || it == ".." } ->
            "file name ${shown(name)} must stay inside the bundle, without '.' or '..' parts"
        else -> null
    }
}

/** Halves of a pair are not looked at: the JSON reader lets only whole characters through. */
private fun Char.isUnprintable(): Boolean =
    !isSurrogate() && (category in UNPRINTABLE || (category == CharCategory.SPACE_SEPARATOR && this != ' '))
