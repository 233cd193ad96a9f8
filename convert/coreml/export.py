"""Step 1, export: every program as coremltools writes it, less what changes from run to run.

A program is an .mlpackage of its own: torch.jit.trace → coremltools' default passes → mlprogram. Three things would
differ between two conversions of one network and are made constant: the conversion's date is dropped, the identifiers
of the package's items are derived from their paths, and the model file is serialised with its maps sorted.
"""

import gc
import json
import tempfile
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convert.coreml.options import CoreMlOptions, Precision
from convert.coreml.shared_int8 import PASS, Substitutes
from convert.errors import ExportError
from convert.quiet import quiet
from convert.slice_plan import ProgramPlan
from convert.static_module import StaticProgram
from edge.bundle.coreml.package import ITEMS, MODEL, SUFFIX, WEIGHTS, Package, model_of, output_feature
from train.spec import SupernetSpec

with quiet():
    import coremltools
    from coremltools.models import MLModel
    from coremltools.models.utils import MultiFunctionDescriptor, save_multifunction

DATE = "com.github.apple.coremltools.conversion_date"
IDENTIFIERS = uuid.UUID("6f5ab9f2-2a0c-5e1c-9d55-0f6d3a2f7c11")
"""Namespace of the identifiers that packages give their items: any constant."""


@dataclass(frozen=True)
class Exporter:
    """What is the same for every program of one conversion."""

    spec: SupernetSpec
    precision: Precision
    options: CoreMlOptions
    user_metadata: Mapping[str, str] = field(repr=False)

    def package(self, plan: ProgramPlan, module: StaticProgram, substitutes: Substitutes) -> Package:
        """Return the package with one program; `substitutes` are the shared integers of its weights, if any."""
        network: nn.Module = module
        pixels = self.options.image_input == "pixels" and plan.input_name == "image"
        if pixels:
            network = _DividedByStd(module, self.spec.std)
        example = torch.zeros(plan.input_shape)
        passes = coremltools.PassPipeline.DEFAULT
        if substitutes:
            passes.append_pass(PASS)
            passes.set_options(PASS, {"substitutes": substitutes, "target": self.options.target})
        with quiet(), _earlier_objects_kept(), warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            model = coremltools.convert(
                torch.jit.trace(network.eval(), example, check_trace=False),  # type: ignore[no-untyped-call]
                convert_to="mlprogram",
                minimum_deployment_target=coremltools.target[self.options.target],
                compute_precision=self._compute_precision(pixels),
                inputs=[self._input(plan, tuple(example.shape), pixels)],
                outputs=[_tensor_type(output_feature(name, [plan.input_name])) for name in plan.output_names],
                pass_pipeline=passes,
                skip_model_load=True,
            )
        specification = model.get_spec()
        metadata = specification.description.metadata
        metadata.userDefined.pop(DATE, None)
        metadata.author, metadata.license = self.options.author, self.options.licence
        metadata.shortDescription = self.options.description or _description(self.spec)
        metadata.userDefined.update(self.user_metadata)
        return _canonical(model, specification)

    def multifunction(self, packages: Mapping[str, Package], default: str) -> Package:
        """Return what coremltools makes of one-function packages: one package with all of them as functions."""
        with tempfile.TemporaryDirectory() as folder, quiet():
            described = MultiFunctionDescriptor()
            for name, package in packages.items():
                place = Path(folder) / f"{name}{SUFFIX}"
                for path, content in package.items():
                    (place / path).parent.mkdir(parents=True, exist_ok=True)
                    (place / path).write_bytes(content)
                described.add_function(str(place), "main", name)
            described.default_function_name = default
            out = Path(folder) / f"out{SUFFIX}"
            save_multifunction(described, str(out))
            model = MLModel(str(out), skip_model_load=True)
            specification = model.get_spec()
            # save_multifunction leaves out what the packages say about themselves, which is the same in all of them.
            specification.description.metadata.ParseFromString(model_of(next(iter(packages.values()))).metadata)
            return _canonical(model, specification)

    def _compute_precision(self, pixels: bool) -> Any:
        if self.precision == "fp32":
            return coremltools.precision.FLOAT32
        if not pixels:
            return coremltools.precision.FLOAT16
        return coremltools.transform.FP16ComputePrecision(op_selector=lambda op: not _reads_image(op))

    def _input(self, plan: ProgramPlan, shape: tuple[int, ...], pixels: bool) -> Any:
        if not pixels:
            return _tensor_type(plan.input_name, shape)
        return coremltools.ImageType(
            name=plan.input_name,
            shape=shape,
            scale=1 / 255,
            bias=[-mean for mean in self.spec.mean],
            color_layout=coremltools.colorlayout.RGB,
        )


@contextmanager
def _earlier_objects_kept() -> Iterator[None]:
    """Leave what is there already out of garbage collection, which coremltools asks for after every program.

    With all that it imports in memory, a collection takes longer than converting a small program.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class _DividedByStd(nn.Module):
    """A program that reads pixel / 255 − mean: coremltools' images have a bias per channel, but one scale for all."""

    def __init__(self, program: StaticProgram, std: Sequence[float]) -> None:
        super().__init__()
        self.program = program
        self.reciprocal = nn.Parameter(1 / torch.tensor(std).reshape(1, 3, 1, 1), requires_grad=False)

    def forward(self, image: Tensor) -> Any:
        return self.program(image * self.reciprocal)


def _canonical(model: MLModel, specification: Any) -> Package:
    """Return the files of a package with nothing in them that changes from run to run."""
    folder = Path(model.package_path)
    package = {
        ITEMS: _with_derived_identifiers(json.loads((folder / ITEMS).read_text(encoding="utf-8"))),
        MODEL: specification.SerializeToString(deterministic=True),
    }
    weights = folder / WEIGHTS
    return package | {WEIGHTS: weights.read_bytes()} if weights.is_file() else package


def _description(spec: SupernetSpec) -> str:
    """Return the short description of every package of a network."""
    programs = ("a program for each", "a prefix and a tail for each", "a prefix, stages and a tail for each")
    return f"{spec.name}: one network of {spec.n_widths} widths, {programs[min(len(spec.gates), 2)]}"


def _reads_image(op: Any) -> bool:
    """Return whether an operation divides the image by std: it stays in float32, and what it gives is rounded once."""
    source = op.inputs.get("x")
    return source is not None and source.op is None and source.name == "image"


def _tensor_type(name: str, shape: tuple[int, ...] | None = None) -> Any:
    # Without a type, float16 programs would exchange float16.
    return coremltools.TensorType(name=name, shape=shape, dtype=np.float32)


def _with_derived_identifiers(items: dict[str, Any]) -> bytes:
    """Return a package's item list with identifiers that depend on the items' paths alone."""
    entries = items["itemInfoEntries"]
    derived = {old: str(uuid.uuid5(IDENTIFIERS, entry["path"])).upper() for old, entry in entries.items()}
    if len(set(derived.values())) != len(entries):
        raise ExportError("coremltools wrote a package with two items of one path")
    changed = {
        **items,
        "itemInfoEntries": {derived[old]: entry for old, entry in entries.items()},
        "rootModelIdentifier": derived[items["rootModelIdentifier"]],
    }
    return (json.dumps(changed, indent=4, sort_keys=True) + "\n").encode()
