package io.github.dsnetedge.demo

import java.util.concurrent.Executor
import java.util.concurrent.Executors

/**
 * The one thread that touches files and networks. It lives as long as the process, so that an activity which is gone
 * leaves its work in order, and one that comes back finds its turn after that.
 */
object Worker : Executor {
    private val thread = Executors.newSingleThreadExecutor { Thread(it, "worker") }

    override fun execute(command: Runnable) = thread.execute(command)
}
