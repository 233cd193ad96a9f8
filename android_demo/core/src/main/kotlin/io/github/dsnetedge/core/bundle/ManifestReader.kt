package io.github.dsnetedge.core.bundle

import io.github.dsnetedge.core.BundleException
import io.github.dsnetedge.core.json.JsonNode
import io.github.dsnetedge.core.json.parseRecord
import io.github.dsnetedge.core.policy.MAX_WIDTHS
import io.github.dsnetedge.core.policy.readPolicy
import io.github.dsnetedge.core.policy.readThresholds
import io.github.dsnetedge.core.policy.readWidths

private const val MAX_CLASSES = 100_000
private const val MAX_INPUT_SIZE = 2048
private const val MAX_ELEMENTS = 1 shl 28
private const val MAX_DIMENSIONS = 8
private const val MAX_LIMITS = 16

/** Most gates that a network may have, and so most stages and tails on a path. */
const val MAX_GATES = 8

/** The prefix, and for each width's path one program after each gate. */
private const val MAX_PROGRAMS = 1 + MAX_WIDTHS * MAX_GATES
private const val MAX_OPERATING_POINTS = 1024
private const val MAX_THREADS = 1024
private const val SHOWN_PROBLEMS = 5
internal val POSITIVE = 1L..Long.MAX_VALUE
private val WIDTH_INDEX = 0 until MAX_WIDTHS
private val SHARE = 0.0..1.0
internal val SHA256 = Regex("[0-9a-f]{64}")
private val PRECISION = Regex("[a-z0-9]{2,8}")
private val PROGRAM_NAME = Regex("prefix|gate|(stage_[1-7]|tail)(_[0-9]{2,3}){1,2}|net_[0-9]{2,3}")
private val FIRST_FORMAT = Regex("$FIRST_MANIFEST_FORMAT(\\.[0-9]{1,6})?")
private val POINT_NAME = Regex("[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

/**
 * The checked manifest in [data]; [origin] is what errors call it. The bounds are those of `edge/bundle/manifest.py`.
 *
 * @throws BundleException for anything but a manifest whose parts hold together
 */
fun readManifest(data: ByteArray, origin: String = "manifest.json"): Manifest {
    val manifest = readManifest(parseRecord(data, MANIFEST_FORMAT, origin, oldest = FIRST_MANIFEST_FORMAT))
    val problems = problemsOf(manifest).toList()
    if (problems.isEmpty()) return manifest
    val more = problems.size - SHOWN_PROBLEMS
    val shown = problems.take(SHOWN_PROBLEMS).joinToString("; ")
    throw BundleException("$origin: $shown" + if (more > 0) "; and $more more" else "")
}

/** In the first format `gate` is one record or null, and a path says nothing that the width's index does not. */
private fun readManifest(node: JsonNode): Manifest {
    val isFirst = FIRST_FORMAT.matches(node["format"].text())
    return Manifest(
        model = readModel(node["model"]),
        widths = node["widths"].list(1..MAX_WIDTHS).map { readWidth(it, isFirst) },
        gates = if (isFirst) listOfNotNull(node.nullable("gate")?.let(::readGate)) else readGates(node["gates"]),
        artifacts = node["artifacts"].list().map { readArtifact(it, isFirst) },
        weights = node.optional("weights")?.list().orEmpty().map(::readWeightsFile),
        operatingPoints = node.optional("operating_points")?.list(0..MAX_OPERATING_POINTS).orEmpty().map(::readOperatingPoint),
    )
}

private fun readModel(node: JsonNode) = Model(
    name = node["name"].text(),
    classes = node["classes"].list(2..MAX_CLASSES).map { it.text() },
    inputSize = node["input_size"].int(8..MAX_INPUT_SIZE),
    mean = node["mean"].list(3..3).map { it.number() },
    std = node["std"].list(3..3).map { it.positive() },
)

private fun readWidth(node: JsonNode, isFirst: Boolean) = Width(
    index = node["index"].int(WIDTH_INDEX),
    name = node["name"].text(),
    path = if (isFirst) listOf(node["index"].int(WIDTH_INDEX)) else readPath(node["path"]),
    macs = node["macs"].long(POSITIVE),
    params = node["params"].long(POSITIVE),
)

private fun readPath(node: JsonNode): List<Int> = node.list(1..MAX_GATES).map { it.int(WIDTH_INDEX) }

private fun readGates(node: JsonNode): List<Gate> = node.list(0..MAX_GATES).map(::readGate)

private fun readGate(node: JsonNode) = Gate(
    kind = node["kind"].oneOf(GateKind.entries) { it.key },
    choices = node["choices"].list(1..MAX_WIDTHS).map { it.int(WIDTH_INDEX) },
)

private fun readArtifact(node: JsonNode, isFirst: Boolean) = Artifact(
    runtime = readRuntime(node),
    precision = node["precision"].matching(PRECISION),
    file = node["file"].text(),
    bytes = node["bytes"].long(POSITIVE),
    sha256 = node["sha256"].matching(SHA256),
    programs = node["programs"].list(1..MAX_PROGRAMS).let {
        if (isFirst) readFirstPrograms(it) else it.map(::readProgram)
    },
)

/** In the first format a program has one width, or none where all images run it, and lies anywhere. */
private fun readFirstPrograms(nodes: List<JsonNode>): List<Program> {
    val own = nodes.map { it.optional("width")?.int(WIDTH_INDEX) }
    val every = own.filterNotNull().distinct().sorted()
    val headFirst = nodes.zip(own).sortedBy { (_, width) -> width != null }
    return headFirst.map { (node, width) -> readProgram(node, width?.let(::listOf) ?: every) }
}

private fun readWeightsFile(node: JsonNode) = WeightsFile(
    runtime = readRuntime(node),
    precision = node["precision"].matching(PRECISION),
    role = node["role"].oneOf(WeightsRole.entries) { it.key },
    file = node["file"].text(),
    bytes = node["bytes"].long(POSITIVE),
    sha256 = node["sha256"].matching(SHA256),
)

internal fun readRuntime(node: JsonNode): Runtime = node["runtime"].oneOf(Runtime.entries) { it.key }

/** One program's entry, of a manifest or of a request that quotes one. */
internal fun readProgram(node: JsonNode): Program = readProgram(node, readWidths(node))

private fun readProgram(node: JsonNode, widths: List<Int>): Program {
    val program = Program(
        name = node["name"].matching(PROGRAM_NAME),
        role = node["role"].oneOf(Role.entries) { it.key },
        widths = widths,
        inputs = node["inputs"].list().map(::readTensor),
        outputs = node["outputs"].list().map(::readTensor),
        rootOffset = node.optional("root_offset")?.long(4..Long.MAX_VALUE),
    )
    if (program.name.substringBefore('_') != program.role.key) {
        node.refuse("program ${program.name} does not fit role ${program.role.key}")
    }
    if (widths.isEmpty()) node.refuse("program ${program.name} serves no width")
    return program
}

private fun readTensor(node: JsonNode): TensorInfo {
    val shape = node["shape"].list(1..MAX_DIMENSIONS).map { it.int(1..MAX_ELEMENTS) }
    // Each factor is at most 2^28 and so is the product before it: no step overflows 64 bits.
    shape.fold(1L) { product, size ->
        (product * size).also { if (it > MAX_ELEMENTS) node.refuse("more than $MAX_ELEMENTS elements") }
    }
    val dtype = node["dtype"].oneOf(DType.entries) { it.key }
    val scale = node.optional("scale")?.positive()
    val zeroPoint = node.optional("zero_point")?.int(-128..127)
    if ((scale != null) != (dtype == DType.INT8) || (zeroPoint != null) != (dtype == DType.INT8)) {
        node.refuse("int8 needs scale and zero_point, float32 neither")
    }
    val quantization = if (scale != null && zeroPoint != null) Quantization(scale, zeroPoint) else null
    return TensorInfo(node["name"].text(), shape, dtype, quantization)
}

/** An operating point of a manifest; those from before there were policies have thresholds beside a budget. */
fun readOperatingPoint(node: JsonNode): OperatingPoint {
    val isFirstForm = !node.has("policy") && node.has("budget_ms")
    val limits = if (isFirstForm) listOf(budget(node)) else node["limits"].list(1..MAX_LIMITS).map(::readLimit)
    val point = OperatingPoint(
        name = node["name"].matching(POINT_NAME),
        runtime = readRuntime(node),
        precision = node["precision"].text(),
        device = node["device"].text(),
        runner = node.optional("runner")?.text() ?: "python",
        threads = node["threads"].int(1..MAX_THREADS),
        sustained = node.optional("sustained")?.bool() ?: false,
        policy = if (isFirstForm) readThresholds(node) else readPolicy(node["policy"]),
        limits = limits,
        shares = node["shares"].list(0..MAX_WIDTHS).map(::readShare),
        expectedMeanMs = node["expected_mean_ms"].number(0.0..Double.MAX_VALUE),
        calibrationAccuracy = node["calibration_accuracy"].number(SHARE),
        artifactSha256 = node["artifact_sha256"].matching(SHA256),
    )
    if (limits.distinctBy { it.statistic }.size < limits.size) node.refuse("limits name the same thing twice")
    if (point.shares.distinctBy { it.width }.size < point.shares.size) node.refuse("shares name the same thing twice")
    return point
}

private fun budget(node: JsonNode): Limit {
    val latencies = Statistic.entries.filter { it.key.endsWith("_ms") }
    return Limit(
        statistic = node["statistic"].oneOf(latencies) { it.key.removeSuffix("_ms") },
        value = node["budget_ms"].positive(),
        expected = node["expected_budget_ms"].number(0.0..Double.MAX_VALUE),
    )
}

private fun readLimit(node: JsonNode): Limit {
    val statistic = node["statistic"].oneOf(Statistic.entries) { it.key }
    val limit = Limit(statistic, node["value"].positive(), node["expected"].number(0.0..Double.MAX_VALUE))
    if (statistic == Statistic.ACCURACY && maxOf(limit.value, limit.expected) > 1) node.refuse("an accuracy is 0 to 1")
    return limit
}

private fun readShare(node: JsonNode) = Share(
    width = node["width"].int(WIDTH_INDEX),
    share = node["share"].number(SHARE),
    meanMs = node.optional("mean_ms")?.positive(),
)
