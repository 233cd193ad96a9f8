"""Other networks come from a file that somebody wrote by hand."""

import json
from pathlib import Path

import pytest

from edge.errors import ReportError
from edge.report.lists import MAX_BYTES
from edge.report.peers import MAX_PEERS, load_peers

PEER = {"name": "A small network", "accuracy": 0.7, "mean_ms": 3.5}


def peers(folder: Path, content: object) -> Path:
    path = folder / "peers.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_peer_has_a_name_an_accuracy_a_latency_and_perhaps_a_note(tmp_path: Path) -> None:
    plain, noted = load_peers(peers(tmp_path, [PEER, {**PEER, "note": "its authors' figures"}]))
    assert (plain.name, plain.accuracy, plain.mean_ms, plain.note) == ("A small network", 0.7, 3.5, "")
    assert noted.note == "its authors' figures"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "not JSON"),
        ({"peers": [PEER]}, "valid list"),
        ([{**PEER, "accuracy": 70}], "accuracy: input should be less than or equal to 1, found 70"),
        ([{**PEER, "mean_ms": 0}], "mean_ms: input should be greater than 0"),
        ([{**PEER, "mean_ms": "3"}], "mean_ms: input should be a valid number"),
        ([{"name": "x"}], "accuracy: field required"),
        ([{**PEER, "name": "n" * 61}], "at most 60 characters"),
        ([{**PEER, "note": "n" * 201}], "at most 200 characters"),
        ([PEER] * (MAX_PEERS + 1), f"at most {MAX_PEERS} items"),
        ('[{"name": "x", "accuracy": NaN, "mean_ms": 1}]', "NaN is not a JSON number"),
        (" " * (MAX_BYTES + 1), "larger than the limit"),
    ],
)
def test_anything_else_is_refused_in_one_line(tmp_path: Path, content: object, problem: str) -> None:
    with pytest.raises(ReportError) as refused:
        load_peers(peers(tmp_path, content))
    assert problem in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"peers\.json: no such file; give a JSON list of peers"):
        load_peers(tmp_path / "peers.json")
