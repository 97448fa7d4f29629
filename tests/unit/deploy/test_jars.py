"""The broker's jars: pinned, checked, cached whole or not at all, and asked for from one source after the other."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from deploy.local.jar_sources import jar_sources
from deploy.local.jars import (
    LOCK_FILES,
    JarChecksumError,
    JarsError,
    JarSource,
    PinnedJar,
    SourceUnavailableError,
    broker_jars,
    broker_version,
    chosen_line,
    read_lock,
)
from deploy.local.part import Progress

CONTENT = b"the broker"
PINNED = (
    PinnedJar(
        group="org.apache.activemq",
        artifact="activemq-broker",
        version="5.18.4",
        sha256=hashlib.sha256(CONTENT).hexdigest(),
    ),
)
JAR = "activemq-broker-5.18.4.jar"


class Steps:
    """Remembers what was shown."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def step(self, text: str) -> None:
        self.lines.append(text)


def delivering(content: bytes = CONTENT, *, name: str = "first", pinned: bool = True) -> JarSource:
    """A source that delivers one jar with this content."""

    def fetch(_pinned: Sequence[PinnedJar], directory: Path, _progress: Progress) -> str:
        (directory / JAR).write_bytes(content)
        return "5.18.4" if pinned else "5.17.2"

    return JarSource(name=name, fetch=fetch, is_pinned=pinned)


def failing(reason: str, *, name: str = "broken") -> JarSource:
    """A source that delivers half and gives up."""

    def fetch(_pinned: Sequence[PinnedJar], directory: Path, _progress: Progress) -> str:
        (directory / JAR).write_bytes(CONTENT[:3])
        raise SourceUnavailableError(reason)

    return JarSource(name=name, fetch=fetch, is_pinned=True)


def never_asked() -> JarSource:
    """A source that must not be used."""

    def fetch(_pinned: Sequence[PinnedJar], _directory: Path, _progress: Progress) -> str:
        raise AssertionError("asked although it should not be")

    return JarSource(name="never", fetch=fetch, is_pinned=True)


def test_first_source_that_delivers_is_used_and_named(tmp_path: Path) -> None:
    """The others are not asked, and the screen can tell where the jars came from."""
    steps = Steps()
    jars = broker_jars(tmp_path, steps, [failing("offline"), delivering(name="second"), never_asked()], PINNED)
    assert (jars.directory / JAR).read_bytes() == CONTENT
    assert str(jars) == "ActiveMQ Classic 5.18.4 (jars from second)"
    assert steps.lines == [
        "fetching ActiveMQ Classic's jars from broken",
        "not from broken: offline",
        "fetching ActiveMQ Classic's jars from second",
    ]


def test_cached_jars_are_used_without_asking_anyone(tmp_path: Path) -> None:
    """The second start works without a network and still names the origin."""
    broker_jars(tmp_path, Steps(), [delivering()], PINNED)
    jars = broker_jars(tmp_path, Steps(), [never_asked()], PINNED)
    assert str(jars) == "ActiveMQ Classic 5.18.4 (jars from first, cached)"


def test_distribution_jars_are_cached_beside_and_keep_their_own_version(tmp_path: Path) -> None:
    """They are another version than the lock's, so its checksums do not apply."""
    distribution = delivering(b"another build", name="apt", pinned=False)
    broker_jars(tmp_path, Steps(), [failing("offline"), distribution], PINNED)
    jars = broker_jars(tmp_path, Steps(), [never_asked(), distribution], PINNED)
    assert str(jars) == "ActiveMQ Classic 5.17.2 (jars from apt, cached)"


def test_fetched_jar_with_another_checksum_is_an_error_not_a_reason_to_go_on(tmp_path: Path) -> None:
    """The error names file, expected and actual sum; nothing is cached."""
    with pytest.raises(JarChecksumError) as caught:
        broker_jars(tmp_path, Steps(), [delivering(b"tampered"), never_asked()], PINNED)
    actual = hashlib.sha256(b"tampered").hexdigest()
    assert all(part in str(caught.value) for part in (JAR, PINNED[0].sha256, actual))
    assert list(tmp_path.iterdir()) == []


def test_cached_jar_that_was_changed_is_refused(tmp_path: Path) -> None:
    """A cache is checked at every start."""
    jars = broker_jars(tmp_path, Steps(), [delivering()], PINNED)
    (jars.directory / JAR).write_bytes(b"changed")
    with pytest.raises(JarChecksumError, match="expected"):
        broker_jars(tmp_path, Steps(), [never_asked()], PINNED)


