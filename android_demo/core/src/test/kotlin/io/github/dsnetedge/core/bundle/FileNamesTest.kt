package io.github.dsnetedge.core.bundle

import org.junit.Assert.assertNotNull
import org.junit.Assert.assertNull
import org.junit.Test

class FileNamesTest {
    @Test
    fun `names inside the bundle are fine`() {
        for (name in listOf("a", "a/b.tflite", "a b", "ä/😀", "...", "a/..b", "x".repeat(255), "😀".repeat(255))) {
            assertNull(name, fileNameProblem(name))
        }
    }

    @Test
    fun `all others are refused`() {
        val wrong = listOf(
            "", "/a", "a/", "a//b", ".", "..", "./a", "../a", "a/../b", "a/.", "a\\b", "C:a", "a\nb", "a\u0000",
            "a\u00A0b", "a\u200Eb", "x".repeat(256),
        )
        for (name in wrong) assertNotNull(name, fileNameProblem(name))
    }
}
