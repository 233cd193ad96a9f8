package io.github.dsnetedge.core.json

import io.github.dsnetedge.core.refusal
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

class JsonParserTest {
    private fun parse(text: String): Json = parseJson(text.toByteArray(), "text")

    @Test
    fun `every kind of value is read`() {
        val expected = Json.Object(
            mapOf(
                "a" to Json.Array(listOf(Json.Integer(-12), Json.Decimal(0.5), Json.Decimal(2000.0))),
                "b" to Json.Array(listOf(Json.Bool(true), Json.Bool(false), Json.Null)),
                "c" to Json.Object(emptyMap()),
                "d" to Json.Text("ä\"\\/\b\u000C\n\r\tä😀"),
            )
        )
        val text = """"ä\"\\\/\b\f\n\r\t\u00e4\ud83d\ude00""""
        assertEquals(expected, parse(""" {"a": [-12, 0.5, 2e3], "b": [true,false,null], "c": {}, "d": $text} """))
    }

    @Test
    fun `what is written is read again`() {
        val text = """"line\nand \"quotes\" \u0001 ä😀""""
        val value = parse("""{"text": $text, "numbers": [1, -0.25, 1e-7, 1e300], "none": [null, {}]}""")
        assertEquals(value, parse(value.toText()))
    }

    @Test
    fun `what is not strict JSON is refused in one line`() {
        val wrong = listOf(
            "", " ", "{", "[1,]", "[1 2]", "{\"a\" 1}", "{\"a\": 1,}", "{a: 1}", "[01]", "[+1]", "[1.]", "[.5]", "[-]",
            "[1e]", "[NaN]", "[Infinity]", "[-Infinity]", "nul", "tru", "[\"a]", "[\"\\x\"]", "[\"\\u12g4\"]",
            "[\"a\nb\"]", "[\"\\ud800\"]", "[\"\\udc00\\ud800\"]", "[1] 2", "[1]\u0000", "\uFEFF[]", "[1e999]",
            "[9223372036854775808]", "{\"a\": 1, \"a\": 1}",
        )
        for (text in wrong) assertTrue(text, refusal { parse(text) }.startsWith("text: not strict JSON"))
    }

    @Test
    fun `bytes that are not UTF-8 are refused`() {
        for (bytes in listOf(byteArrayOf(0xF6.toByte()), byteArrayOf(0xED.toByte(), 0xA0.toByte(), 0x80.toByte()))) {
            assertEquals("text: not UTF-8 text", refusal { parseJson(bytes, "text") })
        }
    }

    @Test
    fun `64 levels are read and 65 are refused`() {
        fun nested(levels: Int) = "[".repeat(levels) + "]".repeat(levels)
        parse(nested(MAX_JSON_DEPTH))
        refusal { parse(nested(MAX_JSON_DEPTH + 1)) }
        refusal { parse(nested(1_000_000)) }
    }

    @Test
    fun `text that would fill the heap is refused`() {
        refusal { parse("[" + "[],".repeat(MAX_JSON_VALUES) + "[]]") }
        refusal { parseJson(ByteArray(MAX_JSON_BYTES + 1) { ' '.code.toByte() }, "text") }
    }

    @Test
    fun `a higher major version is refused by name and a minor one is read`() {
        parseRecord("""{"format": "x/1.7"}""".toByteArray(), "x/1", "text")
        val newer = refusal { parseRecord("""{"format": "x/2"}""".toByteArray(), "x/1", "text") }
        assertTrue(newer, "x/2 is newer" in newer)
        for (format in listOf("\"y/1\"", "\"x/0\"", "\"x/1.\"", "\"x\"", "1", "null")) {
            refusal { parseRecord("""{"format": $format}""".toByteArray(), "x/1", "text") }
        }
    }

    @Test
    fun `an error names the place`() {
        val node = parseRecord("""{"format": "x/1", "a": [{"b": "1"}]}""".toByteArray(), "x/1", "text")
        assertEquals("text: a[0].b: must be an integer", refusal { node["a"].list().single()["b"].int(0..1) })
    }
}
