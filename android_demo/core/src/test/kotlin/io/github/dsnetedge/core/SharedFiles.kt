package io.github.dsnetedge.core

import io.github.dsnetedge.core.json.Json
import io.github.dsnetedge.core.json.JsonNode
import io.github.dsnetedge.core.json.parseJson
import java.io.File
import java.util.Random
import org.junit.Assert.assertThrows

/** The repository's `tests/`: golden and malformed files are the same for every language. */
object SharedFiles {
    private val tests =
        File(requireNotNull(System.getProperty("dsnet.tests")) { "run with -Ddsnet.tests=REPOSITORY/tests" })

    val golden = File(tests, "golden")
    val malformed = File(tests, "malformed")
    val networks = File(tests, "native/files/networks")

    /** The records of a golden file with a list of them. */
    fun cases(name: String): List<JsonNode> = node(File(golden, name)).list()

    fun node(file: File): JsonNode = JsonNode(parseJson(file.readBytes(), file.name), file.name)

    /** The malformed files that must be refused at a step, below `tests/malformed`. */
    fun malformed(kind: String, at: String): List<File> {
        val expected = parseJson(File(malformed, "expected.json").readBytes(), "expected.json") as Json.Object
        return expected.fields.filter { (name, case) ->
            name.startsWith("$kind/") && (case as Json.Object).fields["at"] == Json.Text(at)
        }.map { File(malformed, it.key) }
    }
}

/** The one line that something is refused with. */
fun refusal(action: () -> Unit): String {
    val message = assertThrows(BundleException::class.java, action).message.orEmpty()
    check(message.isNotBlank() && '\n' !in message) { "not one line: $message" }
    return message
}

/** Copies of [text] with a few random changes each: bytes replaced, cut out, repeated, or numbers made absurd. */
fun mutants(text: ByteArray, count: Int, seed: Long): Sequence<ByteArray> {
    val random = Random(seed)
    return generateSequence {
        (0..random.nextInt(3)).fold(text) { changed, _ -> mutated(changed, random) }
    }.take(count)
}

private val ABSURD = listOf(
    "-1", "0", "1e308", "9223372036854775807", "99999999999999999999", "null", "[]", "{}", "\"\"", "true", "0.5", "NaN",
)

private fun mutated(text: ByteArray, random: Random): ByteArray {
    if (text.isEmpty()) return text
    val at = random.nextInt(text.size)
    val end = minOf(text.size, at + 1 + random.nextInt(40))
    return when (random.nextInt(5)) {
        0 -> text.clone().also { it[at] = random.nextInt(256).toByte() }
        1 -> text.copyOfRange(0, at) + text.copyOfRange(end, text.size)
        2 -> text.copyOfRange(0, end) + text.copyOfRange(at, text.size)
        3 -> text.copyOfRange(0, at)
        else -> absurd(String(text, Charsets.ISO_8859_1), random)
    }
}

/** Replaces one number or text, so that the JSON stays JSON and the record does not stay what it was. */
private fun absurd(text: String, random: Random): ByteArray {
    val scalars = Regex("(?<=[:\\[,]\\s{0,20})(-?[0-9][0-9.e+-]*|\"[^\"]*\"|null|true|false)").findAll(text).toList()
    if (scalars.isEmpty()) return text.toByteArray(Charsets.ISO_8859_1)
    val range = scalars[random.nextInt(scalars.size)].range
    return text.replaceRange(range, ABSURD[random.nextInt(ABSURD.size)]).toByteArray(Charsets.ISO_8859_1)
}
