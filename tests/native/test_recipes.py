"""Recipes and stores that do not hold together: refused in one line, never believed, and never a crash.

The sanitized build runs them all, and the Python reader of the same format must refuse what the runner refuses.
"""

import json
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from edge.bundle.nested.weights import parse_recipe
from edge.bundle.reader import Bundle
from edge.errors import BundleError
from tests.native.conversation import Command, Conversation, answers, converse, load

Change = Callable[[dict[str, Any]], None]
MUTANTS = 200
PROCESSES = 2


def put(value: Any, *path: str | int) -> Change:
    """Return the change that sets the field at `path`, or adds it."""

    def change(recipe: dict[str, Any]) -> None:
        place: Any = recipe
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return change


def drop(*path: str | int) -> Change:
    """Return the change that removes the field at `path`."""

    def change(recipe: dict[str, Any]) -> None:
        place: Any = recipe
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]

    return change


def positions(values: Any) -> Change:
    """Return the change to a recipe of version 2 whose first slice, of nine positions, has these."""

    def change(recipe: dict[str, Any]) -> None:
        recipe["format"] = "dsnet-recipe/2"
        recipe["slices"][0]["positions"] = values

    return change


def repeat(name: str) -> Change:
    """Return the change that appends a list's first entry to it once more."""
    return lambda recipe: recipe[name].append(recipe[name][0])


def rename_a_file(path: str) -> Change:
    """Return the change that adds a file of another path."""
    return lambda recipe: recipe["files"].append({**recipe["files"][0], "path": path})


