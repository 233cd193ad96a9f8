package io.github.dsnetedge.core.bundle

import io.github.dsnetedge.core.BundleException
import io.github.dsnetedge.core.json.MAX_JSON_BYTES
import java.io.File

const val MANIFEST_NAME = "manifest.json"

/** A bundle in a folder. The manifest is checked when it is opened, a file when it is asked for. */
class BundleFolder private constructor(private val root: File, val manifest: Manifest) {
    /**
     * The artifact of a runtime and precision; null stands for the only one there is.
     *
     * @throws BundleException when none or several fit
     */
    fun artifact(runtime: Runtime? = null, precision: String? = null): Artifact {
        val fitting = manifest.artifacts.filter {
            (runtime == null || it.runtime == runtime) && (precision == null || it.precision == precision)
        }
        val choices = manifest.artifacts.joinToString { "${it.runtime.key} ${it.precision}" }.ifEmpty { "none" }
        return fitting.singleOrNull()
            ?: throw BundleException("${fitting.size} artifacts fit, choose one; the bundle has: $choices")
    }

    /**
     * The operating point [name], made sure to be of the artifact that this bundle holds.
     *
     * @throws BundleException for an unknown name, or thresholds of another bundle
     */
    fun operatingPoint(name: String): OperatingPoint {
        val points = manifest.operatingPoints
        val point = points.firstOrNull { it.name == name }
            ?: throw BundleException(
                "no operating point $name; valid: ${points.joinToString { it.name }.ifEmpty { "none yet" }}"
            )
        if (artifact(point.runtime, point.precision).sha256 != point.artifactSha256) {
            throw BundleException("operating point $name holds thresholds of another bundle; calibrate again")
        }
        return point
    }

    /** The store, recipe or template of an artifact. */
    fun weights(artifact: Artifact, role: WeightsRole): WeightsFile =
        manifest.weights.firstOrNull {
            it.role == role && it.runtime == artifact.runtime && it.precision == artifact.precision
        } ?: throw BundleException("$artifact has no ${role.key} in the manifest's weights")

    /**
     * The path of a file, after its place, size and SHA-256 have been checked (docs/bundle.md, "Manifest", 2 and 3).
     *
     * @throws BundleException when it is not what the manifest says
     */
    fun verified(item: BundleFile): File {
        val path = located(root, item.file)
        contentProblem(path, item.bytes, item.sha256)?.let {
            throw BundleException("${item.file}: $it; copy the bundle again")
        }
        return path
    }

    companion object {
        /** @throws BundleException, in one line, for anything out of order */
        fun open(root: File): BundleFolder =
            BundleFolder(root, readManifest(readBounded(located(root, MANIFEST_NAME)), MANIFEST_NAME))

        private fun located(root: File, name: String): File {
            val path = File(root, name)
            if (!path.canonicalFile.startsWith(root.canonicalFile)) {
                throw BundleException("$name: a link leads outside the bundle")
            }
            if (!path.isFile) throw BundleException("$name: there is no such file in the bundle")
            return path
        }
    }
}

/** How the content of a file differs from what the manifest says, or null. A file of another size is not read. */
internal fun contentProblem(path: File, bytes: Long, sha256: String): String? = when {
    path.length() != bytes -> "${path.length()} bytes instead of $bytes"
    path.inputStream().use(::sha256) != sha256 -> "its SHA-256 is not the manifest's"
    else -> null
}

/** The content of a small file; a [BundleException] above [MAX_JSON_BYTES]. */
internal fun readBounded(path: File): ByteArray {
    if (path.length() > MAX_JSON_BYTES) {
        throw BundleException("${path.name}: larger than the limit of $MAX_JSON_BYTES bytes")
    }
    return path.readBytes()
}
