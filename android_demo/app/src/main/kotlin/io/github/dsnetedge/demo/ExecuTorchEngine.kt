package io.github.dsnetedge.demo

import io.github.dsnetedge.core.BundleException
import io.github.dsnetedge.core.bundle.DType
import io.github.dsnetedge.core.bundle.Program
import io.github.dsnetedge.core.bundle.Runtime
import io.github.dsnetedge.core.bundle.TensorInfo
import io.github.dsnetedge.core.runtime.Engine
import io.github.dsnetedge.core.runtime.LoadedProgram
import io.github.dsnetedge.core.runtime.Tensor
import java.io.File
import org.pytorch.executorch.EValue
import org.pytorch.executorch.Module
import org.pytorch.executorch.Tensor as ExecuTorchTensor

/** ExecuTorch's module API, a plain file for each program. */
object ExecuTorchEngine : Engine {
    override val runtime = Runtime.EXECUTORCH

    /** The library does not say its version: it is the one in gradle/libs.versions.toml. */
    override val version = "ExecuTorch 1.5.1"

    override fun load(program: Program, file: File, threads: Int): LoadedProgram =
        ExecuTorchProgram(Module.load(file.path, Module.LOAD_MODE_MMAP, threads), program)
}

private class ExecuTorchProgram(private val module: Module, private val program: Program) : LoadedProgram {
    override fun run(inputs: Map<String, Tensor>): Map<String, Tensor> {
        val given = program.inputs.map { EValue.from(tensor(it, inputs.getValue(it.name))) }
        val found = module.execute(program.name, *given.toTypedArray())
        if (found.size != program.outputs.size) {
            throw BundleException("${program.name} gave ${found.size} outputs, not ${program.outputs.size}")
        }
        return program.outputs.zip(found).associate { (info, value) -> info.name to values(info, value) }
    }

    override fun close() = module.destroy()

    private fun tensor(info: TensorInfo, tensor: Tensor): ExecuTorchTensor {
        val shape = info.shape.map { it.toLong() }.toLongArray()
        return when (tensor) {
            is Tensor.Floats -> ExecuTorchTensor.fromBlob(tensor.values, shape)
            is Tensor.Bytes -> ExecuTorchTensor.fromBlob(tensor.values, shape)
        }
    }

    private fun values(info: TensorInfo, value: EValue): Tensor = when (info.dtype) {
        DType.FLOAT32 -> Tensor.Floats(value.toTensor().dataAsFloatArray)
        DType.INT8 -> Tensor.Bytes(value.toTensor().dataAsByteArray)
    }
}