INT8_VECTOR = 17
"""Index of the first tensor of the recipe that is not float32."""
BROKEN: dict[str, tuple[Change, str]] = {
    "a newer format": (put("dsnet-recipe/3", "format"), "newer than this reader"),
    "an older format": (put("dsnet-recipe/0", "format"), 'valid: "dsnet-recipe/1"'),
    "another format": (put("dsnet-bundle/1", "format"), 'valid: "dsnet-recipe/1"'),
    "no format": (drop("format"), "the field format is missing"),
    "a store of no bytes": (put(0, "store_bytes"), "store_bytes: expected an integer from 1"),
    "a store too large": (put(1 << 30, "store_bytes"), "store_bytes: expected an integer from 1"),
    "a size that is no integer": (put(2504.0, "store_bytes"), "store_bytes: expected an integer"),
    "a size that is true": (put(True, "store_bytes"), "store_bytes: expected an integer"),
    "a size in quotes": (put("2504", "store_bytes"), "store_bytes: expected an integer"),
    "a negative size": (put(-1, "template_bytes"), "template_bytes: expected an integer"),
    "no tensors": (drop("tensors"), "the field tensors is missing"),
    "tensors that are no list": (put({}, "tensors"), "tensors: expected a list"),
    "a tensor that is no object": (put(3, "tensors", 0), "tensors[0]: expected an object"),
    "a nameless tensor": (drop("tensors", 0, "name"), "tensors[0]: the field name is missing"),
    "a long name": (put("ü" * 257, "tensors", 0, "name"), "longer than 256 characters"),
    "an unknown type": (put("float64", "tensors", 0, "dtype"), "float32, int32 or int8"),
    "an unaligned tensor": (put(32, "tensors", 0, "offset"), "not aligned to 64 bytes"),
    "a tensor past the end": (put(2496, "tensors", 0, "offset"), "inside a store of 2504"),
    "an offset past 2^64": (put(1 << 64, "tensors", 0, "offset"), "offset: expected an integer"),
    "a product past 2^64": (put([1 << 29, 1 << 29, 1 << 29], "tensors", 0, "shape"), "inside a store of 2504"),
    "a product of 2^64": (put([1 << 22, 1 << 20, 1 << 20], "tensors", 0, "shape"), "inside a store of 2504"),
    "an empty tensor": (put([0, 1, 1], "tensors", 0, "shape"), "list of integers from 1"),
    "a shape of two sizes": (put([4, 27], "tensors", 0, "shape"), "expected three sizes, found 2"),
    "too many tensors": (lambda recipe: recipe.update(tensors=[0] * 65537), "the limit is 65536"),
    "a slice of no tensor": (put(999, "slices", 0, "tensor"), "no tensor 999"),
    "a slice of tensor -1": (put(-1, "slices", 0, "tensor"), "tensor: expected an integer from 0"),
    "more than there is": (put([4, 9, 4], "slices", 0, "shape"), "takes 4 of 3 along axis 2"),
    "an empty slice": (put([4, 0, 3], "slices", 0, "shape"), "list of integers from 1"),
    "positions in version 1": (put(list(range(9)), "slices", 0, "positions"), "positions need dsnet-recipe/2"),
    "a position outside": (positions([*range(8), 9]), "positions: expected a list of integers from 0 to 8"),
    "a position below zero": (positions([*range(8), -1]), "positions: expected a list of integers"),
    "a position twice": (positions([*range(8), 7]), "its positions are not 9 different ones of 9"),
    "too few positions": (positions(list(range(8))), "its positions are not 9 different ones of 9"),
    "too many positions": (positions([*range(9), 0]), "its positions are not 9 different ones of 9"),
    "no positions": (positions([]), "its positions are not 9 different ones of 9"),
    "positions that are no list": (positions(3), "positions: expected a list"),
    "a scale without axis": (drop("slices", 0, "axis"), "scale and axis go together"),
    "an axis without scale": (drop("slices", 0, "scale"), "scale and axis go together"),
    "an axis between": (put(1, "slices", 0, "axis"), "axis: expected 0 or 2, found 1"),
    "an axis too many": (put(3, "slices", 0, "axis"), "axis: expected an integer from 0 to 2"),
    "no such scale": (put(999, "slices", 0, "scale"), "no tensor 999"),
    "a scale of integers": (put(INT8_VECTOR, "slices", 0, "scale"), "must both be float32"),
    "a scale for integers": (put("int32", "tensors", 0, "dtype"), "must both be float32"),
    "a scale that is no vector": (put(0, "slices", 0, "scale"), "is no scale [1, 1, n]"),
    "a scale too short": (put([1, 1, 3], "tensors", 1, "shape"), "is no scale [1, 1, n] for 4"),
    "one key twice": (repeat("slices"), "two slices have the key"),
    "an empty key": (put("", "slices", 0, "key"), "1 to 96 letters"),
    "a long key": (put("a" * 97, "slices", 0, "key"), "1 to 96 letters"),
    "a key with a slash": (put("a/b", "slices", 0, "key"), "1 to 96 letters"),
    "one path twice": (repeat("files"), "two files have the path"),
    "a path and its folder": (rename_a_file("prefix.pte/x"), "lies in a folder whose path is another file's"),
    "a path from the root": (rename_a_file("/etc/x"), "must be relative"),
    "a path that leaves": (rename_a_file("a/../../x"), "must stay inside its folder"),
    "a path with a dot": (rename_a_file("./x"), "must stay inside its folder"),
    "a path of Windows": (rename_a_file("a\\x"), "must be relative"),
    "no path": (rename_a_file(""), "is not 1 to 255 printable characters"),
    "a path with a line end": (rename_a_file("a\nb"), "is not 1 to 255 printable characters"),
    "a hash too short": (put("ab", "files", 0, "sha256"), "expected a SHA-256"),
    "a file past the template": (put(5600, "files", 0, "offset"), "lies outside a template of 5696"),
    "a piece of no slice": (put([[0, 999]], "files", 0, "pieces"), "no slice 999"),
    "a piece of one number": (put([[0]], "files", 0, "pieces"), "pairs of literal bytes and a slice"),
    "a negative piece": (put([[-1, 0]], "files", 0, "pieces"), "pairs of literal bytes and a slice"),
    "more literals than there are": (put(1 << 29, "files", 0, "pieces", 0, 0), "its pieces need more than"),
    "sizes that do not add up": (put(1 << 29, "files", 0, "bytes"), "do not add up to 536870912"),
}
FOR_OTHER_RUNTIMES: dict[str, tuple[Change, str]] = {
    "half-precision tensors": (put("float16", "tensors", 2, "dtype"), "float32, int32 or int8"),
    "casts": (put("float16", "slices", 0, "cast"), "a cast is for runtimes with float16"),
}
NOT_JSON: dict[str, Callable[[bytes], bytes]] = {
    "half a recipe": lambda text: text[: len(text) // 2],
    "one byte more": lambda text: text + b"}",
    "not a number": lambda text: text.replace(b'"store_bytes":2504', b'"store_bytes":NaN'),
    "a number past double": lambda text: text.replace(b'{"format"', b'{"x":1e999,"format"'),
    "a key twice": lambda text: text.replace(b'{"format"', b'{"store_bytes":1,"format"'),
    "a key twice, deep inside": lambda text: text.replace(b'{"name"', b'{"dtype":"int8","name"', 1),
    "bytes that are no UTF-8": lambda text: text.replace(b"stem.weight", b"stem.\xff"),
    "half a character": lambda text: text.replace(b"stem.weight", b"\\ud800"),
    "a byte order mark": lambda text: b"\xef\xbb\xbf" + text,
    "a list": lambda text: b"[" + text + b"]",
    "many levels": lambda text: text.replace(b'{"format"', b'{"x":' + b"[" * 70 + b"]" * 70 + b',"format"'),
    "a million levels": lambda _: b"[" * 1_000_000,
    "a million objects": lambda _: b'{"a":' * 1_000_000,
    "more than 16 MiB": lambda text: text + b" " * (16 << 20),
    "no bytes at all": lambda _: b"",
}


def recipe_of(bundle: Bundle) -> bytes:
    """Return the text of the bundle's fp32 recipe."""
    return Path(load(bundle, "prefix")["recipe"]).read_bytes()


def refusal(runner: Command, bundle: Bundle, text: bytes, folder: Path) -> str:
    """Return what the runner says about a recipe; fails unless the Python reader refuses it as well."""
    path = folder / "recipe.json"
    path.write_bytes(text)
    with pytest.raises(BundleError):
        parse_recipe(text, "recipe.json")
    error = converse(runner, [load(bundle, "prefix", recipe=str(path))]).error
    assert error.startswith(f"{path}: ")
    return error


@pytest.mark.parametrize("case", BROKEN)
def test_a_recipe_that_does_not_hold_together_is_refused(
    sanitized: Command, first: Bundle, case: str, tmp_path: Path
) -> None:
    change, reason = BROKEN[case]
    recipe = json.loads(recipe_of(first))
    change(recipe)
    assert reason in refusal(sanitized, first, json.dumps(recipe).encode(), tmp_path)


@pytest.mark.parametrize("case", NOT_JSON)
def test_a_recipe_that_is_no_strict_json_is_refused(
    sanitized: Command, first: Bundle, case: str, tmp_path: Path
) -> None:
    text = recipe_of(first)
    broken = NOT_JSON[case](text)
    assert broken != text
    refusal(sanitized, first, broken, tmp_path)


@pytest.mark.parametrize("case", FOR_OTHER_RUNTIMES)
def test_what_only_other_runtimes_have_is_refused(sanitized: Command, first: Bundle, case: str, tmp_path: Path) -> None:
    change, reason = FOR_OTHER_RUNTIMES[case]
    recipe = json.loads(recipe_of(first))
    change(recipe)
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(recipe))
    assert reason in converse(sanitized, [load(first, "prefix", recipe=str(path))]).error


