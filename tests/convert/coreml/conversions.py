"""Conversions that several tests look at, each made once per test process, and what they must compute."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache

import numpy as np
import torch

from convert.artifacts import NewArtifact, Request
from convert.coreml import artifacts
from convert.coreml.nest import as_coremltools_rounds, masters
from convert.coreml.options import CoreMlOptions, Precision
from convert.fold import bias_slice, fold
from convert.gamma_signs import separate_signs
from convert.images import CheckImages
from convert.program_inputs import Named, run_in_order
from convert.quantized_weights import payload_at, quantize_weights, scale_at
from convert.slice_plan import ProgramPlan, plan_programs
from convert.static_module import StaticProgram, static_module
from edge.bundle.coreml.package import Package, output_feature, rebuild
from edge.bundle.nested.weights import NestedWeights, parse_recipe
from tests.convert.coreml.mil_interpreter import Interpreter
from tests.convert.supernets import images, trained_like
from train.checkpoint import Checkpoint

CHECKPOINT = trained_like()
CLASSES = tuple("abcdefghij")
FEW = (0, 3)
IMAGE = images(CHECKPOINT.spec, 1)[0].transpose(0, 3, 1, 2)


def converted(precision: Precision, target: str = "iOS18", image_input: str = "tensor") -> NewArtifact:
    """Return an artifact of the tiny network's ends, and for the default of everything of a third width."""
    return _converted(precision, target, image_input)


@cache
def _converted(precision: Precision, target: str, image_input: str) -> NewArtifact:
    widths = (0, 1, 3) if (precision, target, image_input) == ("fp16", "iOS18", "tensor") else FEW
    return convert(CHECKPOINT, widths, precision, target, image_input)


def convert(
    checkpoint: Checkpoint,
    widths: Sequence[int],
    precision: Precision,
    target: str = "iOS18",
    image_input: str = "tensor",
) -> NewArtifact:
    """Return an artifact."""
    options = CoreMlOptions(target, image_input, "An author", "A licence")  # type: ignore[arg-type]
    request = Request(tuple(widths), "coreml", (precision,), CLASSES, coreml=options)
    (artifact,) = artifacts.convert(checkpoint, request, CheckImages("none", [], []), lambda _: None)
    return artifact


def weights_of(artifact: NewArtifact) -> NestedWeights:
    """Return the nested weights of an artifact that is not on disk."""
    store, recipe, template = (item.data for item in artifact.weights)
    return NestedWeights(parse_recipe(recipe, "recipe.json"), store, template)


def packages_of(artifact: NewArtifact) -> dict[str, Package]:
    """Return every program's package, rebuilt."""
    weights = weights_of(artifact)
    return {program.name: rebuild(weights, program.name) for program in artifact.record.programs}


def references(
    checkpoint: Checkpoint, widths: Sequence[int], precision: Precision
) -> Mapping[str, tuple[ProgramPlan, StaticProgram]]:
    """Return every program as a torch module in float64 with the constants that a package of `precision` must have."""
    spec, plans = checkpoint.spec, plan_programs(checkpoint.spec, widths)
    tensors, weights = masters(checkpoint.tensors, plans, precision), None
    if precision == "int8":
        plans, tensors = separate_signs(tensors, plans)
        weights = quantize_weights(tensors, plans)
    modules = {}
    for plan in plans:
        module = static_module(spec, plan, tensors).double()
        for name, piece in module.pieces.items():
            weight, bias = fold(tensors, piece, spec.bn_epsilon)[0], bias_slice(tensors, piece, spec.bn_epsilon)
            if weights is not None:
                scale = scale_at(weights[piece.name], tensors, piece, spec.bn_epsilon).astype(np.float16)
                integers = payload_at(weights[piece.name], piece).astype(np.float32)
                product = integers * scale.astype(np.float32)[:, None, None, None]
                _set(module, f"{name}.weight", product.astype(np.float16))
            else:
                _set(module, f"{name}.weight", as_coremltools_rounds(weight) if precision == "fp16" else weight)
            _set(module, f"{name}.bias", bias if precision == "fp32" else as_coremltools_rounds(bias))
        modules[plan.name] = plan, module
    return modules


def _set(module: StaticProgram, parameter: str, values: np.ndarray) -> None:
    module.get_parameter(parameter).data = torch.from_numpy(values.astype(np.float64))


@torch.no_grad()
def outputs(module: StaticProgram, given: np.ndarray) -> dict[str, np.ndarray]:
    """Return what a program computes, by the outputs' names."""
    parameter = next(module.parameters())
    answer = module(torch.from_numpy(given).to(parameter.dtype))
    answers = answer if isinstance(answer, tuple) else (answer,)
    return {name: one.numpy() for name, one in zip(module.output_names, answers, strict=True)}


def answers(interpreter: Interpreter, function: str, given: Named[np.ndarray]) -> dict[str, np.ndarray]:
    """Return what a function of a package computes, by the manifest's names."""
    found, names = interpreter.run(function, dict(given)), ("features", "gate_logits", "logits")
    return {name: found[key] for name in names if (key := output_feature(name, given)) in found}


def in_torch(
    checkpoint: Checkpoint, widths: Sequence[int], precision: Precision, image: np.ndarray
) -> Iterator[tuple[str, Named[np.ndarray], Named[np.ndarray]]]:
    """Yield every program's name, what it reads where one image goes in at the front, and what torch makes of it."""
    programs = references(checkpoint, widths, precision)

    def run(plan: ProgramPlan, inputs: Sequence[Named[np.ndarray]]) -> list[Named[np.ndarray]]:
        return [outputs(programs[plan.name][1], given[plan.input_name]) for given in inputs]

    for plan, (given,), (expected,) in run_in_order([plan for plan, _ in programs.values()], [image], run):
        yield plan.name, given, expected
