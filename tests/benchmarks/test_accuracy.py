from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.accuracy import METHODS, Comparison, difference, figures, networks
from tests.convert.supernets import trained_like
from tests.train.networks import MICRO, MICRO_STAGE, coloured_images
from train.checkpoint import Checkpoint, load_checkpoint
from train.config import SupernetStageConfig
from train.errors import ConfigError, SpecError

BRIEF = replace(MICRO_STAGE, epochs=2)
WIDTHS = (0, 2, 4)


def comparison(out: Path, given: dict[str, Path] | None = None, start: Checkpoint | None = None) -> Comparison:
    return Comparison(out, coloured_images(30), coloured_images(24, seed=1), 0, given or {}, start)


def judged(out: Path, method: str, config: SupernetStageConfig = BRIEF) -> list[dict[str, object]]:
    return [comparison(out).judged(network) for network in networks(method, MICRO, config, WIDTHS)]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_provides_every_width_once(method: str, tmp_path: Path) -> None:
    found = [width for record in judged(tmp_path, method) for width in record["right"]]  # type: ignore[attr-defined]
    assert found == ["0", "2", "4"], found


def test_a_comparison_given_again_trains_nothing_again(tmp_path: Path) -> None:
    first = judged(tmp_path, "static")
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.*") if path.is_file()}
    second = judged(tmp_path, "static")
    assert second == first
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_networks_trained_otherwise_are_not_taken_for_this_comparisons(tmp_path: Path) -> None:
    judged(tmp_path, "us-net")
    with pytest.raises(ConfigError, match=r"other settings \(config differ\)"):
        judged(tmp_path, "us-net", replace(BRIEF, epochs=3))


def test_a_given_checkpoint_is_judged_in_place_of_training(tmp_path: Path) -> None:
    (trained,) = judged(tmp_path / "here", "ds-net")
    (network,) = networks("ds-net", MICRO, replace(BRIEF, epochs=999_999), WIDTHS)
    given = {"ds-net": tmp_path / "here" / "ds-net.safetensors"}
    assert comparison(tmp_path / "there", given).judged(network) == trained


def test_a_given_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    judged(tmp_path, "static")
    (network,) = networks("ds-net", MICRO, BRIEF, WIDTHS)
    with pytest.raises(ConfigError, match="give a checkpoint of that spec"):
        comparison(tmp_path, {"ds-net": tmp_path / "static-00.safetensors"}).judged(network)


def test_methods_that_differ_in_the_objective_can_begin_as_one_trained_network(tmp_path: Path) -> None:
    start = trained_like(MICRO)
    motionless = replace(BRIEF, epochs=1, learning_rate=1e-9)
    for method in ("ds-net", "mvco"):
        (network,) = networks(method, MICRO, motionless, WIDTHS)
        comparison(tmp_path, start=start).judged(network)
        tensors = load_checkpoint(tmp_path / f"{method}.safetensors").tensors
        moved = max(
            float(np.abs(tensors[name] - start.tensors[name]).max()) for name in tensors if "statistics" not in name
        )
        assert moved < 1e-6, f"{method} begins {moved:.2e} away from its start"
    with pytest.raises(ConfigError, match=r"other settings \(start_sha256 differ\)"):
        comparison(tmp_path).judged(network)
    (alone, *_) = networks("static", MICRO, motionless, WIDTHS)
    with pytest.raises(ConfigError, match="static-00 cannot begin as the network of --start"):
        comparison(tmp_path, start=start).judged(alone)


def test_each_method_has_an_objective_of_its_own_whatever_the_config_says() -> None:
    config = replace(BRIEF, objective="ensemble bootstrapping")
    found = {method: networks(method, MICRO, config, WIDTHS)[0].config.objective for method in METHODS}
    assert found == {
        "ds-net": "bootstrapping",
        "us-net": "distillation",
        "s-net": "labels",
        "labels": "labels",
        "ieb": "ensemble bootstrapping",
        "mvco": "multi-view consistency",
        "static": "labels",
    }


def test_an_unknown_method_is_refused_with_the_valid_ones() -> None:
    with pytest.raises(ConfigError, match="valid: ds-net, us-net"):
        networks("autoslim", MICRO, BRIEF, WIDTHS)


def test_widths_that_the_network_does_not_have_are_refused_before_any_is_trained() -> None:
    with pytest.raises(SpecError, match="choices of 0…4"):
        networks("ds-net", MICRO, BRIEF, (0, 9))


def test_a_difference_has_the_interval_that_the_normal_distribution_gives_many_images() -> None:
    ours = np.repeat([1.0, 0.0, 1.0, 0.0], (300, 200, 1500, 2000))
    baseline = np.repeat([0.0, 1.0, 1.0, 0.0], (300, 200, 1500, 2000))
    found = difference(ours, baseline)
    half = 1.96 * float((ours - baseline).std()) / 4000**0.5
    assert found.value == pytest.approx(0.025), found
    # Quantiles of 10,000 resamples vary by about 2% of the half-width, and means are whole multiples of 1/4000, so 2%.
    assert (found.low, found.high) == pytest.approx((0.025 - half, 0.025 + half), abs=0.06 * half), (found, half)


def test_the_mean_over_widths_is_paired_image_by_image() -> None:
    """Where one width gains exactly the images that another loses, the mean has no spread at all."""
    some = np.array([True] * 30 + [False] * 70)
    right = {"ds-net": {0: some, 4: ~some}, "us-net": {0: ~some, 4: some}}
    *widths, mean = figures("ds-net", right, MICRO, "us-net")
    assert [record["top1"] for record in (*widths, mean)] == pytest.approx([0.3, 0.7, 0.5]), (widths, mean)
    assert mean["minus_us-net"] == {"value": 0.0, "low": 0.0, "high": 0.0}, mean
    assert all(record["minus_us-net"] is None for record in figures("us-net", right, MICRO, "us-net"))
