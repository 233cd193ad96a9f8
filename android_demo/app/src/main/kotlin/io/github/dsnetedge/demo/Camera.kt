package io.github.dsnetedge.demo

import android.graphics.Bitmap
import androidx.activity.ComponentActivity
import androidx.camera.core.CameraSelector
import androidx.camera.core.ImageAnalysis
import androidx.camera.lifecycle.ProcessCameraProvider
import androidx.core.content.ContextCompat
import io.github.dsnetedge.core.oneLine

/**
 * The camera while its activity is on the screen: the newest frame whenever the one before is done with, upright.
 * Frames that come meanwhile are dropped.
 *
 * @param onFrame is called on the [Worker]
 * @param onFailure is told why there are no frames
 */
class Camera(
    private val activity: ComponentActivity,
    private val onFrame: (Bitmap) -> Unit,
    private val onFailure: (String) -> Unit,
) {
    private var isWanted = false
    private var provider: ProcessCameraProvider? = null

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

    fun stop() {
        isWanted = false
        provider?.unbindAll()
    }

    private fun bind(found: ProcessCameraProvider) {
        provider = found
        val back = CameraSelector.DEFAULT_BACK_CAMERA
        val selector = if (found.hasCamera(back)) back else CameraSelector.DEFAULT_FRONT_CAMERA
        found.unbindAll()
        found.bindToLifecycle(activity, selector, frames())
    }

    private fun frames(): ImageAnalysis = ImageAnalysis.Builder()
        .setBackpressureStrategy(ImageAnalysis.STRATEGY_KEEP_ONLY_LATEST)
        .setOutputImageFormat(ImageAnalysis.OUTPUT_IMAGE_FORMAT_RGBA_8888)
        .setOutputImageRotationEnabled(true)
        .build()
        .apply { setAnalyzer(Worker) { frame -> frame.use { onFrame(it.toBitmap()) } } }
}
