"""Programs run on one image: each once for what ran before it, however many widths' ways lead over it."""

from edge.bundle.manifest import Program
from edge.runtime.route import IMAGE, feed
from edge.runtime.session import Array, Session


class OneImage:
    """What an artifact's programs give for one image."""

    def __init__(self, session: Session, image: Array) -> None:
        """Take a session that holds the programs which will be asked for."""
        self._session, self._image = session, image
        self._found: dict[tuple[str, ...], dict[str, Array]] = {}

    def after(self, *programs: Program) -> dict[str, Array]:
        """Return the outputs of the last of these programs, run one after the other, from the image on."""
        way = tuple(program.name for program in programs)
        if way not in self._found:
            before = self.after(*programs[:-1]) if programs[1:] else {}
            inputs = feed(programs[-1], {IMAGE: self._image, **before})
            self._found[way] = self._session.run(way[-1], inputs)
        return self._found[way]
