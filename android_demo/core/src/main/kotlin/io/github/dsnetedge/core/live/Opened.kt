package io.github.dsnetedge.core.live

import io.github.dsnetedge.core.BundleException
import io.github.dsnetedge.core.bundle.Artifact
import io.github.dsnetedge.core.bundle.DType
import io.github.dsnetedge.core.bundle.Program
import io.github.dsnetedge.core.bundle.TensorInfo
import io.github.dsnetedge.core.image.PixelRows
import io.github.dsnetedge.core.image.Preprocessing
import io.github.dsnetedge.core.install.InstalledBundle
import io.github.dsnetedge.core.runtime.Answer
import io.github.dsnetedge.core.runtime.DynamicClassifier
import io.github.dsnetedge.core.runtime.Engine
import io.github.dsnetedge.core.runtime.PolicySource
import io.github.dsnetedge.core.runtime.Session
import io.github.dsnetedge.core.runtime.Tensor
import io.github.dsnetedge.core.runtime.closeAfter
import io.github.dsnetedge.core.runtime.openFiles
import io.github.dsnetedge.core.runtime.openSession
import io.github.dsnetedge.core.runtime.residentPrograms
import java.io.Closeable

/** A choice with its programs in memory, ready for images. */
internal class Opened private constructor(
    private val session: Session,
    private val preprocessing: Preprocessing,
    private val classifier: DynamicClassifier,
    private val artifact: Artifact,
    private val words: (Answer) -> AnswerText,
) : Closeable {
    /** The answer to an image, in numbers for the chart and in words. */
    fun answer(image: PixelRows): Pair<Bar, AnswerText> {
        val answer = classifier.answer(preprocessing.tensor(image))
        val shade = artifact.widths.indexOf(answer.width).toDouble() / maxOf(1, artifact.widths.lastIndex)
        return Bar(answer.ms, answer.width, shade) to words(answer)
    }

    override fun close() = session.close()

    companion object {
        /**
         * Loads everything that a choice can run; files that have to be rebuilt are, once.
         *
         * @param progress is told how many programs are loaded
         * @throws BundleException for what cannot be run
         * @throws java.io.IOException when the storage fails, or would be full
         */
        fun open(
            bundle: InstalledBundle,
            artifact: Artifact,
            choice: Choice,
            engine: Engine,
            progress: (done: Int, of: Int) -> Unit,
        ): Opened {
            val programs = residentPrograms(artifact, choice.policies)
            bundle.requireRoomFor(artifact, programs)
            val session = openFiles(bundle.bundle, artifact, bundle.rebuilt).use {
                openSession(programs, it, engine, choice.threads, progress)
            }
            try {
                warmUp(session, programs)
            } catch (error: Throwable) {
                session.closeAfter(error)
            }
            val model = bundle.bundle.manifest.model
            val source = choice.source()
            val classifier = DynamicClassifier(session, artifact, source)
            return Opened(session, Preprocessing(model, artifact.runtime), classifier, artifact) {
                answerText(model, it, source)
            }
        }
    }
}

/** Runs every program once on zeros, so that the first image does not pay for what runtimes put off. */
private fun warmUp(session: Session, programs: List<Program>) {
    for (program in programs) session.run(program, program.inputs.associate { it.name to zeros(it) })
}

private fun zeros(tensor: TensorInfo): Tensor = when (tensor.dtype) {
    DType.FLOAT32 -> Tensor.Floats(FloatArray(tensor.elements))
    DType.INT8 -> Tensor.Bytes(ByteArray(tensor.elements))
}
