"""Several packages with one function each → one package with all of them, byte for byte as coremltools makes it.

coremltools' `save_multifunction` stores a constant once for all functions if its type, shape and first 100 elements
are equal to another's and no element differs by more than 6e-8 (float16) or 1e-12; it then writes the functions one
after another. This is the same without coremltools, so that any choice of widths can be put together on any machine.
Conversion compares the two on all programs.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edge.bundle.coreml.blobs import Blob, read_blobs, write_blobs
from edge.bundle.coreml.model_file import SINGLE, Constant, ModelFile, constants, with_offsets, write_multifunction
from edge.bundle.coreml.package import ITEMS, MODEL, WEIGHTS, Package, check_fits, model_of
from edge.errors import BundleError

FIRST_VERSION = 9
"""The specification version that multi-function packages need: iOS 18, macOS 15."""
HASHED_ELEMENTS = 100
TOLERANCES = {"float16": 6e-8, "float32": 1e-12}
EXACT = 1e-12


def merge(packages: Mapping[str, Package], default: str) -> Package:
    """Return one package whose functions are the only functions of `packages`, by their new names, in this order."""
    models = {name: model_of(package) for name, package in packages.items()}
    _check_alike(packages, models)
    pool, functions = _Pool(), {}
    for name, model in models.items():
        function = model.functions[SINGLE]
        blobs = read_blobs(packages[name][WEIGHTS]) if WEIGHTS in packages[name] else {}
        places = {}
        for constant in _in_order_of_writing(constants(function.body)):
            if constant.offset not in blobs:
                raise BundleError(f"program {name} refers to byte {constant.offset} of weight.bin, where nothing is")
            places[constant.offset] = pool.add(constant, blobs[constant.offset])
        functions[name] = function, places
    data, offsets = write_blobs(pool.blobs)
    moved = {
        name: replace(
            function, body=with_offsets(function.body, {old: offsets[index] for old, index in places.items()})
        )
        for name, (function, places) in functions.items()
    }
    first = next(iter(models.values()))
    merged = {
        ITEMS: next(iter(packages.values()))[ITEMS],
        MODEL: write_multifunction(ModelFile(first.version, moved, default, first.metadata)),
    }
    return merged | {WEIGHTS: data} if pool.blobs else merged


def _check_alike(packages: Mapping[str, Package], models: Mapping[str, ModelFile]) -> None:
    versions = {model.version for model in models.values()}
    if len(versions) != 1 or min(versions) < FIRST_VERSION:
        raise BundleError(
            f"a package with several functions needs specification version {FIRST_VERSION} (iOS 18) or later "
            f"throughout, found {', '.join(map(str, sorted(versions)))}; convert with --deployment-target iOS18"
        )
    if len({(model.metadata, packages[name][ITEMS]) for name, model in models.items()}) != 1:
        raise BundleError("the packages to merge are not of one conversion: their metadata differ")
    for name, model in models.items():
        if list(model.functions) != [SINGLE]:
            raise BundleError(f"the package of program {name} holds {', '.join(model.functions)}, not {SINGLE} alone")


def _in_order_of_writing(found: list[Constant]) -> list[Constant]:
    return sorted({constant.offset: constant for constant in reversed(found)}.values(), key=lambda c: c.offset)


class _Pool:
    """The constants of all functions, shared ones once."""

    def __init__(self) -> None:
        self.blobs: list[Blob] = []
        self._alike: dict[tuple[str, tuple[int, ...], bytes], list[int]] = {}

    def add(self, constant: Constant, blob: Blob) -> int:
        """Return the index of the constant that stands for this one, itself if it is new."""
        check_fits(constant, blob)
        values = np.frombuffer(blob.data, constant.dtype)
        key = constant.dtype, constant.shape, values[:HASHED_ELEMENTS].tobytes()
        candidates = self._alike.setdefault(key, [])
        for index in candidates:
            if _is_close(values, np.frombuffer(self.blobs[index].data, constant.dtype)):
                return index
        self.blobs.append(blob)
        candidates.append(len(self.blobs) - 1)
        return candidates[-1]


def _is_close(values: NDArray[np.generic], there: NDArray[np.generic]) -> bool:
    tolerance = TOLERANCES.get(values.dtype.name, EXACT)
    return values.shape == there.shape and bool(np.allclose(values, there, rtol=0.0, atol=tolerance))