def test_positions_in_another_order_give_other_bytes(sanitized: Command, first: Bundle, tmp_path: Path) -> None:
    """The keys tell: in their order they are what the slice was, in another one they are not."""
    path = tmp_path / "recipe.json"
    command = load(first, "prefix", recipe=str(path))
    recipe = json.loads(recipe_of(first))
    positions(list(range(9)))(recipe)
    path.write_text(json.dumps(recipe))
    answers(sanitized, [command])
    positions([1, 0, *range(2, 9)])(recipe)
    path.write_text(json.dumps(recipe))
    assert "is not what its key says" in converse(sanitized, [command]).error


def test_unknown_fields_and_a_minor_version_are_accepted(sanitized: Command, first: Bundle, tmp_path: Path) -> None:
    recipe = json.loads(recipe_of(first))
    recipe |= {"format": "dsnet-recipe/1.3", "later": {"any": [1.5, None]}}
    recipe["slices"][0]["later"] = "ü"
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(recipe))
    answers(sanitized, [load(first, "prefix", recipe=str(path))])


@pytest.mark.parametrize("bytes_less", [1, 64, -1])
def test_a_store_of_another_size_is_refused(sanitized: Command, first: Bundle, bytes_less: int, tmp_path: Path) -> None:
    whole = Path(load(first, "prefix")["store"]).read_bytes() + b"\0"
    path = tmp_path / "weights.bin"
    path.write_bytes(whole[: len(whole) - 1 - bytes_less])
    said = converse(sanitized, [load(first, "prefix", store=str(path))])
    assert said.error == (
        f"{path}: the recipe is for a store of 2504 bytes, not {2504 - bytes_less}; copy the bundle again"
    )


@pytest.mark.parametrize("role", ["store", "recipe", "pte"])
def test_a_vanished_file_is_named(sanitized: Command, first: Bundle, role: str, tmp_path: Path) -> None:
    said = converse(sanitized, [load(first, "prefix", **{role: str(tmp_path / "gone")})])
    assert said.error == f"{tmp_path / 'gone'}: cannot be read: No such file or directory"


def test_a_slice_that_is_not_what_its_key_says_is_refused(sanitized: Command, first: Bundle, tmp_path: Path) -> None:
    store = bytearray(Path(load(first, "prefix")["store"]).read_bytes())
    store[0] ^= 1
    path = tmp_path / "weights.bin"
    path.write_bytes(store)
    command = load(first, "prefix", store=str(path))
    assert "is not what its key says; copy the bundle again" in converse(sanitized, [command]).error
    answers(sanitized, [command | {"check_keys": False}])


