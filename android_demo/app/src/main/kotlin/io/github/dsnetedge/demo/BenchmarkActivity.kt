package io.github.dsnetedge.demo

import android.app.Activity
import android.os.Bundle
import android.util.Log
import io.github.dsnetedge.core.benchmark.answerAndLeave
import java.io.File
import kotlin.system.exitProcess

/**
 * Measures one block for `dsnet profile --runner app` (docs/profiling.md, "The app's contract") and ends.
 *
 * An activity, because what is on the screen runs on the cores that a user's app gets: it begins when it is there, and
 * what it measured counts only if it stayed.
 */
class BenchmarkActivity : Activity() {
    private var hasBegun = false

    /** Written by the system's thread, read by the [Worker]. */
    @Volatile
    private var hasLeftFront = false

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.benchmark)
        // Started again by the system after the process ended: whoever asked has given up on it.
        if (savedInstanceState != null) finish()
    }

    override fun onWindowFocusChanged(hasFocus: Boolean) {
        super.onWindowFocusChanged(hasFocus)
        if (!hasFocus || hasBegun) return
        hasBegun = true
        hasLeftFront = false // a screen that turns on pauses what is started below the lock, too
        val request = intent.getStringExtra("request") ?: return finish()
        val token = intent.getStringExtra("answer") ?: return finish()
        Worker.execute {
            measure(request, token)
            runOnUiThread(::finish)
        }
    }

    override fun onPause() {
        super.onPause()
        hasLeftFront = true
    }

    /** Where no answer can be left, the process ends: the other side watches it, and says so at once. */
    private fun measure(request: String, token: String) {
        val cache = File(cacheDir, "programs")
        val problem = answerAndLeave(request, token, getExternalFilesDir("answers"), cache, ENGINES) { hasLeftFront }
        if (problem == null) return
        Log.e("dsnet", "no answer: $problem")
        exitProcess(1)
    }
}
