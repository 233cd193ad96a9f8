"""`dsnet android-assets`: smaller bundles that every reader accepts, of golden and ExecuTorch bundles, as users ask."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common import sha256_bytes
from edge.bundle import Bundle, open_bundle, pack
from edge.bundle.litert.flatbuffer import read
from edge.bundle.plain_files import plain_files
from edge.bundle.restrict import RESTRICT
from edge.bundle.verify import Check, verify
from edge.cli import main
from edge.runtime import LiteRtSession
from tests.native.data import NETWORKS
from tests.runtime.golden import answer, image

Dsnet = Callable[..., tuple[int, str, str]]
FORMS = {"litert": "tflite", "executorch": "programs"}


@pytest.fixture
def dsnet(capsys: pytest.CaptureFixture[str]) -> Dsnet:
    """Return a function that runs `dsnet WORDS` and returns its exit status, stdout and stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture
def assets(dsnet: Dsnet, tmp_path: Path) -> Callable[..., tuple[Bundle, dict[str, Any]]]:
    """Return a function that writes assets and returns them as a bundle, and what was said."""

    def write(bundle: Path, *words: object) -> tuple[Bundle, dict[str, Any]]:
        status, out, err = dsnet("android-assets", bundle, "--out", tmp_path / "assets", "--json", *words)
        assert status == 0, err
        return open_bundle(tmp_path / "assets"), json.loads(out)

    return write


@pytest.fixture
def executorch_folder(tmp_path: Path) -> Path:
    """Return a copy of an ExecuTorch bundle in fp32 and int8, with an int8 operating point for each width and both."""
    folder = Path(shutil.copytree(NETWORKS / "first", tmp_path / "executorch"))
    point = open_bundle(NETWORKS.parents[2] / "golden" / "bundle").operating_point("fast")
    artifact = open_bundle(folder).artifact("executorch", "int8")
    policies = {"narrow": [0], "wide": [1], "both": [0, 1]}
    points = [
        {
            **point.model_dump(mode="json"),
            **{"name": name, "runtime": "executorch", "artifact_sha256": artifact.sha256, "shares": []},
            "policy": {"kind": "thresholds", "widths": widths, "thresholds": [0.5] * (len(widths) - 1)},
        }
        for name, widths in policies.items()
    ]
    change_manifest(folder, operating_points=points)
    return folder


def change_manifest(folder: Path, **changes: Any) -> None:
    """Replace fields of a bundle's manifest."""
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file under a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def unsound(bundle: Bundle) -> list[Check]:
    """Return the claims of a bundle that `dsnet verify` does not pass."""
    return [check for check in verify(bundle.root) if check.outcome != "pass"]


def hydrated(bundle: Bundle, width: int, runtime: str, precision: str) -> list[bytes]:
    """Return the plain files of one width."""
    artifact = bundle.artifact(runtime, precision)
    return list(plain_files(bundle, artifact, [width], FORMS[runtime], Path("x")).values())


def names(bundle: Bundle) -> list[str]:
    """Return the names of a bundle's operating points."""
    return [point.name for point in bundle.manifest.operating_points]


def test_with_every_width_the_artifact_and_its_operating_points_are_the_bundles_own(golden: Path, assets: Any) -> None:
    source = open_bundle(golden / "bundle")
    written, said = assets(golden / "bundle")
    assert sorted(contents(written.root)) == ["litert/model.tflite", "manifest.json"]
    assert unsound(written) == []
    assert written.manifest.artifacts == source.manifest.artifacts
    assert written.manifest.operating_points == source.manifest.operating_points
    assert said["left_out"] == {}


def test_the_manifest_says_which_bundle_the_assets_were_made_of(golden: Path, assets: Any) -> None:
    written, _ = assets(golden / "bundle")
    made_of = sha256_bytes((golden / "bundle" / "manifest.json").read_bytes())
    assert written.manifest.provenance["android_assets"] == {"manifest_sha256": made_of}
    assert written.manifest.provenance["command"] == "tests.golden.build"


def test_a_zip_gives_the_assets_that_its_folder_gives(golden: Path, assets: Any, tmp_path: Path) -> None:
    pack(golden / "bundle", tmp_path / "bundle.zip")
    from_zip = contents(assets(tmp_path / "bundle.zip", "--widths", "0")[0].root)
    assert from_zip == contents(assets(golden / "bundle", "--widths", "0")[0].root)


