"""A nested LiteRT file with some of the programs of another one; what is left hydrates to the same bytes."""

from collections.abc import Sequence

from edge.bundle.litert.flatbuffer import doubting, read, write
from edge.bundle.litert.soundness import check_sound
from edge.bundle.manifest import Program


@doubting()
def restrict(nested: bytes, programs: Sequence[Program]) -> tuple[bytes, list[Program]]:
    """Return a nested file with these programs of one, and their records with the new file's root offsets.

    A shared constant ends where the widest program that is left stops reading. Levels stay those of the file as it was
    converted: block sizes are not chosen anew.
    """
    file = read(nested, [program.name for program in programs])
    check_sound(file)
    data, roots = write(file, shared=True)
    return data, [program.model_copy(update={"root_offset": roots[program.name]}) for program in programs]
