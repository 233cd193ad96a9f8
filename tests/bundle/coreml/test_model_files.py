"""Reading and changing model.mlmodel and weight.bin without coremltools; damaged ones are refused and nothing else."""

import struct
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import BundleError
from edge.bundle.coreml.blobs import Blob, read_blobs, write_blobs
from edge.bundle.coreml.model_file import constants, read_model, with_offsets, with_user_metadata
from edge.bundle.coreml.multifunction import merge
from edge.bundle.coreml.package import MODEL, WEIGHTS, Package, rebuild
from edge.bundle.coreml.protobuf import VARINT, Field, integers, message, parse, serialise, text, varint
from edge.bundle.nested.weights import open_nested_weights
from edge.bundle.reader import Bundle

OTHER_FUNCTIONS = serialise(
    [message(2, [message(20, [text(1, "a")])]), message(502, [message(2, [text(1, "b"), message(2, [])])])]
)
BLOBS = [Blob(1, memoryview(bytes(range(20)))), Blob(4, memoryview(bytes(range(70)))), Blob(2, memoryview(bytes(64)))]


@pytest.fixture(scope="module")
def packages(converted_folder) -> dict[str, Package]:  # type: ignore[no-untyped-def]
    from edge.bundle.reader import open_bundle

    opened = open_bundle(converted_folder)
    weights = open_nested_weights(opened, opened.artifact())
    return {name: rebuild(weights, name) for name in ("prefix", "tail_00", "tail_02")}


def test_a_model_file_serialises_to_the_bytes_it_was_parsed_from(packages: dict[str, Package]) -> None:
    for package in packages.values():
        assert serialise(parse(package[MODEL])) == package[MODEL]
        body = read_model(package[MODEL]).functions["main"].body
        same = {constant.offset: constant.offset for constant in constants(body)}
        assert same and with_offsets(body, same) == body


@given(value=st.integers(0, 2**64 - 1))
def test_numbers_survive(value: int) -> None:
    fields = [Field(3, VARINT, value)]
    assert parse(serialise(fields)) == fields
    assert integers(parse(serialise([message(1, []), Field(3, 2, varint(value) * 2)])), 3) == [value, value]


@given(data=st.binary(max_size=200))
@settings(max_examples=200)
def test_any_bytes_are_fields_or_a_bundle_error(data: bytes) -> None:
    with suppress(BundleError):
        assert all(isinstance(field, Field) for field in parse(data))
    with suppress(BundleError):
        read_model(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x08", "does not end"),
        (b"\x08" + b"\xff" * 11, "does not end"),
        (b"\x0a\x05abc", "ends inside a field"),
        (b"\x0b", "unknown wire type 3"),
        (serialise([message(2, [])]), "describes the functions main and holds none"),
        (OTHER_FUNCTIONS, "describes the functions a and holds b"),
        (serialise([message(2, [message(20, [Field(1, 2, b"\xff")])])]), "not UTF-8"),
    ],
)  # fmt: skip
def test_a_malformed_model_file_is_refused_in_one_line(data: bytes, message: str) -> None:
    with pytest.raises(BundleError, match=message) as caught:
        read_model(data)
    assert "\n" not in str(caught.value)


def test_blocks_nested_without_end_are_refused() -> None:
    value = message(2, [text(1, "x")])
    reference = serialise([message(5, [text(1, "@model_path/weights/weight.bin"), Field(2, VARINT, 64)])])
    operation = serialise([message(5, [text(1, "val"), Field(2, 2, reference)])])
    for _ in range(200):
        operation = serialise([Field(4, 2, serialise([Field(3, 2, operation)]))])
    function = serialise([value, message(3, [text(1, "CoreML8"), Field(2, 2, serialise([Field(3, 2, operation)]))])])
    with pytest.raises(BundleError, match="more than 40 deep"):
        constants(function)


def test_user_metadata_is_added_or_replaced_and_nothing_else_changes(packages: dict[str, Package]) -> None:
    data = packages["prefix"][MODEL]
    once = with_user_metadata(data, {"zebra": "1", "dsnet.classes": "[]"})
    before, after = read_model(data), read_model(once)
    assert after.user_metadata == {**before.user_metadata, "zebra": "1", "dsnet.classes": "[]"}
    assert (after.functions, after.version) == (before.functions, before.version)
    assert with_user_metadata(once, {"dsnet.classes": before.user_metadata["dsnet.classes"]}) != data
    assert with_user_metadata(data, {}) == data


def test_maps_lie_as_protobufs_deterministic_serialisation_puts_them(packages: dict[str, Package]) -> None:
    from coremltools.proto import Model_pb2

    package = packages["prefix"]
    data = merge(dict.fromkeys(("net_10", "net_1", "net_100", "net_2"), package), "net_10")[MODEL]
    longer = with_user_metadata(data, {"zebra": "1", "zeb": "2", "zebras": "3", "éa": "4"})
    for content in (data, longer):
        assert Model_pb2.Model.FromString(content).SerializeToString(deterministic=True) == content


def test_blobs_are_read_as_they_were_written() -> None:
    data, offsets = write_blobs(BLOBS)
    assert offsets == [64, 192, 384]
    assert list(read_blobs(data).items()) == list(zip(offsets, BLOBS, strict=True))
    assert len(data) == 384 + 64 + 64
    assert read_blobs(write_blobs([])[0]) == {}


def patched(place: int, layout: str, value: int) -> bytes:
    data = bytearray(write_blobs(BLOBS)[0])
    struct.pack_into(layout, data, place, value)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not even a header"),
        (patched(4, "<I", 1), "version 1"),
        (patched(0, "<I", 1 << 31), "version 2 with 2147483648 constants"),
        (patched(0, "<I", 2), "goes on after its last constant"),
        (patched(0, "<I", 4), "ends before constant 3 of 4"),
        (patched(64, "<I", 0), "constant 0 at byte 64 does not hold together"),
        (patched(64 + 8, "<Q", 1 << 60), "constant 0 at byte 64 does not hold together"),
        (patched(192 + 16, "<Q", 192), "constant 1 at byte 192 does not hold together"),
        (write_blobs(BLOBS)[0][:-1], "constant 2 at byte 384 does not hold together"),
        (write_blobs(BLOBS)[0] + b"\0", "goes on after its last constant"),
    ],
)
def test_a_malformed_weight_file_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        read_blobs(data)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_damaged_packages_merge_or_raise_a_bundle_error(packages: dict[str, Package], data: st.DataObject) -> None:
    damaged = {name: dict(package) for name, package in packages.items()}
    path = data.draw(st.sampled_from([MODEL, WEIGHTS]))
    content = bytearray(damaged["tail_00"][path])
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    damaged["tail_00"][path] = bytes(content)
    with suppress(BundleError):
        merge(damaged, "prefix")


def test_packages_of_two_conversions_do_not_merge(packages: dict[str, Package]) -> None:
    other = {**packages["tail_02"], MODEL: with_user_metadata(packages["tail_02"][MODEL], {"dsnet.model": "{}"})}
    with pytest.raises(BundleError, match="not of one conversion"):
        merge({"prefix": packages["prefix"], "tail_02": other}, "prefix")


def test_a_package_of_several_functions_does_not_merge_again(packages: dict[str, Package]) -> None:
    with pytest.raises(BundleError, match="holds prefix, tail_00, tail_02, not main alone"):
        merge({"all": merge(packages, "prefix")}, "all")


def test_the_bundle_fixture_is_for_core_ml(bundle: Bundle) -> None:
    assert [artifact.runtime for artifact in bundle.manifest.artifacts] == ["coreml"]
