import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common import sha256_file
from edge import BundleError
from edge.bundle import Artifact, open_bundle, write_manifest
from edge.bundle.manifest import ThresholdPolicy


def test_a_bundle_opens_with_its_network_widths_and_programs(golden: Path) -> None:
    bundle = open_bundle(golden / "bundle")
    assert bundle.manifest.model.classes == ["circle", "square", "triangle"]
    assert [width.macs for width in bundle.manifest.widths] == [1952, 2304]
    assert [program.name for program in bundle.artifact().programs] == ["prefix", "tail_00", "tail_01"]


def test_the_verified_path_is_the_file_the_manifest_describes(golden: Path) -> None:
    bundle = open_bundle(golden / "bundle")
    path = bundle.verified_path(bundle.artifact())
    assert (path, sha256_file(path)) == (golden / "bundle" / "litert" / "model.tflite", bundle.artifact().sha256)
    assert bundle.verified_bytes(bundle.artifact()) == path.read_bytes()


def test_a_missing_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"nowhere: no such bundle; give a folder with a manifest\.json"):
        open_bundle(tmp_path / "nowhere")


def test_fields_of_a_newer_minor_version_are_accepted_and_kept(bundle_folder: Path) -> None:
    fields = json.loads((bundle_folder / "manifest.json").read_text())
    fields["format"] = "dsnet-bundle/2.7"
    fields["artifacts"][0]["compression"] = {"kind": "none"}
    (bundle_folder / "manifest.json").write_text(json.dumps(fields))
    manifest = open_bundle(bundle_folder).manifest
    assert manifest.model_dump()["artifacts"][0]["compression"] == {"kind": "none"}


@pytest.mark.parametrize("version", ["1", "1.7"])
def test_the_first_format_is_read_as_what_it_says_in_the_second(
    version: str, golden: Path, bundle_folder: Path
) -> None:
    fields = json.loads((golden / "format_1.json").read_text()) | {"format": f"dsnet-bundle/{version}"}
    (bundle_folder / "manifest.json").write_text(json.dumps(fields))
    bundle = open_bundle(bundle_folder)
    assert bundle.manifest == open_bundle(golden / "bundle").manifest
    write_manifest(bundle_folder, bundle.manifest)
    assert (bundle_folder / "manifest.json").read_bytes() == (golden / "bundle" / "manifest.json").read_bytes()


def test_in_the_first_format_what_all_images_run_may_lie_anywhere(golden: Path, bundle_folder: Path) -> None:
    fields = json.loads((golden / "format_1.json").read_text())
    programs = fields["artifacts"][0]["programs"]
    programs.append(programs.pop(0))
    (bundle_folder / "manifest.json").write_text(json.dumps(fields))
    assert open_bundle(bundle_folder).manifest == open_bundle(golden / "bundle").manifest


@pytest.mark.parametrize("format_file", ["bundle/manifest.json", "format_1.json"])
def test_more_programs_than_widths_and_gates_can_have_are_refused(
    format_file: str, golden: Path, bundle_folder: Path
) -> None:
    fields = json.loads((golden / format_file).read_text())
    fields["artifacts"][0]["programs"] = fields["artifacts"][0]["programs"][:1] * 2050
    (bundle_folder / "manifest.json").write_text(json.dumps(fields))
    with pytest.raises(BundleError, match="programs: list should have at most 2049 items") as refused:
        open_bundle(bundle_folder)
    assert "\n" not in str(refused.value)


def test_more_operating_points_than_the_limit_are_refused(golden: Path, bundle_folder: Path) -> None:
    fields = json.loads((golden / "bundle" / "manifest.json").read_text())
    points = fields["operating_points"]
    fields["operating_points"] = [{**points[0], "name": f"point-{number}"} for number in range(1025)]
    (bundle_folder / "manifest.json").write_text(json.dumps(fields))
    with pytest.raises(BundleError, match="operating_points: list should have at most 1024 items"):
        open_bundle(bundle_folder)


def test_one_artifact_needs_no_choice(golden: Path) -> None:
    bundle = open_bundle(golden / "bundle")
    assert bundle.artifact() is bundle.artifact("litert") is bundle.artifact(precision="int8")


def test_an_unknown_artifact_is_refused_with_the_valid_ones(golden: Path) -> None:
    bundle = open_bundle(golden / "bundle")
    with pytest.raises(BundleError, match="no litert fp16 artifact; the bundle has: litert int8"):
        bundle.artifact("litert", "fp16")
    with pytest.raises(BundleError, match="no coreml artifact; the bundle has: litert int8"):
        bundle.artifact("coreml")


def test_several_artifacts_need_a_choice(bundle_folder: Path) -> None:
    second = with_second_precision(bundle_folder)
    bundle = open_bundle(bundle_folder)
    with pytest.raises(BundleError, match="choose with --runtime and --precision: litert int8, litert wi8"):
        bundle.artifact("litert")
    assert bundle.artifact(precision="wi8") == second


