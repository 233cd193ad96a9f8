package io.github.dsnetedge.core.runtime

import io.github.dsnetedge.core.bundle.Program
import io.github.dsnetedge.core.bundle.Runtime
import java.io.File

/** Logs what it loads, runs and closes; throws [error] for the program [refused], when it is loaded, run or closed. */
class ScriptedEngine(
    override val runtime: Runtime,
    private val refused: String? = null,
    private val at: Step = Step.LOAD,
    private val error: Throwable = IllegalStateException("two\nlines"),
    private val outputs: (Program) -> Map<String, Tensor> = { emptyMap() },
) : Engine {
    override val version = "scripted 1.0"
    val log = mutableListOf<String>()

    /** The file that each program was loaded from. */
    val files = mutableMapOf<String, File>()

    override fun load(program: Program, file: File, threads: Int): LoadedProgram {
        if (isRefused(program, Step.LOAD)) throw error
        log += "load ${program.name}"
        files[program.name] = file
        return object : LoadedProgram {
            override fun run(inputs: Map<String, Tensor>): Map<String, Tensor> {
                if (isRefused(program, Step.RUN)) throw error
                log += "run ${program.name}"
                return outputs(program)
            }

            override fun close() {
                log += "close ${program.name}"
                if (isRefused(program, Step.CLOSE)) throw error
            }
        }
    }

    private fun isRefused(program: Program, step: Step) = program.name == refused && step == at
}

/** What is done with a program. */
enum class Step { LOAD, RUN, CLOSE }
