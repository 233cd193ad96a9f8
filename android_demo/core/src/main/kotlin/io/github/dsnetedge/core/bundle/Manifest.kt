package io.github.dsnetedge.core.bundle

import io.github.dsnetedge.core.policy.WidthPolicy

/** Newest format of `manifest.json` that this reader knows. */
const val MANIFEST_FORMAT = "dsnet-bundle/2"

/** Oldest one: of bundles with at most one gate. */
const val FIRST_MANIFEST_FORMAT = "dsnet-bundle/1"

/**
 * `manifest.json` (docs/bundle.md), as far as running a bundle needs it: parity, accuracy, held-out estimates and
 * provenance are for reports, and stay unread like every unknown field. [readManifest] checks what is here.
 */
data class Manifest(
    val model: Model,
    /** Narrow to wide. */
    val widths: List<Width>,
    /** In the order in which they decide; without any, nothing in the network chooses between the widths. */
    val gates: List<Gate>,
    val artifacts: List<Artifact>,
    val weights: List<WeightsFile>,
    val operatingPoints: List<OperatingPoint>,
)

/** The network: what goes in and what the outputs mean. */
data class Model(
    val name: String,
    val classes: List<String>,
    /** Side of the square input in pixels. */
    val inputSize: Int,
    /** Per channel, red first: images are divided by 255, then (x − mean) / std. */
    val mean: List<Double>,
    val std: List<Double>,
)

/** One width of the routing space. */
data class Width(
    val index: Int,
    val name: String,
    /** Which of its entries each part runs at: a number per gate on the trunk; without one, the index. */
    val path: List<Int>,
    /** Multiply-accumulates for one image, gates included. */
    val macs: Long,
    val params: Long,
)

enum class GateKind(val key: String) { TRUNK("trunk"), SIDE("side") }

/** Where a gate sits and which entry of its part each of its logits stands for; with one gate, which width. */
data class Gate(val kind: GateKind, val choices: List<Int>)

enum class Runtime(val key: String) { LITERT("litert"), EXECUTORCH("executorch"), COREML("coreml") }

enum class Role(val key: String, val inputs: Set<String>, val outputs: Set<String>) {
    PREFIX("prefix", setOf(IMAGE), setOf(FEATURES, GATE_LOGITS)),
    STAGE("stage", setOf(FEATURES), setOf(FEATURES, GATE_LOGITS)),
    TAIL("tail", setOf(FEATURES), setOf(LOGITS)),
    GATE("gate", setOf(IMAGE), setOf(GATE_LOGITS)),
    NET("net", setOf(IMAGE), setOf(LOGITS));

    /** Whether the program gives the class logits. */
    val answers: Boolean get() = LOGITS in outputs
    val readsFeatures: Boolean get() = FEATURES in inputs
    val givesFeatures: Boolean get() = FEATURES in outputs
}

const val IMAGE = "image"
const val FEATURES = "features"
const val GATE_LOGITS = "gate_logits"
const val LOGITS = "logits"

enum class DType(val key: String) { FLOAT32("float32"), INT8("int8") }

/** real = [scale] · (q − [zeroPoint]). */
data class Quantization(val scale: Double, val zeroPoint: Int)

/** One input or output of a program; [quantization] is null exactly for float32. */
data class TensorInfo(val name: String, val shape: List<Int>, val dtype: DType, val quantization: Quantization?) {
    val elements: Int get() = shape.reduce(Int::times)
}

/** One callable unit of an artifact: a LiteRT signature, an ExecuTorch method. */
data class Program(
    val name: String,
    val role: Role,
    /** The widths whose images run it, narrow to wide. */
    val widths: List<Int>,
    val inputs: List<TensorInfo>,
    val outputs: List<TensorInfo>,
    /** LiteRT: with this number, little-endian, in the file's first 4 bytes, a runtime sees this program alone. */
    val rootOffset: Long?,
)

/** A file that the manifest vouches for. */
interface BundleFile {
    /** Relative to the bundle, with forward slashes. */
    val file: String
    val bytes: Long

    /** Lower-case hexadecimal. */
    val sha256: String
}

/** One file that holds every program for one runtime and precision. */
data class Artifact(
    val runtime: Runtime,
    val precision: String,
    override val file: String,
    override val bytes: Long,
    override val sha256: String,
    /** In the order in which they run. */
    val programs: List<Program>,
) : BundleFile {
    /** The widths it can run, narrow to wide. */
    val widths: List<Int> by lazy { programs.filter { it.role.answers }.flatMap { it.widths }.toSortedSet().toList() }

    private val chains: Map<Int, List<Program>> by lazy {
        programs.flatMap { program -> program.widths.map { it to program } }.groupBy({ it.first }, { it.second })
    }

    /** What an image runs that a width answers, in order; the last program gives the logits. Empty: no such width. */
    fun path(width: Int): List<Program> = chains[width].orEmpty()

    override fun toString(): String = "artifact ${runtime.key} $precision"
}

enum class WeightsRole(val key: String) { STORE("store"), RECIPE("recipe"), TEMPLATE("template") }

/** A nested weight store, its recipe or its templates, of the artifact with the same runtime and precision. */
data class WeightsFile(
    val runtime: Runtime,
    val precision: String,
    val role: WeightsRole,
    override val file: String,
    override val bytes: Long,
    override val sha256: String,
) : BundleFile

/** How often an operating point picks a width, and what an image takes then; null in points of older writers. */
data class Share(val width: Int, val share: Double, val meanMs: Double?)

/** One condition that an operating point was asked to meet, and what it does on the calibration images. */
data class Limit(val statistic: Statistic, val value: Double, val expected: Double)

enum class Statistic(val key: String) {
    MEAN_MS("mean_ms"),
    P50_MS("p50_ms"),
    P90_MS("p90_ms"),
    P95_MS("p95_ms"),
    P99_MS("p99_ms"),
    IMAGES_PER_S("images_per_s"),
    MEAN_MACS("mean_macs"),
    ACCURACY("accuracy");

    /** Whether a slower device makes it worse, by the factor that it is slower. */
    val isLatency: Boolean get() = this != MEAN_MACS && this != ACCURACY
}

/** A policy for one device and its limits. */
data class OperatingPoint(
    val name: String,
    val runtime: Runtime,
    val precision: String,
    val device: String,
    val runner: String,
    val threads: Int,
    val sustained: Boolean,
    val policy: WidthPolicy,
    val limits: List<Limit>,
    val shares: List<Share>,
    val expectedMeanMs: Double,
    /** Top-1 on the calibration images, 0 to 1. */
    val calibrationAccuracy: Double,
    /** The one artifact that the policy is for. */
    val artifactSha256: String,
)
