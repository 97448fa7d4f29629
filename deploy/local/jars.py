"""The jars of a Java server (ActiveMQ, in tests Cassandra): pinned and checked, fetched once into a cache.

Data flow: line -> lock file -> cache, else the first source that answers -> every checksum compared -> class path.
"""

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.local.part import PartError, Progress

LOCK_FILES: Mapping[str, Path] = {line: Path(__file__).with_name(f"activemq-{line}.lock") for line in ("5.18", "6.1")}
"""The lock file of each line of ActiveMQ Classic: 5.18 with javax JMS, 6.1 with jakarta JMS."""
DEFAULT_LINE = "5.18"
_ORIGIN_FILE = "ORIGIN"
# The artifact that is the server, and the word its directories in the cache begin with.
_SERVERS = {"event-ruler": "event-ruler", "activemq-broker": "activemq", "cassandra-all": "cassandra"}


class JarsError(PartError):
    """A server's jars cannot be had."""


class JarChecksumError(JarsError):
    """A jar is not the one that was pinned. Never worked around by another source."""


class SourceUnavailableError(JarsError):
    """One source cannot deliver (tool absent, repository out of reach); the next one may."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PinnedJar:
    """One line of the lock file: Maven coordinates and the SHA-256 of the file, in hexadecimal."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"


@dataclass(frozen=True, kw_only=True, slots=True)
class BrokerJars:
    """A complete class path. `origin` says where it came from, in words for the screen."""

    directory: Path
    version: str
    origin: str
    product: str = "ActiveMQ Classic"

    @property
    def class_path(self) -> str:
        return str(self.directory / "*")

    def __str__(self) -> str:
        return f"{self.product} {self.version} ({self.origin})"


@dataclass(frozen=True, kw_only=True, slots=True)
class JarSource:
    """Where jars can come from. `fetch` fills the empty directory it is given and returns the server's version.

    `is_pinned` is False where the files are vouched for by others (a distribution's signed index), not by the lock.
    """

    name: str
    fetch: Callable[[Sequence[PinnedJar], Path, Progress], str]
    is_pinned: bool


def chosen_line(environ: Mapping[str, str]) -> str:
    """The line of ActiveMQ Classic that PENSTOCK_ACTIVEMQ names, else the default one.

    Raises:
        JarsError: it names none that is pinned here.
    """
    line = environ.get("PENSTOCK_ACTIVEMQ") or DEFAULT_LINE
    if line not in LOCK_FILES:
        raise JarsError(f"PENSTOCK_ACTIVEMQ={line!r} is no line of ActiveMQ known here: set {' or '.join(LOCK_FILES)}")
    return line


def read_lock(lock: Path = LOCK_FILES[DEFAULT_LINE]) -> tuple[PinnedJar, ...]:
    """The pinned jars. A line is `group:artifact:version sha256`; `#` starts a comment.

    Raises:
        JarsError: a line that cannot be read, with its number.
    """
    jars = []
    for number, line in enumerate(lock.read_text(encoding="utf-8").splitlines(), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        coordinates = words[0].split(":")
        if len(words) != 2 or len(coordinates) != 3 or len(words[1]) != 64:  # noqa: PLR2004 - the shape of the line
            raise JarsError(f"{lock.name}:{number}: expected `group:artifact:version sha256`, found {line!r}")
        group, artifact, version = coordinates
        jars.append(PinnedJar(group=group, artifact=artifact, version=version, sha256=words[1]))
    return tuple(jars)


def broker_version(pinned: Sequence[PinnedJar]) -> str:
    """The version of the server itself among its dependencies."""
    return next(jar.version for jar in pinned if jar.artifact in _SERVERS)


def broker_jars(
    cache: Path,
    progress: Progress,
    sources: Sequence[JarSource],
    pinned: Sequence[PinnedJar] | None = None,
    *,
    product: str = "ActiveMQ Classic",
) -> BrokerJars:
    """The jars from the cache, else from the first source that delivers.

    A source fills a directory beside the final one, which is moved into place when it is whole and checked.

    Raises:
        JarChecksumError: a file is not the pinned one.
        JarsError: nothing is cached and no source delivers; each one's reason is listed.
    """
    pinned = read_lock() if pinned is None else pinned
    for source in sources:
        if cached := _cached(cache, source, pinned):
            return replace(cached, product=product)
    failures: list[str] = []
    for source in sources:
        progress.step(f"fetching {product}'s jars from {source.name}")
        try:
            return replace(_fetch(cache, source, pinned, progress), product=product)
        except SourceUnavailableError as error:
            failures.append(f"{source.name}: {error}")
            progress.step(f"not from {source.name}: {error}")
    raise JarsError(
        f"{product}'s jars cannot be fetched ({'; '.join(failures)}). Connect to Maven Central once, or run with an "
        f"external server; the files are then kept in {cache}"
    )


def check_jars(directory: Path, pinned: Sequence[PinnedJar]) -> None:
    """Compare every pinned jar with its checksum.

    Raises:
        JarChecksumError: a file differs, with its name, the expected and the actual sum.
        JarsError: a file is missing.
    """
    for jar in pinned:
        path = directory / jar.file_name
        if not path.is_file():
            raise JarsError(f"{path} is missing: delete {directory} to fetch the jars again")
        actual = sha256_of(path)
        if actual != jar.sha256:
            raise JarChecksumError(
                f"{path} has SHA-256 {actual}, expected {jar.sha256}: delete {directory} to fetch the jars again, "
                "and do not run this file"
            )


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _directory(cache: Path, source: JarSource, pinned: Sequence[PinnedJar]) -> Path:
    server = next(_SERVERS[jar.artifact] for jar in pinned if jar.artifact in _SERVERS)
    return cache / f"{server}-{broker_version(pinned) if source.is_pinned else 'distribution'}"


def _cached(cache: Path, source: JarSource, pinned: Sequence[PinnedJar]) -> BrokerJars | None:
    directory = _directory(cache, source, pinned)
    if not directory.is_dir():
        return None
    if source.is_pinned:
        check_jars(directory, pinned)
    origin_file = directory / _ORIGIN_FILE
    if not origin_file.is_file():
        raise JarsError(f"{origin_file} is missing: delete {directory} to fetch the jars again")
    version, _, origin = origin_file.read_text(encoding="utf-8").strip().partition(" ")
    return BrokerJars(directory=directory, version=version, origin=f"jars from {origin}, cached")


def _fetch(cache: Path, source: JarSource, pinned: Sequence[PinnedJar], progress: Progress) -> BrokerJars:
    directory = _directory(cache, source, pinned)
    cache.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=cache, prefix="fetching-") as scratch:
        incoming = Path(scratch, "jars")
        incoming.mkdir()
        version = source.fetch(pinned, incoming, progress)
        if source.is_pinned:
            check_jars(incoming, pinned)
        (incoming / _ORIGIN_FILE).write_text(f"{version} {source.name}\n", encoding="utf-8")
        _move_into_place(incoming, directory)
    return BrokerJars(directory=directory, version=version, origin=f"jars from {source.name}")


def _move_into_place(incoming: Path, directory: Path) -> None:
    try:
        incoming.rename(directory)
    except OSError:
        # Another process fetched the same jars meanwhile: its files are as good as ours.
        if not directory.is_dir():
            raise
        shutil.rmtree(incoming)
