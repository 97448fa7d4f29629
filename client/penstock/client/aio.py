"""The client for asyncio: parameters followed by watch and read from memory, calls for everything else."""

import asyncio
import datetime as dt
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar, overload
from urllib.parse import quote

from penstock.client.cache import MISSING, ParameterCache, convert_parameter
from penstock.client.parameters import IDEMPOTENT_METHODS, ParameterClient, RemoteParameter
from penstock.client.rollout import rollouts_below
from penstock.client.snapshot import SnapshotFile, load_or_create_snapshot_key
from penstock.client.watcher import ParameterChange, ParameterWatcher

from services.runtime.channel import open_channel
from services.runtime.errors import (
    InvalidArgumentError,
    PenstockError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)

T = TypeVar("T")
U = TypeVar("U")

_HOPELESS = (InvalidArgumentError, PermissionDeniedError, UnauthenticatedError)
_QUEUED_CHANGES = 10_000


class AsyncConfigClient:
    """Parameters of the config service for a program on asyncio; `async with` starts and ends it.

    Entering returns once everything below `paths` is in memory, from the service or, when that is away, from the
    snapshots of an earlier run; from then on changes are pushed. Use it on the event loop it was entered on; `get`,
    `parameters` and `stale_since` may be called from any thread.

    Args:
        target: address of the config service, `host:port`.
        paths: what to follow, e.g. `/prod/app`; a name follows that parameter alone.
        token: sent as `authorization: Bearer <token>`.
        tls_ca, tls_cert, tls_key: see `open_channel`; without `tls_ca` the connection is plain text.
        secrets: whether SecureStrings are followed with their values.
        snapshots: folder for the last known good values, made if missing; None for none.
        snapshot_key: file of the key that encrypts secrets in the snapshots, made if missing; without it they are left
            out, and a start without the service lacks them.
        caller: who this process is, the same after a restart, for rollouts; empty takes part in none.
        wait_seconds: how long entering waits for the first values.

    Raises on entering:
        UnavailableError: no values in time, neither from the service nor from a snapshot.
        UnauthenticatedError, PermissionDeniedError, InvalidArgumentError: the service refuses a path, and no snapshot
            has it.
        SnapshotError: the file of the key is none.
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
        if isinstance(paths, str):
            raise InvalidArgumentError(f"paths: {paths!r} is one text; a list of paths is expected")
        self._target, self._paths = target, tuple(paths)
        self._open = partial(
            open_channel,
            target,
            tls_ca=tls_ca,
            tls_cert=tls_cert,
            tls_key=tls_key,
            token=token,
            idempotent=IDEMPOTENT_METHODS,
        )
        self._secrets = secrets
        self._snapshots, self._snapshot_key = snapshots, snapshot_key
        self._caller = caller
        self._wait_seconds = wait_seconds
        self._cache = ParameterCache(caller)
        self._watchers: list[ParameterWatcher] = []
        self._stack = AsyncExitStack()
        self._remote: ParameterClient

    async def __aenter__(self) -> Self:
        key = load_or_create_snapshot_key(self._snapshot_key) if self._snapshot_key else None
        async with AsyncExitStack() as stack:
            channel = await stack.enter_async_context(self._open())
            self._remote = ParameterClient(channel)
            followed = [(path, self._cache.on_parameter) for path in self._paths]
            if self._caller:
                followed += [(rollouts_below(path), self._cache.on_rollout) for path in self._paths]
            for path, on_change in followed:
                watcher = ParameterWatcher(
                    channel, path, on_change=on_change, snapshot=self._snapshot(path, key), decrypt=self._secrets
                )
                self._watchers.append(watcher)
                stack.push_async_callback(_ended, asyncio.ensure_future(watcher.run()))
            await self._known()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def _snapshot(self, path: str, key: bytes | None) -> SnapshotFile | None:
        if self._snapshots is None:
            return None
        return SnapshotFile(self._snapshots / f"{quote(path, safe='')}.json", path, key=key)

    async def _known(self) -> None:
        """Waits until every watcher has its first values, and no longer than it may."""
        try:
            async with asyncio.timeout(self._wait_seconds):
                for watcher in self._watchers:
                    await watcher.first_values(hopeless=_HOPELESS)
        except TimeoutError:
            late = next(watcher for watcher in self._watchers if not watcher.ready.is_set())
            reason = late.failure.message if late.failure else "it has not answered"
            raise UnavailableError(
                f"no parameters below {late.path} after {self._wait_seconds:g} s from the config service at "
                f"{self._target}: {reason}"
            ) from late.failure

    @property
    def stale_since(self) -> dt.datetime | None:
        """Since when some values may be old because the service is away; None while all are pushed."""
        return min((since for watcher in self._watchers if (since := watcher.stale_since)), default=None)

    @overload
    def get(self, name: str) -> str: ...
    @overload
    def get(self, name: str, convert: Callable[[str], T]) -> T: ...
    @overload
    def get(self, name: str, *, default: U) -> str | U: ...
    @overload
    def get(self, name: str, convert: Callable[[str], T], default: U) -> T | U: ...
    def get(self, name: str, convert: Callable[[str], object] = str, default: object = MISSING) -> object:
        """The current value of a followed parameter, from memory; `convert` runs once per version.

        Raises:
            NotFoundError: there is none, and no default.
            InvalidArgumentError: `convert` refuses it.
        """
        return self._cache.get(name, convert, default)

    def parameters(self) -> Mapping[str, RemoteParameter]:
        """Everything that is followed, by name, at this moment."""
        return self._cache.parameters()

    def watch(self, name: str, tell: Callable[[T | None], None], convert: Callable[[str], T]) -> Callable[[], None]:
        """Calls `tell` with the value now and after each change, with None while there is none; the result ends it.

        A value that `convert` refuses is logged and not told: the one before stays in force.
        """

        def on_change(change: ParameterChange) -> None:
            if change.name == name:
                parameter = self._cache.parameter(name)
                tell(None if parameter is None else convert_parameter(parameter, convert))

        now = self._cache.parameter(name)
        tell(None if now is None else convert_parameter(now, convert))
        return self._cache.listen(name, on_change)

    async def changes(self, path: str) -> AsyncGenerator[ParameterChange, None]:
        """Each change of `path` or below it from the first iteration on, in order.

        Raises:
            UnavailableError: the loop fell 10,000 changes behind; read `parameters()` and begin anew.
        """
        waiting: asyncio.Queue[ParameterChange] = asyncio.Queue(_QUEUED_CHANGES)
        lost = False

        def enqueue(change: ParameterChange) -> None:
            nonlocal lost
            try:
                waiting.put_nowait(change)
            except asyncio.QueueFull:
                lost = True

        end = self._cache.listen(path, enqueue)
        try:
            while not (lost and waiting.empty()):
                yield await waiting.get()
        finally:
            end()
        raise UnavailableError(f"more than {_QUEUED_CHANGES} changes below {path} waited to be read")

    async def fetch(self, name: str) -> RemoteParameter:
        """A parameter from the service: any name, `name:version` or `name:label`, whether it is followed or not."""
        return await self._remote.get(name, decrypt=self._secrets)

    async def put(self, name: str, value: str, *, expected_version: int | None = None, secret: bool = False) -> int:
        """Writes a new version and answers its number once it is durable; see `ParameterClient.put`."""
        return await self._remote.put(name, value, expected_version=expected_version, secret=secret)

    async def delete(self, name: str, *, expected_version: int | None = None) -> None:
        """Deletes a parameter with all its versions."""
        await self._remote.delete(name, expected_version=expected_version)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError, PenstockError):
        await task
