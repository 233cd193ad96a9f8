package io.github.dsnetedge.core.runtime

import io.github.dsnetedge.core.BundleException
import io.github.dsnetedge.core.bundle.Artifact
import io.github.dsnetedge.core.bundle.GATE_LOGITS
import io.github.dsnetedge.core.bundle.IMAGE
import io.github.dsnetedge.core.bundle.LOGITS
import io.github.dsnetedge.core.bundle.OperatingPoint
import io.github.dsnetedge.core.bundle.Program
import io.github.dsnetedge.core.bundle.Role
import io.github.dsnetedge.core.policy.AdaptivePolicy
import io.github.dsnetedge.core.policy.Undecided
import io.github.dsnetedge.core.policy.WidthPolicy
import io.github.dsnetedge.core.policy.confidence
import io.github.dsnetedge.core.policy.score

private const val NS_PER_MS = 1e6
private const val NS_PER_S = 1e9

/** Says which policy answers the next image, and is told what each image took. */
sealed interface PolicySource {
    val policy: WidthPolicy

    /** One policy for every image. */
    class Always(override val policy: WidthPolicy) : PolicySource

    /** A cheaper operating point while the device is slow (docs/adaptive.md). */
    class Adaptive(val adaptive: AdaptivePolicy) : PolicySource {
        override val policy: WidthPolicy get() = point.policy
        val point: OperatingPoint get() = adaptive.point
    }
}

/** What the network said about one image, and what it took. */
data class Answer(
    val classIndex: Int,
    /** Softmax of the class's logit. */
    val probability: Double,
    /** The widths that ran, in their order; the last one answered. */
    val ran: List<Int>,
    /** The first gate's score, from 0 (easy) up; null when no gate ran. */
    val score: Double?,
    /** From the first program's input to the last one's output, decisions included. */
    val ms: Double,
) {
    val width: Int get() = ran.last()
}

/**
 * One image in, one answer out: docs/policies.md, "From an image to an answer". Not for several threads at once.
 *
 * @param session with every program that the policies can ask for
 */
class DynamicClassifier(
    private val session: Session,
    private val artifact: Artifact,
    private val source: PolicySource,
    private val nanoTime: () -> Long = System::nanoTime,
) {
    /** By width, and whether its gate is asked. */
    private val paths = mutableMapOf<Pair<Int, Boolean>, List<Program>>()

    /** Classifies one preprocessed image, in the runtime's layout. */
    fun answer(image: FloatArray): Answer {
        val policy = source.policy
        val start = nanoTime()
        val passage = Passage(session, image)
        var decision = policy.start
        val head = path(policy, decision.position).first().takeUnless { it.role.answers }
        val gateLogits = head?.let { realValues(it, passage.run(listOf(it)), GATE_LOGITS) }
        while (decision is Undecided) {
            val way = path(policy, decision.position).take(decision.gate + 1)
            decision = decision.next(realValues(way.last(), passage.run(way), GATE_LOGITS))
        }
        var position = decision.position
        var logits = logits(policy, position, passage)
        while (!policy.stands(position, logits)) logits = logits(policy, ++position, passage)
        val done = nanoTime()
        val ran = policy.widths.subList(decision.position, position + 1)
        val ms = (done - start) / NS_PER_MS
        if (source is PolicySource.Adaptive) source.adaptive.observe(ran.last(), ms, done / NS_PER_S)
        return Answer(largest(logits), confidence(logits), ran, gateLogits?.let(::score), ms)
    }

    private fun logits(policy: WidthPolicy, position: Int, passage: Passage): FloatArray {
        val path = path(policy, position)
        return realValues(path.last(), passage.run(path), LOGITS)
    }

    private fun path(policy: WidthPolicy, position: Int): List<Program> =
        paths.getOrPut(policy.widths[position] to policy.asksGate) { path(artifact, policy, policy.widths[position]) }

    /** The first of equal ones. */
    private fun largest(logits: FloatArray): Int =
        logits.indices.fold(0) { best, at -> if (logits[at] > logits[best]) at else best }
}

/** One image on its way through programs. */
private class Passage(private val session: Session, image: FloatArray) {
    private val image = mapOf<String, Tensor>(IMAGE to Tensor.Floats(image))

    /** What ran in a row last, and what each gave. */
    private val passed = mutableListOf<Pair<Program, Map<String, Tensor>>>()

    /** Runs a path, but for what the image has been through already; returns what its last program gives. */
    fun run(path: List<Program>): Map<String, Tensor> {
        val common = passed.zip(path).takeWhile { (before, program) -> before.first === program }.size
        passed.subList(common, passed.size).clear()
        for (program in path.drop(common)) {
            val given = passed.lastOrNull()?.second.orEmpty()
            passed += program to session.run(program, feed(program, image + given))
        }
        return passed.last().second
    }
}

/** The programs that policies can ever run, in running order; a gate at the side only where it is asked. */
fun residentPrograms(artifact: Artifact, policies: List<WidthPolicy>): List<Program> {
    val needed = policies.flatMap { policy -> policy.widths.flatMap { path(artifact, policy, it) } }.toSet()
    return artifact.programs.filter { it in needed }
}

private fun path(artifact: Artifact, policy: WidthPolicy, width: Int): List<Program> =
    artifact.path(width).filter { it.role != Role.GATE || policy.asksGate }.ifEmpty {
        throw BundleException("no width $width in this artifact; choose from ${artifact.widths}")
    }
