package io.github.dsnetedge.core.json

import io.github.dsnetedge.core.BundleException
import java.nio.ByteBuffer
import java.nio.charset.CharacterCodingException
import java.nio.charset.CodingErrorAction

/** Largest JSON text that is read, in bytes (docs/bundle.md, "Manifest", 4). */
const val MAX_JSON_BYTES = 16 shl 20

/** Levels of nesting; a scalar in a list is one deeper than the list. The same as Python's reader. */
const val MAX_JSON_DEPTH = 64

/** Values in one text: bounds the heap that hostile text can ask for. Real recipes have some ten thousand. */
const val MAX_JSON_VALUES = 1 shl 20

/**
 * The value of strict JSON: UTF-8, no duplicate keys, finite numbers, whole characters, 64-bit integers.
 *
 * [origin] is what errors call the text.
 *
 * @throws BundleException for anything else
 */
fun parseJson(data: ByteArray, origin: String): Json {
    if (data.size > MAX_JSON_BYTES) throw BundleException("$origin: larger than the limit of $MAX_JSON_BYTES bytes")
    return JsonParser(decoded(data, origin), origin).parse()
}

private fun decoded(data: ByteArray, origin: String): String {
    val decoder = Charsets.UTF_8.newDecoder()
        .onMalformedInput(CodingErrorAction.REPORT)
        .onUnmappableCharacter(CodingErrorAction.REPORT)
    try {
        return decoder.decode(ByteBuffer.wrap(data)).toString()
    } catch (error: CharacterCodingException) {
        throw BundleException("$origin: not UTF-8 text", error)
    }
}

private class JsonParser(private val text: String, private val origin: String) {
    private var at = 0
    private var count = 0

    fun parse(): Json {
        val found = value(depth = 1)
        skipSpace()
        if (at < text.length) fail("more text after the value")
        return found
    }

    private fun value(depth: Int): Json {
        if (depth > MAX_JSON_DEPTH) fail("nested deeper than $MAX_JSON_DEPTH levels")
        if (++count > MAX_JSON_VALUES) fail("more than $MAX_JSON_VALUES values")
        skipSpace()
        return when (peek()) {
            '{' -> objectOf(depth)
            '[' -> arrayOf(depth)
            '"' -> Json.Text(string())
            't' -> word("true", Json.Bool(true))
            'f' -> word("false", Json.Bool(false))
            'n' -> word("null", Json.Null)
            else -> number()
        }
    }

    private fun objectOf(depth: Int): Json {
        val fields = LinkedHashMap<String, Json>()
        items('{', '}') {
            if (peek() != '"') fail("expected a name in quotes")
            val name = string()
            skipSpace()
            expect(':')
            if (fields.put(name, value(depth + 1)) != null) fail("key ${shown(name)} appears twice in one object")
        }
        return Json.Object(fields)
    }

    private fun arrayOf(depth: Int): Json {
        val items = ArrayList<Json>(0)
        items('[', ']') { items.add(value(depth + 1)) }
        return Json.Array(items)
    }

    /** Reads what lies between brackets, [item] by item, with commas in between. */
    private inline fun items(open: Char, close: Char, item: () -> Unit) {
        expect(open)
        skipSpace()
        if (peek() == close) {
            at++
            return
        }
        while (true) {
            skipSpace()
            item()
            skipSpace()
            if (peek() == close) break
            expect(',')
        }
        at++
    }

    private fun string(): String {
        expect('"')
        val found = StringBuilder()
        while (peek() != '"') {
            val character = next()
            when {
                character == '\\' -> found.append(escaped())
                character < ' ' -> fail("a control character in text")
                else -> found.append(character)
            }
        }
        at++
        return found.toString().also(::checkWhole)
    }

    private fun escaped(): Char = when (val character = next()) {
        '"', '\\', '/' -> character
        'b' -> '\b'
        'f' -> '\u000C'
        'n' -> '\n'
        'r' -> '\r'
        't' -> '\t'
        'u' -> (1..HEXADECIMAL_DIGITS).fold(0) { code, _ -> code * 16 + hexadecimal(next()) }.toChar()
        else -> fail("an unknown escape in text")
    }

    private fun hexadecimal(digit: Char): Int = when (digit) {
        in '0'..'9' -> digit - '0'
        in 'a'..'f' -> digit - 'a' + 10
        in 'A'..'F' -> digit - 'A' + 10
        else -> fail("an unknown escape in text")
    }

    private fun checkWhole(found: String) {
        var index = 0
        while (index < found.length) {
            val point = found.codePointAt(index)
            if (point in SURROGATES) fail("text holds a lone surrogate, which is not a character")
            index += Character.charCount(point)
        }
    }

    private fun number(): Json {
        val start = at
        if (peek() == '-') at++
        if (peek() == '0') at++ else digits()
        var isInteger = true
        if (peek() == '.') {
            at++
            digits()
            isInteger = false
        }
        if (peek() == 'e' || peek() == 'E') {
            at++
            if (peek() == '+' || peek() == '-') at++
            digits()
            isInteger = false
        }
        val literal = text.substring(start, at)
        if (isInteger) return Json.Integer(literal.toLongOrNull() ?: fail("number ${shown(literal)} is out of range"))
        val value = literal.toDouble()
        if (!value.isFinite()) fail("number ${shown(literal)} is out of range")
        return Json.Decimal(value)
    }

    private fun digits() {
        if (peek() !in '0'..'9') fail("expected a value")
        while (peek() in '0'..'9') at++
    }

    private fun word(name: String, value: Json): Json {
        if (!text.startsWith(name, at)) fail("expected a value")
        at += name.length
        return value
    }

    private fun skipSpace() {
        while (at < text.length && text[at] in SPACE) at++
    }

    private fun expect(character: Char) {
        if (peek() != character) fail("expected '$character'")
        at++
    }

    private fun next(): Char {
        if (at == text.length) fail("the text ends too early")
        return text[at++]
    }

    /** The next character; NUL, which JSON text cannot hold, at the end. */
    private fun peek(): Char {
        if (at < text.length) return text[at]
        return END
    }

    private fun fail(problem: String): Nothing {
        val before = text.substring(0, minOf(at, text.length))
        val line = before.count { it == '\n' } + 1
        val column = before.length - before.lastIndexOf('\n')
        throw BundleException("$origin: not strict JSON (line $line, column $column): $problem")
    }

    private companion object {
        const val SPACE = " \t\n\r"
        const val END = '\u0000'
        const val HEXADECIMAL_DIGITS = 4
        val SURROGATES = 0xD800..0xDFFF
    }
}

/** Text of a stranger as errors show it: short, and on one line. */
internal fun shown(text: String): String {
    val plain = text.take(SHOWN_CHARACTERS).map { if (it.isISOControl()) ' ' else it }.joinToString("")
    return "'$plain'"
}

private const val SHOWN_CHARACTERS = 60