def test_a_bundle_without_artifacts_says_so(bundle_folder: Path) -> None:
    manifest = open_bundle(bundle_folder).manifest
    write_manifest(bundle_folder, manifest.model_copy(update={"artifacts": []}))
    with pytest.raises(BundleError, match="no artifact; the bundle has: none"):
        open_bundle(bundle_folder).artifact()


def test_an_operating_point_is_found_by_name(golden: Path) -> None:
    point = open_bundle(golden / "bundle").operating_point("balanced", "litert", "int8")
    assert point.policy == ThresholdPolicy(widths=[0, 1], thresholds=[0.5])


def test_a_point_written_before_there_were_policies_is_read(bundle_folder: Path) -> None:
    path = bundle_folder / "manifest.json"
    fields = json.loads(path.read_text())
    new = open_bundle(bundle_folder).operating_point("balanced")
    old = fields["operating_points"][1]
    for name in ("policy", "limits", "objective"):
        del old[name]
    old |= {"statistic": "mean", "budget_ms": 2.0, "expected_budget_ms": 1.0, "widths": [0, 1], "thresholds": [0.5]}
    path.write_text(json.dumps(fields))
    assert open_bundle(bundle_folder).operating_point("balanced") == new


def test_an_unknown_operating_point_is_refused_with_the_valid_ones(golden: Path) -> None:
    with pytest.raises(BundleError, match="no operating point 'slow'; valid: fast, balanced"):
        open_bundle(golden / "bundle").operating_point("slow")


def test_an_operating_point_of_another_precision_is_refused(bundle_folder: Path) -> None:
    with_second_precision(bundle_folder)
    with pytest.raises(BundleError, match="'fast' is for litert int8, not litert wi8; valid for litert wi8: none"):
        open_bundle(bundle_folder).operating_point("fast", "litert", "wi8")


def test_thresholds_of_another_bundle_are_refused(bundle_folder: Path) -> None:
    bundle = open_bundle(bundle_folder)
    converted_again = bundle.artifact().model_copy(update={"sha256": "5" * 64})
    write_manifest(bundle_folder, bundle.manifest.model_copy(update={"artifacts": [converted_again]}))
    with pytest.raises(BundleError, match=r"'fast' holds thresholds of another bundle .* run dsnet calibrate again"):
        open_bundle(bundle_folder).operating_point("fast")


def test_reading_a_bundle_loads_no_torch_and_no_runtime(golden: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from edge.bundle import open_bundle; "
        f"open_bundle(Path({str(golden / 'bundle')!r})).artifact(); "
        "print([name for name in ('torch', 'tensorflow', 'ai_edge_litert') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def with_second_precision(folder: Path) -> Artifact:
    """Add an artifact of precision wi8 (the same file) to the bundle in `folder`."""
    manifest = open_bundle(folder).manifest
    second = manifest.artifacts[0].model_copy(update={"precision": "wi8"})
    write_manifest(folder, manifest.model_copy(update={"artifacts": [manifest.artifacts[0], second]}))
    return second


GOLDEN_FIELDS = json.loads((Path(__file__).parents[1] / "golden" / "bundle" / "manifest.json").read_text())


def places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value in nested JSON."""
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place, *(found for key, child in items for found in places(child, (*place, key)))]


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=4,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.sampled_from(places(GOLDEN_FIELDS)[1:]), value=ANY_JSON)
def test_any_value_in_any_field_is_accepted_or_refused_in_one_line(tmp_path: Path, place: Any, value: Any) -> None:
    fields = json.loads(json.dumps(GOLDEN_FIELDS))
    parent = fields
    for part in place[:-1]:
        parent = parent[part]
    parent[place[-1]] = value
    (tmp_path / "manifest.json").write_text(json.dumps(fields))
    try:
        open_bundle(tmp_path)
    except BundleError as error:
        assert "\n" not in str(error), f"{place} = {value!r}: {error}"


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.integers(0, 4000), cut=st.integers(0, 200), filling=st.binary(max_size=8))
def test_damaged_manifests_never_crash_the_reader(tmp_path: Path, start: int, cut: int, filling: bytes) -> None:
    text = json.dumps(GOLDEN_FIELDS).encode()
    (tmp_path / "manifest.json").write_bytes(text[:start] + filling + text[start + cut :])
    try:
        open_bundle(tmp_path)
    except BundleError as error:
        assert "\n" not in str(error)


def test_a_copied_bundle_stays_valid(golden: Path, tmp_path: Path) -> None:
    copy = open_bundle(Path(shutil.copytree(golden / "bundle", tmp_path / "elsewhere")))
    assert copy.manifest == open_bundle(golden / "bundle").manifest
