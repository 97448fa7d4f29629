"""Keeps processes running: ordered start, readiness by protocol, restart with back-off, nothing left behind."""

import asyncio
import contextlib
import random as _random
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.local.part import PartNotReadyError, PartSpec
from deploy.local.process import ChildProcess
from services.runtime.retry import Backoff

PROBE_INTERVAL = 0.05
STABLE_SECONDS = 30.0  # a process that served this long starts again with the shortest wait
RESTART_BACKOFF = Backoff(initial=0.1, maximum=10.0, multiplier=2.0, jitter=0.2)
LOG_TAIL_LINES = 15


class StartError(Exception):
    """A process did not come up; the message ends with the last lines of its log."""


class ProcessState(StrEnum):
    WAITING = "waiting"  # for what it depends on
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPED = "stopped"


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessEvent:
    """A change of one process's state, `detail` for people."""

    name: str
    state: ProcessState
    detail: str = ""


@dataclass(kw_only=True, slots=True, eq=False)
class _Entry:
    spec: PartSpec
    after: tuple[str, ...]
    state: ProcessState = ProcessState.STOPPED
    child: ChildProcess | None = None
    task: asyncio.Task[None] | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    failure: StartError | None = None
    stopping: bool = False
    restarts: int = 0


class Supervisor:
    """Owns the processes from `add` and `start` to `stop`; as an async context manager it stops them at the end.

    A process that ends before it was ever ready fails the start; later it is started again, after waits that grow.
    """

    def __init__(
        self,
        *,
        working_directory: Path,
        log_directory: Path,
        on_event: Callable[[ProcessEvent], None] = lambda _event: None,
        backoff: Backoff = RESTART_BACKOFF,
        ready_timeout: float = 60.0,
        stop_grace: float = 15.0,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = _random.random,
    ) -> None:
        """`ready_timeout` bounds each start, `stop_grace` each end before SIGKILL; both seconds."""
        self._working_directory = working_directory
        self._log_directory = log_directory
        self._on_event = on_event
        self._backoff = backoff
        self._ready_timeout = ready_timeout
        self._stop_grace = stop_grace
        self._now = now
        self._sleep = sleep
        self._random = random
        self._entries: dict[str, _Entry] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def add(self, spec: PartSpec, *, after: Sequence[str] = ()) -> None:
        """Name a process to run and those that must be ready before its first start, added earlier."""
        unknown = [name for name in after if name not in self._entries]
        if unknown or spec.name in self._entries:
            raise ValueError(f"{spec.name} is there already, or depends on unknown {', '.join(unknown) or 'nothing'}")
        self._entries[spec.name] = _Entry(spec=spec, after=tuple(after))

    async def start(self, *names: str) -> None:
        """Start these processes (all when none is named) and return when all are ready. Raises `StartError`."""
        entries = [self._entry(name) for name in names or self._entries]
        for entry in entries:
            if entry.task is None or entry.task.done():
                entry.stopping, entry.failure = False, None
                entry.task = asyncio.create_task(self._run(entry))
        await self._all_ready(entries)

    async def stop(self) -> None:
        """End all, those first on which nothing else depends."""
        remaining = dict(self._entries)
        while remaining:
            needed = {name for entry in remaining.values() for name in entry.after}
            leaves = [name for name in remaining if name not in needed]
            await asyncio.gather(*(self.stop_one(name) for name in leaves))
            for name in leaves:
                del remaining[name]

    async def stop_one(self, name: str) -> None:
        """End one process, by SIGKILL after the grace time; it stays down until `start` names it."""
        entry = self._entry(name)
        entry.stopping = True
        ending = ""
        if entry.child is not None and entry.child.pid is not None:
            code = await entry.child.stop(self._stop_grace)
            ending = "" if code in entry.spec.clean_exit_codes else _ending(code)
        if entry.task is not None:
            entry.task.cancel()
            await asyncio.gather(entry.task, return_exceptions=True)
        entry.ready.clear()
        self._tell(entry, ProcessState.STOPPED, ending)

    async def restart(self, name: str) -> None:
        await self.stop_one(name)
        await self.start(name)

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        """Send a signal to a process with its group and give its pid; its end counts as one of its own."""
        entry = self._entry(name)
        pid = entry.child.pid if entry.child is not None else None
        if entry.child is None or pid is None:
            raise ProcessLookupError(f"{name} is not running, it is {entry.state}")
        if number == signal.SIGKILL:
            entry.ready.clear()  # nobody who waits now may see the readiness of the process that is dying
        entry.child.send(number)
        return pid

    def kill_all(self) -> None:
        """Kill everything at once, with no grace."""
        for entry in self._entries.values():
            entry.stopping = True
            if entry.child is not None:
                entry.child.send(signal.SIGKILL)

    async def wait_ready(self, name: str) -> None:
        """Return when the process serves. Raises `StartError` when it does not in `ready_timeout` seconds."""
        entry = self._entry(name)
        try:
            async with asyncio.timeout(self._ready_timeout):
                await entry.ready.wait()
        except TimeoutError as error:
            raise self._start_error(entry, f"is {entry.state} after {self._ready_timeout:g} s") from error

    def status(self) -> Sequence[Mapping[str, str | int | None]]:
        """Name, state, pid and number of restarts of every process, in the order they were added."""
        return [
            {
                "name": name,
                "state": str(entry.state),
                "pid": entry.child.pid if entry.child is not None else None,
                "restarts": entry.restarts,
            }
            for name, entry in self._entries.items()
        ]

    async def _all_ready(self, entries: Sequence[_Entry]) -> None:
        waits = [asyncio.create_task(self._first_ready(entry)) for entry in entries]
        try:
            await asyncio.gather(*waits)
        finally:
            for wait in waits:
                wait.cancel()

    async def _first_ready(self, entry: _Entry) -> None:
        """Wait for readiness or for the end of the task, which ends by itself only on a failed start."""
        ready = asyncio.create_task(entry.ready.wait())
        try:
            if entry.task is not None:
                await asyncio.wait((ready, entry.task), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if entry.failure is not None:
            raise entry.failure
        if entry.task is not None and entry.task.done() and not entry.task.cancelled():
            entry.task.result()
        if not entry.ready.is_set():
            raise StartError(f"{entry.spec.name} was stopped before it was ready")

    async def _run(self, entry: _Entry) -> None:
        self._tell(entry, ProcessState.WAITING)
        for name in entry.after:
            await self._entry(name).ready.wait()
        failures = 0
        served = False
        while not entry.stopping:
            since = self._now()
            try:
                ending = await self._run_once(entry)
                served = True
            except StartError as error:
                if not served:
                    entry.failure = error
                    self._tell(entry, ProcessState.STOPPED, str(error))
                    return
                ending = str(error)
            failures = 1 if self._now() - since >= STABLE_SECONDS else failures + 1
            await self._pause(entry, failures, ending)

    async def _pause(self, entry: _Entry, failures: int, ending: str) -> None:
        if entry.stopping:
            return
        entry.restarts += 1
        delay = self._backoff.delay(failures, self._random)
        self._tell(entry, ProcessState.RESTARTING, f"{ending}; starting again in {delay:.1f} s")
        await self._sleep(delay)

    async def _run_once(self, entry: _Entry) -> str:
        """Run the process to its end and tell how it ended. Raises `StartError` when it never became ready."""
        path = self._log_directory / f"{entry.spec.name}.log"
        child = ChildProcess(entry.spec, working_directory=self._working_directory, log_path=path)
        entry.child = child
        self._tell(entry, ProcessState.STARTING)
        try:
            await child.start()
        except OSError as error:  # no room for its log, no process or descriptor left: that may pass
            raise StartError(f"{entry.spec.name} cannot be started: {error}") from error
        end = asyncio.create_task(child.wait())
        try:
            await self._until_ready(entry, end)
            if not end.done():
                entry.ready.set()
                self._tell(entry, ProcessState.READY, f"pid {child.pid}")
            return _ending(await end)
        except BaseException:
            child.send(signal.SIGKILL)
            await asyncio.shield(end)
            raise
        finally:
            entry.ready.clear()

    async def _until_ready(self, entry: _Entry, end: asyncio.Task[int]) -> None:
        last = "no probe has ended"
        try:
            async with asyncio.timeout(self._ready_timeout):
                while not end.done():
                    try:
                        await entry.spec.ready()
                    except PartNotReadyError as error:
                        last = str(error)
                        await asyncio.wait((end,), timeout=PROBE_INTERVAL)
                    else:
                        return
        except TimeoutError as error:
            raise self._start_error(entry, f"is not ready after {self._ready_timeout:g} s ({last})") from error
        raise self._start_error(entry, f"ended before it was ready ({_ending(end.result())})")

    def _start_error(self, entry: _Entry, what: str) -> StartError:
        path = self._log_directory / f"{entry.spec.name}.log"
        return StartError("\n".join([f"{entry.spec.name} {what}; the end of {path}:", *log_tail(path)]))

    def _tell(self, entry: _Entry, state: ProcessState, detail: str = "") -> None:
        entry.state = state
        self._on_event(ProcessEvent(name=entry.spec.name, state=state, detail=detail))

    def _entry(self, name: str) -> _Entry:
        if name not in self._entries:
            raise KeyError(f"no process {name!r}; there are {', '.join(self._entries)}")
        return self._entries[name]


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"killed by {signal.Signals(-code).name}"
    return f"killed by signal {-code}"


def log_tail(path: Path, lines: int = LOG_TAIL_LINES) -> list[str]:
    """The last lines of a log, indented; of a large file only its last 64 KiB are read."""
    if not path.exists():
        return ["  (no output)"]
    with path.open("rb") as log:
        log.seek(max(0, path.stat().st_size - 64 * 1024))
        text = log.read().decode("utf-8", errors="replace")
    return [f"  {line}" for line in text.splitlines()[-lines:]] or ["  (no output)"]
