"""From a bundle to a running session: pick the artifact, check it, hand it to the runtime it is for."""

from collections.abc import Iterable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from edge.bundle.nested.weights import open_nested_weights
from edge.errors import RuntimeUnavailableError
from edge.runtime.litert_session import LiteRtSession, installed_litert
from edge.runtime.native_stderr import native_stderr_silenced
from edge.runtime.session import Session

if TYPE_CHECKING:
    from edge.bundle.manifest import Artifact
    from edge.bundle.reader import Bundle


def available_runtimes() -> tuple[str, ...]:
    """Return the runtimes whose artifacts can run on this machine."""
    litert = ("litert",) if installed_litert() else ()
    return (*litert, "executorch") if find_spec("executorch") else litert


def open_session(bundle: "Bundle", artifact: "Artifact", programs: Iterable[str], threads: int = 1) -> Session:
    """Open `programs` of one of a bundle's artifacts (see `Bundle.artifact`) on this machine; no others are loaded.

    Raises RuntimeUnavailableError, naming the runtimes there are, when the artifact's is not one of them or refuses it,
    and BundleError when the artifact is not what the manifest says.
    """
    if artifact.runtime not in available_runtimes():
        there = ", ".join(available_runtimes()) or "none (pip install ai-edge-litert or executorch)"
        raise RuntimeUnavailableError(
            f"runtime {artifact.runtime} is not available on this machine; available: {there}; choose with --runtime"
        )
    if artifact.runtime == "litert":
        return LiteRtSession(bundle.verified_bytes(artifact), artifact, list(programs), threads)
    # Its official runtime brings torch, which no other command of the device side loads.
    with native_stderr_silenced():
        from edge.runtime.executorch_session import ExecuTorchSession

    return ExecuTorchSession(open_nested_weights(bundle, artifact), artifact, list(programs), threads)
