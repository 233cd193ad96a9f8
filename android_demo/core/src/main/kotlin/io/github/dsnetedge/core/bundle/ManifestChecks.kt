package io.github.dsnetedge.core.bundle

import io.github.dsnetedge.core.policy.WidthPolicy

/** What must hold across a manifest's records, beyond each field (`edge/bundle/checks.py`): one clause per problem. */
internal fun problemsOf(manifest: Manifest): Sequence<String> = sequence {
    yieldAll(widthProblems(manifest))
    yieldAll(fileProblems(manifest))
    for (artifact in manifest.artifacts) yieldAll(artifactProblems(manifest, artifact).map { "$artifact: $it" })
    yieldAll(repeated(manifest.operatingPoints.map { "operating point ${it.name}" }))
    for (point in manifest.operatingPoints) {
        yieldAll(pointProblems(manifest, point).map { "operating point ${point.name}: $it" })
    }
}

private fun widthProblems(manifest: Manifest) = sequence {
    val last = manifest.widths.lastIndex
    if (manifest.widths.map { it.index } != manifest.widths.indices.toList()) {
        yield("widths must be numbered 0 to $last in order")
    }
    val choices = manifest.gate?.choices ?: return@sequence
    if (choices != choices.distinct().sorted() || choices.last() > last) {
        yield("gate choices ${choices.take(SHOWN)} must be ascending widths within 0 to $last")
    }
}

private fun fileProblems(manifest: Manifest) = sequence {
    for (item in manifest.artifacts + manifest.weights) fileNameProblem(item.file)?.let { yield(it) }
    yieldAll(repeated(manifest.artifacts.map { "$it" }))
    val owners = manifest.artifacts.map { it.runtime to it.precision }.toSet()
    for (item in manifest.weights) {
        if (item.runtime to item.precision !in owners) {
            yield("weights for ${item.runtime.key} ${item.precision}, which it does not hold")
        }
    }
    yieldAll(repeated(manifest.weights.map { "${it.role.key} of ${it.runtime.key} ${it.precision}" }))
}

private fun artifactProblems(manifest: Manifest, artifact: Artifact) = sequence {
    yieldAll(repeated(artifact.programs.map { "program ${it.name}" }))
    yieldAll(programSetProblems(manifest, artifact))
    for (program in artifact.programs) {
        yieldAll(programProblems(manifest, artifact, program).map { "${program.name}: $it" })
    }
    val given = artifact.head?.outputs?.firstOrNull { it.name == FEATURES } ?: return@sequence
    for (program in artifact.programs) {
        val taken = program.inputs.firstOrNull { it.name == FEATURES }
        if (taken != null && taken != given) yield("${program.name} takes features as $taken, but prefix gives $given")
    }
}

private fun programSetProblems(manifest: Manifest, artifact: Artifact) = sequence {
    val (head, body) = when (manifest.gate?.kind) {
        GateKind.TRUNK -> Role.PREFIX to Role.TAIL
        GateKind.SIDE -> Role.GATE to Role.NET
        null -> null to Role.NET
    }
    val roles = artifact.programs.map { it.role }.toSet()
    if (roles != setOfNotNull(head, body)) {
        val expected = listOfNotNull(head, body).joinToString(" and ") { it.key }
        yield("its programs must be $expected, found ${roles.joinToString(" and ") { it.key }}")
    }
    val absent = artifact.widths.filter { it > manifest.widths.lastIndex }
    if (absent.isNotEmpty()) {
        yield("programs for widths ${absent.take(SHOWN)}; valid: 0 to ${manifest.widths.lastIndex}")
    }
}

private fun programProblems(manifest: Manifest, artifact: Artifact, program: Program) = sequence {
    val (inputs, outputs) = program.inputs.map { it.name } to program.outputs.map { it.name }
    if (inputs != program.role.inputs.toList() || outputs.sorted() != program.role.outputs.toList()) {
        yield("inputs and outputs must be ${program.role.inputs} and ${program.role.outputs}")
    }
    for (tensor in program.inputs + program.outputs) yieldAll(tensorProblems(manifest, artifact, tensor))
    if (program.rootOffset != null && program.rootOffset > artifact.bytes - Int.SIZE_BYTES) {
        yield("root_offset ${program.rootOffset} lies outside the file of ${artifact.bytes} bytes")
    }
}

private fun tensorProblems(manifest: Manifest, artifact: Artifact, tensor: TensorInfo) = sequence {
    val side = manifest.model.inputSize
    val image = if (artifact.runtime == Runtime.LITERT) listOf(1, side, side, 3) else listOf(1, 3, side, side)
    if (tensor.name == IMAGE && (tensor.shape != image || tensor.dtype != DType.FLOAT32)) {
        yield("image is ${tensor.dtype.key} ${tensor.shape}; it must be float32 $image")
    }
    val count = when (tensor.name) {
        LOGITS -> manifest.model.classes.size
        GATE_LOGITS -> manifest.gate?.choices?.size
        else -> null
    }
    if (count != null && (tensor.elements != count || tensor.shape.first() != 1)) {
        yield("${tensor.name} has shape ${tensor.shape}, which does not fit $count choices")
    }
}

private fun pointProblems(manifest: Manifest, point: OperatingPoint) = sequence {
    val policy = point.policy
    if (policy.widths.last() > manifest.widths.lastIndex) {
        yield("width ${policy.widths.last()}; valid: 0 to ${manifest.widths.lastIndex}")
    }
    if (manifest.gate == null && policy.asksGate) {
        yield("several widths, but the bundle has no gate to choose between them")
    }
    val logits = manifest.gate?.choices?.size ?: 0
    if (policy is WidthPolicy.Utility && policy.gateLogits != logits) {
        yield("weights for ${policy.gateLogits} gate logits; the gate has $logits")
    }
    val strangers = point.shares.map { it.width } - policy.widths.toSet()
    if (strangers.isNotEmpty()) yield("shares of widths ${strangers.take(SHOWN)}, which it does not use")
    for (artifact in manifest.artifacts.filter { it.sha256 == point.artifactSha256 }) {
        val absent = policy.widths - artifact.widths.toSet()
        if (absent.isNotEmpty()) yield("widths ${absent.take(SHOWN)} are not in $artifact")
    }
}

private fun repeated(items: List<String>): Sequence<String> =
    items.groupingBy { it }.eachCount().asSequence().filter { it.value > 1 }.map { "${it.key} appears twice" }

private const val SHOWN = 8
