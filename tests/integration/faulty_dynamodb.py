"""DynamoDB with its bad days: a proxy before the emulator, which by itself never throttles and leaves nothing undone.

What the real service does under load is taken from its API reference: errors by code, UnprocessedItems of
BatchWriteItem, UnprocessedKeys of BatchGetItem, an answer that never arrives although the write was done.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

from deploy.local.ports import LOOPBACK

_HOP_HEADERS = frozenset({"host", "connection", "content-length", "transfer-encoding", "x-amz-crc32"})


class Fault(Enum):
    """What becomes of one call."""

    THROTTLED = "ProvisionedThroughputExceededException"
    BROKEN = "InternalServerError"
    HALF_DONE = "half of the items or keys are left unprocessed"
    LOST_ANSWER = "done, and the connection is closed without an answer"


Script = Callable[[str, int], Fault | None]
"""The fault of the n-th call (from 1) of an operation such as `PutItem`."""


@dataclass
class FaultyDynamoDb:
    """The running proxy; change `script` at any time."""

    port: int
    upstream: str
    script: Script = lambda _operation, _number: None
    calls: Counter[str] = field(default_factory=Counter)
    faults: Counter[Fault] = field(default_factory=Counter)
    lock: Lock = field(default_factory=Lock)

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def next_fault(self, operation: str) -> Fault | None:
        with self.lock:
            self.calls[operation] += 1
            fault = self.script(operation, self.calls[operation])
            if fault:
                self.faults[fault] += 1
            return fault


@contextmanager
def faulty_dynamodb(upstream: str) -> Iterator[FaultyDynamoDb]:
    """A proxy before `upstream`, `host:port`, on a port of its own."""
    server = ThreadingHTTPServer((LOOPBACK, 0), _Handler)
    server.daemon_threads = True
    proxy = server.proxy = FaultyDynamoDb(port=server.server_address[1], upstream=upstream)  # type: ignore[attr-defined]
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        proxy: FaultyDynamoDb = self.server.proxy  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers["Content-Length"]))
        operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        match proxy.next_fault(operation):
            case Fault.THROTTLED | Fault.BROKEN as fault:
                status = 400 if fault is Fault.THROTTLED else 500
                error = {"__type": f"com.amazonaws.dynamodb.v20120810#{fault.value}", "message": "injected"}
                self._answer(status, {"Content-Type": "application/x-amz-json-1.0"}, json.dumps(error).encode())
            case Fault.HALF_DONE:
                self._half_done(proxy, json.loads(body))
            case Fault.LOST_ANSWER:
                self._forward(proxy, body)
                self.close_connection = True
            case None:
                self._answer(*self._forward(proxy, body))

    def _half_done(self, proxy: FaultyDynamoDb, request: dict[str, Any]) -> None:
        [(table, wanted)] = request["RequestItems"].items()
        is_write = isinstance(wanted, list)
        entries = wanted if is_write else wanted["Keys"]
        now, later = entries[: len(entries) // 2], entries[len(entries) // 2 :]
        answer: dict[str, Any] = {"Responses": {table: []}}
        if now:
            done = {table: now if is_write else {**wanted, "Keys": now}}
            _, _, text = self._forward(proxy, json.dumps({**request, "RequestItems": done}).encode())
            answer = json.loads(text)
        answer["UnprocessedItems" if is_write else "UnprocessedKeys"] = {
            table: later if is_write else {**wanted, "Keys": later}
        }
        self._answer(200, {"Content-Type": "application/x-amz-json-1.0"}, json.dumps(answer).encode())

    def _forward(self, proxy: FaultyDynamoDb, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_HEADERS}
        connection = HTTPConnection(proxy.upstream, timeout=30)
        try:
            connection.request("POST", self.path, body, headers)
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in _HOP_HEADERS:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as http.server names it
        """Write no access log."""
