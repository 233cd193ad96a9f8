"""The whole line from a checkpoint to answers, of a network with two gates."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge import cli
from edge.bundle.manifest import TreePolicy
from edge.bundle.reader import Bundle, open_bundle
from edge.calibration import evaluate_point
from edge.profiling import load_latency
from edge.runtime import Preprocessing, load_predictions, open_dynamic, open_labelled, open_session, save_predictions
from edge.runtime.dynamic import resident_programs
from edge.runtime.policy import fixed, positions, score
from edge.runtime.route import GATE_LOGITS, IMAGE, LOGITS, Route, feed, real_values
from tests.convert.supernets import trained_like
from tests.gated_network import TWO_GATES
from train.checkpoint import save_checkpoint

CLASSES = [f"class_{number}" for number in range(TWO_GATES.classes)]


def dsnet(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main([str(word) for word in words])
    return int(ended.value.code or 0)


def write_images(folder: Path) -> None:
    """Write images of noise around colours that are far apart."""
    random = np.random.default_rng(0)
    for number in range(60):
        pixels = 255 * (0.7 * random.random(3) + 0.3 * random.random((16, 16, 3)))
        path = folder / CLASSES[number % len(CLASSES)] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)


def let_the_second_gate_know(path: Path) -> None:
    """Change predictions, of a network without training, to those of one: widths of the wide last part are right on all
    images, others on those that the second gate finds easy."""
    found = load_predictions(path)
    seen = [score(found.gates.of(width, 1)) for width in found.metadata.widths]
    easy = np.stack([scores <= np.median(scores) for scores in seen], axis=1)
    wide = np.array([TWO_GATES.paths[width][1] > 0 for width in found.metadata.widths])
    save_predictions(path, replace(found, hit=easy | wide))


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with images and a bundle, its latencies, its predictions and an operating point of each kind."""
    folder = tmp_path_factory.mktemp("line")
    checkpoint = trained_like(TWO_GATES)
    save_checkpoint(folder / "net.safetensors", checkpoint.spec, checkpoint.tensors, {})
    write_images(folder / "images")
    bundle, images = folder / "bundle", folder / "images"
    measured = ("--latency", folder / "latency.json", "--predictions", folder / "trained.npz")
    for words in (
        ("convert", folder / "net.safetensors", "--data", images, "--precision", "wi8", "--out", bundle),
        ("predict", bundle, "--data", images, "--out", folder / "predictions.npz"),
        ("profile", bundle, "--min-runs", 10, "--max-runs", 10, "--out", folder / "latency.json"),
    ):
        assert dsnet(*words) == 0, words
    shutil.copy(folder / "predictions.npz", folder / "trained.npz")
    let_the_second_gate_know(folder / "trained.npz")
    for words in (
        *(
            ("calibrate", bundle, *measured, "--budget", "macs<=0.1305M", "--policy", kind, "--name", kind)
            for kind in ("thresholds", "tree", "utility")
        ),
        ("calibrate", bundle, *measured, "--budget", "1000ms", "--policy", "cascade", "--name", "cascade"),
    ):
        assert dsnet(*words) == 0, words
    return folder


@pytest.fixture
def bundle(line: Path) -> Bundle:
    return open_bundle(line / "bundle")


def test_every_program_is_timed_alone_and_every_width_end_to_end(line: Path, bundle: Bundle) -> None:
    (run,) = load_latency(line / "latency.json").runs
    timed = [tuple(entry.programs) for entry in run.entries]
    names = [program.name for program in bundle.artifact().programs]
    assert sorted(timed) == sorted([*((name,) for name in names), *Route.of(bundle.artifact()).end_to_end.values()])


def test_predictions_hold_the_logits_of_every_gate_on_every_way(line: Path, bundle: Bundle) -> None:
    found = load_predictions(line / "predictions.npz")
    assert [len(decision.choices) for decision in found.metadata.decisions] == [2, 3, 3]
    session = open_session(bundle, bundle.artifact(), [program.name for program in bundle.artifact().programs])
    preprocess = Preprocessing.of(bundle.manifest.model, "litert")
    for row, sample in enumerate(list(open_labelled(line / "images", CLASSES))[:3]):
        for width, chain in Route.of(bundle.artifact()).chains.items():
            tensors = {IMAGE: preprocess(sample.data, sample.name)}
            for gate, program in enumerate(chain):
                tensors.update(session.run(program.name, feed(program, tensors)))
                if not program.answers:
                    assert np.array_equal(
                        found.gates.of(width, gate)[row], real_values(program, tensors, GATE_LOGITS)
                    ), (width, gate)
            top1 = real_values(chain[-1], tensors, LOGITS).argmax()
            assert found.hit[row, width] == (top1 == found.label[row]), width


@pytest.mark.parametrize("name", ["thresholds", "tree", "utility", "cascade"])
def test_an_operating_point_runs_images_as_it_was_calibrated(line: Path, bundle: Bundle, name: str) -> None:
    point, found = bundle.operating_point(name), load_predictions(line / "trained.npz")
    columns = [found.metadata.widths.index(width) for width in point.widths]
    expected = [point.widths[at] for at in positions(point.policy, found.gates, found.confidence[:, columns])]
    session = open_dynamic(bundle, bundle.artifact(), point.policy)
    preprocess = Preprocessing.of(bundle.manifest.model, "litert")
    images = open_labelled(line / "images", CLASSES)
    answers = [session.answer(preprocess(sample.data, sample.name)) for sample in images]
    assert [answer.width for answer in answers] == expected
    evaluation = evaluate_point(point, found, load_latency(line / "latency.json"), bundle)
    assert evaluation.accuracy.value == pytest.approx(point.calibration_accuracy)


def test_a_tree_is_at_least_as_good_as_thresholds_and_uses_further_gates(bundle: Bundle) -> None:
    tree, thresholds = bundle.operating_point("tree"), bundle.operating_point("thresholds")
    assert isinstance(tree.policy, TreePolicy) and tree.policy.root.depth > 1
    assert tree.calibration_accuracy > thresholds.calibration_accuracy
    assert tree.limits[0].expected <= tree.limits[0].value


def test_a_fixed_width_needs_the_programs_of_its_path_alone(bundle: Bundle) -> None:
    assert resident_programs(bundle.artifact(), [fixed(4)]) == Route.of(bundle.artifact()).end_to_end[4]


def test_images_run_adaptively_compare_and_report(
    line: Path, bundle: Bundle, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    names = [part for name in ("thresholds", "tree") for part in ("--operating-point", name)]
    capfd.readouterr()
    assert dsnet("run", bundle.root, line / "images", "--adaptive", "--target-ms", 50, *names, "--json") == 0
    assert len(json.loads(capfd.readouterr().out)["images"]) == 60
    measured = ("--latency", line / "latency.json", "--predictions", line / "trained.npz")
    assert dsnet("report", bundle.root, *measured, "--out", tmp_path / "report.html") == 0
    assert "2 trunk gates" in (tmp_path / "report.html").read_text()
    given = [
        word
        for side in "ab"
        for word in (f"--latency-{side}", line / "latency.json", f"--predictions-{side}", line / "trained.npz")
    ]
    assert dsnet("diff", bundle.root, bundle.root, *given) == 0
    assert "tree" in capfd.readouterr().out
