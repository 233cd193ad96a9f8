package io.github.dsnetedge.core.litert

import io.github.dsnetedge.core.SharedFiles
import io.github.dsnetedge.core.bundle.BundleFolder
import io.github.dsnetedge.core.refusal
import java.io.ByteArrayOutputStream
import java.io.EOFException
import java.io.File
import java.io.IOException
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Before
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

class LiteRtProgramsTest {
    @get:Rule
    val temporary = TemporaryFolder()

    private val bundle = BundleFolder.open(File(SharedFiles.golden, "bundle"))
    private val nested = bundle.verified(bundle.artifact()).readBytes()
    private lateinit var model: File

    @Before
    fun copy() {
        model = temporary.newFile().also { it.writeBytes(nested) }
    }

    /** The file with a number in its first four bytes, little-endian. */
    private fun expected(rootOffset: Long): ByteArray {
        val number = ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putInt(rootOffset.toInt()).array()
        return number + nested.drop(4)
    }

    private fun ByteBuffer.toBytes() = ByteArray(remaining()).also { duplicate().get(it) }

    @Test
    fun `every program is the file with its own root`() {
        for (program in bundle.artifact().programs) {
            val root = checkNotNull(program.rootOffset)
            val found = liteRtProgram(model, root)
            assertArrayEquals(expected(root), found.toBytes())
            assertEquals("runtimes ask for the device's own byte order", ByteOrder.nativeOrder(), found.order())
            val copied = ByteArrayOutputStream().also { copyLiteRtProgram(nested.inputStream(), root, it) }
            assertArrayEquals(expected(root), copied.toByteArray())
        }
        assertArrayEquals("the file itself has changed", nested, model.readBytes())
    }

    @Test
    fun `without an offset the file is as it is`() {
        assertArrayEquals(nested, liteRtProgram(model, null).toBytes())
    }

    @Test
    fun `a file that is not there is not made`() {
        val missing = File(temporary.root, "missing")
        assertThrows(IOException::class.java) { liteRtProgram(missing, 404) }
        assertEquals(false, missing.exists())
    }

    @Test
    fun `an offset outside of the file is refused`() {
        for (root in listOf(-1L, 3L, nested.size - 3L, 1L shl 32)) refusal { liteRtProgram(model, root) }
        refusal { liteRtProgram(temporary.newFile(), 4) }
        refusal { copyLiteRtProgram(nested.inputStream(), 1L shl 32, ByteArrayOutputStream()) }
        val tooShort = ByteArray(3).inputStream()
        assertThrows(EOFException::class.java) { copyLiteRtProgram(tooShort, 4, ByteArrayOutputStream()) }
    }
}
