package io.github.dsnetedge.core.bundle

import io.github.dsnetedge.core.refusal
import java.io.File
import java.io.IOException
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

class HashedFilesTest {
    @get:Rule
    val temporary = TemporaryFolder()

    private val content = ByteArray(200_000) { it.toByte() }
    private val hash = sha256(content.inputStream())
    private val folder by lazy { File(temporary.root, "cache") }
    private val files by lazy { HashedFiles(folder) }

    private fun file(write: (java.io.OutputStream) -> Unit) = files.file(hash, content.size.toLong(), ".bin", write)

    @Test
    fun `a file is written once`() {
        var count = 0
        repeat(2) {
            val found = file { out ->
                count++
                out.write(content)
            }
            assertArrayEquals(content, found.readBytes())
        }
        assertEquals(1, count)
        assertEquals(listOf("$hash.bin"), folder.list()?.toList())
    }

    @Test
    fun `what does not have the hash is refused and leaves nothing`() {
        refusal { file { it.write(content, 0, 1000) } }
        assertEquals(emptyList<String>(), folder.list()?.toList())
    }

    @Test
    fun `storage that fills up leaves nothing`() {
        assertThrows(IOException::class.java) {
            file {
                it.write(content, 0, 1000)
                throw IOException("no space left on device")
            }
        }
        assertEquals(emptyList<String>(), folder.list()?.toList())
    }

    @Test
    fun `a file of another size is replaced`() {
        folder.mkdirs()
        File(folder, "$hash.bin").writeBytes(content.copyOf(10))
        assertArrayEquals(content, file { it.write(content) }.readBytes())
    }

    @Test
    fun `what is no longer needed is removed`() {
        val kept = file { it.write(content) }
        File(folder, "$hash.123.part").writeText("half")
        files.retain(setOf(kept))
        assertEquals(listOf(kept.name), folder.list()?.toList())
    }
}
