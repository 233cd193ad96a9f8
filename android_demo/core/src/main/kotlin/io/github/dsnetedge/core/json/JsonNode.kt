package io.github.dsnetedge.core.json

import io.github.dsnetedge.core.BundleException

/**
 * A value together with its place, so that whatever is wrong with it can be said in one line.
 *
 * Reading is strict: text is no number, and a number with a fraction is no integer.
 */
class JsonNode private constructor(private val value: Json, private val parent: JsonNode?, private val step: Any) {
    constructor(value: Json, origin: String) : this(value, null, origin)

    /** A field that must be there. */
    operator fun get(name: String): JsonNode = field(name) ?: refuse("field '$name' is missing")

    /** A field that may be absent or null. */
    fun optional(name: String): JsonNode? = field(name)?.takeIf { it.value != Json.Null }

    /** A field that must be there, but may be null. */
    fun nullable(name: String): JsonNode? = get(name).takeIf { it.value != Json.Null }

    val isObject: Boolean get() = value is Json.Object

    fun has(name: String): Boolean = field(name) != null

    fun text(): String = (value as? Json.Text ?: refuse("must be text")).value

    fun bool(): Boolean = (value as? Json.Bool ?: refuse("must be true or false")).value

    fun long(range: LongRange): Long {
        val found = (value as? Json.Integer ?: refuse("must be an integer")).value
        if (found !in range) refuse("must be ${range.first} to ${range.last}, found $found")
        return found
    }

    fun int(range: IntRange): Int = long(range.first.toLong()..range.last.toLong()).toInt()

    /** A finite number. */
    fun number(): Double = when (value) {
        is Json.Integer -> value.value.toDouble()
        is Json.Decimal -> value.value
        else -> refuse("must be a number")
    }

    fun number(range: ClosedRange<Double>): Double =
        number().also { if (it !in range) refuse("must be ${range.start} to ${range.endInclusive}, found $it") }

    fun positive(): Double = number().also { if (it <= 0) refuse("must be above 0, found $it") }

    fun list(sizes: IntRange = 0..Int.MAX_VALUE): List<JsonNode> {
        val items = (value as? Json.Array ?: refuse("must be a list")).items
        if (items.size !in sizes) refuse("must hold ${sizes.first} to ${sizes.last} items, found ${items.size}")
        return items.mapIndexed { index, item -> JsonNode(item, this, index) }
    }

    /** The one of [choices] that the text names, by [name]. */
    fun <T> oneOf(choices: Iterable<T>, name: (T) -> String): T {
        val found = text()
        return choices.firstOrNull { name(it) == found }
            ?: refuse("${shown(found)} is unknown; valid: ${choices.joinToString { name(it) }}")
    }

    fun matching(pattern: Regex): String =
        text().also { if (!pattern.matches(it)) refuse("${shown(it)} does not match $pattern") }

    fun refuse(problem: String): Nothing = throw BundleException("$place: $problem")

    private val place: String
        get() = when (step) {
            is Int -> "${parent?.place}[$step]"
            else -> if (parent == null) "$step" else "${parent.place}${if (parent.parent == null) ": " else "."}$step"
        }

    private fun field(name: String): JsonNode? {
        val fields = (value as? Json.Object ?: refuse("must be an object")).fields
        return fields[name]?.let { JsonNode(it, this, name) }
    }
}

/**
 * The record in [data], whose `format` must be [format], such as "dsnet-bundle/1": later minor versions may add fields,
 * which are ignored; a higher major version is refused by name, one below that of [oldest] as unknown.
 *
 * @throws BundleException for anything but strict JSON of this format
 */
fun parseRecord(data: ByteArray, format: String, origin: String, oldest: String = format): JsonNode {
    val record = JsonNode(parseJson(data, origin), origin)
    val found = record["format"].text()
    val (family, major) = format.split('/')
    val version = Regex("${Regex.escape(family)}/([0-9]{1,6})(\\.[0-9]{1,6})?").matchEntire(found)
    val number = version?.groupValues?.get(1)?.toInt() ?: 0
    if (number < oldest.substringAfter('/').toInt()) {
        val valid = setOf(oldest, format).joinToString(" to ") { "'$it'" }
        record.refuse("format is ${shown(found)}; valid: $valid")
    }
    if (number > major.toInt()) record.refuse("$found is newer than this reader ($format); update the app")
    return record
}
