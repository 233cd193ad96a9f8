package io.github.dsnetedge.demo

import android.graphics.Bitmap
import android.hardware.display.DisplayManager
import androidx.activity.ComponentActivity
import androidx.camera.core.CameraSelector
import androidx.camera.core.ImageAnalysis
import androidx.camera.core.ImageProxy
import androidx.camera.lifecycle.ProcessCameraProvider
import androidx.core.content.ContextCompat
import io.github.dsnetedge.core.oneLine

/**
 * The camera while its activity is on the screen: the newest frame whenever the one before is done with, upright also
 * where the screen is turned without a new activity, by half a turn. Frames that come meanwhile are dropped.
 *
 * @param onFrame is called on the [Worker]
 * @param onFailure is told, in the activity's thread, why there are no frames
 */
class Camera(
    private val activity: ComponentActivity,
    private val onFrame: (Bitmap) -> Unit,
    private val onFailure: (String) -> Unit,
) : DisplayManager.DisplayListener {
    private var isWanted = false
    private var provider: ProcessCameraProvider? = null
    private var frames: ImageAnalysis? = null
    private val displays by lazy { activity.getSystemService(DisplayManager::class.java) }

    fun start() {
        isWanted = true
        val future = ProcessCameraProvider.getInstance(activity)
        val whenThere = Runnable {
            if (!isWanted || activity.isDestroyed) return@Runnable
            try {
                bind(future.get())
            } catch (error: Exception) { // vendors' cameras fail in ways of their own; photos work without
                onFailure((error.cause ?: error).oneLine())
            }
        }
        future.addListener(whenThere, ContextCompat.getMainExecutor(activity))
    }

    /** Also for the activity to call when it ends: an unbound camera may be bound by the next one. */
    fun stop() {
        isWanted = false
        displays.unregisterDisplayListener(this)
        frames?.let { provider?.unbind(it) }
        frames = null
    }

    override fun onDisplayChanged(displayId: Int) {
        val display = activity.window.decorView.display ?: return
        if (display.displayId == displayId) frames?.targetRotation = display.rotation
    }

    override fun onDisplayAdded(displayId: Int) = Unit

    override fun onDisplayRemoved(displayId: Int) = Unit

    private fun bind(found: ProcessCameraProvider) {
        provider = found
        val back = CameraSelector.DEFAULT_BACK_CAMERA
        val selector = if (found.hasCamera(back)) back else CameraSelector.DEFAULT_FRONT_CAMERA
        found.unbindAll()
        frames = newFrames().also { found.bindToLifecycle(activity, selector, it) }
        displays.registerDisplayListener(this, null)
    }

    private fun newFrames(): ImageAnalysis = ImageAnalysis.Builder()
        .setBackpressureStrategy(ImageAnalysis.STRATEGY_KEEP_ONLY_LATEST)
        .setOutputImageFormat(ImageAnalysis.OUTPUT_IMAGE_FORMAT_RGBA_8888)
        .setOutputImageRotationEnabled(true)
        .build()
        .apply { setAnalyzer(Worker) { frame -> frame.use { bitmap(it)?.let(onFrame) } } }

    /** A frame's pixels; null, and said, where it cannot be converted. */
    private fun bitmap(frame: ImageProxy): Bitmap? = try {
        frame.toBitmap()
    } catch (error: RuntimeException) {
        fail(error)
    } catch (error: OutOfMemoryError) {
        fail(error)
    }

    private fun fail(error: Throwable): Nothing? {
        activity.runOnUiThread { if (isWanted) onFailure(error.oneLine()) } // of many frames, once
        return null
    }
}
