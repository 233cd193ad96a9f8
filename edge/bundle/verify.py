"""Check everything that a bundle claims about itself, one finding per claim, and go on after a failure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from edge.bundle.coreml.check import check_programs as check_coreml_programs
from edge.bundle.describe import limit_text
from edge.bundle.executorch.check import check_programs as check_executorch_programs
from edge.bundle.litert.check import check_programs as check_litert_programs
from edge.bundle.manifest import Artifact, WeightsFile
from edge.bundle.reader import Bundle, open_bundle
from edge.errors import BundleError, EdgeError, NotABundleError, RuntimeUnavailableError

Outcome = Literal["pass", "fail", "skip"]
Claims = Iterator[tuple[str, Callable[[], str]]]
"""Pairs of a claim's name and the function that checks it: it returns what was found or raises an EdgeError."""

PROGRAM_CHECKS: dict[str, Callable[[Bundle, Artifact], Claims]] = {
    "litert": check_litert_programs,
    "executorch": check_executorch_programs,
    "coreml": check_coreml_programs,
}
"""Runtime → the claims about an artifact's content; unreadable content is a BundleError."""


@dataclass(frozen=True)
class Check:
    """One claim and how it stood up. `skip`: this machine cannot check it, and `detail` says why."""

    claim: str
    outcome: Outcome
    detail: str


def verify(path: Path) -> Iterator[Check]:
    """Yield one check per claim of the bundle in folder or .zip `path`; what is no bundle raises NotABundleError."""
    try:
        bundle = open_bundle(path)
    except NotABundleError:
        raise
    except BundleError as error:
        yield Check("manifest", "fail", str(error))
        return
    yield Check("manifest", "pass", f"{bundle.manifest.format}, {len(bundle.manifest.widths)} widths")
    for artifact in bundle.manifest.artifacts:
        yield from _artifact_checks(bundle, artifact)
    for item in bundle.manifest.weights:
        yield _check(f"{item.runtime} {item.precision} {item.role} file", partial(_file, bundle, item))
    for point in bundle.manifest.operating_points:
        yield _check(f"operating point {point.name}", partial(_bound, bundle, point.name))


def _artifact_checks(bundle: Bundle, artifact: Artifact) -> Iterator[Check]:
    label = f"{artifact.runtime} {artifact.precision}"
    file = _check(f"{label} file", partial(_file, bundle, artifact))
    yield file
    if file.outcome != "pass":
        return
    try:
        for claim, check in PROGRAM_CHECKS[artifact.runtime](bundle, artifact):
            yield _check(f"{label} {claim}", check)
    except BundleError as error:
        yield Check(f"{label} programs", "fail", str(error))


def _check(claim: str, check: Callable[[], str]) -> Check:
    try:
        return Check(claim, "pass", check())
    except RuntimeUnavailableError as error:
        return Check(claim, "skip", str(error))
    except EdgeError as error:
        return Check(claim, "fail", str(error))


def _file(bundle: Bundle, item: Artifact | WeightsFile) -> str:
    bundle.verified_path(item)
    return f"{item.file}, {item.bytes:,} bytes, SHA-256 {item.sha256[:12]}…"


def _bound(bundle: Bundle, name: str) -> str:
    point = bundle.operating_point(name)
    return f"for the {point.runtime} {point.precision} artifact, {', '.join(map(limit_text, point.limits))}"
