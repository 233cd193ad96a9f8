"""Every command is told in the same words which widths are meant."""

import pytest

from common import DsnetError, parse_widths


def test_indices_come_back_ascending_and_once() -> None:
    assert parse_widths("3, 0,3") == (0, 3)


def test_all_leaves_the_choice_to_the_command() -> None:
    assert parse_widths("all") is None


@pytest.mark.parametrize("text", ["", "x", "0;1", "-1", "1.5", "²", "0,", "99999999999"])
def test_anything_else_is_refused_in_one_line_that_shows_the_form(text: str) -> None:
    with pytest.raises(DsnetError, match="give all, or indices such as 0,3"):
        parse_widths(text)
