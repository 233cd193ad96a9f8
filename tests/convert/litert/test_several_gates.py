"""Networks of several gates in LiteRT: every path of programs, each weight of a run of ranges stored once."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from convert.artifacts import Request
from convert.build_bundle import build_bundle
from convert.images import CheckImages
from convert.litert.export import Image
from convert.litert.interpreter import run_program
from convert.litert.quantize import PRECISIONS
from convert.slice_plan import plan_programs, uses_of_layers, weight_levels
from edge.bundle.litert.hydrate import hydrate_monolithic
from edge.bundle.manifest import Artifact
from edge.bundle.reader import Bundle, open_bundle
from edge.bundle.restrict import take_part
from edge.bundle.verify import verify
from edge.runtime.open_session import open_session
from edge.runtime.route import LOGITS, Route, feed
from tests.convert.supernets import images, trained_like
from tests.gated_network import THREE_GATES, TWO_GATES
from train.spec import SupernetSpec
from train.supernet import Supernet


@pytest.fixture(scope="module", params=[TWO_GATES, THREE_GATES], ids=lambda spec: spec.name)
def converted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[SupernetSpec, Bundle]:
    spec, out = request.param, tmp_path_factory.mktemp("bundle")
    asked = Request(tuple(range(spec.n_widths)), "litert", PRECISIONS, tuple(map(str, range(spec.classes))))
    build_bundle(trained_like(spec), asked, CheckImages("noise", images(spec, 4), []), out)
    return spec, open_bundle(out)


def test_every_program_equals_its_plain_file_and_the_bundle_verifies(converted: tuple[SupernetSpec, Bundle]) -> None:
    spec, bundle = converted
    expected = [plan.name for plan in plan_programs(spec, range(spec.n_widths))]
    for artifact in bundle.manifest.artifacts:
        assert [program.name for program in artifact.programs] == expected
        differences = {entry.program: entry.max_abs_difference for entry in artifact.parity}
        assert differences == dict.fromkeys(expected, 0)
    failed = [check for check in verify(bundle.root) if check.outcome == "fail"]
    assert not failed, failed


def test_every_path_answers_as_the_supernet_does_at_that_width(converted: tuple[SupernetSpec, Bundle]) -> None:
    spec, bundle = converted
    supernet, image = Supernet.from_tensors(spec, trained_like(spec).tensors), images(spec, 1)[0]
    with torch.no_grad():
        pixels = torch.from_numpy(image).permute(0, 3, 1, 2)
        expected = [supernet(pixels, width)[0].numpy() for width in range(spec.n_widths)]
    found = answers(bundle, bundle.artifact("litert", "wi8"), image)
    worst = max(float(np.abs(f - e).max() / np.ptp(e)) for f, e in zip(found, expected, strict=True))
    # A weight is off by at most 1/254 of its row's largest, at random: a path's few layers add up to some percent.
    assert worst < 0.03, f"{worst:.4f} of the logits' range"


def test_a_path_as_one_program_answers_the_same(converted: tuple[SupernetSpec, Bundle]) -> None:
    spec, bundle = converted
    artifact, image = bundle.artifact("litert", "wi8"), images(spec, 1)[0]
    width = spec.n_widths - 2
    names = Route.of(artifact).end_to_end[width]
    whole = hydrate_monolithic(bundle.verified_bytes(artifact), names, "net_00")
    (found,) = run_program(whole, "net_00", [{"image": image}])
    assert np.array_equal(found["logits"].reshape(-1), answers(bundle, artifact, image)[width])


@pytest.mark.parametrize("spec", [TWO_GATES, THREE_GATES], ids=lambda spec: spec.name)
def test_a_weight_is_stored_once_for_each_run_of_ranges_that_hold_one_another(spec: SupernetSpec) -> None:
    plans = plan_programs(spec, range(spec.n_widths))
    runs = {name: levels.chains for name, levels in weight_levels(plans).items()}
    assert {name for name, found in runs.items() if len(found) > 1} == {
        f"stages.{gate.stage}.0.{layer}" for gate in spec.gates[1:] for layer in ("first", "shortcut")
    }
    for name, uses in uses_of_layers(plans).items():
        assert {piece.extent for piece in uses} == {extent for chain in runs[name] for extent in chain}
        assert all(np.less_equal(small, large).all() for chain in runs[name] for small, large in pairwise(chain))


def test_some_widths_alone_keep_what_their_paths_run_and_answer_the_same(
    converted: tuple[SupernetSpec, Bundle],
) -> None:
    spec, bundle = converted
    artifact = bundle.artifact("litert", "wi8")
    widths = [0, spec.n_widths - 1]
    part = take_part(bundle, artifact, widths)
    assert {name for found in Route.of(part.artifact).end_to_end.values() for name in found} == {
        program.name for program in part.artifact.programs
    }
    assert [program.widths for program in part.artifact.programs if program.answers] == [[width] for width in widths]
    assert part.artifact.bytes < artifact.bytes


def test_widths_neither_of_which_holds_the_other_convert_and_a_further_precision_joins_the_bundle(
    tmp_path: Path,
) -> None:
    widths = (1, 2)  # paths (0, 1) and (1, 0)
    for precision in PRECISIONS:
        asked = Request(widths, "litert", (precision,), tuple("abc"))
        build_bundle(trained_like(TWO_GATES), asked, CheckImages("noise", images(TWO_GATES, 4), []), tmp_path)
    artifacts = open_bundle(tmp_path).manifest.artifacts
    assert [artifact.precision for artifact in artifacts] == list(PRECISIONS)
    for artifact in artifacts:
        assert list(Route.of(artifact).paths) == [1, 2]
        assert {entry.max_abs_difference for entry in artifact.parity} == {0}


def answers(bundle: Bundle, artifact: Artifact, image: Image) -> list[Image]:
    """Return the logits [classes] of an image at every width, program after program."""
    session = open_session(bundle, artifact, [program.name for program in artifact.programs])
    route = Route.of(artifact)
    found = []
    for path in route.paths.values():
        tensors = {"image": image}
        for program in (*filter(None, [route.head]), *path):
            tensors |= session.run(program.name, feed(program, tensors))
        found.append(tensors[LOGITS].reshape(-1))
    return found
