package io.github.dsnetedge.demo

import io.github.dsnetedge.core.bundle.DType
import io.github.dsnetedge.core.bundle.Program
import io.github.dsnetedge.core.bundle.Runtime
import io.github.dsnetedge.core.bundle.TensorInfo
import io.github.dsnetedge.core.litert.liteRtProgram
import io.github.dsnetedge.core.runtime.Engine
import io.github.dsnetedge.core.runtime.LoadedProgram
import io.github.dsnetedge.core.runtime.Tensor
import java.io.File
import java.nio.Buffer
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.tensorflow.lite.Interpreter

/** LiteRT's interpreter on the CPU, one for each program of a nested file. */
object LiteRtEngine : Engine {
    override val runtime = Runtime.LITERT

    /** The library tells the version of what is inside: this is the one in gradle/libs.versions.toml. */
    override val version = "LiteRT 2.1.5"

    override fun load(program: Program, file: File, threads: Int): LoadedProgram {
        val model = liteRtProgram(file, program.rootOffset)
        return LiteRtProgram(Interpreter(model, Interpreter.Options().setNumThreads(threads)), program)
    }
}

private class LiteRtProgram(private val interpreter: Interpreter, private val program: Program) : LoadedProgram {
    private val inputs = program.inputs.associate { it.name to TensorMemory(it) }
    private val outputs = program.outputs.associate { it.name to TensorMemory(it) }

    override fun run(inputs: Map<String, Tensor>): Map<String, Tensor> {
        for ((name, memory) in this.inputs) memory.write(inputs.getValue(name))
        interpreter.runSignature(views(this.inputs), views(outputs), program.name)
        return outputs.mapValues { (_, memory) -> memory.read() }
    }

    override fun close() = interpreter.close()

    private fun views(tensors: Map<String, TensorMemory>): Map<String, Any> = tensors.mapValues { it.value.view() }
}

/** Memory that the interpreter reads and writes in place. */
private class TensorMemory(private val info: TensorInfo) {
    private val bytes: ByteBuffer = ByteBuffer.allocateDirect(info.elements * bytesEach(info.dtype))
        .order(ByteOrder.nativeOrder())

    /** From the beginning: a new one for every use, as uses move on. */
    fun view(): Buffer = if (info.dtype == DType.FLOAT32) bytes.asFloatBuffer() else byteView()

    fun write(tensor: Tensor) {
        when (tensor) {
            is Tensor.Floats -> bytes.asFloatBuffer().put(tensor.values)
            is Tensor.Bytes -> byteView().put(tensor.values)
        }
    }

    fun read(): Tensor = when (info.dtype) {
        DType.FLOAT32 -> Tensor.Floats(FloatArray(info.elements).also { bytes.asFloatBuffer().get(it) })
        DType.INT8 -> Tensor.Bytes(ByteArray(info.elements).also { byteView().get(it) })
    }

    /** LiteRT asks for the machine's order, also where order means nothing. */
    private fun byteView(): ByteBuffer = bytes.duplicate().order(ByteOrder.nativeOrder())
}

private fun bytesEach(type: DType): Int = when (type) {
    DType.FLOAT32 -> Float.SIZE_BYTES
    DType.INT8 -> Byte.SIZE_BYTES
}
