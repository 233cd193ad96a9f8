"""Front ends: how a static module becomes a float LiteRT graph.

One file per front end, one function each, one interface.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Literal, get_args

from convert.errors import ExportError
from convert.static_module import StaticProgram
from train.families import FAMILIES
from train.spec import SupernetSpec

FrontendName = Literal["onnx2tf", "litert-torch"]
Frontend = Callable[[StaticProgram, tuple[int, int, int, int]], bytes]
"""(module, NCHW input shape) → a float32 LiteRT file with one subgraph: NHWC in, outputs in the module's order."""

_MODULES: dict[str, str] = {
    "onnx2tf": "convert.litert.onnx2tf_frontend",
    "litert-torch": "convert.litert.litert_torch_frontend",
}


def frontend_for(spec: SupernetSpec, name: str | None) -> str:
    """Return the front end asked for, else the network's own; one that does not exist or suit it is an ExportError."""
    is_transformer = FAMILIES[spec.family].is_transformer
    name = name or ("litert-torch" if is_transformer else "onnx2tf")
    check_frontend(name)
    if is_transformer and name == "onnx2tf":
        raise ExportError(f"onnx2tf does not export transformers like {spec.name}; valid for --frontend: litert-torch")
    return name


def check_frontend(name: str) -> None:
    """Raise an ExportError that lists the valid names unless this is one."""
    if name not in get_args(FrontendName):
        raise ExportError(f"unknown front end {name!r}; valid for --frontend: {', '.join(get_args(FrontendName))}")


def load_frontend(name: str) -> Frontend:
    """Return a front end by name; a missing package is an ExportError that says what to install."""
    check_frontend(name)
    try:
        frontend: Frontend = import_module(_MODULES[name]).export
    except ModuleNotFoundError as error:
        raise ExportError(
            f"front end {name} needs the package {error.name}; install it with: pip install 'dsnet-edge[convert]'"
        ) from error
    return frontend
