"""What commands print where: tables for people, lines for programs, JSON where asked for."""

import json
from collections.abc import Mapping, Sequence

import pytest

from cli.output import print_json, print_rows

ROWS: Sequence[Mapping[str, object]] = [
    {"name": "/a", "labels": ["x", "y"], "value": "one\ttwo\nthree", "hidden": 1},
    {"name": "/b", "value": None},
]
COLUMNS = ("name", "labels", "value")


def test_a_row_is_a_line_of_cells(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is in a value, cells and lines can be told apart; what is missing is empty."""
    print_rows(ROWS, COLUMNS, as_json=False, empty="none")
    assert capsys.readouterr().out == "/a\tx, y\tone two\\nthree\n/b\t\t\n"


def test_nothing_is_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A program that counts lines counts none."""
    print_rows([], COLUMNS, as_json=False, empty="none")
    assert capsys.readouterr().out == ""


def test_json_has_the_whole_rows(capsys: pytest.CaptureFixture[str]) -> None:
    """One array on one line, also when there is nothing."""
    print_rows(ROWS, COLUMNS, as_json=True, empty="none")
    print_rows([], COLUMNS, as_json=True, empty="none")
    first, second = capsys.readouterr().out.splitlines()
    assert (json.loads(first), second) == (ROWS, "[]")


def test_a_terminal_gets_a_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With a heading; markup in a value stays text."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    print_rows([{"name": "[red]a[/red]"}], ("name",), as_json=False, empty="none")
    heading, row = capsys.readouterr().out.splitlines()
    assert (heading.strip(), row.strip()) == ("name", "[red]a[/red]")


def test_a_terminal_is_told_that_there_is_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a sentence; JSON is indented there."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    print_rows([], ("name",), as_json=False, empty="nothing here")
    print_json({"a": 1})
    assert capsys.readouterr().out == 'nothing here\n{\n  "a": 1\n}\n'
