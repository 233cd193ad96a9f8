"""Which images a step gets: every one once per epoch, the same whoever runs it and wherever a run resumes."""

from itertools import chain
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

from tests.train.networks import MICRO
from train.data import DecodedImages, ImageSet, load_images
from train.errors import DataError
from train.sampling import DRAWS, ORDER, WIDTHS, PartSampler, generator_of, loaded_parts, seed_of, steps_per_epoch

COUNT, BATCH = 50, 12
PER_EPOCH = 4
"""Two images of 50 are left over by four batches of 12."""


def parts(
    steps: range = range(PER_EPOCH), seed: int = 0, own: range = range(1), all_parts: int = 1, count: int = COUNT
) -> list[list[int]]:
    """Return the image numbers of every part that a process runs."""
    return list(PartSampler(count, BATCH, steps, seed, own, all_parts))


def test_an_epoch_visits_every_image_at_most_once_in_whole_batches() -> None:
    assert steps_per_epoch(COUNT, BATCH) == PER_EPOCH
    visited = list(chain.from_iterable(parts()))
    assert len(visited) == len(set(visited)) == PER_EPOCH * BATCH
    assert set(visited) <= set(range(COUNT))


def test_images_that_one_epoch_leaves_over_are_visited_by_others() -> None:
    assert set(chain.from_iterable(parts(range(10 * PER_EPOCH)))) == set(range(COUNT))


@pytest.mark.parametrize(("processes", "accumulate"), [(1, 1), (1, 3), (2, 1), (3, 2)])
def test_the_parts_of_all_processes_are_equal_shares_of_the_batch_of_one(processes: int, accumulate: int) -> None:
    all_parts = processes * accumulate
    by_process = [
        parts(own=range(rank * accumulate, (rank + 1) * accumulate), all_parts=all_parts) for rank in range(processes)
    ]
    for step, batch in enumerate(parts()):
        shares = [share for found in by_process for share in found[step * accumulate : (step + 1) * accumulate]]
        assert {len(share) for share in shares} == {BATCH // all_parts}
        assert list(chain.from_iterable(shares)) == batch


def test_a_batch_that_does_not_divide_gives_parts_that_differ_by_one_image() -> None:
    sizes = [len(part) for part in parts(range(1), own=range(5), all_parts=5)]
    assert sum(sizes) == BATCH
    assert max(sizes) - min(sizes) == 1, sizes


@pytest.mark.parametrize("start", [0, 1, PER_EPOCH - 1, PER_EPOCH, 2 * PER_EPOCH + 1, 3 * PER_EPOCH])
def test_starting_at_any_step_gives_the_parts_that_remained(start: int) -> None:
    end = 3 * PER_EPOCH
    whole = parts(range(end), own=range(1, 3), all_parts=4)
    assert parts(range(start, end), own=range(1, 3), all_parts=4) == whole[2 * start :]


def test_the_length_is_the_number_of_parts() -> None:
    sampler = PartSampler(COUNT, BATCH, range(3, 9), 0, range(2), 2)
    assert len(sampler) == len(list(sampler)) == 12


def test_every_epoch_has_an_order_of_its_own() -> None:
    first, second = parts(range(PER_EPOCH)), parts(range(PER_EPOCH, 2 * PER_EPOCH))
    assert first != second


def test_the_seed_decides_the_order_and_nothing_else_does() -> None:
    before = parts(seed=5)
    torch.manual_seed(123)
    assert parts(seed=5) == before
    assert parts(seed=6) != before


def test_seeds_of_different_purposes_and_places_differ() -> None:
    by_step = [(purpose, step) for purpose in (ORDER, WIDTHS) for step in range(40)]
    by_part = [(DRAWS, step, part) for step in range(40) for part in range(4)]
    seeds = [seed_of(seed, *draw) for seed in range(3) for draw in (*by_step, *by_part)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_seed_is_a_function_of_its_purpose_and_place() -> None:
    assert seed_of(1, DRAWS, 2, 3) == seed_of(1, DRAWS, 2, 3)
    first, second = (torch.rand(4, generator=generator_of(1, WIDTHS, 2)) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("kind", [TensorDataset, DecodedImages])
def test_the_loader_gives_uint8_images_and_labels_in_that_order(kind: type[TensorDataset]) -> None:
    pixels = torch.randint(0, 256, (COUNT, 3, 4, 4), dtype=torch.uint8)
    images = ImageSet(kind(pixels, torch.arange(COUNT)), COUNT, ("all",))
    sampler = PartSampler(COUNT, BATCH, range(2, 6), 0, range(1, 3), 3)
    loaded = list(loaded_parts(images, sampler))
    assert [labels.tolist() for _, labels in loaded] == list(sampler)
    for found, labels in loaded:
        assert found.dtype == torch.uint8
        assert torch.equal(found, pixels[labels])


def test_an_error_of_a_process_that_decodes_images_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.data.MEMORY_LIMIT_BYTES", 1)
    for name in ("a", "b", "c"):
        for number in range(4):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.new("RGB", (8, 8), number).save(tmp_path / name / f"{number}.png")
    images = load_images(tmp_path, MICRO)
    for file in tmp_path.rglob("*.png"):
        file.unlink()
    with pytest.raises(
        DataError, match=r"^2 of 12 images in .* are damaged, more than 10%: .*; replace them"
    ) as refused:
        list(loaded_parts(images, PartSampler(12, 4, range(3), 0, range(1), 1)))
    assert "\n" not in str(refused.value)
