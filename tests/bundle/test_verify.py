import json
import struct
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from common import sha256_bytes
from edge import BundleError
from edge.bundle import open_bundle, pack, write_manifest
from edge.bundle.litert.flatbuffer import read, write
from edge.bundle.verify import Check, verify

OFFSET_FIELD = 6
"""Where `Buffer.offset` stands in the table's field list."""


def outcomes(path: Path) -> dict[str, str]:
    """Return the outcome of every check by its claim."""
    return {check.claim: check.outcome for check in verify(path)}


def failures(path: Path) -> list[Check]:
    """Return the failed checks."""
    return [check for check in verify(path) if check.outcome == "fail"]


def test_every_claim_of_the_golden_bundle_stands(golden: Path) -> None:
    programs = [
        f"litert int8 {name} {what}" for name in ("prefix", "tail_00", "tail_01") for what in ("tensors", "parity")
    ]
    claims = ["manifest", "litert int8 file", "litert int8 programs", *programs]
    expected = dict.fromkeys([*claims, "operating point fast", "operating point balanced"], "pass")
    assert outcomes(golden / "bundle") == expected


def test_an_archive_is_verified_like_its_folder(golden: Path, tmp_path: Path) -> None:
    pack(golden / "bundle", tmp_path / "bundle.zip")
    assert outcomes(tmp_path / "bundle.zip") == outcomes(golden / "bundle")


