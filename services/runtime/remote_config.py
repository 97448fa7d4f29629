"""Parameters pushed from the config service: watched, kept as a last known good snapshot, resumed after every break.

config service ══ WatchParameters ══▶ ParameterWatcher ─▶ on_change(ParameterChange)
                                            │
                                            └─▶ snapshot file (read at the next start when the service is away)
"""

import asyncio
import contextlib
import datetime as dt
import random as _random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
import structlog
from penstock.config.v1 import config_service_pb2, config_service_pb2_grpc

from services.runtime.errors import OutOfRangeError, PenstockError, UnavailableError
from services.runtime.health import HealthBoard
from services.runtime.parameter_client import ParameterClient, RemoteParameter, remote_parameter
from services.runtime.retry import Backoff
from services.runtime.snapshot import Snapshot, SnapshotError, SnapshotFile
from services.runtime.status import from_rpc_error

_RECONNECT = Backoff(initial=0.05, maximum=2.0)
_PROBE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterChange:
    """A parameter has a new value, or is deleted (`value` and `version` None); `revision` is the store's."""

    name: str
    value: str | None
    version: int | None
    revision: int


class ParameterWatcher:
    """Follows every parameter below a path, all levels, from the first value on.

    `run()` is a background task for `serve`. `ready` is set once all parameters were told to `on_change`, from the
    service or, when it is away, from the snapshot. `on_change` is called on the event loop, once per real change, also
    for what happened during a break. When it raises, that change counts as refused: the error is logged, and stays in
    the health detail until the parameter changes again.

    The part `service_name` of the health board does not serve before `ready`; afterwards it does, with a detail while
    the config service is away or a value is refused.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        path: str,
        *,
        snapshot_path: Path | None,
        on_change: Callable[[ParameterChange], None],
        health: HealthBoard,
        service_name: str,
        backoff: Backoff = _RECONNECT,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = _random.random,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self.ready = asyncio.Event()
        self._stub = config_service_pb2_grpc.ConfigServiceStub(channel)
        self._client = ParameterClient(channel)
        self._path = path
        self._file = SnapshotFile(snapshot_path, path) if snapshot_path else None
        self._on_change = on_change
        self._health = health
        self._service_name = service_name
        self._backoff, self._sleep, self._random, self._now = backoff, sleep, random, now
        self._parameters: dict[str, RemoteParameter] = {}
        self._revision = 0
        self._failures = 0
        self._away = "not reached yet"
        self._refused: dict[str, str] = {}
        self._dirty = asyncio.Event()
        self._log = structlog.get_logger(component="remote_config", path=path)
        self._report()

    @property
    def parameters(self) -> dict[str, RemoteParameter]:
        """A copy of what is known now, by name."""
        return dict(self._parameters)

    @property
    def revision(self) -> int:
        """The store's revision up to which everything is known."""
        return self._revision

    async def run(self) -> None:
        """Follows the parameters until cancelled."""
        self._restore()
        writer = asyncio.ensure_future(self._write_snapshots())
        try:
            while True:
                failure = await self._followed()
                await self._pause(failure)
        finally:
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer

    def _restore(self) -> None:
        """Starts from the snapshot of an earlier run, if there is one."""
        if self._file is None:
            return
        try:
            snapshot = self._file.read()
        except SnapshotError as error:
            self._log.warning("the snapshot is not usable and will be replaced", error=str(error))
            return
        if snapshot is None:
            return
        self._revision = snapshot.revision
        for parameter in snapshot.parameters:
            self._put(parameter)
        self._log.info("started from the snapshot", revision=self._revision, parameters=len(self._parameters))
        self.ready.set()
        self._report()

    async def _followed(self) -> PenstockError:
        """Watches until the watch breaks; the reason why."""
        try:
            # The probe tells at once whether the service is there, and whether its store is the one we know.
            current = await self._client.revision(self._path, timeout=_PROBE_SECONDS)
            if current < self._revision:
                self._log.warning("the store went back: reading everything again", ours=self._revision, theirs=current)
                self._revision = 0
            if self._revision:
                self._reached()
            await self._watch()
        except grpc.aio.AioRpcError as error:
            return from_rpc_error(error)
        except PenstockError as error:
            return error
        return UnavailableError("the config service ended the watch")

    async def _watch(self) -> None:
        request = config_service_pb2.WatchParametersRequest(path=self._path, from_revision=self._revision)
        # Until the first bookmark a watch from revision 0 lists what exists: what it does not name is gone.
        unlisted = None if self._revision else set(self._parameters)
        call = self._stub.WatchParameters(request)
        try:
            async for response in call:
                self._failures = 0
                unlisted = self._apply(response, unlisted)
        finally:
            call.cancel()

    def _apply(
        self, response: config_service_pb2.WatchParametersResponse, unlisted: set[str] | None
    ) -> set[str] | None:
        """Takes one message in; what is still unlisted after it, None outside a listing."""
        match response.WhichOneof("event"):
            case "put":
                parameter = remote_parameter(response.put.parameter)
                self._put(parameter)
                if unlisted is None:
                    self._advance(parameter.revision)
                else:
                    unlisted.discard(parameter.name)
            case "delete":
                self._delete(response.delete.name, response.delete.revision)
                if unlisted is None:
                    self._advance(response.delete.revision)
            case "bookmark":
                for name in sorted(unlisted or ()):
                    self._delete(name, response.bookmark.revision)
                self._advance(response.bookmark.revision)
                self._reached()
                return None
        return unlisted

    def _put(self, parameter: RemoteParameter) -> None:
        known = self._parameters.get(parameter.name)
        self._parameters[parameter.name] = parameter
        if known is not None and (known.value, known.version) == (parameter.value, parameter.version):
            return
        self._tell(
            ParameterChange(
                name=parameter.name, value=parameter.value, version=parameter.version, revision=parameter.revision
            )
        )

    def _delete(self, name: str, revision: int) -> None:
        if self._parameters.pop(name, None) is not None:
            self._tell(ParameterChange(name=name, value=None, version=None, revision=revision))

    def _tell(self, change: ParameterChange) -> None:
        self._dirty.set()
        refused = self._refused.pop(change.name, None)
        try:
            self._on_change(change)
        except PenstockError as error:
            self._refused[change.name] = error.message
            self._log.error("a parameter is refused", name=change.name, version=change.version, error=error.message)
        except Exception as error:  # noqa: BLE001 - one bad value must not end the watch
            self._refused[change.name] = repr(error)
            self._log.exception("a parameter could not be applied", name=change.name, version=change.version)
        if refused or change.name in self._refused:
            self._report()

    def _advance(self, revision: int) -> None:
        if revision > self._revision:
            self._revision = revision
            self._dirty.set()

    def _reached(self) -> None:
        if self._away:
            self._log.info("following the config service", revision=self._revision, parameters=len(self._parameters))
        self._away = ""
        self.ready.set()
        self._report()

    async def _pause(self, failure: PenstockError) -> None:
        if isinstance(failure, OutOfRangeError):
            self._log.warning("the revision is no longer kept: reading everything again", revision=self._revision)
            self._revision = 0
        elif not self._away or self._failures == 0:
            self._away = f"away since {self._now().isoformat(timespec='seconds')}: {failure.message}"
            self._log.warning("lost the config service", reason=failure.reason, error=failure.message)
            self._report()
        self._failures += 1
        await self._sleep(self._backoff.delay(self._failures, self._random))

    def _report(self) -> None:
        if not self.ready.is_set():
            detail = f"no parameters below {self._path} yet; config service {self._away}"
            self._health.set(self._service_name, False, detail)
            return
        details = [f"{name} is refused: {why}" for name, why in sorted(self._refused.items())]
        if self._away:
            details.insert(0, f"config service {self._away}; going on with revision {self._revision}")
        self._health.set(self._service_name, True, "; ".join(details))

    async def _write_snapshots(self) -> None:
        """Writes after changes, as often as the disk manages; at the end what is left."""
        if self._file is None:
            return
        try:
            while True:
                await self._dirty.wait()
                await self.ready.wait()  # before, a crash would leave half of the parameters as last known good
                self._dirty.clear()
                writing = asyncio.ensure_future(asyncio.to_thread(self._write, self._file, self._snapshot()))
                try:
                    await asyncio.shield(writing)
                except asyncio.CancelledError:
                    await writing  # a thread cannot be stopped, and must not overtake the last write
                    raise
        finally:
            if self._dirty.is_set() and self.ready.is_set():
                self._write(self._file, self._snapshot())

    def _snapshot(self) -> Snapshot:
        return Snapshot(revision=self._revision, parameters=tuple(self._parameters.values()))

    def _write(self, file: SnapshotFile, snapshot: Snapshot) -> None:
        try:
            file.write(snapshot)
        except OSError as error:
            self._log.error("the snapshot cannot be written", file=str(file.path), error=str(error))
