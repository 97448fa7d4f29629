"""Parameters pushed from the config service: watched, kept as a last known good snapshot, resumed after every break.

config service ══ WatchParameters ══▶ ParameterWatcher ─▶ on_change(ParameterChange)
                                            │
                                            └─▶ snapshot file (read at the next start when the service is away)
"""

import asyncio
import contextlib
import datetime as dt
import logging
import random as _random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import grpc
from penstock.client.parameters import ParameterClient, RemoteParameter, remote_parameter
from penstock.client.snapshot import Snapshot, SnapshotError, SnapshotFile
from penstock.config.v1 import config_service_pb2, config_service_pb2_grpc

from services.runtime.errors import OutOfRangeError, PenstockError, UnavailableError
from services.runtime.retry import Backoff
from services.runtime.status import from_rpc_error

_RECONNECT = Backoff(initial=0.05, maximum=2.0)
_PROBE_SECONDS = 5.0
_LOG = logging.getLogger("penstock.client")

Report = Callable[[bool, str], None]
"""Hears whether the parameters can be relied on, and in a few words what is wrong, empty when nothing is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterChange:
    """A parameter has a new value, or is deleted (`value` and `version` None); `revision` is the store's."""

    name: str
    value: str | None = field(repr=False)
    version: int | None
    revision: int
    secret: bool = False


class ParameterWatcher:
    """Follows every parameter below a path, all levels, and one of exactly this name, from the first value on.

    `run()` is a background task. `ready` is set once all parameters were told to `on_change`, from the service or, when
    it is away, from the snapshot. `on_change` is called on the event loop, once per real change, also for what happened
    during a break. When it raises, that change counts as refused: the error is logged, and reported until the parameter
    changes again.

    Args:
        channel: to the config service, of `open_channel`; the watcher does not close it.
        path: `/prod/app`, `/` for everything.
        on_change: hears of every change.
        snapshot: where the last known good parameters are kept; None for a start that needs the service.
        decrypt: whether secrets come with their values.
        report: hears False until the parameters are known, afterwards True, with a detail while the service is away or
            a value is refused.
        backoff, sleep, random, now: when to try again, and the time.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        path: str,
        *,
        on_change: Callable[[ParameterChange], None],
        snapshot: SnapshotFile | None = None,
        decrypt: bool = False,
        report: Report = lambda _serving, _detail: None,
        backoff: Backoff = _RECONNECT,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = _random.random,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self.ready = asyncio.Event()
        self.failure: PenstockError | None = None
        self.stale_since: dt.datetime | None = now()
        self.path = path
        self._moved = asyncio.Event()
        self._stub = config_service_pb2_grpc.ConfigServiceStub(channel)
        self._client = ParameterClient(channel)
        self._file = snapshot
        self._on_change = on_change
        self._decrypt = decrypt
        self._told = report
        self._backoff, self._sleep, self._random, self._now = backoff, sleep, random, now
        self._parameters: dict[str, RemoteParameter] = {}
        self._revision = 0
        self._failures = 0
        self._away = "not reached yet"
        self._refused: dict[str, str] = {}
        self._dirty = asyncio.Event()
        self._report()

    @property
    def parameters(self) -> dict[str, RemoteParameter]:
        """A copy of what is known now, by name."""
        return dict(self._parameters)

    @property
    def revision(self) -> int:
        """The store's revision up to which everything is known."""
        return self._revision

    async def first_values(self, *, hopeless: tuple[type[PenstockError], ...]) -> None:
        """Waits until `ready`; raises the failure of an attempt that is one of `hopeless`, others are tried again."""
        while not self.ready.is_set():
            if isinstance(self.failure, hopeless):
                raise self.failure
            self._moved.clear()
            await self._moved.wait()

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
            _LOG.warning("the snapshot is not usable and will be replaced: %s", error)
            return
        if snapshot is None:
            return
        self._revision = snapshot.revision
        for parameter in snapshot.parameters:
            self._put(parameter)
        _LOG.info("%s: %d parameters from the snapshot, revision %d", self.path, len(self._parameters), self._revision)
        self.ready.set()
        self._moved.set()
        self._report()

    async def _followed(self) -> PenstockError:
        """Watches until the watch breaks; the reason why."""
        try:
            # The probe tells at once whether the service is there, and whether its store is the one we know.
            current = await self._client.revision(self.path, timeout=_PROBE_SECONDS)
            if current < self._revision:
                _LOG.warning("%s: the store went back from revision %d to %d", self.path, self._revision, current)
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
        request = config_service_pb2.WatchParametersRequest(
            path=self.path, from_revision=self._revision, with_decryption=self._decrypt
        )
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
            case "metadata" | "notice" as kind if unlisted is None:  # no value is another by them
                self._advance(getattr(response, kind).revision)
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
                name=parameter.name,
                value=parameter.value,
                version=parameter.version,
                revision=parameter.revision,
                secret=parameter.secret,
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
            _LOG.error("%s version %s is refused: %s", change.name, change.version, error.message)
        except Exception as error:  # noqa: BLE001 - one bad value must not end the watch
            # What was raised for a secret may quote it.
            self._refused[change.name] = type(error).__name__ if change.secret else repr(error)
            trace = None if change.secret else error
            _LOG.error("%s version %s could not be applied", change.name, change.version, exc_info=trace)
        if refused or change.name in self._refused:
            self._report()

    def _advance(self, revision: int) -> None:
        if revision > self._revision:
            self._revision = revision
            self._dirty.set()

    def _reached(self) -> None:
        if self._away:
            _LOG.info("%s: following %d parameters", self.path, len(self._parameters))
        self._away, self.failure, self.stale_since = "", None, None
        self.ready.set()
        self._moved.set()
        self._report()

    async def _pause(self, failure: PenstockError) -> None:
        if isinstance(failure, OutOfRangeError):
            _LOG.warning("%s: revision %d is no longer kept: reading everything again", self.path, self._revision)
            self._revision = 0
        elif not self._away or self._failures == 0:
            self.stale_since = self._now()
            self._away = f"away since {self.stale_since.isoformat(timespec='seconds')}: {failure.message}"
            _LOG.warning("%s: lost the config service: %s (%s)", self.path, failure.message, failure.reason)
            self._report()
        self.failure = failure
        self._moved.set()
        self._failures += 1
        await self._sleep(self._backoff.delay(self._failures, self._random))

    def _report(self) -> None:
        if not self.ready.is_set():
            self._told(False, f"no parameters below {self.path} yet; config service {self._away}")
            return
        details = [f"{name} is refused: {why}" for name, why in sorted(self._refused.items())]
        if self._away:
            details.insert(0, f"config service {self._away}; going on with revision {self._revision}")
        self._told(True, "; ".join(details))

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
            _LOG.error("the snapshot %s cannot be written: %s", file.path, error)
