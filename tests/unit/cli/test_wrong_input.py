"""Wrong input to the command: exit code 2 and a sentence, never a traceback."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.__main__ import app


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param(("subscriptions", "put", "[5]"), "a subscription is a JSON object", id="not a subscription"),
        pytest.param(("programs", "put", "x", "--customer-id", "99999999999999999999"), "2147483647", id="customer id"),
        pytest.param(("events", "list", "--from", "99999999999d"), "nor an age such as", id="age beyond all times"),
        pytest.param(("events", "list", "--from", "yesterday"), "nor an age such as", id="no time"),
        pytest.param(("track", "p", "--type", "bogus"), "EVENT_TYPE_BOGUS", id="event type"),
        pytest.param(("send", "q", "x", "-p", "a:bytes=x"), "no JMS type", id="property type"),
        pytest.param(("params", "put", "/a", "x", "--tag", "t"), "write KEY=VALUE", id="tag"),
        pytest.param(("demo", "--story", "nosuch"), "there are orders", id="story"),
    ],
)
def test_wrong_usage_is_told_in_a_sentence(arguments: Sequence[str], told: str) -> None:
    """Nothing is called, and what would be right is named."""
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert told in result.stderr


@pytest.mark.parametrize("options", [(), ("--detach",)], ids=["foreground", "detached"])
def test_home_that_cannot_be_a_folder_is_told(tmp_path: Path, options: Sequence[str]) -> None:
    """A file stands where the folder would be."""
    (tmp_path / "file").touch()
    result = CliRunner().invoke(app, ["up", "--home", str(tmp_path / "file" / "home"), *options])
    assert result.exit_code == 1
    assert f"the folder {tmp_path / 'file' / 'home'} cannot be used" in result.stderr


def test_demo_without_a_place_for_its_data_is_told(tmp_path: Path) -> None:
    """The same for the demo."""
    (tmp_path / "file").touch()
    result = CliRunner().invoke(app, ["demo"], env={"PENSTOCK_HOME": str(tmp_path / "file" / "home")})
    assert result.exit_code == 1
    assert "no folder for the demo's data" in result.stderr


def test_unreachable_service_is_exit_code_3() -> None:
    """Port 1 serves nothing; the address and what to do are named."""
    result = CliRunner().invoke(app, ["params", "get", "/a", "--target", "127.0.0.1:1"])
    assert result.exit_code == 3
    assert "127.0.0.1:1" in result.stderr
    assert "penstock up" in result.stderr


def test_lint_as_json_tells_the_place_of_a_fault() -> None:
    """What is printed is JSON also when the policy is not."""
    result = CliRunner().invoke(app, ["filter", "lint", "--json", '{"a": 5}'])
    assert result.exit_code == 2
    assert {finding["path"] for finding in json.loads(result.stdout)["findings"]} == {"$.a"}
