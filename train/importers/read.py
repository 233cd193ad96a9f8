"""A checkpoint file of PyTorch from strangers: its weights as NumPy arrays, and what it says about itself.

Both formats of `torch.save`: the zip archive, and the older sequence of pickles with the storages behind it. No byte of
the file is run, and nothing is allocated that the file does not hold: the pickles are walked first
(`train.importers.pickle_claims`), the sizes they claim are compared with the file, and only then does
`torch.load(weights_only=True)` see them.
"""

import argparse
import math
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common import sha256_bytes
from train.errors import CheckpointError, listed, one_line
from train.importers.pickle_claims import StorageClaim, storage_claims

MAX_FILE_BYTES = 2 << 30
"""The largest file read: published networks of these families have 20 to 150 MB, optimizer state included."""
STATE_DICTS = ("state_dict", "model")
EMA = "state_dict_ema"
FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
COUNTER = "num_batches_tracked"
"""Batches that a batch norm has seen: of no use to a network at rest."""
MAX_SAID, MAX_SAID_CHARACTERS = 256, 200
"""How many simple values of a file are kept in the provenance, and how long a text among them may be."""


@dataclass(frozen=True)
class PublishedCheckpoint:
    """A state dict that somebody else saved."""

    tensors: dict[str, np.ndarray]
    """Float32 by published key, without `module.` and without batch counters."""
    said: dict[str, Any]
    """Simple values beside the state dict: epoch, arch, the training's arguments."""
    sha256: str
    """SHA-256 of the file."""


def read_published(path: Path, ema: bool = False) -> PublishedCheckpoint:
    """Read a .pt, .pth or .pth.tar file; anything amiss is a CheckpointError of one line.

    ema: take the averaged weights, `state_dict_ema`, which must then be there.
    """
    data = _file_bytes(path)
    loaded = _loaded(path, data)
    chosen = _state_dict(path, loaded, ema)
    said = _simple(loaded) if chosen is not loaded else {}
    return PublishedCheckpoint(_arrays(path, chosen, len(data)), said, sha256_bytes(data))


def _file_bytes(path: Path) -> bytes:
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; name the .pth file in it")
    if not path.is_file():
        raise CheckpointError(f"no file at {path}; give a .pt, .pth or .pth.tar file of torch.save")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise CheckpointError(
            f"{path} has {path.stat().st_size} bytes, valid: up to {MAX_FILE_BYTES}; save the state dict alone"
        )
    data = path.read_bytes()
    if not data:
        raise CheckpointError(f"{path} is empty; copy it again")
    return data


def _loaded(path: Path, data: bytes) -> dict[Any, Any]:
    if data.startswith(b"PK"):
        safe = _checked_zip(path, data)
    elif data.startswith(b"\x80"):
        _check_legacy(path, data)
        safe = data
    else:
        raise CheckpointError(f"{path} {_what_else(data)}")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded = torch.load(BytesIO(safe), map_location="cpu", weights_only=True)
    except Exception as error:  # on a damaged file the reader raises anything: RuntimeError, EOFError, TypeError, …
        raise CheckpointError(f"{path} is damaged: {one_line(error)}; copy it again") from error
    if not isinstance(loaded, dict):
        raise CheckpointError(
            f"{path} holds a {type(loaded).__name__}, valid: a dict; save the state dict with torch.save"
        )
    return loaded


def _what_else(data: bytes) -> str:
    """Return what is wrong with a file that is in neither format, and what to do."""
    length = int.from_bytes(data[:8], "little")
    if data[8:9] == b"{" and length <= len(data) - 8:
        if b'"dsnet-supernet/' in data[8 : 8 + length]:
            return "is one of our checkpoints already; use it as it is"
        return "is a safetensors file, no published layout is; give the .pth file it was made from"
    return "is no file of torch.save, neither zip nor pickle; give a .pt, .pth or .pth.tar file"


def _checked_zip(path: Path, data: bytes) -> bytes:
    """Return a zip archive of the records that were checked: two readers can see two archives in one file."""
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            _check_records(path, archive.infolist(), len(data))
            records = {info.filename: archive.read(info) for info in archive.infolist()}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, OSError, EOFError) as error:
        raise CheckpointError(f"{path} is truncated or damaged: {one_line(error)}; copy it again") from error
    folders = [name.removesuffix("data.pkl") for name in records if re.fullmatch(r"[^/]+/data\.pkl", name)]
    if len(folders) != 1 or f"{folders[0]}constants.pkl" in records:
        raise CheckpointError(f"{path} is a zip file, but none of torch.save; save the state dict with torch.save")
    folder = folders[0]
    for claim in storage_claims(path, BytesIO(records[f"{folder}data.pkl"])):
        held = len(records.get(f"{folder}data/{claim.key}", b""))
        if held != claim.bytes:
            raise CheckpointError(f"{path}: {_claimed(claim)} where the file holds {held}; copy it again")
    checked = BytesIO()
    with zipfile.ZipFile(checked, "w") as archive:
        for name, record in records.items():
            archive.writestr(name, record)
    return checked.getvalue()


