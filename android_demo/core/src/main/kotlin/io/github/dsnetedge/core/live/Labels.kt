package io.github.dsnetedge.core.live

import io.github.dsnetedge.core.bundle.Artifact
import io.github.dsnetedge.core.bundle.Model
import io.github.dsnetedge.core.bundle.OperatingPoint
import io.github.dsnetedge.core.bundle.Runtime
import io.github.dsnetedge.core.bundle.Statistic
import io.github.dsnetedge.core.runtime.Answer
import io.github.dsnetedge.core.runtime.PolicySource
import io.github.dsnetedge.core.statistics.median
import java.util.Locale

private const val MS_PER_S = 1000.0

internal fun label(artifact: Artifact): String {
    val runtime = if (artifact.runtime == Runtime.LITERT) "LiteRT" else "ExecuTorch"
    return "$runtime ${artifact.precision}"
}

/** What an image may take in the mean, else by the point's first limit on latency; null: it has none. */
internal fun budgetMs(point: OperatingPoint): Double? {
    val limits = point.limits.filter { it.statistic.isLatency }
    val limit = limits.firstOrNull { it.statistic == Statistic.MEAN_MS } ?: limits.firstOrNull() ?: return null
    return if (limit.statistic == Statistic.IMAGES_PER_S) MS_PER_S / limit.value else limit.value
}

/** An answer for people: the class; then its probability, the widths that ran, the time and the gate's score. */
internal fun answerText(model: Model, answer: Answer, source: PolicySource): AnswerText {
    val ran = if (answer.ran.size == 1) "width ${answer.width}" else "widths ${answer.ran.joinToString(", ")}"
    val parts = listOfNotNull(
        "%.0f%%".of(100 * answer.probability),
        ran,
        "%.2f ms".of(answer.ms),
        answer.score?.let { "score %.2f".of(it) },
        (source as? PolicySource.Adaptive)?.let { "${it.point.name} at %.2f× the time".of(it.adaptive.slowdown) },
    )
    return AnswerText(model.classes[answer.classIndex], parts.joinToString(" · "))
}

/** The chart for those who do not see it. */
fun Strip.inWords(): String {
    if (bars.isEmpty()) return "No images yet"
    val times = bars.map { it.ms }
    val widths = bars.map { it.width }.distinct().sorted().joinToString(", ")
    val budget = budgetMs?.let { ", budget %.2f ms".of(it) }.orEmpty()
    return "Last %d images: median %.2f ms, slowest %.2f ms$budget, widths $widths"
        .format(Locale.ROOT, bars.size, median(times), times.max())
}

/** What stands at the top of the scale. */
fun Strip.topInWords(): String = "${"%.4f".of(topMs).trimEnd('0').trimEnd('.')} ms"

/** The same in every language: times are compared with tables. */
private fun String.of(value: Double): String = format(Locale.ROOT, value)
