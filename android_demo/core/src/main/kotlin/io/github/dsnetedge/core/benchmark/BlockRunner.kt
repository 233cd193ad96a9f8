package io.github.dsnetedge.core.benchmark

import io.github.dsnetedge.core.BundleException
import io.github.dsnetedge.core.bundle.BUFFER_BYTES
import io.github.dsnetedge.core.bundle.GATE_LOGITS
import io.github.dsnetedge.core.bundle.HashedFiles
import io.github.dsnetedge.core.bundle.IMAGE
import io.github.dsnetedge.core.bundle.Program
import io.github.dsnetedge.core.bundle.Runtime
import io.github.dsnetedge.core.bundle.contentProblem
import io.github.dsnetedge.core.nested.ExecuTorchFiles
import io.github.dsnetedge.core.policy.Decision
import io.github.dsnetedge.core.policy.Undecided
import io.github.dsnetedge.core.runtime.Engine
import io.github.dsnetedge.core.runtime.OneFile
import io.github.dsnetedge.core.runtime.ProgramFiles
import io.github.dsnetedge.core.runtime.Session
import io.github.dsnetedge.core.runtime.Tensor
import io.github.dsnetedge.core.runtime.closeAfter
import io.github.dsnetedge.core.runtime.feed
import io.github.dsnetedge.core.runtime.openSession
import io.github.dsnetedge.core.runtime.realValues
import java.io.Closeable
import java.io.File
import java.util.Random

private const val LITERT_SUFFIX = ".tflite"

/** The units of one request, loaded and ready to be timed. */
interface BlockRunner : Closeable {
    /** The runtime's name and version. */
    val runtimeVersion: String

    /** Runs the units once, one after the other, from the first one's input to the last one's output. */
    fun runOnce()
}

/**
 * Loads a request's programs in the one of [engines] that has its runtime.
 *
 * @param cache where the files are kept that the runtime loads: what this request cannot use is removed from it
 * @throws BundleException for a runtime that no engine has, files that are not what they should be, or programs that
 * the runtime cannot run
 * @throws java.io.IOException when the storage fails or is full
 */
fun openRunner(request: BenchmarkRequest, cache: HashedFiles, engines: List<Engine>): BlockRunner {
    val engine = engines.firstOrNull { it.runtime == request.runtime }
        ?: throw BundleException("no ${request.runtime.key} in this app; it has ${engines.joinToString { it.runtime.key }}")
    val session = files(request, cache).use { openSession(request.programs, it, engine, request.threads) }
    try {
        return SessionRunner(session, request)
    } catch (error: Throwable) {
        session.closeAfter(error)
    }
}

private fun files(request: BenchmarkRequest, cache: HashedFiles): ProgramFiles = when (request.runtime) {
    Runtime.LITERT -> OneFile(ownCopy(request.files.getValue(MODEL), cache))
    else -> ExecuTorchFiles(cache) { verified(request.files.getValue(it.key)) }.also { cache.retain(it.places) }
}

/** What was pushed may only be read, and only what may be written to is mapped copy-on-write. Copied once. */
private fun ownCopy(file: PushedFile, cache: HashedFiles): File {
    cache.retain(setOf(cache.place(file.sha256, LITERT_SUFFIX)))
    return cache.file(file.sha256, file.bytes, LITERT_SUFFIX) { out ->
        verified(file).inputStream().use { it.copyTo(out, BUFFER_BYTES) }
    }
}

private fun verified(file: PushedFile): File {
    contentProblem(file.path, file.bytes, file.sha256)?.let {
        throw BundleException("${file.path}: $it; dsnet devices --clean removes it, then profile again")
    }
    return file.path
}

/**
 * Units on a session with every program of the request, on an image of Gaussian noise. Between units the policy decides;
 * what it decides is not used, as the units are given.
 */
class SessionRunner(private val session: Session, private val request: BenchmarkRequest) : BlockRunner {
    override val runtimeVersion: String get() = session.runtimeVersion

    /** What each unit's gate is asked, in the units' order; null: nothing. */
    private val questions = questions(request.policy.start, request.units.size)

    private val noise = request.programs.flatMap { it.inputs }.filter { it.name == IMAGE }
        .associate { it.name to noise(it.elements) }

    /** What the first unit reads. */
    private val given: Map<String, Tensor>

    /** Where the gate's decision went, so that no compiler leaves it out. */
    @Volatile
    private var position = 0

    init {
        // What is timed alone reads what those before it made, not zeros, which kernels may take a shorter way through.
        given = before(request.units.first()).fold(noise) { tensors, program -> noise + run(program, tensors) }
    }

    override fun runOnce() {
        request.units.foldIndexed(given) { place, tensors, unit ->
            val outputs = run(unit, tensors)
            questions[place]?.let { position = it.next(realValues(unit, outputs, GATE_LOGITS)).position }
            noise + outputs
        }
    }

    override fun close() = session.close()

    private fun run(program: Program, tensors: Map<String, Tensor>): Map<String, Tensor> =
        session.run(program, feed(program, tensors))

    /** What makes the features that a program reads: what its first width runs before it. */
    private fun before(program: Program): List<Program> {
        if (!program.role.readsFeatures) return emptyList()
        return request.programs.takeWhile { it != program }.filter { program.widths.first() in it.widths }
    }
}

/** A question for each gate between so many units. */
private fun questions(start: Decision, units: Int): List<Undecided?> {
    val levels = generateSequence(listOf(start)) { level -> level.filterIsInstance<Undecided>().flatMap { it.branches } }
    return levels.take(units - 1).map { level -> level.firstNotNullOfOrNull { it as? Undecided } }.toList() + null
}

private fun noise(count: Int): Tensor {
    val random = Random(0)
    return Tensor.Floats(FloatArray(count) { random.nextGaussian().toFloat() })
}
