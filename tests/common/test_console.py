import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.console import listed, one_line, print_json, table


@given(st.text())
def test_one_line_is_one_printable_line(text: str) -> None:
    assert one_line(text).isprintable()


def test_of_a_long_list_the_first_and_a_count_are_shown() -> None:
    assert listed([]) == ""
    assert listed(range(8)) == "0, 1, 2, 3, 4, 5, 6, 7"
    assert listed(range(9)) == "0, 1, 2, 3, 4, 5, 6, 7, … (9 in all)"
    assert listed({"prefix": 1, "tail_00": 2}, most=1) == "prefix, … (2 in all)"


def test_json_results_hold_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        print_json({"ms": float("nan")})
    print_json({"ms": 1.5})
    assert json.loads(capsys.readouterr().out) == {"ms": 1.5}


def test_tables_align_numbers_right_and_text_left() -> None:
    made = table("Widths", ("name", "MACs"), [("narrow", "1,952"), ("wide", "2,304")])
    assert [column.justify for column in made.columns] == ["left", "right"]


def test_tables_show_markup_of_strangers_as_text() -> None:
    made = table("Classes", ("name",), [("[red]cat[/red]",)])
    assert list(made.columns[0].cells) == [r"\[red]cat\[/red]"]