def _check_records(path: Path, records: list[zipfile.ZipInfo], size: int) -> None:
    """Refuse records that would unpack to more than the file holds, before any is unpacked."""
    if any(record.compress_type != zipfile.ZIP_STORED or record.flag_bits & 1 for record in records):
        raise CheckpointError(f"{path} is a compressed or encrypted zip file, torch.save writes none; unpack it first")
    claimed = sum(max(record.file_size, record.compress_size) for record in records)
    if claimed > size or len({record.filename for record in records}) < len(records):
        raise CheckpointError(
            f"{path}: its zip records claim {claimed} bytes or one name twice, the file has {size}; copy it again"
        )


def _check_legacy(path: Path, data: bytes) -> None:
    """Check the pickles of the older format: magic number, version, system, the object, the keys of its storages."""
    file = BytesIO(data)
    claims = [claim for _ in range(5) for claim in storage_claims(path, file)]
    remaining = len(data) - file.tell()
    claimed = sum(claim.bytes for claim in claims)
    if claimed > remaining:
        raise CheckpointError(
            f"{path}: its tensors claim {claimed} bytes, the file holds {remaining}; it was cut, copy it again"
        )


def _claimed(claim: StorageClaim) -> str:
    return f"storage {claim.key:.40} claims {claim.bytes} bytes"


def _state_dict(path: Path, loaded: dict[Any, Any], ema: bool) -> dict[Any, Any]:
    held = listed([str(name) for name in loaded], 8) or "nothing"
    if ema:
        if not isinstance(loaded.get(EMA), dict):
            raise CheckpointError(f"{path} has no {EMA}; it holds {held}; leave --ema out")
        return dict(loaded[EMA])
    for name in STATE_DICTS:
        if isinstance(loaded.get(name), dict):
            return dict(loaded[name])
    if any(isinstance(value, torch.Tensor) for value in loaded.values()):
        return loaded
    valid = ", ".join(STATE_DICTS)
    hint = "; give --ema for the averaged weights" if isinstance(loaded.get(EMA), dict) else ""
    raise CheckpointError(f"{path} has no state dict; it holds {held}, valid: {valid}, or the tensors themselves{hint}")


def _arrays(path: Path, state: dict[Any, Any], size: int) -> dict[str, np.ndarray]:
    """Return the weights as float32; size: of the file in bytes, which its tensors cannot exceed."""
    named: dict[str, Any] = {}
    for key, value in state.items():
        name = re.sub(r"^(module\.)+", "", str(key))
        if name in named:
            raise CheckpointError(f"{path} holds {name:.120} twice, with and without module.; save one of them")
        named[name] = value
    weights = {name: value for name, value in named.items() if not name.endswith(COUNTER)}
    strange = [f"{name} ({_kind(value)})" for name, value in weights.items() if _kind(value) is not None]
    if strange:
        raise CheckpointError(
            f"{path}: {listed(strange)}; valid: tensors of {listed([_short(kind) for kind in FLOATS], len(FLOATS))}; "
            "save the network before it was quantized"
        )
    claimed = sum(value.numel() * value.element_size() for value in weights.values())
    if claimed > size:
        raise CheckpointError(f"{path}: its tensors claim {claimed} bytes, the file has {size}; save them one by one")
    return {name: value.detach().float().contiguous().numpy() for name, value in weights.items()}


def _kind(value: Any) -> str | None:
    """Return what a value is, None for a tensor of floats."""
    if not isinstance(value, torch.Tensor):
        return type(value).__name__
    return None if value.dtype in FLOATS else _short(value.dtype)


def _short(kind: torch.dtype) -> str:
    return str(kind).removeprefix("torch.")


def _simple(values: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the numbers, texts and truth values of a checkpoint, and those of its argparse.Namespace."""
    flat = [((name, key), entry) for name, value in values.items() for key, entry in _entries(value)]
    simple = [(place, entry) for place, entry in flat if all(map(_is_text, place)) and _is_simple(entry)]
    found: dict[str, Any] = {}
    for (name, key), entry in simple[:MAX_SAID]:
        if key:
            found.setdefault(name, {})[key] = entry
        else:
            found[name] = entry
    return found


def _entries(value: Any) -> Iterable[tuple[Any, Any]]:
    """Yield a value under an empty key, those of a namespace under their own."""
    return vars(value).items() if isinstance(value, argparse.Namespace) else (("", value),)


def _is_simple(value: Any) -> bool:
    if value is None or isinstance(value, bool):
        return True
    if isinstance(value, int):
        return abs(value) < 2**63
    return _is_text(value) or (isinstance(value, float) and math.isfinite(value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_SAID_CHARACTERS and value.isprintable()
