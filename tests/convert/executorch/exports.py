"""Ordinary exports with the stock calls alone, to compare with."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from convert.quiet import quiet
from convert.slice_plan import plan_programs, whole_program
from convert.static_module import static_module
from edge.runtime.native_stderr import native_stderr_silenced
from train.checkpoint import Checkpoint


def export(modules: Mapping[str, tuple[nn.Module, Tensor]]) -> bytes:
    """Return the `.pte` that ExecuTorch makes of some modules with their example inputs, one method each."""
    with quiet():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        programs = {name: torch.export.export(module, (example,)) for name, (module, example) in modules.items()}
        edge = to_edge_transform_and_lower(programs, partitioner=[XnnpackPartitioner()])
        return bytes(edge.to_executorch().buffer)


def float_programs(checkpoint: Checkpoint, widths: Sequence[int]) -> dict[str, tuple[nn.Module, Tensor]]:
    """Return the float modules of the programs for some widths, with example inputs."""
    spec = checkpoint.spec
    return {
        plan.name: (static_module(spec, plan, checkpoint.tensors), torch.zeros(plan.input_shape))
        for plan in plan_programs(spec, widths)
    }


def whole_network(checkpoint: Checkpoint, width: int) -> tuple[nn.Module, Tensor]:
    """Return one width as a single float module, image → logits, without the gate."""
    plan = whole_program(checkpoint.spec, width)
    return static_module(checkpoint.spec, plan, checkpoint.tensors), torch.zeros(plan.input_shape)


def answers(path: Path, method: str, inputs: Sequence[Tensor], data_path: Path | None = None) -> list[list[Tensor]]:
    """Return what the stock runtime says to each input."""
    with native_stderr_silenced():
        from executorch.runtime import Runtime

        program = Runtime.get().load_program(path, data_path=data_path)
        loaded = program.load_method(method)
    assert loaded is not None
    return [list(loaded.execute([value])) for value in inputs]
