package io.github.dsnetedge.demo

import android.app.Activity
import android.os.Bundle
import android.util.Log
import io.github.dsnetedge.core.BundleException
import io.github.dsnetedge.core.benchmark.answerTo
import io.github.dsnetedge.core.benchmark.openRunner
import io.github.dsnetedge.core.benchmark.writeAnswer
import io.github.dsnetedge.core.bundle.HashedFiles
import io.github.dsnetedge.core.oneLine
import java.io.File
import java.io.IOException
import kotlin.system.exitProcess

/**
 * Measures one block for `dsnet profile --runner app` (docs/profiling.md, "The app's contract") and ends.
 *
 * An activity, because what is on the screen runs on the cores that a user's app gets.
 */
class BenchmarkActivity : Activity() {
    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.benchmark)
        val request = intent.getStringExtra("request")
        val token = intent.getStringExtra("answer")
        // Started again by the system after the process ended: whoever asked has given up on it.
        if (savedInstanceState != null || request == null || token == null) return finish()
        Worker.execute {
            leave(token, answer(request))
            runOnUiThread(::finish)
        }
    }

    private fun answer(request: String): String {
        val rebuilt = HashedFiles(File(cacheDir, "programs"))
        return answerTo(request) { openRunner(it, rebuilt, ENGINES) }
    }

    /** Where no answer can be left, the process ends: the other side watches it, and says so at once. */
    private fun leave(token: String, answer: String) {
        try {
            writeAnswer(getExternalFilesDir("answers") ?: throw IOException("no external storage"), token, answer)
        } catch (error: BundleException) {
            end(error)
        } catch (error: IOException) {
            end(error)
        }
    }

    private fun end(error: Exception) {
        Log.e("dsnet", "no answer: ${error.oneLine()}")
        exitProcess(1)
    }
}
