"""Packages for chosen widths: which files, that they are byte for byte what was converted, and what is refused."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from common import sha256_bytes
from edge import BundleError
from edge.bundle.coreml.hydrate import OPERATING_POINTS, hydrate, open_index
from edge.bundle.coreml.model_file import read_model
from edge.bundle.coreml.package import MODEL
from edge.bundle.manifest import Limit, OperatingPoint, ThresholdPolicy
from edge.bundle.nested.weights import open_nested_weights
from edge.bundle.reader import Bundle, open_bundle
from edge.bundle.writer import add_operating_points, write_manifest
from tests.conftest import REPOSITORY

ALL = ["prefix", "tail_00", "tail_01", "tail_02"]
WITHOUT = """
import sys
from pathlib import Path
for heavy in ("coremltools", "torch", "google", "ai_edge_litert"):
    sys.modules[heavy] = None
from edge.bundle.coreml.hydrate import hydrate
from edge.bundle.reader import open_bundle
bundle = open_bundle(Path(sys.argv[1]))
files = hydrate(bundle, bundle.artifact("coreml"), ["prefix", "tail_02"], Path("M.mlpackage"))
print(*sorted(path.as_posix() for path in files))
"""


def point(name: str, widths: list[int], artifact_sha256: str) -> OperatingPoint:
    return OperatingPoint(
        name=name, runtime="coreml", precision="fp16", device="phone", threads=1,
        policy=ThresholdPolicy(widths=widths, thresholds=[0.5] * (len(widths) - 1)), objective="accuracy",
        limits=[Limit(statistic="mean_ms", value=3.0, expected=2.0)], shares=[], expected_mean_ms=2.0,
        calibration_accuracy=0.5, optimality_gap=0.0, artifact_sha256=artifact_sha256, latency_sha256="0" * 64,
        predictions_sha256="0" * 64,
    )  # fmt: skip


def test_from_ios18_on_one_package_has_a_function_per_program(bundle: Bundle) -> None:
    files = hydrate(bundle, bundle.artifact(), ["prefix", "tail_00", "tail_02"], Path("Model.mlpackage"))
    assert {path.parts[0] for path in files} == {"Model.mlpackage"}
    model = read_model(files[Path("Model.mlpackage") / MODEL])
    assert list(model.functions) == ["prefix", "tail_00", "tail_02"]
    assert model.default_function == "prefix"


def test_all_widths_together_are_the_package_that_coremltools_wrote(bundle: Bundle) -> None:
    artifact = bundle.artifact()
    files = hydrate(bundle, artifact, ALL, Path("Model.mlpackage"))
    recorded = {part.path: part.sha256 for part in open_index(bundle, artifact).all_functions or ()}
    assert {str(path.relative_to("Model.mlpackage")): sha256_bytes(data) for path, data in files.items()} == recorded


def test_an_index_that_does_not_vouch_for_the_files_stops_hydration(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (artifact,) = manifest["artifacts"]
    index = json.loads((folder / artifact["file"]).read_text())
    for change, error in (
        ({"recipe_sha256": "0" * 64}, "of another recipe than the manifest's"),
        ({"all_functions": [part | {"sha256": "0" * 64} for part in index["all_functions"]]}, "differ from what"),
    ):
        data = json.dumps(index | change).encode()
        (folder / artifact["file"]).write_bytes(data)
        artifact |= {"bytes": len(data), "sha256": sha256_bytes(data)}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        changed = open_bundle(folder)
        with pytest.raises(BundleError, match=error):
            hydrate(changed, changed.artifact(), ALL, Path("Model.mlpackage"))


def test_a_folder_gets_a_package_per_program_each_as_it_was_converted(bundle: Bundle) -> None:
    files = hydrate(bundle, bundle.artifact(), ["prefix", "tail_01"], Path("out"), "packages")
    recipe = open_nested_weights(bundle, bundle.artifact()).recipe
    recorded = {file.path: file.sha256 for file in recipe.files if file.path.startswith(("prefix", "tail_01"))}
    assert {path.relative_to("out").as_posix(): sha256_bytes(data) for path, data in files.items()} == recorded
    assert {path.parts[1] for path in files} == {"prefix.mlpackage", "tail_01.mlpackage"}


def test_hydration_needs_neither_coremltools_nor_torch_nor_protobuf(converted_folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(converted_folder)],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    package = "M.mlpackage"
    data = f"{package}/Data/com.apple.CoreML"
    assert done.stdout.split() == [
        f"{data}/model.mlmodel", f"{data}/weights/weight.bin", f"{package}/Manifest.json",
    ]  # fmt: skip


def test_operating_points_go_into_the_metadata_only_when_asked_for(folder: Path) -> None:
    artifact = open_bundle(folder).artifact()
    out = Path("Model.mlpackage")
    before = hydrate(open_bundle(folder), artifact, ["prefix", "tail_00", "tail_02"], out)
    add_operating_points(
        folder,
        [
            point("fits", [0, 2], artifact.sha256),
            point("wider", [0, 1, 2], artifact.sha256),
            point("old", [0], "1" * 64),
        ],
    )
    bundle = open_bundle(folder)
    assert hydrate(bundle, artifact, ["prefix", "tail_00", "tail_02"], out) == before
    after = hydrate(bundle, artifact, ["prefix", "tail_00", "tail_02"], out, operating_points=True)
    assert {path for path in before if before[path] != after[path]} == {out / MODEL}
    old, new = read_model(before[out / MODEL]), read_model(after[out / MODEL])
    assert [entry["name"] for entry in json.loads(new.user_metadata[OPERATING_POINTS])] == ["fits"]
    assert old.user_metadata.items() < new.user_metadata.items()
    assert old.functions == new.functions


def test_packages_that_carry_operating_points_are_read_by_coremltools(folder: Path) -> None:
    from coremltools.proto import Model_pb2

    artifact = open_bundle(folder).artifact()
    add_operating_points(folder, [point("fits", [0], artifact.sha256)])
    names = ["prefix", "tail_00"]
    files = hydrate(open_bundle(folder), artifact, names, Path("out"), "packages", operating_points=True)
    for name in names:
        data = files[Path("out") / f"{name}.mlpackage" / MODEL]
        specification = Model_pb2.Model.FromString(data)
        assert specification.SerializeToString(deterministic=True) == data
        metadata = specification.description.metadata.userDefined
        assert OperatingPoint.model_validate(json.loads(metadata[OPERATING_POINTS])[0]).widths == [0]
        assert json.loads(metadata["dsnet.classes"]) == list("abcdefghij")


def test_asking_for_operating_points_that_are_not_there_is_refused(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="no operating point of this artifact fits these widths"):
        hydrate(bundle, bundle.artifact(), ["prefix", "tail_00"], Path("M.mlpackage"), operating_points=True)


def test_a_place_that_does_not_fit_the_form_is_refused(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match=r"choose an --out that ends in \.mlpackage"):
        hydrate(bundle, bundle.artifact(), ["prefix"], Path("Model"))
    with pytest.raises(BundleError, match=r"packages go into a folder; choose an --out"):
        hydrate(bundle, bundle.artifact(), ["prefix"], Path("Model.mlpackage"), "packages")


def test_an_unknown_program_is_refused(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="the recipe has no Core ML package for program tail_07"):
        hydrate(bundle, bundle.artifact(), ["tail_07"], Path("M.mlpackage"))


def test_before_ios18_several_programs_cannot_be_one_package(folder: Path) -> None:
    """An index that says iOS17 stands for a conversion for it; the packages themselves are looked at when merged."""
    artifact = rewritten_index(folder, deployment_target="iOS17", specification_version=8, all_functions=None)
    with pytest.raises(BundleError, match="hydrate with --as packages, or convert with --deployment-target iOS18"):
        hydrate(open_bundle(folder), artifact, ["prefix", "tail_00"], Path("M.mlpackage"), "mlpackage")
    assert hydrate(open_bundle(folder), artifact, ["prefix", "tail_00"], Path("out"))
    alone = hydrate(open_bundle(folder), artifact, ["prefix"], Path("M.mlpackage"), "mlpackage")
    assert list(read_model(alone[Path("M.mlpackage") / MODEL]).functions) == ["main"]


def rewritten_index(folder: Path, **changes: object):  # type: ignore[no-untyped-def]
    """Change fields of a bundle's index, and the manifest's hash of it; return the artifact."""
    bundle = open_bundle(folder)
    artifact = bundle.artifact()
    data = json.dumps({**json.loads((folder / artifact.file).read_bytes()), **changes}).encode()
    (folder / artifact.file).write_bytes(data)
    changed = artifact.model_copy(update={"bytes": len(data), "sha256": sha256_bytes(data)})
    write_manifest(folder, bundle.manifest.model_copy(update={"artifacts": [changed]}))
    return changed
