"""The latency table's file: raw samples in strict JSON, whole or refused in one line."""

import json
from pathlib import Path
from typing import Any

import pytest

from edge.errors import MeasurementError
from edge.profiling.latency_table import FORMAT, MAX_BYTES, LatencyTable, load_latency, save_latency


def fields(entry: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Return a table of one run with one entry, some fields of either changed."""
    timed = {
        "programs": ["prefix", "tail_00"],
        "first_run_ms": 9.5,
        "warm_up_runs": 3,
        "blocks_ms": [[1.25, 1.0], [1.5]],
        "block_order": [1, 4],
    }
    run = {
        "device": "phone",
        "environment": {"cpu": "some", "cores": 8},
        "runtime": "litert",
        "precision": "int8",
        "threads": 1,
        "artifact_sha256": "0" * 64,
        "seed": 0,
        "entries": [timed | (entry or {})],
        "complete": True,
    }
    return {"format": FORMAT, "runs": [run | changes]}


def refusal(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(MeasurementError) as error:
        load_latency(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    table = LatencyTable.model_validate(fields(colour="blue"))
    save_latency(tmp_path / "latency.json", table)
    assert load_latency(tmp_path / "latency.json") == table
    assert load_latency(tmp_path / "latency.json").runs[0].entries[0].blocks_ms == [[1.25, 1.0], [1.5]]


def test_a_table_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "latency.json"
    save_latency(path, LatencyTable.model_validate(fields()))
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_latency(path, LatencyTable.model_validate(fields(environment={"load": float("nan")})))
    assert load_latency(path).runs[0].environment == {"cpu": "some", "cores": 8}
    assert [file.name for file in tmp_path.iterdir()] == ["latency.json"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        (json.dumps(fields())[:-1], "not JSON"),
        (json.dumps(fields(entry={"first_run_ms": float("nan")})), "NaN is not a JSON number"),
        (json.dumps(fields()).replace("1.25", "1e999"), "1e999 is out of range"),
        (json.dumps(fields(entry={"blocks_ms": [[-1.0], [1.0]]})), "greater than or equal to 0"),
        (json.dumps(fields(entry={"blocks_ms": [["1"], [1.0]]})), "valid number"),
        (json.dumps(fields(entry={"block_order": [1]})), "prefix+tail_00 on phone has 2 blocks but 1 positions"),
        (json.dumps(fields()).replace('"seed": 0', '"seed": 0, "seed": 1'), "'seed' appears twice"),
        (json.dumps(fields() | {"format": "dsnet-latency/2"}), "dsnet-latency/2 is newer than this reader"),
        (json.dumps(fields() | {"format": "dsnet-bundle/1"}), "format is 'dsnet-bundle/1'"),
        (json.dumps(fields(artifact_sha256="abc")), "artifact_sha256"),
        (json.dumps(fields(sustained_seconds=0)), "sustained_seconds"),
    ],
)
def test_a_table_that_does_not_hold_together_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    assert message in refusal(tmp_path / "latency.json", text)


def test_an_oversized_table_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    path = tmp_path / "latency.json"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(MeasurementError, match="larger than the limit"):
        load_latency(path)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match=r"latency\.json: no such file"):
        load_latency(tmp_path / "latency.json")