@pytest.mark.parametrize("name", [JAR, "ORIGIN"])
def test_cached_file_that_is_gone_is_named(tmp_path: Path, name: str) -> None:
    """The message says which folder to delete."""
    jars = broker_jars(tmp_path, Steps(), [delivering()], PINNED)
    (jars.directory / name).unlink()
    with pytest.raises(JarsError, match=f"{name} is missing: delete"):
        broker_jars(tmp_path, Steps(), [never_asked()], PINNED)


def test_every_reason_is_told_when_no_source_delivers(tmp_path: Path) -> None:
    """One line: which source failed why, and what to do."""
    with pytest.raises(JarsError) as caught:
        broker_jars(tmp_path, Steps(), [failing("offline", name="jgo"), failing("no mvn", name="mvn")], PINNED)
    assert "(jgo: offline; mvn: no mvn)" in str(caught.value)
    assert "Connect to Maven Central once" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_interrupted_fetch_leaves_nothing_that_looks_complete(tmp_path: Path) -> None:
    """Half a download is never taken for a cache."""
    with pytest.raises(JarsError):
        broker_jars(tmp_path, Steps(), [failing("cut off")], PINNED)
    assert list(tmp_path.iterdir()) == []
    assert broker_jars(tmp_path, Steps(), [delivering()], PINNED).origin == "jars from first"


def test_jars_another_process_put_there_meanwhile_are_used(tmp_path: Path) -> None:
    """Two stacks that start at the same time on an empty cache do not get in each other's way."""
    ours = delivering(name="ours")

    def fetch(pinned: Sequence[PinnedJar], directory: Path, progress: Progress) -> str:
        broker_jars(tmp_path, progress, [delivering(name="theirs")], PINNED)
        return ours.fetch(pinned, directory, progress)

    jars = broker_jars(tmp_path, Steps(), [JarSource(name="ours", fetch=fetch, is_pinned=True)], PINNED)
    assert (jars.directory / JAR).read_bytes() == CONTENT
    assert [entry.name for entry in tmp_path.iterdir()] == ["activemq-5.18.4"]


@pytest.mark.parametrize("line", LOCK_FILES)
def test_committed_locks_pin_the_whole_class_path(line: str) -> None:
    """Broker, both protocols, store, launcher and login are of one version of the line, and no jar stands twice."""
    pinned = read_lock(LOCK_FILES[line])
    assert broker_version(pinned).startswith(f"{line}.")
    activemq = {jar.artifact: jar.version for jar in pinned if jar.group == "org.apache.activemq"}
    assert {"activemq-broker", "activemq-stomp", "activemq-kahadb-store", "activemq-console"} <= set(activemq)
    assert set(activemq.values()) == {broker_version(pinned)}
    assert len({(jar.group, jar.artifact) for jar in pinned}) == len(pinned)


@pytest.mark.parametrize(
    "line",
    ["org.apache:x:1", "org.apache:x 1234", "org.apache:x:1 abc", f"org.apache:x:1 {'0' * 64} more"],
    ids=["no checksum", "no version", "short checksum", "trailing word"],
)
def test_unreadable_line_of_a_lock_is_named_with_its_number(tmp_path: Path, line: str) -> None:
    """The error says file, line and the form that was expected."""
    lock = tmp_path / "jars.lock"
    lock.write_text(f"# comment\n{line}\n")
    with pytest.raises(JarsError, match=r"jars.lock:2: expected `group:artifact:version sha256`"):
        read_lock(lock)


def test_line_is_chosen_by_variable() -> None:
    """5.18 by default, 6.1 by name; another one is refused with those there are."""
    assert chosen_line({}) == "5.18"
    assert chosen_line({"PENSTOCK_ACTIVEMQ": "6.1"}) == "6.1"
    with pytest.raises(JarsError, match=r"PENSTOCK_ACTIVEMQ='5.19' is no line of ActiveMQ known here: set 5.18 or 6.1"):
        chosen_line({"PENSTOCK_ACTIVEMQ": "5.19"})


def test_distribution_stands_in_for_the_default_line_alone() -> None:
    """Debian has a 5.x: it cannot pass for a 6.x."""
    assert [source.is_pinned for source in jar_sources("5.18")] == [True, True, False]
    assert [source.is_pinned for source in jar_sources("6.1")] == [True, True]
