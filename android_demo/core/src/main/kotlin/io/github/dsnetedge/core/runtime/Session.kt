package io.github.dsnetedge.core.runtime

import io.github.dsnetedge.core.BundleException
import io.github.dsnetedge.core.bundle.Program
import io.github.dsnetedge.core.bundle.TensorInfo
import io.github.dsnetedge.core.oneLine
import java.io.Closeable
import java.io.IOException

/** The values of a tensor, row-major; whether they are quantized is the manifest's to say. */
sealed interface Tensor {
    class Floats(val values: FloatArray) : Tensor

    class Bytes(val values: ByteArray) : Tensor
}

/**
 * Loaded programs of one artifact: what both runtimes look like to the rest of the app. Not for several threads.
 *
 * Closing closes every program, whatever some of them do, and throws the first failure after that.
 */
interface Session : Closeable {
    /** The runtime's name and version. */
    val runtimeVersion: String

    /**
     * Runs a program; inputs and outputs go by the manifest's names.
     *
     * @throws BundleException for a program that the runtime cannot run
     */
    fun run(program: Program, inputs: Map<String, Tensor>): Map<String, Tensor>
}

/**
 * Loads programs, all or none of them.
 *
 * @param programs of one artifact, each once
 * @param files not needed any longer when this returns; whoever opened them closes them
 * @param progress is told how many programs are loaded, after each one
 * @throws BundleException for a program that the runtime cannot load, and what [ProgramFiles.of] throws
 */
fun openSession(
    programs: List<Program>,
    files: ProgramFiles,
    engine: Engine,
    threads: Int,
    progress: (done: Int, of: Int) -> Unit = { _, _ -> },
): Session {
    val session = LoadedSession(saying("${engine.runtime.key} does not tell its version") { engine.version })
    try {
        for (program in programs) {
            val file = files.of(program)
            session.loaded[program.name] = saying("${session.runtimeVersion} cannot load ${program.name}") {
                engine.load(program, file, threads)
            }
            progress(session.loaded.size, programs.size)
        }
    } catch (error: Throwable) {
        session.closeAfter(error)
    }
    return session
}

/** Closes what [error] has made useless, and throws that. */
internal fun Closeable.closeAfter(error: Throwable): Nothing {
    runCatching(::close).exceptionOrNull()?.let { error.alsoSays(it) }
    throw error
}

/** Java refuses to add an error to itself, and a JVM out of memory throws the same one everywhere. */
private fun Throwable.alsoSays(other: Throwable) {
    if (other !== this) addSuppressed(other)
}

private class LoadedSession(override val runtimeVersion: String) : Session {
    val loaded = mutableMapOf<String, LoadedProgram>()

    override fun run(program: Program, inputs: Map<String, Tensor>): Map<String, Tensor> {
        val found = requireNotNull(loaded[program.name]) { "${program.name} is not among the loaded ${loaded.keys}" }
        return saying("$runtimeVersion cannot run ${program.name}") { found.run(inputs) }
    }

    override fun close() {
        val failures = loaded.values.mapNotNull { runCatching(it::close).exceptionOrNull() }
        loaded.clear()
        val first = failures.firstOrNull() ?: return
        failures.forEach(first::alsoSays)
        saying("$runtimeVersion cannot close a program") { throw first }
    }
}

/** What a runtime throws is its own: a [BundleException] that begins with [problem] instead. Storage stays storage. */
private fun <T> saying(problem: String, action: () -> T): T = try {
    action()
} catch (error: Exception) {
    if (error is IOException || error is BundleException) throw error
    throw BundleException("$problem: ${error.oneLine()}", error)
}

/** A program's inputs, picked by name from what is there: the image and the outputs of the program before. */
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

private fun dequantized(values: ByteArray, info: TensorInfo): FloatArray {
    val quantization = info.quantization ?: throw BundleException("${info.name} is int8, but the manifest says float32")
    val scale = quantization.scale.toFloat()
    return FloatArray(values.size) { (values[it] - quantization.zeroPoint) * scale }
}