def test_mutants_are_refused_as_in_python_or_change_nothing(sanitized: Command, first: Bundle, tmp_path: Path) -> None:
    commands = [load(first, name) for name in ("prefix", "tail_01")]
    expected = outputs_after(converse(sanitized, run_commands(commands, tmp_path / "out")), tmp_path / "out")
    assert expected is not None
    generator = random.Random(0)
    text, store = recipe_of(first), Path(commands[0]["store"]).read_bytes()
    mutants = [mutant(generator, text, store) for _ in range(MUTANTS)]

    def verdict(number: int) -> str:
        recipe_file, store_file, out = (tmp_path / f"{kind}_{number}" for kind in ("recipe", "store", "out"))
        recipe_file.write_bytes(mutants[number][0])
        store_file.write_bytes(mutants[number][1])
        moved = [command | {"recipe": str(recipe_file), "store": str(store_file)} for command in commands]
        said = converse(sanitized, run_commands(moved, out))
        outputs = outputs_after(said, out)
        accepted_by_python = is_accepted(mutants[number][0])
        if outputs is not None:
            assert accepted_by_python, (mutants[number][0], said)
            assert outputs == expected, mutants[number]
            return "harmless"
        refused_as_recipe = said.error.startswith(f"{recipe_file}: ")
        for_others = any(reason in said.error for _, reason in FOR_OTHER_RUNTIMES.values())
        assert refused_as_recipe != accepted_by_python or for_others, (mutants[number][0], said)
        return "recipe refused" if refused_as_recipe else "slice refused"

    with ThreadPoolExecutor(PROCESSES) as pool:
        verdicts = list(pool.map(verdict, range(MUTANTS)))
    # A mutation that nothing reads is possible, but if most are, this test tests little.
    assert verdicts.count("recipe refused") > MUTANTS // 4, verdicts
    assert verdicts.count("slice refused") > MUTANTS // 20, verdicts


VALUES: list[Any] = [
    *(0, 1, 2, 3, -1, 63, 64, 65, 255, 2503, 2504, 2505, (1 << 30) - 1, 1 << 30, (1 << 31) - 1, 1 << 32, (1 << 63)),
    *((1 << 64) - 64, 1 << 64, 10**30, 0.5, 1e300, True, None, "", "int32", "int8", "float32", "float16", "x" * 300),
    *([], {}, [1, 1, 1], [1 << 29, 4, 1 << 29], [[0, 0]], [0], {"a": 1}),
]


def mutant(generator: random.Random, text: bytes, store: bytes) -> tuple[bytes, bytes]:
    """Return a recipe and a store, one of them changed: a value, an entry, a few bytes, or the length."""
    kind = generator.random()
    if kind < 0.65:
        recipe = json.loads(text)
        mutate_value(generator, recipe)
        return json.dumps(recipe).encode(), store
    if kind < 0.85:
        return mutate_bytes(generator, text), store
    return text, mutate_bytes(generator, store)


def mutate_value(generator: random.Random, recipe: dict[str, Any]) -> None:
    """Replace, remove or repeat a random entry at a random depth."""
    place: Any = recipe
    while True:
        key = generator.choice(list(place) if isinstance(place, dict) else range(len(place)))
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or generator.random() < 0.1:
            break
        place = inner
    action = generator.random()
    if action < 0.8:
        other = generator.choice(VALUES)
        place[key] = inner + generator.choice((-1, 1)) if type(inner) is int and generator.random() < 0.4 else other
    elif action < 0.9 or isinstance(place, dict):
        del place[key]
    else:
        place.append(deepcopy(inner))


def mutate_bytes(generator: random.Random, data: bytes) -> bytes:
    """Change, insert or cut a few bytes."""
    changed = bytearray(data)
    at = generator.randrange(len(data))
    action = generator.random()
    if action < 0.6:
        changed[at] = generator.randrange(256)
    elif action < 0.8:
        changed[at:at] = generator.randbytes(generator.randrange(1, 9))
    else:
        del changed[at : at + generator.randrange(1, 99)]
    return bytes(changed)


def is_accepted(recipe: bytes) -> bool:
    """Return whether the Python reader accepts a recipe."""
    try:
        parse_recipe(recipe, "recipe.json")
    except BundleError:
        return False
    return True


def run_commands(loads: list[dict[str, Any]], out: Path) -> list[dict[str, Any]]:
    """Return the commands that load a prefix and a tail, run both and write what they give."""
    block = {"do": "block", "units": ["prefix", "tail_01"], "runs": 1}
    return [*loads, block, *({"do": "outputs", "unit": name, "to": f"{out}_{name}"} for name in block["units"])]


def outputs_after(said: Conversation, out: Path) -> tuple[bytes, bytes] | None:
    """Return what prefix and tail gave, None where the runner refused; fails where it neither ran nor refused."""
    assert (said.status in (0, 2), said.stderr) == (True, ""), said
    if said.status == 2:
        assert said.error
        return None
    return Path(f"{out}_prefix").read_bytes(), Path(f"{out}_tail_01").read_bytes()
