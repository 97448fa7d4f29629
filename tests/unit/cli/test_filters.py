"""`penstock filter` as a user runs it: inline JSON, files, standard input; output and exit codes."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from cli import filters

APP = typer.Typer()
filters.register(APP)
POLICY = '{"order_type": ["lab"], "order_value": [{"numeric": [">", 1000]}]}'


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(APP, ["filter", *arguments], input=stdin)


@pytest.mark.parametrize(
    ("message", "code", "output"),
    [
        ('{"order_type": "lab", "order_value": 1000.5}', 0, "match\n"),
        ('{"order_type": "lab", "order_value": 1000}', 1, "no match\n"),
        ('{"order_type": "lab", "order_value": "2000"}', 1, "no match\n"),
        ('{"order_type": ["x", "lab"], "order_value": {"Type": "Number", "Value": "2e3"}}', 0, "match\n"),
        ('{"order_type": "lab", "order_value": {"Type": "Binary", "Value": "2000"}}', 1, "no match\n"),
        ("{}", 1, "no match\n"),
    ],
)
def test_message_is_tested_by_the_types_of_its_attributes(message: str, code: int, output: str) -> None:
    """JSON types stand for attribute types; the form of AWS names them."""
    result = run("test", POLICY, message)
    assert (result.exit_code, result.stdout) == (code, output)


def test_policy_and_message_may_be_files_or_standard_input(tmp_path: Path) -> None:
    """The body dialects take the message as it is."""
    policy = tmp_path / "policy.json"
    policy.write_text('{"a": {"b": [true]}}')
    assert run("test", str(policy), "-", "--dialect", "sns-body", stdin='{"a": {"b": true}}').exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (['{"a": "x"}', "{}"], '"a" must be an object or an array\n at $.a, line 1, column 7'),
        (["{}", "{"], "the message is not valid JSON"),
        (["{}", "[1]"], "must be a JSON object of attributes"),
        (["{}", '{"a": true}'], "attribute 'a' must be a string, a number, an array"),
        (["{}", '{"a": {"Type": "Date", "Value": "x"}}'], "attribute 'a' must be"),
        (['{"a": [1]}', '{"a": {"Type": "Number", "Value": "many"}}'], "'a' is declared a Number"),
        (['{"a": [1]}', "[]", "--dialect", "eventbridge"], "must be a JSON object to be matched"),
        (["no-such-file", "{}"], "'no-such-file' is neither a JSON object nor a file"),
    ],
)
def test_what_is_invalid_is_told_with_exit_code_2(arguments: list[str], words: str) -> None:
    """Policy, message or file; nothing on standard output."""
    result = run("test", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr


def test_explanation_has_a_line_per_key() -> None:
    """Cells separated by tabs, then the verdict."""
    result = run("explain", POLICY, '{"order_type": "lab", "order_value": 5}')
    assert result.exit_code == 1
    assert result.stdout.splitlines() == ['$.order_type\tyes\t"lab"\t"lab"', "$.order_value\tno\t\t5", "no match"]


def test_explanation_as_json() -> None:
    """Whole, for programs."""
    result = run("explain", '{"a": ["x"]}', '{"a": "x"}', "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "matches": True,
        "keys": [{"key": "$.a", "satisfied": True, "condition": '"x"', "actual": '"x"'}],
    }


def test_lint_tells_every_fault_with_its_place() -> None:
    """One line each."""
    result = run("lint", '{"a": [],\n "b": [{"prefix": 1}]}')
    assert result.exit_code == 2
    assert result.stdout.splitlines() == [
        "1:7: fault: Empty arrays are not allowed ($.a)",
        "2:19: fault: prefix match pattern must be a string ($.b[0].prefix)",
    ]


def test_lint_of_a_valid_policy_warns_and_counts() -> None:
    """Warnings do not fail."""
    result = run("lint", '{"a": ["x", "x", "y"], "b": ["z"]}')
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "1:2: warning: A condition stands twice in the array ($.a)",
        "valid; 3 of at most 150 value combinations",
    ]
    assert run("lint", '{"a": ["x"]}', "-d", "eventbridge").stdout == "valid; 1 value combinations\n"


def test_lint_as_json() -> None:
    """Faults and warnings in one form."""
    (found,) = json.loads(run("lint", "{}", "--json").stdout)
    assert found == {
        "kind": "warning",
        "message": "The policy accepts every message",
        "path": "$",
        "line": 1,
        "column": 1,
    }