@pytest.mark.parametrize("width", [0, 1])
def test_a_litert_width_alone_keeps_its_index_and_its_plain_file(golden: Path, assets: Any, width: int) -> None:
    source = open_bundle(golden / "bundle")
    written, _ = assets(golden / "bundle", "--widths", width)
    artifact = written.artifact("litert")
    assert [program.name for program in artifact.programs] == ["prefix", f"tail_{width:02d}"]
    assert [parity.program for parity in artifact.parity] == ["prefix", f"tail_{width:02d}"]
    assert unsound(written) == []
    assert len(written.manifest.widths) == 2
    assert hydrated(written, width, "litert", "int8") == hydrated(source, width, "litert", "int8")
    assert artifact.bytes < source.artifact("litert").bytes
    assert artifact.provenance["derived_from"] == source.artifact("litert").sha256


@pytest.mark.parametrize("width", [0, 1])
def test_the_runtime_answers_with_a_litert_width_alone_as_it_did(golden: Path, assets: Any, width: int) -> None:
    written, _ = assets(golden / "bundle", "--widths", width)
    artifact, tail = written.artifact("litert"), f"tail_{width:02d}"
    rootless = [program.model_copy(update={"root_offset": None}) for program in artifact.programs]
    for opened in (artifact, artifact.model_copy(update={"programs": rootless})):  # each by its root; the whole file
        session = LiteRtSession(written.verified_bytes(artifact), opened, ["prefix", tail])
        for number in range(4):
            prefix = session.run("prefix", {"image": image(number)})
            logits = session.run(tail, {"features": prefix["features"]})["logits"]
            for name, found in {**prefix, tail: logits}.items():
                assert found.tolist() == answer(number, name, found).tolist(), name


def test_an_operating_point_goes_along_where_its_widths_do_and_is_bound_to_the_new_file(
    golden: Path, assets: Any
) -> None:
    written, said = assets(golden / "bundle", "--widths", "0")
    point, before = written.operating_point("fast"), open_bundle(golden / "bundle").operating_point("fast")
    assert (names(written), said["operating_points"]) == (["fast"], ["fast"])
    assert said["left_out"] == {"balanced": "it uses widths 1, which were not chosen"}
    assert point.artifact_sha256 == written.artifact("litert").sha256 != before.artifact_sha256
    assert point.model_copy(update={"artifact_sha256": before.artifact_sha256}) == before


def test_thresholds_of_another_bundle_are_never_bound_to_the_new_file(bundle_folder: Path, assets: Any) -> None:
    points = json.loads((bundle_folder / "manifest.json").read_text())["operating_points"]
    change_manifest(bundle_folder, operating_points=[{**points[0], "artifact_sha256": "0" * 64}, points[1]])
    for words in ((), ("--widths", "0,1"), ("--widths", "0")):
        written, said = assets(bundle_folder, *words)
        assert "fast" not in names(written)
        assert said["left_out"]["fast"] == "it holds thresholds of another bundle; run dsnet calibrate again"


@pytest.mark.parametrize(
    ("widths", "points"), [("all", ["narrow", "wide", "both"]), ("0", ["narrow"]), ("1", ["wide"])]
)
def test_executorch_assets_hold_the_slices_of_their_widths_and_the_program_as_it_is(
    executorch_folder: Path, assets: Any, widths: str, points: list[str]
) -> None:
    source = open_bundle(executorch_folder)
    written, _ = assets(executorch_folder, "--precision", "int8", "--widths", widths)
    before, after = contents(source.root), contents(written.root)
    assert sorted(after) == [
        "executorch/model_int8.pte",
        "executorch/recipe_int8.json",
        "executorch/template_int8.bin",
        "executorch/weights_int8.bin",
        "manifest.json",
    ]
    assert after["executorch/model_int8.pte"] == before["executorch/model_int8.pte"]
    assert (names(written), unsound(written)) == (points, [])
    for width in (0, 1) if widths == "all" else (int(widths),):
        expected = hydrated(source, width, "executorch", "int8")
        assert hydrated(written, width, "executorch", "int8") == expected
    smaller = [name for name in after if name.endswith((".bin", "recipe_int8.json")) and after[name] != before[name]]
    assert len(smaller) == (0 if widths == "all" else 3)
    assert [name for name in smaller if len(after[name]) >= len(before[name])] == []


