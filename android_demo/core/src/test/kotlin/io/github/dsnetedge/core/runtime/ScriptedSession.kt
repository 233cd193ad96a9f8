package io.github.dsnetedge.core.runtime

import io.github.dsnetedge.core.bundle.Program

/** Answers by script, and logs what it is asked: for tests of which programs run, in what order, on what. */
class ScriptedSession(private val answers: (Program) -> Map<String, Tensor>) : Session {
    override val runtimeVersion = "scripted 1.0"
    val log = mutableListOf<String>()
    var isClosed = false
        private set

    override fun run(program: Program, inputs: Map<String, Tensor>): Map<String, Tensor> {
        check(inputs.keys == program.inputs.map { it.name }.toSet()) { "${program.name} was given ${inputs.keys}" }
        log += program.name
        return answers(program)
    }

    override fun close() {
        isClosed = true
    }
}
