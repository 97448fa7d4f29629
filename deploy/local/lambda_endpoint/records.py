"""What was invoked and how it ended: one JSON object per attempt, in a file and in memory."""

import json
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploy.local.lambda_endpoint.invocation import Invocation, Outcome

KEPT_RECORDS = 10_000
RECORDED_PAYLOAD_BYTES = 256 * 1024  # above it a record tells the size only

Record = dict[str, Any]


class InvocationRecords:
    """Appends to `path` and keeps the newest `KEPT_RECORDS` readable, those of earlier runs included."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._newest: deque[Record] = deque(maxlen=KEPT_RECORDS)

    def load(self) -> None:
        """Read what earlier runs left; a last line that a kill cut short is ended and skipped."""
        if not self._path.exists():
            return
        text = self._path.read_text(encoding="utf-8", errors="replace")
        for line in text.splitlines():
            try:
                self._newest.append(json.loads(line))
            except ValueError:
                continue
        if text and not text.endswith("\n"):
            with self._path.open("a", encoding="utf-8") as file:
                file.write("\n")

    def add(
        self, invocation: Invocation, outcome: Outcome, *, invocation_type: str, attempt: int, started: float
    ) -> None:
        """Record an attempt that has ended; `started` is Unix time in seconds."""
        record = {
            "function": invocation.function,
            "request_id": invocation.request_id,
            "invocation_type": invocation_type,
            "attempt": attempt,
            "outcome": "error" if outcome.failed else "success",
            "error_type": outcome.error_type,
            "error_message": outcome.error_message,
            "payload": _value(invocation.payload),
            "payload_bytes": len(invocation.payload),
            "client_context": _value(invocation.client_context.encode()) if invocation.client_context else None,
            "response": None if outcome.failed else _value(outcome.payload),
            "started_at": datetime.fromtimestamp(started, UTC).isoformat(timespec="milliseconds"),
        }
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")
        self._newest.append(record)

    def list(self, function: str | None = None) -> Sequence[Record]:
        """The newest records, oldest first; of one function, or of all."""
        return [record for record in self._newest if function is None or record["function"] == function]


def _value(payload: bytes) -> Any:
    if len(payload) > RECORDED_PAYLOAD_BYTES:
        return None
    try:
        return json.loads(payload)
    except ValueError:
        return payload.decode("utf-8", errors="replace")
