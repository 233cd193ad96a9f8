"""Bundles that must be refused, as changes to the golden one. A change of None as a value removes the field."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.malformed.archives import DEFLATED, SYMLINK, Entry, archive, deflated_zeros

GOLDEN = Path(__file__).parents[1] / "golden" / "bundle"
MANIFEST = (GOLDEN / "manifest.json").read_bytes()
ARTIFACT = (GOLDEN / "litert" / "model.tflite").read_bytes()
FIRST = ["artifacts", 0]
"""The golden artifact; its programs are prefix, tail_00, tail_01."""

FIELD_CHANGES: dict[str, list[tuple[list[str | int], Any]]] = {
    "unknown_format": [(["format"], "tarball")],
    "higher_major_version": [(["format"], "dsnet-bundle/3")],
    "missing_format": [(["format"], None)],
    "missing_model": [(["model"], None)],
    "path_traversal": [([*FIRST, "file"], "../model.tflite")],
    "absolute_path": [([*FIRST, "file"], "/etc/passwd")],
    "backslash_path": [([*FIRST, "file"], "..\\model.tflite")],
    "empty_path": [([*FIRST, "file"], "")],
    "absurd_shape": [([*FIRST, "programs", 0, "inputs", 0, "shape"], [1 << 20, 1 << 20, 1 << 20])],
    "zero_dimension": [([*FIRST, "programs", 0, "inputs", 0, "shape"], [1, 0, 8, 3])],
    "image_of_another_size": [([*FIRST, "programs", 0, "inputs", 0, "shape"], [1, 16, 16, 3])],
    "absurd_input_size": [(["model", "input_size"], 1_000_000_000)],
    "zero_std": [(["model", "std"], [0.25, 0.0, 0.25])],
    "class_missing": [(["model", "classes"], ["circle", "square"])],
    "single_class": [(["model", "classes"], ["circle"])],
    "negative_macs": [(["widths", 0, "macs"], -1952)],
    "number_as_text": [(["widths", 0, "macs"], "1952")],
    "widths_out_of_order": [(["widths", 0, "index"], 1), (["widths", 1, "index"], 0)],
    "bad_sha256": [([*FIRST, "sha256"], "none of your business")],
    "zero_bytes": [([*FIRST, "bytes"], 0)],
    "unknown_runtime": [([*FIRST, "runtime"], "abacus")],
    "missing_prefix": [([*FIRST, "programs", 0], None)],
    "no_tails": [([*FIRST, "programs", 2], None), ([*FIRST, "programs", 1], None)],
    "trunk_programs_without_gate": [(["gates"], []), (["operating_points"], [])],
    "program_for_other_widths": [([*FIRST, "programs", 1, "widths"], [1])],
    "program_name_against_role": [([*FIRST, "programs", 1, "role"], "net")],
    "programs_out_of_order": [
        ([*FIRST, "programs", 0], json.loads(MANIFEST)["artifacts"][0]["programs"][1]),
        ([*FIRST, "programs", 1], json.loads(MANIFEST)["artifacts"][0]["programs"][0]),
    ],
    "program_for_unknown_width": [([*FIRST, "programs", 2, "widths"], [7])],
    "path_of_another_length": [(["widths", 1, "path"], [0, 1])],
    "paths_of_too_many_entries": [(["widths", 0, "path"], [0, 0]), (["widths", 1, "path"], [0, 1])],
    "path_of_another_entry": [(["widths", 1, "path"], [2])],
    "path_twice": [(["widths", 1, "path"], [0])],
    "gates_of_two_kinds": [(["gates"], [{"kind": "trunk", "choices": [0, 1]}, {"kind": "side", "choices": [0]}])],
    "too_many_gates": [(["gates"], [{"kind": "trunk", "choices": [0, 1]}] * 9)],
    "root_offset_outside": [([*FIRST, "programs", 0, "root_offset"], 1 << 30)],
    "quantized_without_scale": [([*FIRST, "programs", 0, "outputs", 0, "scale"], None)],
    "features_scales_differ": [([*FIRST, "programs", 2, "inputs", 0, "scale"], 0.051)],
    "features_shapes_differ": [([*FIRST, "programs", 1, "inputs", 0, "shape"], [1, 2, 2, 16])],
    "gate_choice_missing": [(["gates", 0, "choices"], [0, 7])],
    "gate_choices_against_logits": [(["gates", 0, "choices"], [0])],
    "descending_thresholds": [
        (["operating_points", 1, "policy", "thresholds"], [0.5, 0.25]),
        (["operating_points", 1, "policy", "widths"], [0, 1, 2]),
    ],
    "descending_widths": [(["operating_points", 1, "policy", "widths"], [1, 0])],
    "too_many_thresholds": [(["operating_points", 1, "policy", "thresholds"], [0.25, 0.5])],
    "point_for_missing_width": [(["operating_points", 1, "policy", "widths"], [0, 9])],
    "accuracy_above_one": [
        (["operating_points", 1, "limits"], [{"statistic": "accuracy", "value": 7.0, "expected": 0.5}])
    ],
    "limit_twice": [
        (["operating_points", 1, "limits"], [{"statistic": "mean_ms", "value": 7.0, "expected": 0.5}] * 2)
    ],
    "share_twice": [(["operating_points", 1, "shares"], [{"width": 0, "share": 0.5}] * 2)],
    "endless_weights": [
        (
            ["operating_points", 1, "policy"],
            {"kind": "utility", "widths": [0], "weights": [[0.5] * 300], "biases": [0.0], "penalties": [0.0]},
        )
    ],
    "point_named_twice": [(["operating_points", 1, "name"], "fast")],
    "several_problems": [
        (["model", "std"], [0, 0, 0]),
        (["model", "input_size"], 0),
        (["widths", 1, "macs"], -1),
        ([*FIRST, "sha256"], "x"),
        (["gates", 0, "choices"], []),
    ],
}  # fmt: skip

TEXT_CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "empty_manifest": lambda _: b"",
    "truncated_manifest": lambda text: text[: len(text) // 2],
    "not_utf8": lambda text: text.replace(b"golden", b"g\xf6lden"),
    "not_an_object": lambda _: b"[1, 2, 3]\n",
    "duplicate_key": lambda text: text.replace(b'"gates": [', b'"gates": [],\n "gates": ['),
    "deep_nesting": lambda text: text.replace(b'"family": "golden"', b'"family": ' + b"[" * 5000 + b"]" * 5000),
    "moderately_deep_nesting": lambda text: text.replace(
        b'"family": "golden"', b'"family": ' + b"[" * 100 + b"]" * 100
    ),
    "nan_threshold": lambda text: text.replace(b"    0.5\n", b"    NaN\n"),
    "infinite_mean": lambda text: text.replace(b"   0.5,\n", b"   Infinity,\n", 1),
    "overflowing_number": lambda text: text.replace(b"   0.5,\n", b"   1e999,\n", 1),
    "endless_integer": lambda text: text.replace(b'"macs": 1952', b'"macs": ' + b"9" * 5000),
    "lone_surrogate": lambda text: text.replace(b"circle", b"\\ud800"),
}

ARTIFACT_CHANGES: dict[str, Callable[[bytes], bytes | None]] = {
    "truncated_artifact": lambda data: data[:-100],
    "padded_artifact": lambda data: data + bytes(16),
    "altered_artifact": lambda data: data[:3000] + bytes([data[3000] ^ 1]) + data[3001:],
    "missing_artifact": lambda _: None,
}


def write_bundles(folder: Path) -> None:
    """Write every malformed bundle below `folder`."""
    for name, changes in FIELD_CHANGES.items():
        _write(folder / name / "manifest.json", changed_manifest(changes))
    _write(folder / "duplicate_artifact" / "manifest.json", _with_second_artifact())
    for name, change in TEXT_CHANGES.items():
        _write(folder / name / "manifest.json", _changed(change, MANIFEST))
    for name, change_data in ARTIFACT_CHANGES.items():
        _write(folder / name / "manifest.json", MANIFEST)
        data = change_data(ARTIFACT)
        if data is not None:
            _write(folder / name / "litert" / "model.tflite", data)
    _write(
        folder / "stale_operating_point" / "manifest.json",
        changed_manifest([(["operating_points", 1, "artifact_sha256"], "0" * 64)]),
    )
    fields = json.loads((GOLDEN.parent / "format_1.json").read_bytes())
    fields["artifacts"][0]["programs"][1]["width"] = 1
    _write(folder / "first_format_width_against_name" / "manifest.json", _text(fields))
    _write_lies(folder)
    for name, data in archives().items():
        _write(folder / f"{name}.zip", data)
    (folder / "no_manifest").mkdir(parents=True, exist_ok=True)
    _write(folder / "no_manifest" / "README", b"A folder without a manifest.\n")


def changed_manifest(changes: list[tuple[list[str | int], Any]]) -> bytes:
    """Return the golden manifest with some fields replaced, or removed where the new value is None."""
    fields = json.loads(MANIFEST)
    for path, value in changes:
        parent = fields
        for part in path[:-1]:
            parent = parent[part]
        if value is None:
            del parent[path[-1]]
        else:
            parent[path[-1]] = value
    return _text(fields)


def archives() -> dict[str, bytes]:
    """Return malformed .zip files by name."""
    manifest = Entry("manifest.json", MANIFEST)
    zeros, size, crc = deflated_zeros(5000)
    return {
        "zip_bomb": archive(manifest, Entry("litert/model.tflite", zeros, DEFLATED, size, crc)),
        "zip_absurd_size": archive(manifest, Entry("litert/model.tflite", ARTIFACT, size=(1 << 32) - 1)),
        "zip_traversal": archive(manifest, Entry("../model.tflite", ARTIFACT)),
        "zip_absolute": archive(manifest, Entry("/model.tflite", ARTIFACT)),
        "zip_symlink": archive(manifest, Entry("litert/model.tflite", b"/etc/passwd", mode=SYMLINK)),
        "zip_name_not_text": archive(manifest, Entry("litert/model.tflite", ARTIFACT)).replace(
            b"litert/", b"l\xfftert/"
        ),
        "zip_file_and_folder": archive(manifest, Entry("litert", b""), Entry("litert/model.tflite", ARTIFACT)),
        "zip_before_start": archive(manifest)[1:],
        "zip_same_name_twice": archive(manifest, manifest),
        "zip_too_many_files": archive(manifest, *(Entry(f"{number}", b"") for number in range(300))),
        "zip_truncated": archive(manifest, Entry("litert/model.tflite", ARTIFACT))[:-30],
        "zip_altered": archive(manifest, Entry("litert/model.tflite", ARTIFACT[:-1], crc=1)),
        "zip_unknown_method": archive(Entry("manifest.json", MANIFEST, method=93)),
        "zip_empty": b"",
    }


def _write_lies(folder: Path) -> None:
    """A hash vouches for bytes, not for what they mean: files that open well and are not what the manifest says."""
    fields = json.loads(MANIFEST)
    fields["artifacts"][0]["programs"].pop()
    fields["artifacts"][0]["programs"][0]["widths"] = [0]
    fields["operating_points"] = fields["operating_points"][:1]
    fields["artifacts"][0]["parity"].pop()
    _write(folder / "program_not_in_manifest" / "manifest.json", _text(fields))
    _write(folder / "program_not_in_manifest" / "litert" / "model.tflite", ARTIFACT)
    fields = json.loads(MANIFEST)
    for program, side in ((0, "outputs"), (1, "inputs"), (2, "inputs")):
        fields["artifacts"][0]["programs"][program][side][0]["scale"] = 0.06
    _write(folder / "scale_not_the_files" / "manifest.json", _text(fields))
    _write(folder / "scale_not_the_files" / "litert" / "model.tflite", ARTIFACT)


def _with_second_artifact() -> bytes:
    fields = json.loads(MANIFEST)
    fields["artifacts"] *= 2
    return _text(fields)


def _changed(change: Callable[[bytes], bytes], text: bytes) -> bytes:
    changed = change(text)
    assert changed != text, "the change found nothing to change"
    return changed


def _text(fields: dict[str, Any]) -> bytes:
    return (json.dumps(fields, indent=1, ensure_ascii=False) + "\n").encode()


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
