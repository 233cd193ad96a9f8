import json
import os
from pathlib import Path

import pytest

from common import DsnetError
from edge import BundleError
from edge.bundle import OperatingPoint, add_operating_points, open_bundle, write_manifest
from edge.bundle.manifest import Gate


def test_writing_what_was_read_changes_no_byte(bundle_folder: Path) -> None:
    before = (bundle_folder / "manifest.json").read_bytes()
    write_manifest(bundle_folder, open_bundle(bundle_folder).manifest)
    assert (bundle_folder / "manifest.json").read_bytes() == before


def test_a_manifest_that_readers_would_refuse_is_not_written(bundle_folder: Path) -> None:
    before = (bundle_folder / "manifest.json").read_bytes()
    manifest = open_bundle(bundle_folder).manifest
    wrong = manifest.model_copy(update={"gates": [Gate(kind="side", choices=[0, 1])]})
    clause = r"with 1 side gate\(s\) the programs must be gate, net_00, net_01, found prefix"
    with pytest.raises(BundleError, match=clause):
        write_manifest(bundle_folder, wrong)
    assert (bundle_folder / "manifest.json").read_bytes() == before


def test_a_new_operating_point_joins_the_others(bundle_folder: Path) -> None:
    point = open_bundle(bundle_folder).operating_point("fast").model_copy(update={"name": "phone-30fps"})
    add_operating_points(bundle_folder, [point])
    assert names(bundle_folder) == ["fast", "balanced", "phone-30fps"]


def test_an_operating_point_of_the_same_name_is_replaced(bundle_folder: Path) -> None:
    point = open_bundle(bundle_folder).operating_point("fast").model_copy(update={"expected_mean_ms": 7.0})
    add_operating_points(bundle_folder, [point])
    assert names(bundle_folder) == ["balanced", "fast"]
    assert open_bundle(bundle_folder).operating_point("fast").expected_mean_ms == 7.0


def test_an_operating_point_for_a_width_that_is_not_there_is_refused(bundle_folder: Path) -> None:
    fields = open_bundle(bundle_folder).operating_point("balanced").model_dump()
    point = OperatingPoint.model_validate({**fields, "name": "wide", "policy": {**fields["policy"], "widths": [0, 5]}})
    with pytest.raises(BundleError, match="operating point wide: width 5; valid: 0…1"):
        add_operating_points(bundle_folder, [point])


def test_fields_of_newer_writers_survive_a_change(bundle_folder: Path) -> None:
    fields = json.loads((bundle_folder / "manifest.json").read_text())
    fields["signature"] = "future"
    fields["model"]["licence"] = "CC0"
    (bundle_folder / "manifest.json").write_text(json.dumps(fields))
    add_operating_points(bundle_folder, [])
    after = json.loads((bundle_folder / "manifest.json").read_text())
    assert (after["signature"], after["model"]["licence"]) == ("future", "CC0")


def test_a_failed_write_leaves_the_old_manifest_and_no_other_file(
    bundle_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (bundle_folder / "manifest.json").read_bytes()

    def disk_full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(DsnetError, match=r"manifest\.json cannot be written .No space left"):
        add_operating_points(bundle_folder, [])
    assert (bundle_folder / "manifest.json").read_bytes() == before
    assert sorted(path.name for path in bundle_folder.iterdir()) == ["litert", "manifest.json"]


def names(folder: Path) -> list[str]:
    """Return the names of the bundle's operating points, in order."""
    return [point.name for point in open_bundle(folder).manifest.operating_points]
