package io.github.dsnetedge.demo

import android.app.Application
import android.content.Context
import android.graphics.Bitmap
import android.net.Uri
import androidx.lifecycle.AndroidViewModel
import androidx.lifecycle.LiveData
import androidx.lifecycle.MutableLiveData
import io.github.dsnetedge.core.install.BundleInstaller
import io.github.dsnetedge.core.install.BundleSource
import io.github.dsnetedge.core.live.FIRST_SCREEN
import io.github.dsnetedge.core.live.LiveClassifier
import io.github.dsnetedge.core.live.Screen
import io.github.dsnetedge.core.live.Selection
import io.github.dsnetedge.core.oneLine

private const val ARTIFACT = "artifact"
private const val CHOICE = "choice"

/** The live screen across rotations: passes on what the user does to the [Worker], and what comes of it back. */
class LiveViewModel(application: Application) : AndroidViewModel(application) {
    private val screens = MutableLiveData<Screen>(FIRST_SCREEN)
    private val pictures = MutableLiveData<Bitmap>()
    private val settings = application.getSharedPreferences("live", Context.MODE_PRIVATE)

    /** What was chosen, also before the process last ended. */
    private val wanted: Selection?
        get() = Selection(
            settings.getString(ARTIFACT, null) ?: return null,
            settings.getString(CHOICE, null) ?: return null,
        )

    // Not in the backup of the user's data: it is all in the app, and large.
    private val installer = BundleInstaller(BundleSource(application.assets::open), application.noBackupFilesDir)
    private val live = LiveClassifier(installer::install, ENGINES, ::publish)

    val screen: LiveData<Screen> get() = screens

    /** What was classified last. */
    val picture: LiveData<Bitmap> get() = pictures

    /** Whether the user wants the camera; whether there is one that works is not known. */
    var isCameraOn = false

    /** Nobody looks any longer: photos that wait for the [Worker] are not decoded. */
    @Volatile
    private var isCleared = false

    init {
        Worker.execute { live.start(wanted) }
    }

    fun retry() = Worker.execute { live.retry(wanted) }

    fun chooseArtifact(index: Int) = Worker.execute { live.chooseArtifact(index) }

    fun choose(index: Int) = Worker.execute { live.choose(index) }

    fun notice(text: String?) = Worker.execute { live.notice(text) }

    /** Classifies photos, one after the other. */
    fun photos(uris: List<Uri>) = uris.forEach { uri -> Worker.execute { photo(uri) } }

    /** Classifies a camera's frame; only on the [Worker]. */
    fun frame(bitmap: Bitmap) {
        pictures.postValue(bitmap)
        live.classify(upright(bitmap))
    }

    override fun onCleared() {
        isCleared = true
        Worker.execute(live::close)
    }

    private fun photo(uri: Uri) {
        if (isCleared) return
        val application = getApplication<Application>()
        val image = try {
            readPhoto(application.contentResolver, uri)
        } catch (error: Exception) { // it comes from another app, which may throw anything
            return live.notice(application.getString(R.string.photo_failed, error.oneLine()))
        } catch (_: OutOfMemoryError) {
            return live.notice(application.getString(R.string.photo_too_large))
        }
        pictures.postValue(shown(image))
        live.classify(image)
    }

    private fun publish(screen: Screen) {
        screens.postValue(screen)
        val selection = (screen as? Screen.Ready)?.picker?.selection ?: return
        if (selection == wanted) return
        settings.edit().putString(ARTIFACT, selection.artifact).putString(CHOICE, selection.choice).apply()
    }
}
