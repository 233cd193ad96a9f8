"""Settings of the training tests, and one network trained for all of them."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from tests.train.networks import MICRO, MICRO_STAGE, coloured_images


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Run torch on one thread: these networks are too small for more, and tests may run side by side."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def trained_supernet() -> dict[str, np.ndarray]:
    """Return the tensors of MICRO after stage I on coloured images; tests must not write to them."""
    from lightning.fabric import Fabric

    from train.loop import Setting
    from train.supernet_stage import train_supernet

    return train_supernet(
        MICRO, coloured_images(60), MICRO_STAGE, setting=Setting(Fabric(accelerator="cpu", devices=1))
    )
