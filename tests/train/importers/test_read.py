"""Files of torch.save are read in every form they come in; hostile and damaged ones cost one line and nothing else."""

import argparse
import builtins
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from train import SupernetSpec, load_spec
from train.checkpoint import save_checkpoint
from train.errors import CheckpointError
from train.importers.read import read_published
from train.initialise import initial_tensors

FORMATS = {"zip": True, "legacy": False}
STATE = {"a.weight": torch.arange(1000.0), "a.num_batches_tracked": torch.tensor(3)}
THOUSAND, HUGE = b"M\xe8\x03", b"J\xff\xff\xff\x7f"
"""1000 and 2³¹-1 as pickle writes them."""


@pytest.fixture(params=FORMATS)
def save(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Any], Path]:
    """Return a function that saves an object in one of the two formats of torch.save."""

    def save(saved: Any) -> Path:
        torch.save(saved, tmp_path / "net.pth", _use_new_zipfile_serialization=FORMATS[request.param])
        return tmp_path / "net.pth"

    return save


def refusal(path: Path, ema: bool = False) -> str:
    """Return the one line that a file is refused with."""
    with pytest.raises(CheckpointError) as refused:
        read_published(path, ema)
    assert "\n" not in str(refused.value)
    assert str(path) in str(refused.value)
    return str(refused.value)


