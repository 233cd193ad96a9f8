"""Which images and which random draws a step gets: functions of the seed and the step, so a run can resume anywhere.

A step's images are split into parts: processes × `accumulate` of them. Part p is the same images with the same random
changes whoever runs it, so any number of processes trains the same network.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from train.data import ImageSet, collate, decoding_workers
from train.errors import DataError

ORDER, DRAWS, WIDTHS, STATISTICS, VIEWS = range(5)
"""What a seed is for: the order of an epoch, the random changes of a part, the widths of a step, the images that
batch-norm statistics are measured on, the random changes of a part's other view."""


def seed_of(seed: int, purpose: int, *place: int) -> int:
    """Return the seed of one random draw; different places, of one length per purpose, give independent streams."""
    sequence = np.random.SeedSequence([seed, purpose, *place])
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)


def generator_of(seed: int, purpose: int, *place: int) -> torch.Generator:
    """Return a fresh CPU generator for one random draw."""
    return torch.Generator().manual_seed(seed_of(seed, purpose, *place))


class PartSampler(Sampler[list[int]]):
    """Yields the image numbers of every part that one process runs, from one step to the last.

    Every epoch is a fresh permutation of all `count` images, without the last, incomplete batch.
    """

    def __init__(self, count: int, batch_size: int, steps: range, seed: int, parts: range, all_parts: int) -> None:
        super().__init__()
        self.count = count
        self.batch_size = batch_size
        self.steps = steps
        self.seed = seed
        self.parts = parts
        self.all_parts = all_parts

    def __len__(self) -> int:
        return len(self.steps) * len(self.parts)

    def __iter__(self) -> Iterator[list[int]]:
        per_epoch = steps_per_epoch(self.count, self.batch_size)
        order, drawn_for = torch.empty(0), -1
        for step in self.steps:
            epoch, place = divmod(step, per_epoch)
            if epoch != drawn_for:
                order = torch.randperm(self.count, generator=generator_of(self.seed, ORDER, epoch))
                drawn_for = epoch
            batch = order[place * self.batch_size : (place + 1) * self.batch_size]
            shares = batch.tensor_split(self.all_parts)
            for part in self.parts:
                yield shares[part].tolist()


def steps_per_epoch(count: int, batch_size: int) -> int:
    """Return the whole batches in one pass over `count` images."""
    return count // batch_size


def loaded_parts(images: ImageSet, sampler: PartSampler) -> Iterator[tuple[Tensor, ...]]:
    """Yield (uint8 images (n, 3, r, r), labels (n,)), one item per part. A DataError is one line, as elsewhere."""
    loader: DataLoader[tuple[Tensor, ...]] = DataLoader(
        images.images,
        batch_sampler=sampler,
        collate_fn=collate,
        num_workers=decoding_workers(images),
        pin_memory=torch.cuda.is_available(),
    )
    try:
        yield from loader
    except DataError as error:
        # From a worker process it comes wrapped in that process's traceback.
        raise DataError(str(error).rsplit("DataError: ", 1)[-1].strip()) from error
