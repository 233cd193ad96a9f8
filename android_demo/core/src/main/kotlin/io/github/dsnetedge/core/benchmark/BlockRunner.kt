package io.github.dsnetedge.core.benchmark

import io.github.dsnetedge.core.bundle.GATE_LOGITS
import io.github.dsnetedge.core.bundle.IMAGE
import io.github.dsnetedge.core.bundle.Program
import io.github.dsnetedge.core.policy.score
import io.github.dsnetedge.core.runtime.Session
import io.github.dsnetedge.core.runtime.Tensor
import io.github.dsnetedge.core.runtime.feed
import io.github.dsnetedge.core.runtime.realValues
import io.github.dsnetedge.core.runtime.zeros
import java.io.Closeable
import java.util.Random

/** The units of one request, loaded and ready to be timed. */
interface BlockRunner : Closeable {
    /** The runtime's name and version. */
    val runtimeVersion: String

    /** Runs the units once, one after the other, from the first one's input to the last one's output. */
    fun runOnce()
}

/**
 * Units on a session with every program of the request, on an image of Gaussian noise. Between head and body the gate's
 * score is compared with the thresholds; what that decides is not used, as the body is given.
 */
class SessionRunner(private val session: Session, private val request: BenchmarkRequest) : BlockRunner {
    override val runtimeVersion: String get() = session.runtimeVersion

    private val tensors: MutableMap<String, Tensor> = request.programs.flatMap { it.inputs }
        .associateTo(mutableMapOf()) { it.name to if (it.name == IMAGE) noise(it.elements) else zeros(it) }

    /** Where the gate's decision went, so that no compiler leaves it out. */
    @Volatile
    private var position = 0

    init {
        val head = request.programs.firstOrNull { it.role.isHead }
        // A body alone reads what a head made, not zeros, which kernels may take a shorter way through.
        if (head != null && head != request.units.first()) run(head)
    }

    override fun runOnce() {
        for (unit in request.units) {
            run(unit)
            if (unit.role.isHead && request.units.size > 1) decide(unit)
        }
    }

    override fun close() = session.close()

    private fun run(program: Program) {
        tensors += session.run(program, feed(program, tensors))
    }

    private fun decide(head: Program) {
        val found = score(realValues(head, tensors, GATE_LOGITS))
        position = request.thresholds.count { !(it >= found) }
    }
}

private fun noise(count: Int): Tensor {
    val random = Random(0)
    return Tensor.Floats(FloatArray(count) { random.nextGaussian().toFloat() })
}
