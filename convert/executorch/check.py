"""Step 3, check: what comes out of the store against the stock files, byte for byte and answer for answer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from executorch.runtime import Runtime
from numpy.typing import NDArray
from torch import Tensor

from convert.errors import ParityError
from convert.nested_store import NestedFiles
from convert.program_inputs import Named, Run, run_in_order, run_widths
from convert.slice_plan import ProgramPlan
from convert.static_module import StaticProgram
from edge.bundle.executorch.pte import data_file
from edge.bundle.manifest import Accuracy, Parity
from edge.runtime.native_stderr import native_stderr_silenced

Values = Named[Tensor]


def check_parity(
    program: bytes,
    nested: NestedFiles,
    plans: Sequence[ProgramPlan],
    files: Mapping[str, bytes],
    images: Sequence[Tensor],
) -> list[Parity]:
    """Compare every program with its stock file, of which `files` has one by name.

    The file that the template gives must be the stock one, byte for byte. The program without weights, given the slices
    through a named data map, must give the same outputs. Anything else is a ParityError that names the program.
    """
    weights = nested.weights
    results: list[Parity] = []
    for plan, inputs, expected in run_in_order(plans, images, _stock(files)):
        if weights.file(f"{plan.name}.pte") != files[plan.name]:
            raise ParityError(f"program {plan.name}: its template does not give back the stock file byte for byte")
        found = run_method(program, plan, inputs, data_file(weights.constants([f"{plan.name}.pte"])))
        difference = max(
            float((f[name].double() - e[name].double()).abs().max())
            for e, f in zip(expected, found, strict=True)
            for name in e
        )
        if difference != 0:
            raise ParityError(
                f"program {plan.name}: outputs from slices differ from the stock file's by {difference:g}, not by 0"
            )
        results.append(Parity(program=plan.name, max_abs_difference=difference, images=len(inputs)))
    return results


def measure_accuracy(
    plans: Sequence[ProgramPlan],
    modules: Mapping[str, StaticProgram],
    files: Mapping[str, bytes],
    images: Sequence[Tensor],
    labels: Sequence[int],
) -> list[Accuracy]:
    """Return top-1 per width of the float network in torch and of the stock files on labelled images.

    modules, files: by the programs' names.
    """
    if not labels:
        return []
    truth = np.asarray(labels)

    def in_torch(plan: ProgramPlan, inputs: Sequence[Values]) -> list[Values]:
        return [_named(plan, modules[plan.name](sample[plan.input_name])) for sample in inputs]

    widths = zip(run_widths(plans, images, in_torch), run_widths(plans, images, _stock(files)), strict=True)
    measured = [
        Accuracy(
            width=width,
            images=len(images),
            float_top1=float((_classes(expected) == truth).mean()),
            artifact_top1=float((_classes(found) == truth).mean()),
        )
        for (width, expected), (_, found) in widths
    ]
    return sorted(measured, key=lambda entry: entry.width)


def _stock(files: Mapping[str, bytes]) -> Run[Tensor]:
    return lambda plan, inputs: run_method(files[plan.name], plan, inputs)


def run_method(program: bytes, plan: ProgramPlan, inputs: Sequence[Values], data: bytes | None = None) -> list[Values]:
    """Return one program's named outputs for each set of inputs; `data` is the .ptd of a program without weights."""
    with TemporaryDirectory(prefix="dsnet-executorch-") as folder, native_stderr_silenced():
        path, data_path = Path(folder) / "program.pte", Path(folder) / "weights.ptd"
        path.write_bytes(program)
        if data is not None:
            data_path.write_bytes(data)
        loaded = Runtime.get().load_program(path, data_path=data_path if data is not None else None)
        method = loaded.load_method(plan.name)
    assert method is not None
    return [_named(plan, method.execute([sample[plan.input_name]])) for sample in inputs]


def _named(plan: ProgramPlan, outputs: Any) -> Values:
    return dict(zip(plan.output_names, [outputs] if isinstance(outputs, Tensor) else outputs, strict=True))


def _classes(outputs: Sequence[Values]) -> NDArray[np.intp]:
    return np.asarray(torch.cat([output["logits"] for output in outputs]).argmax(dim=1).numpy(), np.intp)
