"""`verify` on a bundle for Core ML: what it claims on any machine, and that damage is found."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from common import sha256_bytes
from edge import BundleError, RuntimeUnavailableError
from edge.bundle.coreml.check import check_programs
from edge.bundle.reader import open_bundle
from edge.bundle.writer import write_manifest
from tests.bundle.coreml.test_hydrate import rewritten_index


def outcomes(folder: Path) -> dict[str, str]:
    """Return what each claim's check found, "skip: …" or "fail: …"."""
    bundle = open_bundle(folder)
    found = {}
    for claim, check in check_programs(bundle, bundle.artifact()):
        try:
            found[claim] = check()
        except RuntimeUnavailableError as error:
            found[claim] = f"skip: {error}"
        except BundleError as error:
            found[claim] = f"fail: {error}"
    return found


def failures(folder: Path) -> dict[str, str]:
    return {claim: text for claim, text in outcomes(folder).items() if text.startswith("fail")}


def test_a_fresh_bundle_passes_and_predictions_wait_for_a_mac(converted_folder: Path) -> None:
    found = outcomes(converted_folder)
    programs = ["prefix", "tail_00", "tail_01", "tail_02"]
    assert list(found) == [
        "index", *(f"{name} package" for name in programs), "package with all functions",
        *(f"{name} prediction" for name in programs),
    ]  # fmt: skip
    assert {claim for claim, text in found.items() if text.startswith(("skip", "fail"))} == {
        f"{name} prediction" for name in programs
    }
    assert "rebuilt as it was converted" in found["tail_02 package"]


def changed_recipe(folder: Path, change: Callable[[dict], None]) -> None:  # type: ignore[type-arg]
    """Change a bundle's recipe, and every hash that names it."""
    bundle = open_bundle(folder)
    (record,) = (item for item in bundle.manifest.weights if item.role == "recipe")
    recipe = json.loads((folder / record.file).read_bytes())
    change(recipe)
    data = json.dumps(recipe).encode()
    (folder / record.file).write_bytes(data)
    changed = record.model_copy(update={"bytes": len(data), "sha256": sha256_bytes(data)})
    weights = [changed if item.role == "recipe" else item for item in bundle.manifest.weights]
    write_manifest(folder, bundle.manifest.model_copy(update={"weights": weights}))
    rewritten_index(folder, recipe_sha256=changed.sha256)


def test_a_recipe_that_cuts_another_weight_fails_the_programs_that_use_it(folder: Path) -> None:
    def swap(recipe: dict) -> None:  # type: ignore[type-arg]
        by_shape: dict[str, list[int]] = {}
        for number, piece in enumerate(recipe["slices"]):
            by_shape.setdefault(str((piece["shape"], piece.get("cast"))), []).append(number)
        first, second, *_ = next(numbers for numbers in by_shape.values() if len(numbers) > 1)
        slices = recipe["slices"]
        slices[first], slices[second] = slices[second], slices[first]

    changed_recipe(folder, swap)
    found = failures(folder)
    assert found and all("not the one that was converted" in text for text in found.values()), found


def test_a_recipe_that_the_index_does_not_name_is_found(folder: Path) -> None:
    rewritten_index(folder, recipe_sha256="0" * 64)
    ((claim, text),) = failures(folder).items()
    assert claim == "index"
    assert text.endswith("index.json: of another recipe than the manifest's; copy the bundle again"), text


def test_an_index_of_other_programs_or_versions_is_found(folder: Path) -> None:
    rewritten_index(folder, functions=["prefix", "tail_00"], specification_version=10)
    found = failures(folder)
    assert "the index has prefix, tail_00; the manifest says prefix, tail_00, tail_01" in found["index"]
    assert "its model file is of version 9 with main" in found["tail_01 package"]
    assert "differ from what coremltools wrote" in found["package with all functions"]


def test_tensors_that_are_not_the_manifests_are_found(folder: Path) -> None:
    bundle = open_bundle(folder)
    fields = bundle.manifest.model_dump(mode="json")
    for program in fields["artifacts"][0]["programs"]:
        for tensor in (*program["inputs"], *program["outputs"]):
            if tensor["name"] == "features":
                tensor["shape"] = [1, 12, 2, 8]
    write_manifest(folder, type(bundle.manifest).model_validate(fields))
    found = failures(folder)
    assert set(found) == {"prefix package", "tail_00 package", "tail_01 package", "tail_02 package"}
    assert "features is float32 [1, 12, 4, 4], the manifest says float32 [1, 12, 2, 8]" in found["tail_00 package"]


def test_pixels_where_the_program_reads_a_tensor_are_found(folder: Path) -> None:
    rewritten_index(folder, image_input="pixels")
    assert failures(folder) == {
        "prefix package": "fail: image is float32 [1, 3, 16, 16], the manifest says RGB [16, 16]"
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "dsnet-coreml/2"}, "newer than this reader"),
        ({"functions": []}, "functions"),
        ({"recipe_sha256": "x"}, "recipe_sha256"),
        ({"image_input": "video"}, "image_input"),
        ({"all_functions": [{"path": "a", "bytes": -1, "sha256": "0" * 64}]}, "all_functions"),
    ],
)
def test_a_malformed_index_is_refused_in_one_line(folder: Path, changes: dict[str, object], message: str) -> None:
    rewritten_index(folder, **changes)
    bundle = open_bundle(folder)
    with pytest.raises(BundleError, match=message) as caught:
        list(check_programs(bundle, bundle.artifact()))
    assert "\n" not in str(caught.value)
