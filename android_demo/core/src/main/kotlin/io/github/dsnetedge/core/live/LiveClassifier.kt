package io.github.dsnetedge.core.live

import io.github.dsnetedge.core.BundleException
import io.github.dsnetedge.core.bundle.Artifact
import io.github.dsnetedge.core.image.PixelRows
import io.github.dsnetedge.core.install.InstalledBundle
import io.github.dsnetedge.core.install.LowStorageException
import io.github.dsnetedge.core.install.Progress
import io.github.dsnetedge.core.oneLine
import io.github.dsnetedge.core.runtime.Engine
import java.io.Closeable
import java.io.IOException

/**
 * What the app does, without its screen: installs the bundle, loads what is chosen, classifies one image after the
 * other. Whatever happens, the last [Screen] that was published says it; nothing that a bundle, a runtime, a photo or
 * the storage does is thrown.
 *
 * Not for several threads at once: an app calls it from one thread of its own, as everything here may take a while.
 *
 * @param install brings the bundle to the storage: [io.github.dsnetedge.core.install.BundleInstaller.install]
 * @param engines at most one for each runtime
 * @param publish is given every new screen
 */
class LiveClassifier(
    private val install: (progress: (Progress) -> Unit) -> InstalledBundle,
    private val engines: List<Engine>,
    private val publish: (Screen) -> Unit,
) : Closeable {
    private var bundle: InstalledBundle? = null
    private var artifacts: List<Artifact> = emptyList()
    private var artifact = 0
    private var choices: List<Choice> = emptyList()
    private var choice = 0
    private var opened: Opened? = null
    private var ready: Screen.Ready? = null

    /** The last notice, while nothing was [ready]. */
    private var unsaid: String? = null

    /** Installs the bundle where it is not, and loads [wanted], or the first choice where that is not there. */
    fun start(wanted: Selection?) = failing {
        publish(Screen.Preparing(COPYING, 0, 0))
        val found = bundle ?: install { publish(Screen.Preparing(COPYING, it.done, it.of)) }
        artifacts = found.artifacts.filter { artifact -> engines.any { it.runtime == artifact.runtime } }
        if (artifacts.isEmpty()) {
            throw BundleException("this app has ${engines.joinToString { it.runtime.key }}, the bundle has none of it")
        }
        bundle = found
        use(artifacts.indexOfFirst { label(it) == wanted?.artifact }.coerceAtLeast(0), wanted?.choice)
        open()
    }

    /** Does again what the screen says has failed. */
    fun retry(wanted: Selection?) {
        if (bundle == null) start(wanted) else failing(::open)
    }

    /** Loads artifact [index] of the picker, with the choice of the same name if it has that. */
    fun chooseArtifact(index: Int) {
        if (index == artifact || index !in artifacts.indices) return
        use(index, choices[choice].label)
        failing(::open)
    }

    /** Loads choice [index] of the picker. */
    fun choose(index: Int) {
        if (index == choice || index !in choices.indices) return
        choice = index
        failing(::open)
    }

    /** Classifies an image; without anything loaded it is left out. */
    fun classify(image: PixelRows) = failing {
        val (shown, loaded) = (ready ?: return@failing) to (opened ?: return@failing)
        try {
            val (bar, words) = loaded.answer(image)
            show(shown.copy(strip = shown.strip + bar, answer = words))
        } catch (error: BundleException) {
            notice(error.oneLine())
        }
    }

    /**
     * Says, beside the last answer, what went wrong outside of here: a photo, the camera. It stays while other images
     * are classified, until null takes it away: when something else is asked for. Where there is nothing to stand
     * beside, it waits until there is.
     */
    fun notice(text: String?) {
        val shown = ready
        if (shown == null) unsaid = text else show(shown.copy(notice = text))
    }

    override fun close() = failing {
        val closing = opened
        ready = null
        opened = null
        closing?.close()
    }

    private fun use(index: Int, label: String?) {
        val manifest = checkNotNull(bundle).bundle.manifest
        artifact = index
        choices = choices(manifest, artifacts[index])
        choice = choices.indexOfFirst { it.label == label }.coerceAtLeast(0)
    }

    /** Puts the choice into memory, in place of the one before. */
    private fun open() {
        close()
        val (found, chosen) = artifacts[artifact] to choices[choice]
        val engine = engines.first { it.runtime == found.runtime }
        publish(Screen.Preparing(LOADING, 0, 0))
        opened = Opened.open(checkNotNull(bundle), found, chosen, engine) { done, of ->
            publish(Screen.Preparing(LOADING, done.toLong(), of.toLong()))
        }
        show(Screen.Ready(picker(), Strip(chosen.budgetMs), answer = null, notice = unsaid))
        unsaid = null
    }

    private fun show(screen: Screen.Ready) {
        ready = screen
        publish(screen)
    }

    private fun picker() = Picker(artifacts.map(::label), artifact, choices.map { it.label }, choice)

    /** Everything that bundles, runtimes and storage can do becomes a screen; mistakes in the program do not. */
    private fun failing(action: () -> Unit) = try {
        action()
    } catch (error: BundleException) {
        fail(error.oneLine())
    } catch (error: LowStorageException) {
        fail("${error.oneLine()}; make room and try again")
    } catch (error: IOException) {
        fail("The storage failed: ${error.oneLine()}; make room and try again")
    } catch (error: LinkageError) { // a runtime without its native library
        fail("${wanted()} does not run on this device: ${error.oneLine()}; choose another")
    } catch (_: OutOfMemoryError) {
        fail("${wanted()} does not fit into memory; choose one width")
    }

    private fun wanted(): String = artifacts.getOrNull(artifact)?.let(::label) ?: "The bundle"

    /** What is loaded stays until the next choice takes its place. */
    private fun fail(message: String) {
        ready = null
        publish(Screen.Failed(message, if (artifacts.isEmpty()) null else picker()))
    }

    private companion object {
        const val COPYING = "Copying the bundle"
        const val LOADING = "Loading the network"
    }
}
