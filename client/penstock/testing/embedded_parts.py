"""The parts as child processes: `EmbeddedStack` on an event loop of its own, in a thread that lives as long as it."""

import asyncio
import threading
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from penstock.testing.errors import PartFailedError
from penstock.testing.parts import Listening

from deploy.local.home import HomeInUseError
from deploy.local.part import PartError
from deploy.local.ports import LOOPBACK, PortTakenError, free_ports
from deploy.local.stack import DEMO_FUNCTIONS, DEPENDENCIES, EmbeddedStack
from deploy.local.supervisor import StartError

T = TypeVar("T")
_FAILURES = (HomeInUseError, PortTakenError, PartError, StartError, ProcessLookupError)


class EmbeddedParts:
    """`Parts` on loopback, at free ports, with logs and data below `home`."""

    def __init__(
        self,
        names: Sequence[str],
        *,
        home: Path,
        environment: Mapping[str, Mapping[str, str]],
        functions: Path | None,
    ) -> None:
        self._stack = EmbeddedStack(
            home=home,
            ports=free_ports(),
            functions=functions or DEMO_FUNCTIONS,
            environment=environment,
            without=[name for name in DEPENDENCIES if name not in names],
        )
        # The processes die with the thread that started them, so it outlives them all.
        self._thread = threading.Thread(target=self._run_loop, name="penstock-testing", daemon=True)
        self._running = threading.Event()
        self._opened: Future[None] = Future()
        self._closing = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop
        self._task: asyncio.Task[Any] | None = None

    @property
    def description(self) -> str:
        return f"the embedded stack, {len(self._stack.parts)} processes"

    @property
    def addresses(self) -> Mapping[str, Mapping[str, str]]:
        return self._stack.addresses

    @property
    def listening(self) -> Listening:
        return Listening(bind_host=LOOPBACK, reached_as=LOOPBACK)

    def open(self) -> None:
        self._thread.start()
        self._running.wait()
        try:
            self._opened.result()
        except _FAILURES as error:
            raise PartFailedError(str(error)) from error
        except BaseException:  # Ctrl-C while the parts start
            if self._task is not None and not self._opened.done():
                self._loop.call_soon_threadsafe(self._task.cancel)
            raise
        finally:
            if not self._opened.done() or self._opened.exception():
                self._thread.join()

    def close(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._closing.set)
            self._thread.join()

    def kill(self, part: str) -> None:
        async def kill() -> None:
            self._stack.kill(part)
            await self._stack.stop(part)

        self._call(kill())

    def stop(self, part: str) -> None:
        self._call(self._stack.stop(part))

    def start(self, part: str) -> None:
        self._call(self._stack.start(part))

    def logs(self, part: str) -> str:
        path = self._stack.home.logs / f"{part}.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def _call(self, operation: Coroutine[Any, Any, T]) -> T:
        try:
            return asyncio.run_coroutine_threadsafe(operation, self._loop).result()
        except _FAILURES as error:
            raise PartFailedError(str(error)) from error

    def _run_loop(self) -> None:
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            runner.run(self._main())

    async def _main(self) -> None:
        self._task = asyncio.current_task()
        self._running.set()
        try:
            async with self._stack:
                self._opened.set_result(None)
                await self._closing.wait()
        except BaseException as error:
            if self._opened.done():
                raise
            self._opened.set_exception(error)
