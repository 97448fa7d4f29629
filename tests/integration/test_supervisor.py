"""The supervisor with real processes: order, readiness, restarts, and nothing left behind."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from deploy.local.part import PartNotReadyError, PartSpec
from deploy.local.process import ChildProcess
from deploy.local.supervisor import ProcessEvent, ProcessState, StartError, Supervisor
from services.runtime.retry import Backoff

# Says its pid and that of a child of its own, then waits.
FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
open(sys.argv[1], "w").write(f"{os.getpid()} {child.pid}")
time.sleep(3600)
"""
WAITER = "import sys, time; print('started', flush=True); open(sys.argv[1], 'a').write('x'); time.sleep(3600)"
STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: print("not yet", flush=True))
open(sys.argv[1], "w").write("x")
time.sleep(3600)
"""


class Recorder:
    """What the supervisor told, and a sleep that only remembers."""

    def __init__(self) -> None:
        self.events: list[ProcessEvent] = []
        self.waits: list[float] = []

    def __call__(self, event: ProcessEvent) -> None:
        self.events.append(event)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(0)

    def states(self, name: str) -> list[ProcessState]:
        return [event.state for event in self.events if event.name == name]


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def supervisor(tmp_path: Path, recorder: Recorder) -> AsyncIterator[Supervisor]:
    async with Supervisor(
        working_directory=tmp_path,
        log_directory=tmp_path / "logs",
        on_event=recorder,
        backoff=Backoff(initial=1.0, maximum=8.0, multiplier=2.0, jitter=0.0),
        sleep=recorder.sleep,
    ) as running:
        yield running


def _part(
    name: str,
    script: str,
    *arguments: str,
    ready: Callable[[], Awaitable[None]] | None = None,
    environment: dict[str, str] | None = None,
    folder: Path,
) -> PartSpec:
    async def at_once() -> None:
        """Every process is ready when it has started."""

    return PartSpec(
        name=name,
        argv=(sys.executable, "-c", script, *arguments),
        environment=environment or {},
        data_directory=folder,
        addresses={},
        version="",
        is_real=True,
        ready=ready or at_once,
    )


def _written(path: Path) -> Callable[[], Awaitable[None]]:
    """A probe that holds once the process has written to `path`."""

    def is_there() -> bool:
        return path.exists() and bool(path.read_text())

    async def probe() -> None:
        if not is_there():
            raise PartNotReadyError(f"{path.name} is not there")

    return probe


async def test_processes_start_after_what_they_need(supervisor: Supervisor, recorder: Recorder, tmp_path: Path) -> None:
    """The second starts when the first is ready, and stops before it."""
    marker = tmp_path / "marker"
    supervisor.add(_part("first", WAITER, str(marker), ready=_written(marker), folder=tmp_path))
    supervisor.add(_part("second", WAITER, str(tmp_path / "other"), folder=tmp_path), after=["first"])
    await supervisor.start()
    await supervisor.stop()
    order = [(event.name, event.state) for event in recorder.events]
    assert order.index(("first", ProcessState.READY)) < order.index(("second", ProcessState.STARTING))
    assert order.index(("second", ProcessState.STOPPED)) < order.index(("first", ProcessState.STOPPED))


async def test_process_that_was_killed_is_started_again(
    supervisor: Supervisor, recorder: Recorder, tmp_path: Path
) -> None:
    """Ready again with another pid, and the number of restarts is told."""
    marker = tmp_path / "marker"
    supervisor.add(_part("one", WAITER, str(marker), ready=_written(marker), folder=tmp_path))
    await supervisor.start()
    pid = supervisor.kill("one")
    await supervisor.wait_ready("one")
    [status] = supervisor.status()
    assert status["pid"] != pid
    assert (status["state"], status["restarts"]) == ("ready", 1)
    restarting = next(event for event in recorder.events if event.state == ProcessState.RESTARTING)
    assert restarting.detail == "killed by SIGKILL; starting again in 1.0 s"


async def test_waits_between_restarts_grow_to_their_limit(
    supervisor: Supervisor, recorder: Recorder, tmp_path: Path
) -> None:
    """A process that dies again and again is started less and less often."""
    supervisor.add(_part("one", WAITER, str(tmp_path / "marker"), folder=tmp_path))
    await supervisor.start()
    for _ in range(6):
        supervisor.kill("one")
        await supervisor.wait_ready("one")
    assert recorder.waits == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


async def test_waits_begin_anew_after_a_stable_time(tmp_path: Path, recorder: Recorder) -> None:
    """A process that served for half a minute is started again at once."""
    clock = iter([0.0, 1.0, 1.0, 32.0, 32.0, 33.0, 33.0, 34.0])
    async with Supervisor(
        working_directory=tmp_path,
        log_directory=tmp_path / "logs",
        backoff=Backoff(initial=1.0, maximum=8.0, multiplier=2.0, jitter=0.0),
        now=lambda: next(clock),
        sleep=recorder.sleep,
    ) as supervisor:
        supervisor.add(_part("one", WAITER, str(tmp_path / "marker"), folder=tmp_path))
        await supervisor.start()
        for _ in range(3):
            supervisor.kill("one")
            await supervisor.wait_ready("one")
    assert recorder.waits == [1.0, 1.0, 2.0]


async def test_process_that_ends_before_it_is_ready_fails_the_start(supervisor: Supervisor, tmp_path: Path) -> None:
    """The error names it, its exit code and the last lines of its log."""

    async def never() -> None:
        raise PartNotReadyError("nobody listens")

    supervisor.add(_part("one", "import sys; print('the reason'); sys.exit(3)", ready=never, folder=tmp_path))
    with pytest.raises(StartError, match=r"(?s)one ended before it was ready \(exit code 3\).*the reason"):
        await supervisor.start()


async def test_command_that_does_not_exist_fails_the_start(supervisor: Supervisor, tmp_path: Path) -> None:
    """The log says which command."""

    async def never() -> None:
        raise PartNotReadyError("nobody listens")

    part = PartSpec(
        name="one",
        argv=("no-such-command",),
        environment={},
        data_directory=tmp_path,
        addresses={},
        version="",
        is_real=True,
        ready=never,
    )
    supervisor.add(part)
    with pytest.raises(StartError, match=r"(?s)exit code 127.*cannot start no-such-command: No such file"):
        await supervisor.start()


async def test_process_that_never_gets_ready_fails_the_start_and_is_ended(tmp_path: Path) -> None:
    """The time-out tells what the last probe said."""
    family = tmp_path / "family"

    async def never() -> None:
        raise PartNotReadyError("nobody listens" if family.exists() else "not even started")

    async with Supervisor(working_directory=tmp_path, log_directory=tmp_path / "logs", ready_timeout=1.0) as supervisor:
        supervisor.add(_part("one", FAMILY, str(family), ready=never, folder=tmp_path))
        with pytest.raises(StartError, match=r"one is not ready after 1 s \((nobody listens|not even started)\)"):
            await supervisor.start()
        assert supervisor.status()[0]["pid"] is None


async def test_stop_ends_the_whole_group(supervisor: Supervisor, tmp_path: Path) -> None:
    """Children of a process end with it."""
    family = tmp_path / "family"
    supervisor.add(_part("one", FAMILY, str(family), ready=_written(family), folder=tmp_path))
    await supervisor.start()
    members = [psutil.Process(int(pid)) for pid in family.read_text().split()]
    await supervisor.stop()
    assert await _gone(members)


async def test_kill_reaches_the_whole_group(supervisor: Supervisor, tmp_path: Path) -> None:
    """SIGKILL of a supervised process ends its children, too."""
    family = tmp_path / "family"
    supervisor.add(_part("one", FAMILY, str(family), ready=_written(family), folder=tmp_path))
    await supervisor.start()
    members = [psutil.Process(int(pid)) for pid in family.read_text().split()]
    supervisor.kill("one")
    assert await _gone(members)


async def test_process_that_ignores_sigterm_is_killed_after_the_grace_time(tmp_path: Path) -> None:
    """SIGTERM first, then SIGKILL."""
    marker = tmp_path / "marker"
    child = ChildProcess(
        _part("one", STUBBORN, str(marker), folder=tmp_path), working_directory=tmp_path, log_path=tmp_path / "one.log"
    )
    await child.start()
    while not marker.exists():  # noqa: ASYNC110 - another process is waited for
        await asyncio.sleep(0.01)
    assert await child.stop(grace=0.2) == -signal.SIGKILL
    assert "not yet" in (tmp_path / "one.log").read_text()


async def test_stopped_process_stays_down_until_it_is_started(supervisor: Supervisor, tmp_path: Path) -> None:
    """A deliberate end is no death."""
    supervisor.add(_part("one", WAITER, str(tmp_path / "marker"), folder=tmp_path))
    await supervisor.start()
    await supervisor.stop_one("one")
    assert supervisor.status()[0]["state"] == "stopped"
    with pytest.raises(ProcessLookupError, match="one is not running"):
        supervisor.kill("one")
    await supervisor.start("one")
    assert supervisor.status()[0]["state"] == "ready"


async def test_unknown_process_is_an_error_that_lists_the_known(supervisor: Supervisor, tmp_path: Path) -> None:
    """Names are checked."""
    supervisor.add(_part("one", WAITER, str(tmp_path / "marker"), folder=tmp_path))
    with pytest.raises(KeyError, match="no process 'two'; there are one"):
        await supervisor.start("two")
    with pytest.raises(ValueError, match="unknown two"):
        supervisor.add(_part("three", WAITER, folder=tmp_path), after=["two"])


async def test_processes_inherit_the_environment_and_get_their_own(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a variable set for `penstock up` reaches the services; the part's own wins. No proxy comes between them."""
    monkeypatch.setenv("PENSTOCK_CONFIG_LOG_LEVEL", "debug")
    monkeypatch.setenv("OWN", "0")
    monkeypatch.setenv("no_proxy", "example.org")
    marker = tmp_path / "marker"
    script = (
        "import os, sys, time; names = ('PENSTOCK_CONFIG_LOG_LEVEL', 'OWN', 'NO_PROXY'); "
        "open(sys.argv[1], 'w').write(' '.join(os.environ[name] for name in names)); time.sleep(3600)"
    )
    supervisor.add(_part("one", script, str(marker), ready=_written(marker), environment={"OWN": "1"}, folder=tmp_path))
    await supervisor.start()
    assert marker.read_text() == "debug 1 example.org,127.0.0.1,localhost"


