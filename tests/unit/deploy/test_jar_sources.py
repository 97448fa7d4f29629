"""The sources as far as they can be told without a network: what they ask for, and how they decline."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from deploy.local.jar_sources import fetch_from_debian, fetch_with_maven, maven_pom
from deploy.local.jars import PinnedJar, SourceUnavailableError
from deploy.local.part import SilentProgress

PINNED = (PinnedJar(group="g", artifact="a", version="1", sha256="0" * 64),)


def fake_tool(directory: Path, name: str, script: str) -> None:
    """An executable of this name."""
    tool = directory / name
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)


def test_pom_asks_for_each_jar_and_for_nothing_it_depends_on() -> None:
    """The lock is the whole class path; Maven must not add to it. No repository is named."""
    project = ET.fromstring(maven_pom(PINNED))
    (dependency,) = project.findall("dependencies/dependency")
    assert [dependency.findtext(tag) for tag in ("groupId", "artifactId", "version")] == ["g", "a", "1"]
    assert dependency.findtext("exclusions/exclusion/artifactId") == "*"
    assert not list(project.iter("repository"))


@pytest.mark.parametrize(("fetch", "tool"), [(fetch_with_maven, "mvn"), (fetch_from_debian, "apt-get")])
def test_source_without_its_tool_declines_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fetch: object, tool: str
) -> None:
    """The next source is asked instead."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert callable(fetch)
    with pytest.raises(SourceUnavailableError, match=f"{tool} is not on PATH"):
        fetch(PINNED, tmp_path, SilentProgress())


def test_failing_maven_is_reported_by_its_first_error_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Colour codes and blank lines say nothing and are left out."""
    fake_tool(tmp_path, "mvn", "printf '\\033[0m\\n  \\n[ERROR] Connection refused\\n[ERROR] Help 1\\n'; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceUnavailableError, match=r"^mvn: \[ERROR\] Connection refused$"):
        fetch_with_maven(PINNED, tmp_path, SilentProgress())


def test_distribution_without_the_broker_declines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The words of apt are passed on, its warnings are not."""
    fake_tool(tmp_path, "apt-get", "echo 'W: unsandboxed' >&2; echo 'E: Unable to locate package' >&2; exit 100")
    fake_tool(tmp_path, "dpkg-deb", "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceUnavailableError, match=r"^apt-get: E: Unable to locate package$"):
        fetch_from_debian(PINNED, tmp_path, SilentProgress())