def test_only_the_precisions_asked_for_are_there(executorch_folder: Path, assets: Any) -> None:
    both, _ = assets(executorch_folder)
    assert [artifact.precision for artifact in both.manifest.artifacts] == ["fp32", "int8"]
    again, _ = assets(executorch_folder, "--precision", "int8", "--precision", "fp32", "--runtime", "executorch")
    assert again.manifest == both.manifest
    one, said = assets(executorch_folder, "--precision", "fp32")
    assert {record.precision for record in (*one.manifest.artifacts, *one.manifest.weights)} == {"fp32"}
    assert said["left_out"]["both"] == "it is for executorch int8, which was not chosen"


def test_equal_bundles_give_equal_bytes(executorch_folder: Path, golden: Path, assets: Any) -> None:
    for folder in (executorch_folder, golden / "bundle"):
        first = contents(assets(folder, "--widths", "1")[0].root)
        assert contents(assets(folder, "--widths", "1")[0].root) == first


def test_the_sizes_that_are_said_are_those_on_disk_and_of_hydrated_files(executorch_folder: Path, assets: Any) -> None:
    source = open_bundle(executorch_folder)
    written, said = assets(executorch_folder)
    assert said["files"] == {name: len(data) for name, data in contents(written.root).items()}
    assert said["bytes"] == sum(said["files"].values())
    separate = {
        precision: sum(len(data) for width in (0, 1) for data in hydrated(source, width, "executorch", precision))
        for precision in ("fp32", "int8")
    }
    assert {entry["precision"]: entry["separate_bytes"] for entry in said["artifacts"]} == separate
    assert said["separate_bytes"] == sum(separate.values())
    assert sum(entry["bytes"] for entry in said["artifacts"]) == said["bytes"] - said["files"]["manifest.json"]


def test_people_read_the_bytes_of_each_file_and_what_was_left_out(golden: Path, dsnet: Dsnet, tmp_path: Path) -> None:
    out = tmp_path / "assets"
    status, text, _ = dsnet("android-assets", golden / "bundle", "--widths", "0", "--out", out)
    model, separate = (out / "litert/model.tflite").stat().st_size, hydrated(open_bundle(out), 0, "litert", "int8")
    assert status == 0
    assert f"{out}/litert/model.tflite: {model:,} bytes\n" in text
    assert f"litert int8, widths 0: {model:,} bytes; separate models: {len(separate[0]):,}\n" in text
    assert "operating points: fast\n" in text
    assert "operating point balanced left out: it uses widths 1, which were not chosen\n" in text


def test_assets_written_before_are_replaced_whole(executorch_folder: Path, golden: Path, assets: Any) -> None:
    assets(executorch_folder)
    written, _ = assets(golden / "bundle")
    assert sorted(contents(written.root)) == ["litert/model.tflite", "manifest.json"]
    assert [path.name for path in written.root.parent.iterdir() if path.name.startswith(".")] == []


def test_assets_can_be_narrowed_further(golden: Path, assets: Any, dsnet: Dsnet, tmp_path: Path) -> None:
    assets(golden / "bundle")
    status, _, err = dsnet("android-assets", tmp_path / "assets", "--widths", "1", "--out", tmp_path / "narrow")
    assert (status, err) == (0, "")
    source = open_bundle(golden / "bundle")
    assert hydrated(open_bundle(tmp_path / "narrow"), 1, "litert", "int8") == hydrated(source, 1, "litert", "int8")


