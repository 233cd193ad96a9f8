package io.github.dsnetedge.demo

import io.github.dsnetedge.core.runtime.Engine

/** The runtimes of this app. A product that needs one of them leaves the other's library out. */
val ENGINES: List<Engine> = listOf(LiteRtEngine, ExecuTorchEngine)
