package io.github.dsnetedge.core.bundle

/**
 * The programs that serve a width, in the order in which they run (`common/program_names.py`): between two gates of the
 * trunk a program depends on the entry that it runs at and on that of the part before.
 */
internal fun programsOf(gates: List<Gate>, width: Width): List<String> = when (gates.firstOrNull()?.kind) {
    GateKind.TRUNK -> trunkPrograms(width.path)
    GateKind.SIDE -> listOf(Role.GATE.key, wholeProgram(width.index))
    null -> listOf(wholeProgram(width.index))
}

private fun trunkPrograms(path: List<Int>): List<String> = listOf(Role.PREFIX.key) + path.indices.map { part ->
    val name = if (part < path.lastIndex) "${Role.STAGE.key}_${part + 1}" else Role.TAIL.key
    name + path.subList(maxOf(0, part - 1), part + 1).joinToString("") { "_" + twoDigits(it) }
}

private fun wholeProgram(width: Int): String = "${Role.NET.key}_${twoDigits(width)}"

private fun twoDigits(number: Int): String = "$number".padStart(2, '0')
