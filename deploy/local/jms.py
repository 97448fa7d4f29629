"""Real JMS messages from Python: runs the Java producer and consumer of `tests/jms` over OpenWire.

With a JDK the Java source itself is run; a bare JRE cannot compile and runs the classes that were built from it, which
also start a second faster. The source imports `javax.jms`, as clients of ActiveMQ 5.x do; the classes for 6.x are built
from the same source with `jakarta.jms` in its place, the one thing that differs.
"""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from deploy.local.activemq import BROKER_PASSWORD, BROKER_USER
from deploy.local.home import jar_cache
from deploy.local.jar_sources import jar_sources
from deploy.local.jars import DEFAULT_LINE, LOCK_FILES, broker_jars, chosen_line, read_lock
from deploy.local.java import JavaRuntime, find_java
from deploy.local.jms_message import JmsError, JmsMessage, JmsReceived, JmsType, JmsTyped, JmsValue
from deploy.local.part import PartError, Progress, SilentProgress

__all__ = [
    "JAKARTA_CLASSES",
    "JMS_CLASSES",
    "JMS_SOURCE",
    "JmsApi",
    "JmsClient",
    "JmsDrain",
    "JmsError",
    "JmsMessage",
    "JmsReceived",
    "JmsType",
    "JmsTyped",
    "JmsValue",
    "compile_classes",
    "find_jms_client",
]

_INSTALLED = Path(__file__).with_name("jms_tool")  # where the wheel has it
_FOLDER = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[2] / "tests" / "jms"
JMS_SOURCE = _FOLDER / "JmsTool.java"
JMS_CLASSES = _FOLDER / "classes"
JAKARTA_CLASSES = _FOLDER / "classes-jakarta"
# A producer rides over a broker that comes back; one that never was there is reported after a few attempts.
_FIRST_ATTEMPTS = 3

JmsApi = Literal["javax", "jakarta"]


@dataclass(frozen=True, kw_only=True, slots=True)
class JmsDrain:
    """What a drain took: how many messages, the seconds from first to last, the messages where they were wanted."""

    count: int
    seconds: float
    messages: Sequence[JmsReceived]


