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
        "invalid; 1 of at most 150 value combinations",
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
    """Faults and warnings in one form, with the count."""
    warning = {"kind": "warning", "message": "The policy accepts every message", "path": "$", "line": 1, "column": 1}
    assert json.loads(run("lint", "{}", "--json").stdout) == {"valid": True, "complexity": 1, "findings": [warning]}
    result = run("lint", json.dumps({"a": [str(number) for number in range(151)]}), "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["valid"], found["complexity"]) == (2, False, 151)
    assert [(each["kind"], each["message"]) for each in found["findings"]] == [
        ("fault", "Filter policy is too complex")
    ]


def test_lint_fails_over_warnings_when_asked_to() -> None:
    """For builds that want none."""
    assert run("lint", "{}", "--strict").exit_code == 1
    assert run("lint", '{"a": ["x"]}', "--strict").exit_code == 0
    assert run("lint", '{"a": "x"}', "--strict").exit_code == 2


def test_arrays_are_read_in_the_mode_that_is_asked_for() -> None:
    """The mode decides over an array that is listed in part; JSON says what the exit code says."""
    given = ('{"price": [{"anything-but": [100]}]}', '{"price": [100, 50]}')
    result = run("test", *given, "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (1, {"matches": False})
    result = run("test", *given, "--arrays", "one-unlisted", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"matches": True})
    assert run("explain", *given, "--arrays", "one-unlisted").exit_code == 0
    assert run("test", *given, "--arrays", "some").exit_code == 2


def test_explanation_tells_when_no_single_key_is_to_blame() -> None:
    """Each is satisfied, but in different elements."""
    policy, body = '{"a": {"b": [1], "c": [2]}}', '{"a": [{"b": 1, "c": 1}, {"b": 2, "c": 2}]}'
    result = run("explain", policy, body, "-d", "eventbridge")
    assert result.stdout.splitlines()[-1].startswith("no match: the keys are satisfied in different elements")


@pytest.mark.parametrize("command", ["test", "explain", "lint"])
def test_help_has_examples(command: str) -> None:
    """Which can be copied."""
    assert f"penstock filter {command} " in run(command, "--help").stdout
