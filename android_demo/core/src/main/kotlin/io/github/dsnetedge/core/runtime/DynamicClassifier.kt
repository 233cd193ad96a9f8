package io.github.dsnetedge.core.runtime

import io.github.dsnetedge.core.BundleException
import io.github.dsnetedge.core.bundle.Artifact
import io.github.dsnetedge.core.bundle.FEATURES
import io.github.dsnetedge.core.bundle.GATE_LOGITS
import io.github.dsnetedge.core.bundle.IMAGE
import io.github.dsnetedge.core.bundle.LOGITS
import io.github.dsnetedge.core.bundle.OperatingPoint
import io.github.dsnetedge.core.bundle.Program
import io.github.dsnetedge.core.policy.AdaptivePolicy
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
    /** The gate's score, from 0 (easy) up; null when no gate ran. */
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
    /** Classifies one preprocessed image, in the runtime's layout. */
    fun answer(image: FloatArray): Answer {
        val policy = source.policy
        val head = neededHead(artifact, policy)
        val start = nanoTime()
        val tensors = mutableMapOf<String, Tensor>(IMAGE to Tensor.Floats(image))
        if (head != null) tensors += session.run(head, feed(head, tensors))
        val gateLogits = head?.let { realValues(it, tensors, GATE_LOGITS) }
        var position = if (gateLogits != null && policy.asksGate) policy.first(gateLogits) else 0
        val ran = mutableListOf(policy.widths[position])
        var logits = logits(ran.last(), tensors)
        while (!policy.stands(position, logits)) {
            position++
            ran += policy.widths[position]
            logits = logits(ran.last(), tensors)
        }
        val done = nanoTime()
        val ms = (done - start) / NS_PER_MS
        if (source is PolicySource.Adaptive) source.adaptive.observe(ran.last(), ms, done / NS_PER_S)
        return Answer(largest(logits), confidence(logits), ran, gateLogits?.let(::score), ms)
    }

    private fun logits(width: Int, tensors: Map<String, Tensor>): FloatArray {
        val body = body(artifact, width)
        return realValues(body, session.run(body, feed(body, tensors)), LOGITS)
    }

    /** The first of equal ones. */
    private fun largest(logits: FloatArray): Int =
        logits.indices.fold(0) { best, at -> if (logits[at] > logits[best]) at else best }
}

/** The programs that policies can ever run, the head first; it is left out where nothing reads it. */
fun residentPrograms(artifact: Artifact, policies: List<WidthPolicy>): List<Program> {
    val heads = policies.mapNotNull { neededHead(artifact, it) }.distinct()
    return heads + policies.flatMap { it.widths }.distinct().sorted().map { body(artifact, it) }
}

/** The head where the policy asks its gate, or a body reads its features. */
private fun neededHead(artifact: Artifact, policy: WidthPolicy): Program? {
    val readsFeatures = policy.widths.any { width -> body(artifact, width).inputs.any { it.name == FEATURES } }
    return artifact.head.takeIf { policy.asksGate || readsFeatures }
}

private fun body(artifact: Artifact, width: Int): Program = artifact.body(width)
    ?: throw BundleException("no width $width in this artifact; choose from ${artifact.widths}")