def test_a_missing_bundle_is_an_error_and_not_a_failed_check(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such bundle"):
        list(verify(tmp_path / "nowhere"))


@pytest.mark.parametrize("name", ["empty", "photo.png"])
def test_what_is_no_bundle_at_all_is_an_error_and_not_a_failed_check(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "photo.png").write_bytes(b"\x89PNG")
    with pytest.raises(BundleError, match=f"{name}: no"):
        list(verify(tmp_path / name))


def test_a_refused_manifest_is_the_one_failed_check(golden: Path) -> None:
    found = failures(golden.parent / "malformed" / "bundles" / "zero_std")
    assert [check.claim for check in found] == ["manifest"]
    assert "model.std[1]" in found[0].detail


def test_an_altered_weight_fails_the_file_and_nothing_runs_it(golden: Path) -> None:
    found = outcomes(golden.parent / "malformed" / "bundles" / "altered_artifact")
    assert found["litert int8 file"] == "fail"
    assert not [claim for claim in found if "parity" in claim]


def test_bytes_that_are_no_litert_file_fail_though_their_hash_is_right(bundle_folder: Path) -> None:
    replace_artifact(bundle_folder, bytes(5600))
    assert [check.claim for check in failures(bundle_folder)] == ["litert int8 programs"]


def test_a_root_that_leads_to_another_program_fails(bundle_folder: Path) -> None:
    fields = json.loads((bundle_folder / "manifest.json").read_text())
    programs = fields["artifacts"][0]["programs"]
    programs[1]["root_offset"], programs[2]["root_offset"] = programs[2]["root_offset"], programs[1]["root_offset"]
    (bundle_folder / "manifest.json").write_text(json.dumps(fields))
    failed = {check.claim: check.detail for check in failures(bundle_folder)}
    assert failed["litert int8 tail_00 parity"] == "no program 'tail_00' in this LiteRT file; it has: tail_01"


def test_weights_that_differ_behind_a_root_fail_the_parity(bundle_folder: Path) -> None:
    """What a runtime sees depends on the root: a second file with other weights must not hide behind one."""
    bundle = open_bundle(bundle_folder)
    honest = bundle.verified_bytes(bundle.artifact())
    other = read(honest)
    sizes = [constant.size for constant in other.constants.data]
    nested_classifier = sizes.index(3 * 2 * 2 * 16)
    other.constants.data[nested_classifier] = other.constants.data[nested_classifier][::-1].copy()
    start = len(honest) + (-len(honest) % 64)
    hidden, roots = write(other, shared=True)
    replace_artifact(bundle_folder, honest.ljust(start, b"\0") + moved(hidden, start), tail_01=start + roots["tail_01"])
    assert [check.claim for check in failures(bundle_folder)] == ["litert int8 tail_01 parity"]


def test_nested_weights_that_point_outside_are_found_before_the_runtime_opens_them(bundle_folder: Path) -> None:
    bundle = open_bundle(bundle_folder)
    file = read(bundle.verified_bytes(bundle.artifact()))
    nested = next(tensor for tensor in file.program("tail_01").graph.tensors if tensor.sparsity is not None)
    columns = nested.sparsity.dimMetadata[1].arrayIndices
    columns.values = np.array([200, *columns.values[1:]], np.uint8)
    data, roots = write(file, shared=True)
    replace_artifact(bundle_folder, data, **roots)
    failed = {check.claim: check.detail for check in failures(bundle_folder)}
    assert list(failed) == ["litert int8 tail_01 parity"]
    assert "point outside it" in failed["litert int8 tail_01 parity"]


def test_an_absurd_shape_inside_the_file_fails_before_the_runtime_opens_it(bundle_folder: Path) -> None:
    bundle = open_bundle(bundle_folder)
    file = read(bundle.verified_bytes(bundle.artifact()))
    file.program("tail_00").graph.tensors[-1].shape = np.array([1, 2_000_000_000], np.int32)
    data, roots = write(file, shared=True)
    replace_artifact(bundle_folder, data, **roots)
    failed = {check.claim: check.detail for check in failures(bundle_folder)}
    assert list(failed) == ["litert int8 tail_00 tensors", "litert int8 tail_00 parity"]
    assert "shape [1, 2000000000]" in failed["litert int8 tail_00 parity"]


def test_operators_that_name_missing_tensors_fail(bundle_folder: Path) -> None:
    bundle = open_bundle(bundle_folder)
    file = read(bundle.verified_bytes(bundle.artifact()))
    file.program("tail_00").graph.operators[-1].inputs = np.array([99], np.int32)
    data, roots = write(file, shared=True)
    replace_artifact(bundle_folder, data, **roots)
    assert "litert int8 tail_00 parity" in [check.claim for check in failures(bundle_folder)]


def moved(file: bytes, by: int) -> bytes:
    """Return a LiteRT file for use `by` bytes into another one: only the places of its constants are absolute."""
    data, model = bytearray(file), schema.Model.GetRootAs(file)
    for number in range(model.BuffersLength()):
        table = model.Buffers(number)._tab
        field = table.Offset(OFFSET_FIELD)
        if field:
            place = struct.unpack_from("<Q", data, table.Pos + field)[0]
            struct.pack_into("<Q", data, table.Pos + field, place + by)
    return bytes(data)


def test_an_operating_point_of_another_artifact_fails(bundle_folder: Path) -> None:
    fields = json.loads((bundle_folder / "manifest.json").read_text())
    fields["operating_points"][1]["artifact_sha256"] = "0" * 64
    (bundle_folder / "manifest.json").write_text(json.dumps(fields))
    assert [check.claim for check in failures(bundle_folder)] == ["operating point balanced"]


@pytest.mark.parametrize("runtime", ["executorch", "coreml"])
def test_an_artifact_without_its_weights_fails_in_one_line(runtime: str, bundle_folder: Path) -> None:
    fields = json.loads((bundle_folder / "manifest.json").read_text())
    artifact = fields["artifacts"][0]
    artifact["runtime"] = runtime
    artifact["programs"][0]["inputs"][0]["shape"] = [1, 3, 8, 8]
    fields["operating_points"] = []
    (bundle_folder / "manifest.json").write_text(json.dumps(fields))
    (failed,) = (check for check in verify(bundle_folder) if check.outcome == "fail")
    assert failed.claim == f"{runtime} int8 programs"
    assert "\n" not in failed.detail


def replace_artifact(folder: Path, data: bytes, **roots: int) -> None:
    """Put `data` in the artifact's place and make the manifest vouch for it."""
    bundle = open_bundle(folder)
    old = bundle.artifact()
    programs = [p.model_copy(update={"root_offset": roots.get(p.name, p.root_offset)}) for p in old.programs]
    new = old.model_copy(update={"bytes": len(data), "sha256": sha256_bytes(data), "programs": programs})
    write_manifest(folder, bundle.manifest.model_copy(update={"artifacts": [new], "operating_points": []}))
    (folder / old.file).write_bytes(data)