SUPERVISING = """
import asyncio, sys
from pathlib import Path
from tests.integration.test_supervisor import FAMILY, _part, _written
from deploy.local.supervisor import Supervisor

async def main(folder):
    async with Supervisor(working_directory=folder, log_directory=folder / "logs") as supervisor:
        for name in ("one", "two"):
            supervisor.add(_part(name, FAMILY, str(folder / name), ready=_written(folder / name), folder=folder))
        await supervisor.start()
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux only")
async def test_killed_supervisor_leaves_no_orphan(tmp_path: Path) -> None:
    """SIGKILL of the supervisor ends every process it had started."""
    supervisor = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", SUPERVISING, str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        assert supervisor.stdout is not None
        assert await supervisor.stdout.readline() == b"ready\n"
        supervised = [psutil.Process(int((tmp_path / name).read_text().split()[0])) for name in ("one", "two")]
        assert all(member.is_running() for member in supervised)
    finally:
        supervisor.kill()
        await supervisor.wait()
        for name in ("one", "two"):  # what a process starts by itself is not tied to anybody
            os.kill(int((tmp_path / name).read_text().split()[1]), signal.SIGKILL)
    assert await _gone(supervised)


async def _gone(processes: list[psutil.Process]) -> bool:
    _, alive = await asyncio.to_thread(psutil.wait_procs, processes, 30)
    return all(process.status() == psutil.STATUS_ZOMBIE for process in alive)


async def test_restart_is_tried_again_while_the_log_cannot_be_opened(
    supervisor: Supervisor, recorder: Recorder, tmp_path: Path
) -> None:
    """A full disk at the moment of a restart does not end the supervision."""
    marker, logs = tmp_path / "marker", tmp_path / "logs"
    supervisor.add(_part("one", WAITER, str(marker), ready=_written(marker), folder=tmp_path))
    await supervisor.start()
    logs.rename(tmp_path / "aside")
    logs.touch()  # a file where the folder was: nothing can be opened in it
    supervisor.kill("one")
    async with asyncio.timeout(30):
        while not any("cannot be started" in event.detail for event in recorder.events):  # noqa: ASYNC110 - it only lists
            await asyncio.sleep(0.01)
    logs.unlink()
    await supervisor.wait_ready("one")
    assert recorder.states("one")[-1] is ProcessState.READY
