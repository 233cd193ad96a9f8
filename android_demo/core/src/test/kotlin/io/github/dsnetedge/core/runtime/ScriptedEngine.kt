package io.github.dsnetedge.core.runtime

import io.github.dsnetedge.core.bundle.Program
import io.github.dsnetedge.core.bundle.Runtime
import java.io.File

/** Logs what it loads, runs and closes; throws [error] for the program [refused], when it is loaded or run. */
class ScriptedEngine(
    override val runtime: Runtime,
    private val refused: String? = null,
    private val atRun: Boolean = false,
    private val error: Exception = IllegalStateException("two\nlines"),
    private val outputs: (Program) -> Map<String, Tensor> = { emptyMap() },
) : Engine {
    override val version = "scripted 1.0"
    val log = mutableListOf<String>()

    /** The file that each program was loaded from. */
    val files = mutableMapOf<String, File>()

    override fun load(program: Program, file: File, threads: Int): LoadedProgram {
        if (program.name == refused && !atRun) throw error
        log += "load ${program.name}"
        files[program.name] = file
        return object : LoadedProgram {
            override fun run(inputs: Map<String, Tensor>): Map<String, Tensor> {
                if (program.name == refused) throw error
                log += "run ${program.name}"
                return outputs(program)
            }

            override fun close() {
                log += "close ${program.name}"
            }
        }
    }
}
