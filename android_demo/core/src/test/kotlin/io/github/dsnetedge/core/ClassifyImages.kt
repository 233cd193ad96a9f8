package io.github.dsnetedge.core

import io.github.dsnetedge.core.bundle.BundleFolder
import io.github.dsnetedge.core.bundle.HashedFiles
import io.github.dsnetedge.core.bundle.LOGITS
import io.github.dsnetedge.core.bundle.Program
import io.github.dsnetedge.core.json.Json
import io.github.dsnetedge.core.json.toText
import io.github.dsnetedge.core.policy.readPolicy
import io.github.dsnetedge.core.runtime.Answer
import io.github.dsnetedge.core.runtime.DynamicClassifier
import io.github.dsnetedge.core.runtime.PolicySource
import io.github.dsnetedge.core.runtime.Session
import io.github.dsnetedge.core.runtime.Tensor
import io.github.dsnetedge.core.runtime.openFiles
import io.github.dsnetedge.core.runtime.openSession
import io.github.dsnetedge.core.runtime.realValues
import io.github.dsnetedge.core.runtime.residentPrograms
import java.io.File

/**
 * For `tests/android/test_dynamic.py`: classifies images with policies and prints, for each image of each policy, one
 * line of JSON.
 *
 * Arguments: the port of the runtime, the bundle, the precision, a folder for plain files, a list of policies in JSON,
 * the images' little-endian float32 values, one image after the other.
 */
fun main(arguments: Array<String>) {
    val (port, root, precision, cache, policyFile) = arguments
    val engine = RemoteEngine(port.toInt())
    val bundle = BundleFolder.open(File(root))
    val artifact = bundle.artifact(engine.runtime, precision)
    val policies = SharedFiles.node(File(policyFile)).list().map(::readPolicy)
    val pixels = artifact.programs.first().inputs.single().elements
    val images = floats(File(arguments[5]).readBytes()).asList().chunked(pixels) { it.toFloatArray() }
    val programs = residentPrograms(artifact, policies)
    val files = openFiles(bundle, artifact, HashedFiles(File(cache)))
    Watched(files.use { openSession(programs, it, engine, threads = 1) }).use { session ->
        for (policy in policies) {
            val classifier = DynamicClassifier(session, artifact, PolicySource.Always(policy))
            for (image in images) {
                session.passed.clear()
                println(line(classifier.answer(image), session))
            }
        }
    }
}

/** Keeps the names of what runs, and the logits of the width that ran last. */
private class Watched(private val session: Session) : Session by session {
    var logits = FloatArray(0)
        private set

    val passed = mutableListOf<String>()

    override fun run(program: Program, inputs: Map<String, Tensor>): Map<String, Tensor> {
        passed += program.name
        return session.run(program, inputs).also { if (program.role.answers) logits = realValues(program, it, LOGITS) }
    }
}

private fun line(answer: Answer, session: Watched): String {
    val fields = mapOf(
        "class" to Json.Integer(answer.classIndex.toLong()),
        "probability" to Json.Decimal(answer.probability),
        "ran" to Json.Array(answer.ran.map { Json.Integer(it.toLong()) }),
        "score" to (answer.score?.let(Json::Decimal) ?: Json.Null),
        "logits" to Json.Array(session.logits.map { Json.Decimal(it.toDouble()) }),
        "passed" to Json.Array(session.passed.map(Json::Text)),
    )
    return Json.Object(fields).toText()
}
