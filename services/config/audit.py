"""The audit log: who did what with which parameter, one JSON line each, every line carrying the hash of the one before.

A line that was changed, removed, inserted or moved breaks the chain: `penstock params audit verify` shows where. What
was cut off at the end is found by comparing with a hash noted elsewhere (`--head`). Values are never in it.

A full file is renamed to `audit.log.<number of its last record>` and the chain goes on in a new one, whose first record
has the action `continue` and the highest revision of all before it: a start reads no further back.
"""

import asyncio
import errno
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Self

import structlog

from services.runtime.errors import PenstockError, ResourceExhaustedError

GENESIS = "0" * 64
"""What the first line carries as the hash of the line before."""

MAX_BYTES = 100 * 1024 * 1024

_RETRY_SECONDS = 5.0
_CONTINUE = "continue"
_LISTINGS = 100


class AuditLogError(PenstockError):
    """The file is no audit log of ours."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="ERROR_REASON_DEPENDENCY_UNAVAILABLE")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """What happened: `result` is `ok` or why it was refused; `version` and `revision` are 0 where there is none."""

    principal: str
    action: str
    name: str
    result: str = "ok"
    version: int = 0
    revision: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a check of a log found: how many lines are good, the hash of the last of them, and the first fault."""

    records: int
    head: str
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """Where a chain ends: number and hash of its last record, and the highest revision in it."""

    sequence: int = 0
    head: str = GENESIS
    revision: int = 0


class AuditLog:
    """Appends records to a file; an async context manager. A record is durable when `add` has returned.

    A file of `max_bytes` is put aside, see `files_of`.
    """

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES, now: Callable[[], float] = time.time) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._now = now
        self._end = _End()
        self._file = path  # what the descriptor is called
        self._waiting: list[tuple[float, AuditRecord]] = []
        self._flush: asyncio.Future[None] | None = None

    @property
    def last_revision(self) -> int:
        """The highest revision of a record that is written; 0 when none has one."""
        return self._end.revision

    async def __aenter__(self) -> Self:
        """Raises AuditLogError, OSError."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="audit")
        self._descriptor = await asyncio.get_running_loop().run_in_executor(self._thread, self._open)
        return self

    async def __aexit__(self, *_error: object) -> None:
        if self._waiting or self._flush:
            await self._flushed()
        await asyncio.to_thread(self._thread.shutdown)
        os.close(self._descriptor)

    async def add(self, *records: AuditRecord) -> None:
        """Appends records in their order.

        Raises:
            ResourceExhaustedError: they could not be written; they are tried again with the next ones.
        """
        at = round(self._now(), 3)
        self._waiting.extend((at, record) for record in records)
        await self._flushed()

    async def ready(self) -> None:
        """Returns when nothing waits to be written any more.

        Raises:
            ResourceExhaustedError: see `add`.
        """
        if self._waiting:
            await self._flushed()

    async def _flushed(self) -> None:
        """Writes what waits; callers that come meanwhile share the next write."""
        while self._flush and not self._flush.done():
            await asyncio.shield(self._flush)
        if self._waiting:  # a neighbour may have written ours too
            self._flush = asyncio.ensure_future(self._write_waiting())
            await asyncio.shield(self._flush)

    async def _write_waiting(self) -> None:
        waiting = tuple(self._waiting)
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._write, waiting)
        except OSError as error:
            structlog.get_logger(component="audit").error("the audit log cannot be written", error=str(error))
            raise ResourceExhaustedError(
                f"{self.path} cannot be written ({error.strerror}): nothing is done unaudited; make room, then retry",
                retry_after=_RETRY_SECONDS,
                reason="ERROR_REASON_STORAGE_FULL",
                metadata={"path": str(self.path)},
            ) from None
        del self._waiting[: len(waiting)]

    def _write(self, waiting: Sequence[tuple[float, AuditRecord]]) -> None:
        size = os.lseek(self._descriptor, 0, os.SEEK_END)
        if not size and self._end.sequence:
            begin = AuditRecord(principal="", action=_CONTINUE, name="/", revision=self._end.revision)
            waiting = [(waiting[0][0], begin), *waiting]
        data, end = _chained(waiting, self._end)
        try:
            written = 0
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
            os.fsync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, size)
            raise
        self._end = end
        if size + len(data) >= self._max_bytes:
            self._put_aside()

    def _put_aside(self) -> None:
        """Begins a new file; where that is not possible the full one grows on. What was written stays confirmed."""
        following = self.path.with_name(f"{self.path.name}.next")
        try:
            descriptor = os.open(following, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
            try:
                self._file = self._file.rename(self.path.with_name(f"{self.path.name}.{self._end.sequence:012}"))
                self._file = following.rename(self.path)
            except OSError:
                os.close(descriptor)
                raise
            os.close(self._descriptor)
            self._descriptor = descriptor
            _sync_directory(self.path.parent)
        except OSError as error:
            structlog.get_logger(component="audit").error("the audit log cannot be put aside", error=str(error))

    def _open(self) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            files = files_of(self.path)
            _drop_torn_line(next((file for file in reversed(files) if file.stat().st_size), self.path))
            self._end = _end_of(files)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


def _chained(records: Sequence[tuple[float, AuditRecord]], end: _End) -> tuple[bytes, _End]:
    """The lines of records after `end`, and where they end."""
    lines: list[bytes] = []
    for at, record in records:
        body: dict[str, Any] = {"seq": end.sequence + 1, "at": at, **asdict(record)}
        body["hash"] = _hash(end.head, body)
        lines.append(json.dumps(body, ensure_ascii=False).encode() + b"\n")
        end = _End(sequence=body["seq"], head=body["hash"], revision=max(end.revision, record.revision))
    return b"".join(lines), end


def _drop_torn_line(file: Path) -> None:
    """Cuts off what was written when the process was killed, and confirmed to nobody."""
    data = file.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        os.truncate(file, whole)


def _end_of(files: Sequence[Path]) -> _End:
    """Where the chain in files, oldest first, ends.

    The newest records may have lower revisions than some before them, or none: files are read back to one that begins
    with a `continue` record.
    """
    end = _End()
    for file in reversed(files):
        first = last = None
        revision = end.revision
        for number, line in enumerate(file.read_bytes().splitlines(), 1):
            if (last := _body(line)) is None:
                raise AuditLogError(f"{file} line {number} is no audit record: move the file away to begin a new one")
            first = first or last
            revision = max(revision, last["revision"])
        if first and last:
            newest = end if end.sequence else _End(sequence=last["seq"], head=last["hash"])
            end = replace(newest, revision=revision)
            if first.get("action") == _CONTINUE:
                break
    return end


def files_of(path: Path) -> list[Path]:
    """The files of a log, oldest first: those put aside, still beside it, and `path` itself."""
    aside = path.parent.glob(f"{path.name}.[0-9]*")
    return [*sorted(file for file in aside if file.suffix[1:].isdigit()), path]


def records_of(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a log, oldest first.

    Raises:
        OSError: it cannot be read.
    """
    for _, line in _lines(path):
        if (body := _body(line)) is not None:
            yield body


