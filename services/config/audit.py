"""The audit log: who did what with which parameter, one JSON line each, every line carrying the hash of the one before.

A line that was changed, removed, inserted or moved breaks the chain: `penstock params audit verify` shows where. What
was cut off at the end is found by comparing with a hash noted elsewhere (`--head`). Values are never in it.

A full file is renamed to `audit.log.<number of its last record>` and the chain goes on in a new one.
"""

import asyncio
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import structlog

from services.runtime.errors import PenstockError, ResourceExhaustedError

GENESIS = "0" * 64
"""What the first line carries as the hash of the line before."""

MAX_BYTES = 100 * 1024 * 1024

_RETRY_SECONDS = 5.0


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


class AuditLog:
    """Appends records to a file; an async context manager. A record is durable when `add` has returned.

    A file of `max_bytes` is put aside, see `files_of`.
    """

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES, now: Callable[[], float] = time.time) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self.last_revision = 0
        self._now = now
        self._sequence, self._head = 0, GENESIS
        self._lines: list[bytes] = []
        self._flush: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        """Raises AuditLogError, OSError."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="audit")
        self._descriptor = await asyncio.get_running_loop().run_in_executor(self._thread, self._open)
        return self

    async def __aexit__(self, *_error: object) -> None:
        if self._lines or self._flush:
            await self._flushed()
        await asyncio.to_thread(self._thread.shutdown)
        os.close(self._descriptor)

    async def add(self, *records: AuditRecord) -> None:
        """Appends records in their order.

        Raises:
            ResourceExhaustedError: they could not be written; they are tried again with the next ones.
        """
        for record in records:
            self._lines.append(self._line(record))
            self.last_revision = max(self.last_revision, record.revision)
        await self._flushed()

    async def ready(self) -> None:
        """Returns when nothing waits to be written any more.

        Raises:
            ResourceExhaustedError: see `add`.
        """
        if self._lines:
            await self._flushed()

    def _line(self, record: AuditRecord) -> bytes:
        self._sequence += 1
        body: dict[str, Any] = {"seq": self._sequence, "at": round(self._now(), 3), **asdict(record)}
        self._head = body["hash"] = _hash(self._head, body)
        return json.dumps(body, ensure_ascii=False).encode() + b"\n"

    async def _flushed(self) -> None:
        """Writes what waits; callers that come meanwhile share the next write."""
        while self._flush and not self._flush.done():
            await asyncio.shield(self._flush)
        if self._lines:  # a neighbour may have written ours too
            self._flush = asyncio.ensure_future(self._write_waiting())
            await asyncio.shield(self._flush)

    async def _write_waiting(self) -> None:
        count, data = len(self._lines), b"".join(self._lines)
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._write, data, self._sequence)
        except OSError as error:
            structlog.get_logger(component="audit").error("the audit log cannot be written", error=str(error))
            raise ResourceExhaustedError(
                f"{self.path} cannot be written ({error.strerror}): nothing is done unaudited; make room, then retry",
                retry_after=_RETRY_SECONDS,
                reason="ERROR_REASON_STORAGE_FULL",
                metadata={"path": str(self.path)},
            ) from None
        del self._lines[:count]

    def _write(self, data: bytes, sequence: int) -> None:
        end = os.lseek(self._descriptor, 0, os.SEEK_END)
        try:
            written = 0
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
            os.fsync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, end)
            raise
        if end + len(data) >= self._max_bytes:
            self._put_aside(sequence)

    def _put_aside(self, sequence: int) -> None:
        """Begins a new file; where that is not possible the full one grows on. What was written stays confirmed."""
        following = self.path.with_name(f"{self.path.name}.next")
        try:
            descriptor = os.open(following, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
            self.path.rename(self.path.with_name(f"{self.path.name}.{sequence:012}"))
            following.rename(self.path)
            _sync_directory(self.path.parent)
        except OSError as error:
            structlog.get_logger(component="audit").error("the audit log cannot be put aside", error=str(error))
            return
        os.close(self._descriptor)
        self._descriptor = descriptor

    def _open(self) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            data = self.path.read_bytes()
            whole = data.rfind(b"\n") + 1
            if whole < len(data):  # written when the process was killed, and confirmed to nobody
                os.ftruncate(descriptor, whole)
            for file in reversed(files_of(self.path)):
                self._go_on_after(file)
                if self._sequence and self.last_revision:
                    break
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _go_on_after(self, file: Path) -> None:
        """Takes in the newest record, and the newest revision that has one, from a file older than those before."""
        sequence, head = 0, GENESIS
        for number, line in enumerate(file.read_bytes().splitlines(), 1):
            body = _body(line)
            if body is None:
                raise AuditLogError(f"{file} line {number} is no audit record: move the file away to begin a new one")
            sequence, head = body["seq"], body["hash"]
            self.last_revision = max(self.last_revision, body["revision"])
        if not self._sequence:
            self._sequence, self._head = sequence, head


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
    """Every line of a log, and where it is."""
    for name in files_of(path):
        with name.open("rb") as file:
            for number, line in enumerate(file, 1):
                yield (f"line {number}" if name == path else f"line {number} of {name.name}"), line


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
