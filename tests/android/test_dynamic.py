"""The core's dynamic inference on the real runtimes: the same classes, widths, scores and logits as in Python."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.bundle.manifest import Artifact, CascadePolicy, Policy, ThresholdPolicy, UtilityPolicy
from edge.bundle.reader import Bundle, open_bundle
from edge.runtime import Always, DynamicSession, open_session
from edge.runtime.policy import fixed
from edge.runtime.route import Route, real_values
from edge.runtime.session import Array, Session
from tests.android.kotlin import Tools, compiled_core, run_main
from tests.android.runtime_server import runtime_server
from tests.native.data import NETWORKS
from tests.runtime import golden

IMAGES = 6


class Watched:
    """A real session that keeps the logits of every width that runs."""

    def __init__(self, session: Session, artifact: Artifact) -> None:
        self._session, self._route = session, Route.of(artifact)
        self.ran: list[tuple[int, list[float]]] = []

    def run(self, name: str, inputs: Any) -> dict[str, Array]:
        """Run a program."""
        outputs = self._session.run(name, inputs)
        for width, body in self._route.bodies.items():
            if body.name == name:
                self.ran.append((width, real_values(body, outputs, "logits").tolist()))
        return outputs


def in_python(bundle: Bundle, artifact: Artifact, policy: Policy, images: Sequence[Array]) -> list[dict[str, Any]]:
    """Return what the runtime says here to each image."""
    watched = Watched(open_session(bundle, artifact, [each.name for each in artifact.programs]), artifact)
    session = DynamicSession(watched, artifact, bundle.manifest.model.classes, Always(policy))  # type: ignore[arg-type]
    found = []
    for image in images:
        watched.ran.clear()
        answer = session.answer(image)
        found.append(
            {
                "class": answer.class_index,
                "probability": answer.probability,
                "ran": [width for width, _ in watched.ran],
                "score": answer.score,
                "logits": watched.ran[-1][1],
            }
        )
    return found


def policies(bundle: Bundle, artifact: Artifact, images: Sequence[Array]) -> list[Policy]:
    """Return one of each kind, which send some of the images to each width."""
    narrow = in_python(bundle, artifact, ThresholdPolicy(widths=[0, 1], thresholds=[1e9]), images)
    return [
        ThresholdPolicy(widths=[0, 1], thresholds=[float(np.median([answer["score"] for answer in narrow]))]),
        CascadePolicy(widths=[0, 1], confidences=[float(np.median([answer["probability"] for answer in narrow]))]),
        UtilityPolicy(widths=[0, 1], weights=[[1.0, -1.0], [-1.0, 1.0]], biases=[0.0, 0.0], penalties=[0.0, 0.1]),
        fixed(1),
    ]


@pytest.mark.parametrize(
    ("folder", "precision"),
    [(golden.FOLDER, "int8"), (NETWORKS / "first", "int8"), (NETWORKS / "first", "fp32")],
    ids=["litert", "executorch-int8", "executorch-fp32"],
)
def test_images_are_answered_as_in_python(tools: Tools, tmp_path: Path, folder: Path, precision: str) -> None:
    bundle = open_bundle(folder)
    artifact = bundle.artifact(precision=precision)
    noise = np.random.default_rng(5)
    shape = artifact.programs[0].inputs[0].shape
    images = [noise.standard_normal(shape).astype(np.float32) for _ in range(IMAGES)]
    asked = policies(bundle, artifact, images)
    (tmp_path / "policies.json").write_text(json.dumps([policy.model_dump(mode="json") for policy in asked]))
    (tmp_path / "images.bin").write_bytes(b"".join(image.astype("<f4").tobytes() for image in images))
    with runtime_server(artifact) as server:
        files = (tmp_path / "cache", tmp_path / "policies.json", tmp_path / "images.bin")
        arguments = (server.port, folder, precision, *files)
        answers = run_main(tools, compiled_core(tools), "ClassifyImages", *map(str, arguments))
    expected = [answer for policy in asked for answer in in_python(bundle, artifact, policy, images)]
    assert {tuple(answer["ran"]) for answer in expected} >= {(0,), (1,), (0, 1)}, "some images stay, some go on"
    for found, wanted in zip(answers, expected, strict=True):
        # Not to the bit: Java's exp and NumPy's may round the last bit of a float64 differently.
        for name in ("score", "probability"):
            assert found.pop(name) == pytest.approx(wanted.pop(name), rel=1e-14), name
        assert found == wanted