def test_an_empty_folder_is_filled(golden: Path, assets: Any, tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()
    assert assets(golden / "bundle")[1]["bytes"] > 0


def test_a_folder_with_files_of_others_is_left_alone(golden: Path, assets: Any, dsnet: Dsnet) -> None:
    written, _ = assets(golden / "bundle")
    (written.root / "fonts").mkdir()
    (written.root / "fonts" / "sans.ttf").write_bytes(b"font")
    before = contents(written.root)
    status, _, err = dsnet("android-assets", golden / "bundle", "--out", written.root)
    assert (status, err) == (
        2,
        f"error: {written.root} holds fonts/sans.ttf, which dsnet android-assets did not write; "
        "choose another --out, or empty that one\n",
    )
    assert contents(written.root) == before


def test_another_bundle_is_not_overwritten(bundle_folder: Path, golden: Path, dsnet: Dsnet) -> None:
    before = contents(bundle_folder)
    status, _, err = dsnet("android-assets", golden / "bundle", "--out", bundle_folder)
    assert status == 2
    assert "which dsnet android-assets did not write" in err
    assert contents(bundle_folder) == before


@pytest.mark.parametrize("place", [".", "litert", "assets"])
def test_the_bundle_itself_is_no_place_for_its_assets(bundle_folder: Path, dsnet: Dsnet, place: str) -> None:
    before = contents(bundle_folder)
    status, _, err = dsnet("android-assets", bundle_folder, "--out", bundle_folder / place)
    assert (status, "is in the bundle itself; choose another --out" in err) == (2, True), err
    assert contents(bundle_folder) == before


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--runtime", "litert"), "nothing for Android fits litert; choose with --runtime and --precision: executorch"),
        (("--runtime", "coreml"), "nothing for Android fits coreml; choose with"),
        (("--precision", "int8", "--precision", "int4"), "fits int4; choose with --runtime and --precision: "),
        (("--widths", "0,7"), "width 7 is not in executorch fp32, which has 0, 1; change --widths"),
        (("--widths", "narrow"), "--widths 'narrow' is not a list of widths"),
    ],
)
def test_what_the_bundle_does_not_have_is_one_line_with_what_it_has(
    executorch_folder: Path, dsnet: Dsnet, tmp_path: Path, words: tuple[str, ...], problem: str
) -> None:
    status, out, err = dsnet("android-assets", executorch_folder, *words, "--out", tmp_path / "assets")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert problem in err
    assert not (tmp_path / "assets").exists()


def test_a_bundle_without_artifacts_for_android_is_refused(bundle_folder: Path, dsnet: Dsnet, tmp_path: Path) -> None:
    change_manifest(bundle_folder, artifacts=[], operating_points=[])
    status, _, err = dsnet("android-assets", bundle_folder, "--out", tmp_path / "assets")
    problem = "no artifact for Android; dsnet convert --runtime litert or executorch adds one"
    assert (status, err) == (2, f"error: {bundle_folder}: {problem}\n")


@pytest.mark.parametrize("widths", ["all", "0"])
def test_an_altered_artifact_leaves_nothing_behind(golden: Path, dsnet: Dsnet, tmp_path: Path, widths: str) -> None:
    altered = golden.parent / "malformed" / "bundles" / "altered_artifact"
    status, _, err = dsnet("android-assets", altered, "--widths", widths, "--out", tmp_path / "assets")
    assert (status, "its SHA-256 starts with" in err) == (2, True), err
    assert list(tmp_path.iterdir()) == []


def test_a_narrower_file_that_is_not_the_same_network_is_never_written(
    golden: Path, dsnet: Dsnet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restrict = RESTRICT["litert"]

    def careless(*arguments: Any) -> Any:
        part = restrict(*arguments)
        ((name, data),) = part.files.items()
        place = data.index(max(read(data).constants.data, key=len).tobytes())
        damaged = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        artifact = part.artifact.model_copy(update={"sha256": sha256_bytes(damaged)})
        return type(part)(part.source, artifact, part.weights, {name: damaged})

    monkeypatch.setitem(RESTRICT, "litert", careless)
    status, _, err = dsnet("android-assets", golden / "bundle", "--widths", "1", "--out", tmp_path / "assets")
    assert (status, "width 1 of litert int8 would not be the same without the other widths" in err) == (2, True), err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_fewer_widths_of_several_gates_keep_the_programs_that_serve_them(
    assets: Callable[..., tuple[Bundle, dict[str, Any]]], precision: str
) -> None:
    written, _ = assets(NETWORKS / "two_gates", "--precision", precision, "--widths", "0,1,4")
    artifact = written.artifact("executorch", precision)
    assert {program.name: program.widths for program in artifact.programs} == {
        "prefix": [0, 1, 4],
        "stage_1_00": [0, 1],
        "stage_1_01": [4],
        "tail_00_00": [0],
        "tail_00_01": [1],
        "tail_01_02": [4],
    }
    failed = [check for check in verify(written.root) if check.outcome == "fail"]
    assert not failed, failed
