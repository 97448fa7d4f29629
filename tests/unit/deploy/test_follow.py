"""Logs of processes, shown as they grow."""

from pathlib import Path

import pytest

from deploy.local.follow import LogFollower


@pytest.fixture
def shown() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def follower(tmp_path: Path, shown: list[tuple[str, str]]) -> LogFollower:
    return LogFollower(tmp_path, show=lambda process, line: shown.append((process, line)))


def test_lines_are_shown_once_with_their_process(
    follower: LogFollower, shown: list[tuple[str, str]], tmp_path: Path
) -> None:
    """New lines of every file, none twice."""
    (tmp_path / "config.log").write_text("one\n")
    follower.poll()
    (tmp_path / "bridge.log").write_text("three\n")
    with (tmp_path / "config.log").open("a") as log:
        log.write("two\n")
    follower.poll()
    follower.poll()
    assert shown == [("config", "one"), ("bridge", "three"), ("config", "two")]


def test_half_a_line_waits_for_its_end(follower: LogFollower, shown: list[tuple[str, str]], tmp_path: Path) -> None:
    """A line is shown when it is complete, also when the cut is within a character."""
    text = "Zoë is here\n".encode()
    (tmp_path / "config.log").write_bytes(text[:3])
    follower.poll()
    assert shown == []
    with (tmp_path / "config.log").open("ab") as log:
        log.write(text[3:])
    follower.poll()
    assert shown == [("config", "Zoë is here")]


def test_file_that_was_replaced_is_read_from_its_start(
    follower: LogFollower, shown: list[tuple[str, str]], tmp_path: Path
) -> None:
    """A shorter file is a new one."""
    (tmp_path / "config.log").write_text("a long first line\n")
    follower.poll()
    (tmp_path / "config.log").write_text("new\n")
    follower.poll()
    assert shown[-1] == ("config", "new")


def test_log_of_the_stack_itself_is_left_out(
    follower: LogFollower, shown: list[tuple[str, str]], tmp_path: Path
) -> None:
    """Showing it would feed it."""
    (tmp_path / "stack.log").write_text("line\n")
    follower.poll()
    assert shown == []
