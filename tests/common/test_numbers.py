"""Every command is told in the same words which numbers are meant."""

import pytest

from common import DsnetError, parse_numbers, parse_widths


def test_indices_come_back_ascending_and_once() -> None:
    assert parse_widths("3, 0,3") == (0, 3)


def test_all_leaves_the_choice_to_the_command() -> None:
    assert parse_widths("all") is None


@pytest.mark.parametrize("text", ["", "x", "0;1", "-1", "1.5", "²", "0,", "99999999999"])
def test_anything_else_is_refused_in_one_line_that_shows_the_form(text: str) -> None:
    with pytest.raises(DsnetError, match="give all, or indices such as 0,3"):
        parse_widths(text)


def test_numbers_come_back_ascending_and_once() -> None:
    assert parse_numbers("4, 1,4", "--threads", range(1, 9), "list") == (1, 4)


@pytest.mark.parametrize("text", ["0", "9", "1,9", "", "x", "1;4", "10" * 5000])
def test_numbers_out_of_range_are_refused_in_one_line_that_shows_the_form(text: str) -> None:
    with pytest.raises(DsnetError, match=r"^--threads .* is not a list; give 1 … 8$"):
        parse_numbers(text, "--threads", range(1, 9), "list; give 1 … 8")
