package io.github.dsnetedge.core.runtime

import io.github.dsnetedge.core.BundleException
import io.github.dsnetedge.core.bundle.DType
import io.github.dsnetedge.core.bundle.Program
import io.github.dsnetedge.core.bundle.TensorInfo
import java.io.Closeable

/** The values of a tensor, row-major; whether they are quantized is the manifest's to say. */
sealed interface Tensor {
    class Floats(val values: FloatArray) : Tensor

    class Bytes(val values: ByteArray) : Tensor
}

/** Loaded programs of one artifact: what both runtimes look like to the rest of the app. */
interface Session : Closeable {
    /** The runtime's name and version. */
    val runtimeVersion: String

    /**
     * Runs a program; inputs and outputs go by the manifest's names. What a runtime throws for a program that it cannot
     * run, an implementation makes a [BundleException].
     */
    fun run(program: Program, inputs: Map<String, Tensor>): Map<String, Tensor>
}

/** A program's inputs, picked by name from what is there: the image and the outputs of the head. */
fun feed(program: Program, tensors: Map<String, Tensor>): Map<String, Tensor> = program.inputs.associate { info ->
    info.name to (tensors[info.name] ?: throw BundleException("${program.name} needs ${info.name}, which nothing gave"))
}

/** An output as real numbers: scale · (q − zero point), rounded to float32 once, where it is quantized. */
fun realValues(program: Program, outputs: Map<String, Tensor>, name: String): FloatArray {
    val info = program.outputs.firstOrNull { it.name == name }
    val found = outputs[name]
    val values = when {
        info == null || found == null -> throw BundleException("${program.name} gave no $name")
        found is Tensor.Floats -> found.values
        else -> dequantized((found as Tensor.Bytes).values, info)
    }
    if (values.size != info.elements) {
        throw BundleException("${program.name} gave ${values.size} numbers as $name instead of ${info.elements}")
    }
    return values
}

/** A tensor of zeros. */
fun zeros(info: TensorInfo): Tensor = when (info.dtype) {
    DType.FLOAT32 -> Tensor.Floats(FloatArray(info.elements))
    DType.INT8 -> Tensor.Bytes(ByteArray(info.elements))
}

private fun dequantized(values: ByteArray, info: TensorInfo): FloatArray {
    val quantization = info.quantization ?: throw BundleException("${info.name} is int8, but the manifest says float32")
    val scale = quantization.scale.toFloat()
    return FloatArray(values.size) { (values[it] - quantization.zeroPoint) * scale }
}
