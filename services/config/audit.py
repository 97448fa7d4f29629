"""The audit log: who did what with which parameter, one JSON line each, every line carrying the hash of the one before.

A line that was changed, removed, inserted or moved breaks the chain: `penstock params audit verify` shows where. What
was cut off at the end is found by comparing with a hash noted elsewhere (`--head`). Values are never in it.
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
    """Appends records to a file; an async context manager. A record is durable when `add` has returned."""

    def __init__(self, path: Path, *, now: Callable[[], float] = time.time) -> None:
        self.path = path
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
            await asyncio.get_running_loop().run_in_executor(self._thread, self._write, data)
        except OSError as error:
            structlog.get_logger(component="audit").error("the audit log cannot be written", error=str(error))
            raise ResourceExhaustedError(
                f"{self.path} cannot be written ({error.strerror}): nothing is done unaudited; make room, then retry",
                retry_after=_RETRY_SECONDS,
                reason="ERROR_REASON_STORAGE_FULL",
                metadata={"path": str(self.path)},
            ) from None
        del self._lines[:count]

    def _write(self, data: bytes) -> None:
        end = os.lseek(self._descriptor, 0, os.SEEK_END)
        try:
            written = 0
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
            os.fsync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, end)
            raise

    def _open(self) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        data = self.path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):  # written when the process was killed, and confirmed to nobody
            os.ftruncate(descriptor, whole)
        for number, line in enumerate(data[:whole].splitlines(), 1):
            body = _body(line)
            if body is None:
                os.close(descriptor)
                raise AuditLogError(
                    f"{self.path} line {number} is no audit record: move the file away to begin a new one"
                )
            self._sequence, self._head = body["seq"], body["hash"]
            self.last_revision = max(self.last_revision, body["revision"])
        return descriptor


def records_of(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a log, oldest first.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        for line in file:
            if (body := _body(line)) is not None:
                yield body


def verify(path: Path) -> Verdict:
    """Follows the chain from the first line to the first fault or the end.

    Raises:
        OSError: it cannot be read.
    """
    head, count = GENESIS, 0
    with path.open("rb") as file:
        for line in file:
            body = _body(line)
            if body is None:
                return Verdict(records=count, head=head, fault=f"line {count + 1} is no audit record")
            if body["seq"] != count + 1:
                fault = f"line {count + 1} has number {body['seq']}: lines were removed, inserted or moved"
                return Verdict(records=count, head=head, fault=fault)
            claimed = body.pop("hash")
            if claimed != _hash(head, body):
                return Verdict(
                    records=count, head=head, fault=f"line {count + 1} was changed, or one before it removed"
                )
            head, count = claimed, count + 1
    return Verdict(records=count, head=head)


def _body(line: bytes) -> dict[str, Any] | None:
    try:
        body = json.loads(line)
    except ValueError:
        return None
    return body if isinstance(body, dict) and {"seq", "hash", "revision"} <= body.keys() else None


def _hash(before: str, body: dict[str, Any]) -> str:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(f"{before}\n{text}".encode()).hexdigest()
