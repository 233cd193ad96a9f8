"""Write the golden files: `python -m tests.golden.build`. Committed; readers in every language must accept them.

bundle/               a complete bundle: two widths, a trunk gate, int8, nested weights, two operating points
answers.json          what every program of the bundle answers to images given by a formula (`image` below)
policies.json         cases of every policy: what goes in, and which widths run (`tests.golden.policies`)
supernet.safetensors  a checkpoint
nested/               a store, its recipe and template, and the plain file they give (`tests.golden.nested_weights`)
nested_positions/     the same with slices that gather positions
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from common import sha256_bytes
from edge.bundle.manifest import (
    FORMAT,
    Artifact,
    Gate,
    Limit,
    Manifest,
    Model,
    OperatingPoint,
    Parity,
    Program,
    Share,
    TensorInfo,
    ThresholdPolicy,
    Width,
)
from edge.bundle.writer import write_manifest
from edge.runtime.litert_session import LiteRtSession
from tests.golden.nested_weights import write_nested_weights
from tests.golden.network import FEATURES, build
from tests.golden.policies import cases
from tests.golden.supernet import write_checkpoint

HERE = Path(__file__).parent
IMAGES = 4
FILE = "litert/model.tflite"


def image(number: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return golden image `number`, float32 [1,8,8,3], whose value i is ((i·37 + number·101) mod 256) / 64 − 2."""
    index = np.arange(8 * 8 * 3)
    return (((index * 37 + number * 101) % 256) / 64 - 2).astype(np.float32).reshape(1, 8, 8, 3)


def manifest(data: bytes, roots: dict[str, int]) -> Manifest:
    """Return the golden manifest for the LiteRT file `data`."""
    artifact = Artifact(
        runtime="litert", precision="int8", file=FILE, bytes=len(data), sha256=sha256_bytes(data),
        programs=_programs(roots), runtime_version="ai-edge-litert 2.3.0",
        parity=[Parity(program=name, max_abs_difference=0.0, images=IMAGES) for name in roots],
    )  # fmt: skip
    return Manifest(
        format=FORMAT,
        model=Model(
            name="golden", spec={"family": "golden"}, classes=["circle", "square", "triangle"], input_size=8,
            mean=[0.5, 0.5, 0.5], std=[0.25, 0.25, 0.25],
        ),
        widths=[
            Width(index=0, name="8", path=[0], channels=[8, 8], macs=1952, params=629),
            Width(index=1, name="16", path=[1], channels=[8, 16], macs=2304, params=797),
        ],
        gates=[Gate(kind="trunk", choices=[0, 1])],
        artifacts=[artifact],
        provenance={"command": "tests.golden.build"},
        operating_points=[_point("fast", 1.0, [0], []), _point("balanced", 2.0, [0, 1], [0.5])],
    )  # fmt: skip


def write_bundle(folder: Path) -> None:
    """Write the golden bundle to `folder`."""
    data, roots = build()
    (folder / "litert").mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_bytes(data)
    write_manifest(folder, manifest(data, roots))


def answers(folder: Path) -> list[dict[str, Any]]:
    """Return, per golden image, what the programs of the bundle in `folder` answer."""
    data = (folder / FILE).read_bytes()
    golden = Manifest.model_validate(json.loads((folder / "manifest.json").read_text())).artifacts[0]
    session = LiteRtSession(data, golden, [program.name for program in golden.programs])
    found = []
    for number in range(IMAGES):
        prefix = session.run("prefix", {"image": image(number)})
        tails = {
            f"tail_{w:02d}": session.run(f"tail_{w:02d}", {"features": prefix["features"]})["logits"] for w in (0, 1)
        }
        outputs = {"features": prefix["features"], "gate_logits": prefix["gate_logits"], **tails}
        flat = {name: values.reshape(-1).tolist() for name, values in outputs.items()}
        found.append({"image": number, **flat})
    return found


def write_json(path: Path, content: Any) -> None:
    """Write `content` with one record per line."""
    lines = ",\n".join(json.dumps(record) for record in content)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def _programs(roots: dict[str, int]) -> list[Program]:
    picture = TensorInfo(name="image", shape=[1, 8, 8, 3], dtype="float32")
    features = TensorInfo(name="features", shape=[1, 2, 2, 8], dtype="int8", scale=FEATURES[0], zero_point=FEATURES[1])
    gate_logits = TensorInfo(name="gate_logits", shape=[1, 2], dtype="float32")
    logits = TensorInfo(name="logits", shape=[1, 3], dtype="float32")
    prefix = Program(
        name="prefix",
        role="prefix",
        widths=[0, 1],
        inputs=[picture],
        outputs=[features, gate_logits],
        root_offset=roots["prefix"],
    )
    tails = [
        Program(
            name=f"tail_{w:02d}", role="tail", widths=[w], inputs=[features], outputs=[logits],
            root_offset=roots[f"tail_{w:02d}"],
        )
        for w in (0, 1)
    ]  # fmt: skip
    return [prefix, *tails]


def _point(name: str, budget: float, widths: list[int], thresholds: list[float]) -> OperatingPoint:
    shares = [Share(width=width, share=1 / len(widths)) for width in widths]
    return OperatingPoint(
        name=name, runtime="litert", precision="int8", device="local", threads=1,
        policy=ThresholdPolicy(widths=widths, thresholds=thresholds), objective="accuracy",
        limits=[Limit(statistic="mean_ms", value=budget, expected=budget / 2)],
        shares=shares, expected_mean_ms=budget / 2, calibration_accuracy=0.75, optimality_gap=0.0,
        artifact_sha256=sha256_bytes(build()[0]), latency_sha256=sha256_bytes(b"latency"),
        predictions_sha256=sha256_bytes(b"predictions"),
    )  # fmt: skip


if __name__ == "__main__":
    write_bundle(HERE / "bundle")
    write_json(HERE / "answers.json", answers(HERE / "bundle"))
    write_json(HERE / "policies.json", [case.record() for case in cases()])
    write_checkpoint(HERE / "supernet.safetensors")
    write_nested_weights(HERE)
