package io.github.dsnetedge.core

import io.github.dsnetedge.core.bundle.DType
import io.github.dsnetedge.core.bundle.Program
import io.github.dsnetedge.core.bundle.Runtime
import io.github.dsnetedge.core.bundle.TensorInfo
import io.github.dsnetedge.core.json.Json
import io.github.dsnetedge.core.json.JsonNode
import io.github.dsnetedge.core.json.parseJson
import io.github.dsnetedge.core.json.toText
import io.github.dsnetedge.core.litert.liteRtProgram
import io.github.dsnetedge.core.runtime.Engine
import io.github.dsnetedge.core.runtime.LoadedProgram
import io.github.dsnetedge.core.runtime.Tensor
import java.io.BufferedReader
import java.io.Closeable
import java.io.File
import java.net.InetAddress
import java.net.Socket
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.Base64

/**
 * A real runtime, which has no package for the JVM, in the process of `tests/android/runtime_server.py`: it is given
 * the bytes that the app gives its runtime. A connection for each program; a line of JSON for each question and answer.
 */
class RemoteEngine(private val port: Int) : Engine {
    private val greeting = Connection(port).use { it.ask("tell") }
    override val runtime = greeting["runtime"].oneOf(Runtime.entries) { it.key }
    override val version = greeting["version"].text()

    override fun load(program: Program, file: File, threads: Int): LoadedProgram {
        val content = when (runtime) {
            Runtime.LITERT -> liteRtProgram(file, program.rootOffset)
            else -> ByteBuffer.wrap(file.readBytes())
        }
        val connection = Connection(port)
        val bytes = ByteArray(content.remaining()).also(content::get)
        connection.ask(
            "load",
            "program" to Json.Text(program.name),
            "threads" to Json.Integer(threads.toLong()),
            "file" to base64(bytes),
        )
        return RemoteProgram(program, connection)
    }
}

private class RemoteProgram(private val program: Program, private val connection: Connection) : LoadedProgram {
    override fun run(inputs: Map<String, Tensor>): Map<String, Tensor> {
        val given = Json.Object(inputs.mapValues { base64(bytes(it.value)) })
        val answer = connection.ask("run", "inputs" to given)["outputs"]
        return program.outputs.associate { it.name to tensor(it, Base64.getDecoder().decode(answer[it.name].text())) }
    }

    override fun close() = connection.close()
}

private class Connection(port: Int) : Closeable {
    private val socket = Socket(InetAddress.getLoopbackAddress(), port).apply { tcpNoDelay = true }
    private val answers: BufferedReader = socket.getInputStream().bufferedReader()

    fun ask(what: String, vararg fields: Pair<String, Json>): JsonNode {
        val question = Json.Object(mapOf("do" to Json.Text(what)) + fields).toText() + "\n"
        socket.getOutputStream().write(question.toByteArray())
        val line = checkNotNull(answers.readLine()) { "the runtime's process is gone" }
        val answer = JsonNode(parseJson(line.toByteArray(), "the runtime"), "the runtime")
        answer.optional("error")?.let { error(it.text()) }
        return answer
    }

    override fun close() = socket.close()
}

private fun base64(bytes: ByteArray) = Json.Text(Base64.getEncoder().encodeToString(bytes))

private fun bytes(tensor: Tensor): ByteArray = when (tensor) {
    is Tensor.Bytes -> tensor.values
    is Tensor.Floats -> ByteBuffer.allocate(tensor.values.size * Float.SIZE_BYTES).order(ByteOrder.LITTLE_ENDIAN)
        .also { it.asFloatBuffer().put(tensor.values) }.array()
}

private fun tensor(info: TensorInfo, bytes: ByteArray): Tensor = when (info.dtype) {
    DType.INT8 -> Tensor.Bytes(bytes)
    DType.FLOAT32 -> Tensor.Floats(floats(bytes))
}

/** Little-endian float32 values. */
internal fun floats(bytes: ByteArray): FloatArray {
    val values = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer()
    return FloatArray(values.remaining()).also(values::get)
}
