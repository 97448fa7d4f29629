"""The client for programs without an event loop: the asyncio client on a thread of its own."""

import asyncio
import datetime as dt
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar, overload

from penstock.client.aio import AsyncConfigClient
from penstock.client.cache import MISSING
from penstock.client.parameters import RemoteParameter

T = TypeVar("T")
U = TypeVar("U")


class ConfigClient:
    """Parameters of the config service for a program with threads; `with` starts and ends it.

    It takes the arguments of `AsyncConfigClient`, and its methods do the same; they may be called from any thread.
    Callbacks run on the thread that all clients of the process share: they must not block, nor call this client
    except `get` and `parameters`. A program with an event loop of its own takes `AsyncConfigClient`: gRPC wants one
    loop per process. Create it after forking.
    """

    def __init__(
        self,
        target: str,
        paths: Sequence[str],
        *,
        token: str = "",
        tls_ca: Path | None = None,
        tls_cert: Path | None = None,
        tls_key: Path | None = None,
        secrets: bool = False,
        snapshots: Path | None = None,
        snapshot_key: Path | None = None,
        caller: str = "",
        wait_seconds: float = 10.0,
    ) -> None:
        self._client = AsyncConfigClient(
            target,
            paths,
            token=token,
            tls_ca=tls_ca,
            tls_cert=tls_cert,
            tls_key=tls_key,
            secrets=secrets,
            snapshots=snapshots,
            snapshot_key=snapshot_key,
            caller=caller,
            wait_seconds=wait_seconds,
        )
        self._loop: _LoopThread

    def __enter__(self) -> Self:
        self._loop = _LoopThread.acquire()
        try:
            self._loop.run(self._client.__aenter__())
        except BaseException:
            self._loop.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._loop.run(self._client.__aexit__(kind, error, trace))
        finally:
            self._loop.release()

    @property
    def stale_since(self) -> dt.datetime | None:
        """Since when some values may be old because the service is away; None while all are pushed."""
        return self._client.stale_since

    @overload
    def get(self, name: str) -> str: ...
    @overload
    def get(self, name: str, convert: Callable[[str], T]) -> T: ...
    @overload
    def get(self, name: str, *, default: U) -> str | U: ...
    @overload
    def get(self, name: str, convert: Callable[[str], T], default: U) -> T | U: ...
    def get(self, name: str, convert: Callable[[str], object] = str, default: object = MISSING) -> object:
        """The current value of a followed parameter, from memory; see `AsyncConfigClient.get`."""
        return self._client.get(name, convert, default)

    def parameters(self) -> Mapping[str, RemoteParameter]:
        """Everything that is followed, by name, at this moment."""
        return self._client.parameters()

    def watch(self, name: str, tell: Callable[[T | None], None], convert: Callable[[str], T]) -> Callable[[], None]:
        """Calls `tell` with the value now and after each change; see `AsyncConfigClient.watch`."""

        async def begin() -> Callable[[], None]:
            return self._client.watch(name, tell, convert)

        return self._loop.run(begin())

    def fetch(self, name: str) -> RemoteParameter:
        """A parameter from the service: any name, `name:version` or `name:label`, whether it is followed or not."""
        return self._loop.run(self._client.fetch(name))

    def put(self, name: str, value: str, *, expected_version: int | None = None, secret: bool = False) -> int:
        """Writes a new version and answers its number once it is durable; see `ParameterClient.put`."""
        return self._loop.run(self._client.put(name, value, expected_version=expected_version, secret=secret))

    def delete(self, name: str, *, expected_version: int | None = None) -> None:
        """Deletes a parameter with all its versions."""
        self._loop.run(self._client.delete(name, expected_version=expected_version))


class _LoopThread:
    """The event loop of all blocking clients of this process: it starts with the first and ends with the last."""

    _shared: ClassVar["_LoopThread | None"] = None
    _guard: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self) -> None:
        self._users = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="penstock-client", daemon=True)
        self._thread.start()

    @classmethod
    def acquire(cls) -> "_LoopThread":
        """The shared thread, to be released."""
        with cls._guard:
            if cls._shared is None:
                cls._shared = cls()
            cls._shared._users += 1  # noqa: SLF001 - its own class
            return cls._shared

    def release(self) -> None:
        """Ends the thread after its last user."""
        with self._guard:
            self._users -= 1
            if self._users:
                return
            type(self)._shared = None  # noqa: SLF001 - its own class
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine on the loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
