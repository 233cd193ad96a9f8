package io.github.dsnetedge.demo

import android.Manifest
import android.content.ActivityNotFoundException
import android.content.pm.PackageManager
import android.os.Bundle
import android.view.View
import android.widget.AdapterView
import android.widget.ArrayAdapter
import android.widget.Button
import android.widget.ImageView
import android.widget.ProgressBar
import android.widget.Spinner
import android.widget.TextView
import androidx.activity.ComponentActivity
import androidx.activity.result.contract.ActivityResultContracts
import androidx.lifecycle.ViewModelProvider
import io.github.dsnetedge.core.live.Picker
import io.github.dsnetedge.core.live.Screen
import io.github.dsnetedge.core.live.UserChoice

private const val PROGRESS_STEPS = 1000

/** Draws [LiveViewModel.screen], and passes on what is touched. */
class MainActivity : ComponentActivity() {
    private lateinit var model: LiveViewModel
    private val camera = Camera(this, onFrame = { model.frame(it) }, onFailure = ::cameraFailed)
    private val photos = registerForActivityResult(ActivityResultContracts.GetMultipleContents()) { model.photos(it) }
    private val permission = registerForActivityResult(ActivityResultContracts.RequestPermission()) { isGranted ->
        if (isGranted) turnCamera(true) else model.notice(getString(R.string.camera_refused))
    }

    private lateinit var artifact: Choices
    private lateinit var choice: Choices

    /** What both show: they are touched only when it changes, or they would undo what the user just chose. */
    private var picker: Picker? = null

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.main)
        model = ViewModelProvider(this)[LiveViewModel::class.java]
        artifact = Choices(spinner(R.id.artifact), model::chooseArtifact)
        choice = Choices(spinner(R.id.choice), model::choose)
        button(R.id.retry).setOnClickListener { model.retry() }
        button(R.id.photos).setOnClickListener { askForPhotos() }
        button(R.id.camera).setOnClickListener { cameraTouched() }
        model.picture.observe(this) { findViewById<ImageView>(R.id.picture).setImageBitmap(it) }
        model.screen.observe(this, ::show)
        if (model.isCameraOn) turnCamera(true)
    }

    override fun onDestroy() {
        super.onDestroy()
        camera.stop()
    }

    private fun askForPhotos() {
        model.notice(null)
        turnCamera(false) // its next frame would take a photo's place
        try {
            photos.launch("image/*")
        } catch (_: ActivityNotFoundException) {
            model.notice(getString(R.string.photos_missing))
        }
    }

    private fun cameraTouched() {
        model.notice(null)
        when {
            model.isCameraOn -> turnCamera(false)
            checkSelfPermission(Manifest.permission.CAMERA) == PackageManager.PERMISSION_GRANTED -> turnCamera(true)
            else -> permission.launch(Manifest.permission.CAMERA)
        }
    }

    private fun turnCamera(isOn: Boolean) {
        model.isCameraOn = isOn
        button(R.id.camera).setText(if (isOn) R.string.camera_stop else R.string.camera_start)
        findViewById<View>(R.id.picture).keepScreenOn = isOn
        if (isOn) camera.start() else camera.stop()
    }

    private fun cameraFailed(reason: String) {
        turnCamera(false)
        model.notice(getString(R.string.camera_failed, reason))
    }

    private fun show(screen: Screen) {
        when (screen) {
            is Screen.Preparing -> showProgress(screen)
            is Screen.Failed -> showFailure(screen)
            is Screen.Ready -> showAnswer(screen)
        }
        val isReady = screen is Screen.Ready
        showIf(R.id.progress, screen is Screen.Preparing)
        showIf(R.id.retry, screen is Screen.Failed)
        message((screen as? Screen.Failed)?.message ?: (screen as? Screen.Ready)?.notice)
        button(R.id.photos).isEnabled = isReady
        button(R.id.camera).isEnabled = isReady || model.isCameraOn
        spinner(R.id.artifact).isEnabled = screen !is Screen.Preparing
        spinner(R.id.choice).isEnabled = screen !is Screen.Preparing
    }

    private fun showProgress(screen: Screen.Preparing) {
        text(R.id.title).text = screen.what
        text(R.id.detail).text = ""
        val bar = findViewById<ProgressBar>(R.id.progress)
        bar.isIndeterminate = screen.of == 0L
        bar.max = PROGRESS_STEPS
        bar.progress = if (screen.of == 0L) 0 else (PROGRESS_STEPS * screen.done / screen.of).toInt()
    }

    private fun showFailure(screen: Screen.Failed) {
        if (model.isCameraOn) turnCamera(false) // nothing takes its frames
        screen.picker?.let(::showPicker)
        text(R.id.title).text = ""
        text(R.id.detail).text = ""
    }

    private fun showAnswer(screen: Screen.Ready) {
        showPicker(screen.picker)
        text(R.id.title).text = screen.answer?.title ?: getString(R.string.first_steps)
        text(R.id.detail).text = screen.answer?.detail.orEmpty()
        findViewById<StripView>(R.id.strip).strip = screen.strip
    }

    private fun showPicker(new: Picker) {
        if (new == picker) return
        picker = new
        artifact.show(new.artifacts, new.artifact)
        choice.show(new.choices, new.choice)
    }

    private fun message(message: String?) {
        // Only a change is read aloud.
        if (text(R.id.message).text.toString() != message.orEmpty()) text(R.id.message).text = message.orEmpty()
        showIf(R.id.message, message != null)
    }

    private fun showIf(id: Int, isShown: Boolean) {
        findViewById<View>(id).visibility = if (isShown) View.VISIBLE else View.GONE
    }

    private fun text(id: Int): TextView = findViewById(id)

    private fun button(id: Int): Button = findViewById(id)

    private fun spinner(id: Int): Spinner = findViewById(id)
}

/** A list of choices on the screen; [choose] is given what the user chooses. */
private class Choices(private val spinner: Spinner, choose: (Int) -> Unit) : AdapterView.OnItemSelectedListener {
    private val user = UserChoice(choose)
    private var labels: List<String>? = null

    init {
        spinner.onItemSelectedListener = this
    }

    fun show(new: List<String>, selected: Int) {
        user.set(selected)
        if (new != labels) {
            labels = new
            spinner.adapter = ArrayAdapter(spinner.context, android.R.layout.simple_spinner_item, new).apply {
                setDropDownViewResource(android.R.layout.simple_spinner_dropdown_item)
            }
        }
        spinner.setSelection(selected)
    }

    override fun onItemSelected(parent: AdapterView<*>?, view: View?, position: Int, id: Long) = user.selected(position)

    override fun onNothingSelected(parent: AdapterView<*>?) = Unit
}
