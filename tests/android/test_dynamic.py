"""The core's dynamic inference on the real runtimes: the same classes, widths, scores and logits as in Python."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert.artifacts import Request
from convert.build_bundle import build_bundle
from convert.images import CheckImages
from edge.bundle.manifest import Artifact, CascadePolicy, Policy, ThresholdPolicy, UtilityPolicy
from edge.bundle.policies import TreeNode, TreePolicy
from edge.bundle.reader import Bundle, open_bundle
from edge.runtime import Always, DynamicSession, open_session
from edge.runtime.policy import fixed, score
from edge.runtime.route import real_values
from edge.runtime.session import Array, Session
from tests.android.kotlin import Tools, compiled_core, run_main
from tests.android.runtime_server import runtime_server
from tests.convert.supernets import images as images_of
from tests.convert.supernets import trained_like
from tests.gated_network import TWO_GATES
from tests.native.data import NETWORKS
from tests.runtime import golden

IMAGES = 6


class Watched:
    """A real session that keeps the names of what runs, and the logits of every width."""

    def __init__(self, session: Session, artifact: Artifact) -> None:
        self._session = session
        self._programs = {program.name: program for program in artifact.programs}
        self.passed: list[str] = []
        self.ran: list[tuple[int, list[float]]] = []
        self.scores: list[float] = []

    def run(self, name: str, inputs: Any) -> dict[str, Array]:
        """Run a program."""
        outputs = self._session.run(name, inputs)
        program = self._programs[name]
        self.passed.append(name)
        if "gate_logits" in outputs:
            self.scores.append(float(score(real_values(program, outputs, "gate_logits"))))
        if program.answers:
            self.ran.append((program.widths[0], real_values(program, outputs, "logits").tolist()))
        return outputs


def in_python(bundle: Bundle, artifact: Artifact, policy: Policy, images: Sequence[Array]) -> list[dict[str, Any]]:
    """Return what the runtime says here to each image."""
    watched = Watched(open_session(bundle, artifact, [each.name for each in artifact.programs]), artifact)
    session = DynamicSession(watched, artifact, bundle.manifest.model.classes, Always(policy))  # type: ignore[arg-type]
    found = []
    for image in images:
        watched.ran.clear()
        watched.passed.clear()
        answer = session.answer(image)
        found.append(
            {
                "class": answer.class_index,
                "probability": answer.probability,
                "ran": [width for width, _ in watched.ran],
                "score": answer.score,
                "logits": watched.ran[-1][1],
                "passed": list(watched.passed),
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


def trees(bundle: Bundle, artifact: Artifact, images: Sequence[Array]) -> list[Policy]:
    """Return policies of a network with two gates and five widths: of (0, 0), (0, 1), (1, 0), (1, 1) and (1, 2)."""

    def middle(root: TreeNode) -> float:
        """Return the median score of the second gate, for images that all go the same way at the first one."""
        watched = Watched(open_session(bundle, artifact, [each.name for each in artifact.programs]), artifact)
        policy = TreePolicy(widths=sorted(root.leaves), root=root)
        session = DynamicSession(watched, artifact, bundle.manifest.model.classes, Always(policy))  # type: ignore[arg-type]
        found = []
        for image in images:
            session.answer(image)
            found.append(watched.scores[-1])
        return float(np.median(found))

    scores = [answer["score"] for answer in in_python(bundle, artifact, fixed(0), images)]
    easy, hard = TreeNode(thresholds=[0.5], next=[0, 1]), TreeNode(thresholds=[0.5, 1.0], next=[2, 3, 4])
    narrow, wide = (middle(TreeNode(thresholds=[], next=[node])) for node in (easy, hard))
    easy = TreeNode(thresholds=[narrow], next=[0, 1])
    hard = TreeNode(thresholds=[wide, wide + 0.01], next=[2, 3, 4])
    root = TreeNode(thresholds=[float(np.median(scores))], next=[easy, hard])
    return [
        TreePolicy(widths=[0, 1, 2, 3, 4], root=root),
        ThresholdPolicy(widths=[0, 4], thresholds=[float(np.median(scores))]),
        CascadePolicy(widths=[0, 1, 3], confidences=[2.0, 2.0]),
        fixed(3),
    ]


@pytest.fixture(scope="module")
def litert_of_two_gates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle of a network with two gates for LiteRT."""
    out = tmp_path_factory.mktemp("two_gates")
    asked = Request(tuple(range(TWO_GATES.n_widths)), "litert", ("wi8",), ("a", "b", "c"))
    build_bundle(trained_like(TWO_GATES), asked, CheckImages("noise", images_of(TWO_GATES, 4), []), out)
    return out


@pytest.mark.parametrize(
    ("folder", "precision"),
    [(golden.FOLDER, "int8"), (NETWORKS / "first", "int8"), (NETWORKS / "first", "fp32")],
    ids=["litert", "executorch-int8", "executorch-fp32"],
)
def test_images_are_answered_as_in_python(tools: Tools, tmp_path: Path, folder: Path, precision: str) -> None:
    expected = answers_as_in_python(tools, tmp_path, folder, precision, policies)
    assert {tuple(answer["ran"]) for answer in expected} >= {(0,), (1,), (0, 1)}, "some images stay, some go on"


def test_gate_after_gate_leads_where_it_does_in_python(tools: Tools, tmp_path: Path, litert_of_two_gates: Path) -> None:
    expected = answers_as_in_python(tools, tmp_path, litert_of_two_gates, "wi8", trees)
    ways = {tuple(answer["passed"]) for answer in expected[:IMAGES]}
    assert {way[1] for way in ways} == {"stage_1_00", "stage_1_01"}, ways
    assert len(ways) > 2, f"both gates send images apart: {ways}"


def answers_as_in_python(
    tools: Tools,
    scratch: Path,
    folder: Path,
    precision: str,
    make: Callable[[Bundle, Artifact, Sequence[Array]], list[Policy]],
) -> list[dict[str, Any]]:
    """Return what Python answers to images by policies; fails unless the core answers the same."""
    bundle = open_bundle(folder)
    artifact = bundle.artifact(precision=precision)
    noise = np.random.default_rng(5)
    shape = artifact.programs[0].inputs[0].shape
    images = [noise.standard_normal(shape).astype(np.float32) for _ in range(IMAGES)]
    asked = make(bundle, artifact, images)
    (scratch / "policies.json").write_text(json.dumps([policy.model_dump(mode="json") for policy in asked]))
    (scratch / "images.bin").write_bytes(b"".join(image.astype("<f4").tobytes() for image in images))
    with runtime_server(artifact) as server:
        files = (scratch / "cache", scratch / "policies.json", scratch / "images.bin")
        arguments = (server.port, folder, precision, *files)
        answers = run_main(tools, compiled_core(tools), "ClassifyImages", *map(str, arguments))
    expected = [answer for policy in asked for answer in in_python(bundle, artifact, policy, images)]
    for found, wanted in zip(answers, expected, strict=True):
        # Not to the bit: Java's exp and NumPy's may round the last bit of a float64 differently.
        for name in ("score", "probability"):
            assert found.pop(name) == pytest.approx(wanted[name], rel=1e-14), name
        assert found == {name: value for name, value in wanted.items() if name not in ("score", "probability")}
    return expected
