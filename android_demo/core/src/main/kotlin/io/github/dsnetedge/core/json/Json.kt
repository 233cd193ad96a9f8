package io.github.dsnetedge.core.json

/** A value of JSON text (RFC 8259). Numbers without fraction and exponent are integers, as in the records' schemas. */
sealed interface Json {
    data class Object(val fields: Map<String, Json>) : Json

    data class Array(val items: List<Json>) : Json

    data class Text(val value: String) : Json

    data class Integer(val value: Long) : Json

    data class Decimal(val value: Double) : Json {
        init {
            require(value.isFinite()) { "JSON has no $value" }
        }
    }

    data class Bool(val value: Boolean) : Json

    data object Null : Json
}

/** The value as JSON text on one line. */
fun Json.toText(): String = StringBuilder().also { it.appendJson(this) }.toString()

private fun StringBuilder.appendJson(json: Json) {
    when (json) {
        is Json.Object -> appendList(json.fields.entries, '{', '}') { (name, value) ->
            appendQuoted(name)
            append(':')
            appendJson(value)
        }
        is Json.Array -> appendList(json.items, '[', ']') { appendJson(it) }
        is Json.Text -> appendQuoted(json.value)
        is Json.Integer -> append(json.value)
        is Json.Decimal -> append(json.value)
        is Json.Bool -> append(json.value)
        Json.Null -> append("null")
    }
}

private fun <T> StringBuilder.appendList(items: Iterable<T>, open: Char, close: Char, item: StringBuilder.(T) -> Unit) {
    append(open)
    items.forEachIndexed { index, value ->
        if (index > 0) append(',')
        item(value)
    }
    append(close)
}

private fun StringBuilder.appendQuoted(text: String) {
    append('"')
    for (character in text) {
        when {
            character == '"' || character == '\\' -> append('\\').append(character)
            character < ' ' || character.isSurrogate() -> append("\\u%04x".format(character.code))
            else -> append(character)
        }
    }
    append('"')
}
