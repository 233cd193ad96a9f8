"""Checkpoints that must be refused, as changes to the golden one."""

import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).parents[1] / "golden" / "supernet.safetensors"
DATA = GOLDEN.read_bytes()
STEM, VARIANCE = "stem.weight", "stem_bn.statistics.0.var"
Header = dict[str, Any]


def write_checkpoints(folder: Path) -> None:
    """Write every malformed checkpoint to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in checkpoints().items():
        (folder / f"{name}.safetensors").write_bytes(data)


def checkpoints() -> dict[str, bytes]:
    """Return malformed checkpoints by name."""
    return {
        "empty_file": b"",
        "truncated_header": DATA[:200],
        "truncated_tensors": DATA[:-64],
        "padded": DATA + bytes(64),
        "header_beyond_file": (1 << 40).to_bytes(8, "little") + DATA[8:],
        "header_not_json": _file(b"]" * 64, b""),
        "header_deep_nesting": _file(b"[" * 8000, b""),
        "pickle_renamed": pickle.dumps({"format": "dsnet-supernet/1", "weights": [0.0] * 16}, protocol=2),
        "wrong_format": _changed(_metadata("format", "another-network/1")),
        "no_metadata": _changed(lambda header: header.pop("__metadata__")),
        "higher_major_version": _changed(_metadata("format", "dsnet-supernet/2")),
        "spec_not_json": _changed(_metadata("spec", "{")),
        "spec_absurd_channels": _changed(_spec(lambda spec: spec["stem"].update(channels=[1 << 40]))),
        "spec_nan_std": _changed(_spec(lambda spec: spec.update(std=[0.2, math.nan, 0.2]))),
        "spec_unknown_field": _changed(_spec(lambda spec: spec.update(colour="blue"))),
        "spec_without_stages": _changed(_spec(lambda spec: spec.pop("stages"))),
        "missing_tensor": _changed(lambda header: header.pop(STEM)),
        "extra_tensor": _changed(lambda header: header.update(backdoor=header[STEM])),
        "wrong_shape": _changed(lambda header: header[STEM].update(shape=[4, 3, 9])),
        "absurd_shape": _changed(lambda header: header[STEM].update(shape=[1 << 30, 1 << 30])),
        "wrong_type": _changed(lambda header: header[STEM].update(dtype="I64")),
        "overlapping_tensors": _changed(lambda header: header[STEM].update(data_offsets=[0, 4 * 108])),
        "nan_weight": _with_value(STEM, math.nan),
        "infinite_weight": _with_value(STEM, math.inf),
        "negative_variance": _with_value(VARIANCE, -1.0),
    }


def _parts() -> tuple[Header, bytes]:
    end = 8 + int.from_bytes(DATA[:8], "little")
    return json.loads(DATA[8:end]), DATA[end:]


def _file(header: bytes, tensors: bytes) -> bytes:
    padded = header + b" " * (-len(header) % 8)
    return len(padded).to_bytes(8, "little") + padded + tensors


def _changed(change: Callable[[Header], Any]) -> bytes:
    header, tensors = _parts()
    change(header)
    return _file(json.dumps(header, separators=(",", ":")).encode(), tensors)


def _metadata(key: str, value: str) -> Callable[[Header], None]:
    return lambda header: header["__metadata__"].update({key: value})


def _spec(change: Callable[[dict[str, Any]], Any]) -> Callable[[Header], None]:
    def apply(header: Header) -> None:
        spec = json.loads(header["__metadata__"]["spec"])
        change(spec)
        header["__metadata__"]["spec"] = json.dumps(spec)

    return apply


def _with_value(name: str, value: float) -> bytes:
    header, tensors = _parts()
    start = header[name]["data_offsets"][0]
    packed = np.float32(value).tobytes()
    return _file(json.dumps(header, separators=(",", ":")).encode(), tensors[:start] + packed + tensors[start + 4 :])
