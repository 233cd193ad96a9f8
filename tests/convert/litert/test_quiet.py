"""What exporters print is kept back, unless it is needed to understand a failure."""

import sys

import pytest

from convert.quiet import quiet


def test_talk_is_dropped_when_all_goes_well(capsys: pytest.CaptureFixture[str]) -> None:
    with quiet():
        print("chatter")
    assert capsys.readouterr() == ("", "")


def test_talk_is_shown_after_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="broken"), quiet():
        print("the reason")
        raise ValueError("broken")
    assert "the reason" in capsys.readouterr().err


def test_an_interrupt_is_no_failure_to_explain(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), quiet():
        print("chatter", file=sys.stderr)
        raise KeyboardInterrupt
    assert capsys.readouterr().err == ""