def rewritten(path: Path, change: Callable[[bytes], bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """Change the pickle in a file of either format."""
    if not zipfile.is_zipfile(path):
        path.write_bytes(change(path.read_bytes()))
        return path
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, record in records.items():
            archive.writestr(name, change(record) if name.endswith("data.pkl") else record)
    return path


@pytest.mark.parametrize("wrap", [dict, lambda state: {"state_dict": state}, lambda state: {"model": state}])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_state_dict_is_found_where_authors_put_it(save: Callable[[Any], Path], wrap: Any, prefix: str) -> None:
    read = read_published(save(wrap({prefix + key: value for key, value in STATE.items()})))
    assert list(read.tensors) == ["a.weight"]
    assert np.array_equal(read.tensors["a.weight"], np.arange(1000))


def test_the_averaged_weights_are_taken_when_asked_for(save: Callable[[Any], Path]) -> None:
    path = save({"state_dict": {"w": torch.zeros(2)}, "state_dict_ema": {"w": torch.ones(2)}})
    assert [read_published(path, ema).tensors["w"].tolist() for ema in (False, True)] == [[0, 0], [1, 1]]


def test_averaged_weights_that_are_not_there_are_an_error_that_says_what_is(save: Callable[[Any], Path]) -> None:
    assert "no state_dict_ema; it holds epoch, state_dict; leave --ema out" in refusal(
        save({"epoch": 3, "state_dict": STATE}), ema=True
    )


def test_a_file_without_state_dict_is_refused_with_what_it_holds(save: Callable[[Any], Path]) -> None:
    assert "it holds epoch, optimizer, valid: state_dict, model" in refusal(save({"epoch": 3, "optimizer": {}}))
    assert "give --ema" in refusal(save({"state_dict_ema": STATE}))
    assert "holds a list" in refusal(save([torch.ones(1)]))


def test_simple_values_beside_the_weights_are_kept(save: Callable[[Any], Path]) -> None:
    arguments = argparse.Namespace(lr=0.08, model="slim", sizes=[1, 2], rate=float("nan"))
    said = {"epoch": 149, "arch": "slim", "args": arguments, "optimizer": {"lr": 1}, "metric": None}
    read = read_published(save({**said, "state_dict": STATE}))
    assert read.said == {"epoch": 149, "arch": "slim", "args": {"lr": 0.08, "model": "slim"}, "metric": None}


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_become_float32(save: Callable[[Any], Path], kind: torch.dtype) -> None:
    values = read_published(save({"w": torch.tensor([0.5, -2.0], dtype=kind)})).tensors["w"]
    assert (values.dtype, values.tolist()) == (np.float32, [0.5, -2.0])


@pytest.mark.filterwarnings("ignore:.*quantize:UserWarning")
def test_integer_and_quantized_weights_and_what_is_no_tensor_are_refused_by_name(save: Callable[[Any], Path]) -> None:
    quantized = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)
    line = refusal(save({"a": torch.ones(1), "b": torch.ones(2, dtype=torch.int8), "c": quantized, "d": "text"}))
    assert "b (int8), c (qint8), d (str)" in line


def test_a_name_that_is_there_twice_is_refused(save: Callable[[Any], Path]) -> None:
    assert "holds w twice" in refusal(save({"w": torch.ones(1), "module.w": torch.ones(1)}))


@pytest.mark.parametrize("function", [os.system, builtins.eval, builtins.exec, os.remove])
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_that_would_run_code_is_refused_and_nothing_is_run(
    save: Callable[[Any], Path], tmp_path: Path, function: Callable[..., Any], protocol: int
) -> None:
    target = tmp_path / "written"
    target.write_text("untouched")
    commands = {"system": f"echo run > {target}", "remove": str(target)}
    command = commands.get(function.__name__, f"open({str(target)!r}, 'w').write('run')")

    class Evil:
        def __reduce__(self) -> Any:
            return function, (command,)

    path = save({"model": STATE})
    evil = pickle.dumps({"model": Evil()}, protocol)
    if zipfile.is_zipfile(path):
        rewritten(path, lambda _: evil)
    else:
        heads = [pickle.dumps(part, 2) for part in (torch.serialization.MAGIC_NUMBER, 1001, {})]
        path.write_bytes(b"".join(heads) + evil + pickle.dumps([], 2))
    line = refusal(path)
    assert f"would run {function.__module__}.{function.__name__} when unpickled, nothing was run" in line.replace(
        "__builtin__", "builtins"
    )
    assert target.read_text() == "untouched"


def test_functions_that_torch_trusts_but_no_checkpoint_needs_are_refused(save: Callable[[Any], Path]) -> None:
    class Allocates:
        def __reduce__(self) -> Any:
            return bytearray, (1 << 40,)

    assert "bytearray" in refusal(save({"model": Allocates()}))


def test_a_storage_that_claims_more_than_the_file_holds_is_refused(save: Callable[[Any], Path]) -> None:
    line = refusal(rewritten(save(STATE), lambda data: data.replace(THOUSAND, HUGE)))
    assert "claim" in line
    assert str(4 * (2**31 - 1)) in line or str(4 * (2**31 - 1) + 8) in line


def test_a_tensor_that_claims_more_than_its_storage_is_refused(save: Callable[[Any], Path]) -> None:
    line = refusal(rewritten(save(STATE), lambda data: HUGE.join(data.rsplit(THOUSAND, 1))))
    assert "a tensor of 2147483647 elements in a storage of 1000" in line


def test_a_tensor_that_repeats_one_number_is_refused(save: Callable[[Any], Path]) -> None:
    assert "elements in a storage of 1" in refusal(save({"w": torch.zeros(1).expand(1 << 40)}))


def test_tensors_that_share_memory_cannot_grow_beyond_the_file(save: Callable[[Any], Path]) -> None:
    shared = torch.zeros(10_000)
    assert "its tensors claim" in refusal(save({f"w{number}": shared for number in range(50)}))


def test_a_compressed_zip_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(5_000_000)}, tmp_path / "net.pth")
    bomb = rewritten(tmp_path / "net.pth", bytes, zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 100_000
    assert "compressed" in refusal(bomb)


def test_a_zip_record_that_claims_more_than_the_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", b"x" * 1000)
    path.write_bytes(path.read_bytes().replace((1000).to_bytes(4, "little"), (1 << 31).to_bytes(4, "little")))
    assert "claim 2147483648 bytes" in refusal(path)


def test_a_zip_of_something_else_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "net.pth", "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "none of torch.save" in refusal(tmp_path / "net.pth")


def test_what_is_no_checkpoint_is_refused_with_what_it_is(tmp_path: Path) -> None:
    spec: SupernetSpec = load_spec("ds_mbv1_tiny")
    save_checkpoint(tmp_path / "ours.safetensors", spec, initial_tensors(spec, 0), {})
    header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    files = {
        "empty": b"",
        "text": b"<html>404</html>",
        "safetensors": len(header).to_bytes(8, "little") + header + bytes(4),
        "numbers": bytes(range(1, 200)),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    assert "is empty" in refusal(tmp_path / "empty")
    assert "neither zip nor pickle" in refusal(tmp_path / "text")
    assert "neither zip nor pickle" in refusal(tmp_path / "numbers")
    assert "is a safetensors file, no published layout is" in refusal(tmp_path / "safetensors")
    assert "is one of our checkpoints already" in refusal(tmp_path / "ours.safetensors")
    assert "is a folder" in refusal(tmp_path)
    assert "no file at" in refusal(tmp_path / "missing.pth")


def test_a_file_cut_anywhere_is_refused(save: Callable[[Any], Path]) -> None:
    path = save({"epoch": 1, "state_dict": STATE})
    whole = path.read_bytes()
    for length in [*range(1, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:length])
        refusal(path)


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
def test_a_file_with_changed_bytes_is_read_or_refused_and_nothing_else(save: Callable[[Any], Path]) -> None:
    path = save({"epoch": 1, "args": argparse.Namespace(lr=0.1), "state_dict": STATE})
    whole, generator = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        changed = bytearray(whole)
        for place in generator.integers(0, min(len(whole), 1200), 3):
            changed[place] = generator.integers(0, 256)
        path.write_bytes(changed)
        try:
            read_published(path)
        except CheckpointError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 100


@pytest.mark.parametrize("operations", [b"N" * 2_000_001, b"}q\x00" + b"ccollections\nOrderedDict\n)Rh\x00b" * 2])
def test_a_pickle_that_would_grow_far_beyond_its_file_is_refused(tmp_path: Path, operations: bytes) -> None:
    path = tmp_path / "net.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", b"\x80\x02" + operations + b".")
    assert "operations" in (line := refusal(path)) or "one state for several" in line


NESTED = b"\x85" * 500_000
DOUBLED = b")" + b"".join(b"q%ch%c\x86" % (number, number) for number in range(60))


@pytest.mark.parametrize("key", [b")" + NESTED, DOUBLED], ids=["nested 500,000 deep", "doubled 60 times"])
@pytest.mark.parametrize("set_items", [b"%bNs.", b"(%bNu."], ids=["SETITEM", "SETITEMS"])
def test_a_key_that_cannot_be_hashed_in_time_is_refused(tmp_path: Path, key: bytes, set_items: bytes) -> None:
    path = tmp_path / "net.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", b"\x80\x02}" + set_items.replace(b"%b", key))
    assert "a key that is neither text nor number" in refusal(path)


def test_a_tensor_of_many_dimensions_or_with_flags_is_refused(save: Callable[[Any], Path]) -> None:
    assert "a tensor of 70 dimensions, valid: up to 8" in refusal(save({"a": torch.ones([1] * 70)}))
    assert "a tensor with metadata" in refusal(save({"a": torch._neg_view(torch.ones(3))}))


def test_what_a_file_says_about_itself_is_kept_up_to_a_limit(save: Callable[[Any], Path]) -> None:
    spaces = {f"args{n}": argparse.Namespace(**{f"key{m}": "x" * 200 for m in range(100)}) for n in range(10)}
    said = read_published(save({"model": STATE, **spaces})).said
    assert sum(map(len, said.values())) == 256


def test_a_torchscript_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", pickle.dumps({}, 2))
        archive.writestr("net/constants.pkl", pickle.dumps((), 2))
    assert "none of torch.save" in refusal(path)