@dataclass(frozen=True, kw_only=True, slots=True)
class JmsClient:
    """A JMS producer and consumer on one broker. Every call runs Java once and blocks: a second or so to start.

    `broker_url` is an OpenWire address such as `tcp://127.0.0.1:61616`; a broker that restarts meanwhile is waited for,
    `timeout_seconds` for the whole call.
    """

    java: JavaRuntime
    class_path: str
    broker_url: str
    user: str
    password: str = field(repr=False)
    runs_source: bool
    classes: Path = JMS_CLASSES
    timeout_seconds: float = 300.0

    @property
    def description(self) -> str:
        """How the Java client is run, for the screen."""
        prebuilt = self.classes in (JMS_CLASSES, JAKARTA_CLASSES)
        compiled = "from prebuilt classes" if prebuilt else "compiled from source"
        how = "from source" if self.runs_source else compiled
        return f"{JMS_SOURCE.name} {how}{'' if self.java.has_compiler else ', there is no Java compiler'}, {self.java}"

    def compiled(self, directory: Path) -> "JmsClient":
        """The same client, its source compiled once into `directory` instead of at every call.

        Raises:
            JmsError: the source does not compile.
        """
        compile_classes(self.java, self.class_path, directory)
        return replace(self, runs_source=False, classes=directory)

    def send(self, destination: str, messages: Sequence[JmsMessage]) -> list[str]:
        """Send in order to a queue, or a topic when it starts with `topic://`; the message ids the broker confirmed.

        Raises:
            JmsError: Java or the broker refused; how many messages were confirmed before stands in the message.
        """
        lines = "".join(f"{message.line()}\n" for message in messages)
        return self._run("send", destination, stdin=lines).splitlines()

    def drain(
        self, destination: str, *, maximum: int = 2**31, idle_seconds: float = 1.0, keep: bool = True
    ) -> JmsDrain:
        """Receive and acknowledge one by one, until `maximum` came or none came for `idle_seconds`.

        Raises:
            JmsError: Java or the broker refused.
        """
        options = (str(maximum), str(int(idle_seconds * 1000)), *(("print",) if keep else ()))
        *lines, summary = self._run("drain", destination, *options).splitlines()
        _, count, nanoseconds = summary.split(" ")
        return JmsDrain(
            count=int(count),
            seconds=int(nanoseconds) / 1e9,
            messages=[JmsReceived.from_line(line) for line in lines],
        )

    def _run(self, command: str, destination: str, *options: str, stdin: str = "") -> str:
        program = (
            ("-cp", self.class_path, str(JMS_SOURCE))
            if self.runs_source
            else ("-cp", f"{self.class_path}{os.pathsep}{self.classes}", JMS_SOURCE.stem)
        )
        # A sender mostly starts: the second compiler would only cost it time. A drain may be long.
        quick = ["-XX:TieredStopAtLevel=1"] if command == "send" else []
        argv = [str(self.java.executable), *quick, "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
        argv += [*program, command, _with_failover(self.broker_url), destination, *options]
        login = {"JMS_USER": self.user, "JMS_PASSWORD": self.password}
        where = f"JMS {command} {destination} at {self.broker_url}"
        try:
            done = subprocess.run(
                argv,
                input=stdin,
                env={**os.environ, **login},
                capture_output=True,
                encoding="utf-8",
                check=False,
                timeout=self.timeout_seconds,
            )
        except subprocess.TimeoutExpired as error:
            raise JmsError(f"{where} did not end within {self.timeout_seconds:g} s: is the broker up?") from error
        if done.returncode != 0:
            confirmed = len(done.stdout.splitlines())
            raise JmsError(f"{where} failed after {confirmed} messages: {_cause(done.stderr)}")
        return done.stdout


def compile_classes(java: JavaRuntime, class_path: str, directory: Path, *, api: JmsApi = "javax") -> None:
    """Compile the source for Java 17, the oldest that runs the broker. Raises `JmsError` when that fails."""
    compiler = java.executable.resolve().with_name("javac")
    with TemporaryDirectory() as scratch:
        source = Path(scratch, JMS_SOURCE.name)
        source.write_text(JMS_SOURCE.read_text(encoding="utf-8").replace("javax.jms.", f"{api}.jms."), encoding="utf-8")
        command: list[str | Path] = [compiler, "--release", "17", "-cp", class_path, "-d", directory, source]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise JmsError(f"{compiler}: {done.stderr}")


def find_jms_client(
    broker_url: str,
    *,
    user: str = BROKER_USER,
    password: str = BROKER_PASSWORD,
    cache: Path | None = None,
    progress: Progress | None = None,
    line: str | None = None,
) -> JmsClient:
    """A client on the machine's Java and the broker's own jars, which are fetched when they are not cached.

    `line` is the line of ActiveMQ Classic the client is of: 5.18 speaks javax JMS, 6.1 jakarta JMS, either to any
    broker. None takes the one PENSTOCK_ACTIVEMQ names.

    Raises:
        JmsError: no Java or no jars.
    """
    progress = progress or SilentProgress()
    try:
        line = line or chosen_line(os.environ)
        java = find_java(progress)
        jars = broker_jars(cache or jar_cache(), progress, jar_sources(line), read_lock(LOCK_FILES[line]))
    except PartError as error:
        raise JmsError(str(error)) from error
    is_javax = line == DEFAULT_LINE
    client = JmsClient(
        java=java,
        class_path=jars.class_path,
        broker_url=broker_url,
        user=user,
        password=password,
        runs_source=java.has_compiler and is_javax,
        classes=JMS_CLASSES if is_javax else JAKARTA_CLASSES,
    )
    progress.step(f"JMS client: {client.description}")
    return client


def _with_failover(url: str) -> str:
    return url if url.startswith("failover:") else f"failover:({url})?startupMaxReconnectAttempts={_FIRST_ATTEMPTS}"


def _cause(stderr: str) -> str:
    """The first exception of a Java stack trace and what began it, without their frames."""
    lines = [line.strip() for line in stderr.splitlines() if "Exception" in line or "rror" in line]
    if not lines:
        return stderr.strip() or "no reason given"
    first = lines[0].removeprefix('Exception in thread "main" ')
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    text = causes[-1].partition(": ")[2] if causes else ""
    return first if text in first else f"{first} ({causes[-1]})"
