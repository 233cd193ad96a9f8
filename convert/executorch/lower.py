"""Step 1, export: every program as the stock exporter writes it, in several processes.

A program is a plain `.pte` of its own: torch.export → XNNPACK's partitioner → to_executorch, with no option that is not
the default. Lowering takes seconds per program, nearly all of it Python re-tracing graphs, so processes pay.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower

from convert.executorch.quantize import quantize
from convert.fold import Float, Tensors
from convert.program_record import Joints, joint
from convert.quantized_weights import QuantizedWeights
from convert.quiet import quiet
from convert.slice_plan import ProgramPlan
from convert.static_module import static_module
from train.spec import SupernetSpec

PROGRAMS_PER_PROCESS = 2
"""A process takes about 5 s to start, as long as lowering two or three small programs."""
MAX_PROCESSES = 8
"""Each holds about 1.5 GB."""


@dataclass(frozen=True)
class Task:
    """What is the same for every program of one conversion."""

    spec: SupernetSpec
    tensors: Tensors = field(repr=False)
    samples: Mapping[str, Sequence[Float]] = field(repr=False)
    """Program → inputs to measure its activations on, NCHW; float programs need one. No tensors: each of those would
    take a file descriptor on its way to another process."""
    weights: QuantizedWeights | None = field(default=None, repr=False)
    """The shared integers, or None for float32."""
    joints: Joints = field(default_factory=dict)
    """How features are quantized, in int8."""


def lower_all(task: Task, plans: Sequence[ProgramPlan], done: Callable[[], None]) -> list[bytes]:
    """Return the stock file of every program, in order; `done` is called after each."""
    processes = min(os.cpu_count() or 1, MAX_PROCESSES, len(plans) // PROGRAMS_PER_PROCESS)
    files = []
    # The longest first, so that no process is left with the widest at the end.
    order = sorted(range(len(plans)), key=lambda index: -_macs(plans[index]))
    for file in _in_processes(task, [plans[index] for index in order], processes):
        files.append(file)
        done()
    return [file for _, file in sorted(zip(order, files, strict=True))]


def lower(task: Task, plan: ProgramPlan) -> bytes:
    """Return the stock `.pte` of one program."""
    module = static_module(task.spec, plan, task.tensors)
    samples = [torch.from_numpy(value) for value in task.samples[plan.name]]
    with quiet():
        if task.weights is None:
            exported = torch.export.export(module, (samples[0],))
        else:
            taken, given = (task.joints.get(joint(plan, value)) for value in (plan.cut.given, plan.cut.wanted[0]))
            quantized = quantize(module, samples, task.weights, task.tensors, taken, given)
            exported = torch.export.export(quantized, (samples[0].to(torch.int8) if taken else samples[0],))
        edge = to_edge_transform_and_lower({plan.name: exported}, partitioner=[XnnpackPartitioner()])
        return bytes(edge.to_executorch().buffer)


def _macs(plan: ProgramPlan) -> int:
    return sum(step.node.macs(plan.width) for step in plan.cut.steps)


def _in_processes(task: Task, plans: Sequence[ProgramPlan], processes: int) -> Iterator[bytes]:
    if processes < 2:
        yield from (lower(task, plan) for plan in plans)
        return
    # A server that has imported everything and started no thread can fork; this process cannot.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(processes, context, initializer=_begin, initargs=(task,)) as pool:
        with quiet():  # the server of processes is started, and keeps these streams
            files = pool.map(_lower_in_process, plans)
        yield from files


_task: Task
"""The conversion that this process works on."""


def _begin(task: Task) -> None:
    global _task
    _task = task
    torch.set_num_threads(1)


def _lower_in_process(plan: ProgramPlan) -> bytes:
    return lower(_task, plan)
