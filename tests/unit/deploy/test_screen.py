"""What `penstock up`, `down` and `status` show."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.screen import JsonScreen, TextScreen


def _process(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "state": "ready",
        "pid": 7,
        "restarts": 0,
        "addresses": {"grpc": "127.0.0.1:50151"},
        "version": "penstock 0.1.0",
        "is_real": True,
        "data": "/data/config",
        "log": "/logs/config.log",
        **more,
    }


def _stack(*processes: dict[str, Any]) -> dict[str, Any]:
    return {"state": "ready", "pid": 12, "home": "/somewhere/.penstock", "started_at": 0.0, "processes": processes}


def _shown(capsys: pytest.CaptureFixture[str], *documents: dict[str, Any]) -> str:
    screen = TextScreen()
    for document in documents:
        screen.show(document)
    return capsys.readouterr().out


def test_banner_tells_what_runs_where(capsys: pytest.CaptureFixture[str]) -> None:
    """Name, addresses, version, real or double; data, logs and how to wipe and end."""
    activemq = _process(
        "activemq", addresses={"stomp": "127.0.0.1:1", "openwire": "127.0.0.1:2"}, version="ActiveMQ Classic 5"
    )
    text = _shown(capsys, {"event": "ready", "stack": _stack(activemq, _process("aws-emulator", is_real=False))})
    assert "Penstock ready (pid 12)" in text
    assert "activemq  ready  stomp 127.0.0.1:1, openwire 127.0.0.1:2  real  ActiveMQ Classic 5" in text
    assert "aws-emulator  ready  grpc 127.0.0.1:50151  double" in text
    assert "/somewhere/.penstock/data" in text
    assert "rm -r /somewhere/.penstock" in text
    assert "penstock down" in text


def _on_ports(config: int, persistence: int, openwire: int) -> dict[str, Any]:
    return _stack(
        _process("config", addresses={"grpc": f"127.0.0.1:{config}"}),
        _process("persistence", addresses={"grpc": f"127.0.0.1:{persistence}"}),
        _process("bridge"),
        _process("activemq", addresses={"stomp": "127.0.0.1:1", "openwire": f"127.0.0.1:{openwire}"}),
    )


def _commands(text: str) -> list[str]:
    return text.split("\ntry")[1].splitlines()[1:]


def test_banner_offers_commands_on_the_ports_that_are_used(capsys: pytest.CaptureFixture[str]) -> None:
    """Three commands that work as they stand."""
    text = _shown(capsys, {"event": "ready", "stack": _on_ports(50151, 50154, 61716)})
    route, send, events = _commands(text)
    assert route.endswith("--target 127.0.0.1:50151")
    assert '{"grpc": {"address": "127.0.0.1:50154"}}' in route
    assert send.endswith("--broker 127.0.0.1:61716")
    assert events.endswith("penstock events list --target 127.0.0.1:50154")


def test_default_ports_need_no_option(capsys: pytest.CaptureFixture[str]) -> None:
    """The commands as they stand in the manual."""
    text = _shown(capsys, {"event": "ready", "stack": _on_ports(50051, 50054, 61616)})
    assert "--" not in "".join(_commands(text))


def test_nothing_to_try_without_the_processes_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    """A part of the stack runs: no command that would fail is offered."""
    assert "\ntry" not in _shown(capsys, {"event": "ready", "stack": _stack(_process("config"))})


def test_banner_tells_where_the_command_is_when_path_does_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `make up` the environment is not active."""
    monkeypatch.setenv("PATH", "/nowhere")
    text = _shown(capsys, {"event": "ready", "stack": _on_ports(50051, 50054, 61616)})
    assert f"(penstock is {Path(sys.executable).with_name('penstock')})" in text


def test_restarts_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """How often a process had to be started again stands beside its state."""
    text = _shown(capsys, {"event": "ready", "stack": _stack(_process("config", restarts=3))})
    assert "ready, 3 restarts" in text


def test_death_of_a_process_is_shown_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Name, what happened; the tail of the log is for the error alone."""
    detail = "killed by SIGKILL; starting again in 0.1 s\n  a line of the log"
    text = _shown(capsys, {"event": "process", "name": "bridge", "state": "restarting", "detail": detail})
    assert text.splitlines() == ["bridge           restarting (killed by SIGKILL; starting again in 0.1 s)"]


def test_waiting_and_starting_are_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Only what has come to be is worth a line."""
    events = [{"event": "process", "name": "bridge", "state": state, "detail": ""} for state in ("waiting", "starting")]
    assert _shown(capsys, *events) == ""


def test_brackets_in_logs_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    """Text of processes is no markup."""
    text = _shown(capsys, {"event": "log", "process": "bridge", "line": "[red]not markup[/red]"})
    assert "[red]not markup[/red]" in text


def test_json_screen_prints_one_object_per_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Every document as it is."""
    documents: list[dict[str, Any]] = [{"event": "step", "text": "Zoë"}, {"event": "stopped"}]
    for document in documents:
        JsonScreen().show(document)
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines] == documents
