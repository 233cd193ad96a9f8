package io.github.dsnetedge.core.runtime

import io.github.dsnetedge.core.bundle.Program
import io.github.dsnetedge.core.bundle.Runtime
import java.io.Closeable
import java.io.File

/** Loads single programs of one runtime: all that an app adds to the core to have that runtime. */
interface Engine {
    val runtime: Runtime

    /** The runtime's name and version. */
    val version: String

    /**
     * Loads a program from the file that [ProgramFiles] gives for it: of a nested LiteRT file with the program's
     * `rootOffset` ([io.github.dsnetedge.core.litert.liteRtProgram]). Whatever it throws for a program that the runtime
     * cannot run, [openSession] says in one line.
     */
    fun load(program: Program, file: File, threads: Int): LoadedProgram
}

/** A program in memory. Not for several threads at once. */
interface LoadedProgram : Closeable {
    /** Inputs and outputs go by the manifest's names. */
    fun run(inputs: Map<String, Tensor>): Map<String, Tensor>
}
