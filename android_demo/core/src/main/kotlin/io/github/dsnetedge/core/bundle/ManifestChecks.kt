package io.github.dsnetedge.core.bundle

import io.github.dsnetedge.core.policy.Node
import io.github.dsnetedge.core.policy.WidthPolicy
import io.github.dsnetedge.core.policy.leaves

/** What must hold across a manifest's records, beyond each field (`edge/bundle/checks.py`): one clause per problem. */
internal fun problemsOf(manifest: Manifest): Sequence<String> = sequence {
    yieldAll(widthProblems(manifest))
    yieldAll(gateProblems(manifest))
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
    val (parts, lengths) = maxOf(1, manifest.gates.size) to manifest.widths.map { it.path.size }.toSet()
    if (lengths != setOf(parts)) {
        yield("paths of ${lengths.sorted().joinToString()} entries; with ${manifest.gates.size} gate(s) they have $parts")
    }
    if (lengths == setOf(1) && parts == 1) {
        for (width in manifest.widths.filter { it.path != listOf(it.index) }) {
            yield("path ${width.path} of width ${width.index}; with at most one gate it must be [${width.index}]")
        }
    }
    yieldAll(repeated(manifest.widths.map { "path ${it.path}" }))
}

private fun gateProblems(manifest: Manifest) = sequence {
    val kinds = manifest.gates.map { it.kind }
    if (kinds != listOf(GateKind.SIDE) && GateKind.SIDE in kinds) {
        yield("gates ${kinds.map { it.key }}; valid: none, one at the side, or any number on the trunk")
    }
    for ((number, gate) in manifest.gates.withIndex()) {
        val entries = manifest.widths.mapNotNull { it.path.getOrNull(number) }.toSet()
        if (gate.choices != gate.choices.distinct().sorted() || !entries.containsAll(gate.choices)) {
            val valid = entries.sorted().take(SHOWN)
            yield("gate choices ${gate.choices.take(SHOWN)} must be ascending entries of $valid")
        }
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
    val setProblems = programSetProblems(manifest, artifact).toList()
    yieldAll(setProblems)
    for (program in artifact.programs) {
        yieldAll(programProblems(manifest, artifact, program).map { "${program.name}: $it" })
    }
    if (setProblems.isEmpty()) yieldAll(featuresProblems(artifact).distinct())
}

/** Where a program takes features in another form than the one before it, on the path of a width, gives. */
private fun featuresProblems(artifact: Artifact) = sequence {
    for (width in artifact.widths) {
        for ((before, program) in artifact.path(width).zipWithNext()) {
            val (given, taken) = features(before.outputs) to features(program.inputs)
            if (given != taken) yield("${program.name} takes features as $taken, but ${before.name} gives $given")
        }
    }
}

private fun features(tensors: List<TensorInfo>): List<TensorInfo> = tensors.filter { it.name == FEATURES }

private fun programSetProblems(manifest: Manifest, artifact: Artifact) = sequence {
    val absent = artifact.widths.filter { it > manifest.widths.lastIndex }
    if (absent.isNotEmpty()) {
        yield("programs for widths ${absent.take(SHOWN)}; valid: 0 to ${manifest.widths.lastIndex}")
        return@sequence
    }
    val paths = artifact.widths.associateWith { programsOf(manifest.gates, manifest.widths[it]) }
    val found = artifact.programs.associate { it.name to it.widths }
    val needed = paths.values.flatten().distinct()
    if (found.keys != needed.toSet() || needed.isEmpty()) {
        val shown = needed.take(SHOWN).ifEmpty { listOf("one that answers for each width") }.joinToString()
        yield("its programs must be $shown, found ${found.keys.take(SHOWN).joinToString()}")
        return@sequence
    }
    val served = paths.flatMap { (width, names) -> names.map { it to width } }.groupBy({ it.first }, { it.second })
    val wrong = served.filter { (name, widths) -> found[name] != widths }
    for ((name, widths) in wrong) {
        yield("program $name says that it serves widths ${found[name]?.take(SHOWN)}, not ${widths.take(SHOWN)}")
    }
    if (wrong.isNotEmpty()) return@sequence
    for ((width, names) in paths) {
        if (artifact.path(width).map { it.name } != names) {
            yield("the programs of width $width must lie in the order in which they run: ${names.joinToString()}")
        }
    }
}

private fun programProblems(manifest: Manifest, artifact: Artifact, program: Program) = sequence {
    val (inputs, outputs) = program.inputs.map { it.name } to program.outputs.map { it.name }
    if (inputs != program.role.inputs.toList() || outputs.sorted() != program.role.outputs.toList()) {
        yield("inputs and outputs must be ${program.role.inputs} and ${program.role.outputs}")
    }
    for (tensor in program.inputs + program.outputs) yieldAll(tensorProblems(manifest, artifact, program, tensor))
    if (program.rootOffset != null && program.rootOffset > artifact.bytes - Int.SIZE_BYTES) {
        yield("root_offset ${program.rootOffset} lies outside the file of ${artifact.bytes} bytes")
    }
}

private fun tensorProblems(manifest: Manifest, artifact: Artifact, program: Program, tensor: TensorInfo) = sequence {
    val side = manifest.model.inputSize
    val image = if (artifact.runtime == Runtime.LITERT) listOf(1, side, side, 3) else listOf(1, 3, side, side)
    if (tensor.name == IMAGE && (tensor.shape != image || tensor.dtype != DType.FLOAT32)) {
        yield("image is ${tensor.dtype.key} ${tensor.shape}; it must be float32 $image")
    }
    val count = when (tensor.name) {
        LOGITS -> manifest.model.classes.size
        GATE_LOGITS -> manifest.gates.getOrNull(gateOf(program))?.choices?.size
        else -> null
    }
    if (count != null && (tensor.elements != count || tensor.shape.first() != 1)) {
        yield("${tensor.name} has shape ${tensor.shape}, which does not fit $count choices")
    }
}

/** The number of the gate that a program ends with, where it ends with one. */
private fun gateOf(program: Program): Int = if (program.role == Role.STAGE) program.name.split('_')[1].toInt() else 0

private fun pointProblems(manifest: Manifest, point: OperatingPoint) = sequence {
    val policy = point.policy
    if (policy.widths.last() > manifest.widths.lastIndex) {
        yield("width ${policy.widths.last()}; valid: 0 to ${manifest.widths.lastIndex}")
    } else if (policy is WidthPolicy.Tree) {
        yieldAll(treeProblems(manifest, policy.root, gate = 0))
    }
    if (manifest.gates.isEmpty() && policy.asksGate) {
        yield("several widths, but the bundle has no gate to choose between them")
    }
    val logits = manifest.gates.firstOrNull()?.choices?.size ?: 0
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

/** What keeps a node, at the depth of a gate, from deciding there. */
private fun treeProblems(manifest: Manifest, node: Node, gate: Int): Sequence<String> = sequence {
    if (gate > manifest.gates.lastIndex) {
        yield("a tree that asks ${gate + 1} gates; the bundle has ${manifest.gates.size}")
        return@sequence
    }
    for (branch in node.next) {
        val ways = leaves(branch).map { manifest.widths[it].path.take(gate + 1) }.distinct()
        if (ways.size > 1) {
            yield("widths ${leaves(branch).take(SHOWN)} go on together after gate ${gate + 1}, where their programs differ")
        } else if (branch is Node) {
            yieldAll(treeProblems(manifest, branch, gate + 1))
        }
    }
}

private fun repeated(items: List<String>): Sequence<String> =
    items.groupingBy { it }.eachCount().asSequence().filter { it.value > 1 }.map { "${it.key} appears twice" }

private const val SHOWN = 8