def verify(path: Path) -> Verdict:
    """Follows the chain from the first line of the oldest file to the first fault or the end.

    Raises:
        OSError: it cannot be read.
    """
    head, count = GENESIS, 0
    for place, line in _lines(path):
        body = _body(line)
        if body is None:
            return Verdict(records=count, head=head, fault=f"{place} is no audit record")
        if body["seq"] != count + 1:
            missing = "" if count else "; were older files moved away? Lay them beside it"
            fault = f"{place} has number {body['seq']}: lines were removed, inserted or moved{missing}"
            return Verdict(records=count, head=head, fault=fault)
        claimed = body.pop("hash")
        if claimed != _hash(head, body):
            return Verdict(records=count, head=head, fault=f"{place} was changed, or one before it removed")
        head, count = claimed, count + 1
    return Verdict(records=count, head=head)


def _lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """Every line of a log, and where it is; one at the end that is not written whole yet is none."""
    files, stack = _opened(path)
    with stack:
        for name, file in files:
            for number, line in enumerate(file, 1):
                if line.endswith(b"\n") or name != path:
                    yield (f"line {number}" if name == path else f"line {number} of {name.name}"), line


def _opened(path: Path) -> tuple[Sequence[tuple[Path, BinaryIO]], ExitStack]:
    """The files of a log as they are at one moment, also while its process puts them aside; the stack closes them."""
    for _ in range(_LISTINGS):
        names = files_of(path)
        with ExitStack() as stack:
            try:
                files = [(name, stack.enter_context(name.open("rb"))) for name in names]
            except FileNotFoundError:  # renamed since
                continue
            if files_of(path) == names:
                return files, stack.pop_all()
    raise FileNotFoundError(errno.ENOENT, "a file of the audit log is missing, or they change all the time", str(path))


def _sync_directory(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _body(line: bytes) -> dict[str, Any] | None:
    try:
        body = json.loads(line)
    except ValueError:
        return None
    return body if isinstance(body, dict) and {"seq", "hash", "revision"} <= body.keys() else None


def _hash(before: str, body: dict[str, Any]) -> str:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(f"{before}\n{text}".encode()).hexdigest()
