"""AWS's event-ruler in a Java process of its own, driven over a pipe: peer of the benchmark, oracle of the tests."""

import json
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Self

from deploy.local.home import jar_cache
from deploy.local.jar_sources import CASSANDRA_JAR_SOURCES
from deploy.local.jars import broker_jars, read_lock
from deploy.local.java import find_java
from deploy.local.part import PartError, SilentProgress

_FOLDER = Path(__file__).parent


class EventRulerError(PartError):
    """The Java process cannot be started, or has ended."""


class EventRuler:
    """One set of rules at a time. Enter it: it ends with the block."""

    def __init__(self) -> None:
        progress = SilentProgress()
        java = find_java(progress)
        if not java.has_compiler:
            raise EventRulerError(f"{java} has no compiler: a JDK is needed, on PATH or by JAVA_HOME")
        jars = broker_jars(
            jar_cache(), progress, CASSANDRA_JAR_SOURCES, read_lock(_FOLDER / "jars.lock"), product="event-ruler"
        )
        command = [str(java.executable), "-cp", jars.class_path, str(_FOLDER / "EventRuler.java")]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=30)

    def rules(self, rules: Sequence[object]) -> list[str]:
        """Replaces the rules; for each `ok` or `refused: reason`. Events name them by their place."""
        return self._ask(f"rules {len(rules)}", map(json.dumps, rules))

    def match(self, events: Sequence[object]) -> list[list[int]]:
        """The rules each event matches, ascending.

        Raises:
            EventRulerError: one cannot be matched.
        """
        answers = self._ask(f"match {len(events)}", map(json.dumps, events))
        for event, answer in zip(events, answers, strict=True):
            if answer.startswith("failed"):
                raise EventRulerError(f"{answer} for {json.dumps(event)}")
        return [[int(name) for name in answer.split()] for answer in answers]

    def keep(self, events: Sequence[object]) -> None:
        """Hands over events, parsed once, for `time`."""
        self._write(f"events {len(events)}", *map(json.dumps, events))
        self._read()

    def time(self, begin: int, end: int) -> tuple[float, int]:
        """CPU seconds of the matching thread, and matches, over some of the kept events."""
        self._write(f"time {begin} {end}")
        nanoseconds, matches = self._read().split()
        return int(nanoseconds) / 1e9, int(matches)

    def _ask(self, request: str, lines: Iterable[str]) -> list[str]:
        """Writes in a thread: both sides of the pipe would wait for each other when it is full of answers."""
        pending = list(lines)
        writer = Thread(target=self._write, args=(request, *pending))
        writer.start()
        try:
            return [self._read() for _ in pending]
        finally:
            writer.join()

    def _write(self, *lines: str) -> None:
        assert self._process.stdin
        try:
            self._process.stdin.write("".join(f"{line}\n" for line in lines).encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            raise EventRulerError(f"event-ruler has ended with {self._process.wait()}") from None

    def _read(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line.endswith(b"\n"):
            raise EventRulerError(f"event-ruler has ended with {self._process.wait()}")
        return line.decode().removesuffix("\n")
