"""HTTP servers of the tests: an endpoint for messages, and a proxy that makes trouble before the doubles of AWS.

What the proxy answers follows the API models of botocore and the documented error codes; it is no evidence about AWS.
"""

import base64
import json
import threading
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlencode

import urllib3

from tests.contracts.delivery_target import FAILING


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What came; header names in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """What is answered."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


class HttpPlace:
    """A server on loopback. A request is never answered while `silent`."""

    def __init__(self) -> None:
        self.silent = False
        self._released = threading.Event()
        place = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", "0"))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(path=self.path, headers=headers, body=self.rfile.read(length))
                if place.silent:
                    place._released.wait()
                    self.close_connection = True
                    return
                response = place.answer(request)
                self.send_response(response.status)
                for name, value in response.headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(response.body)))
                self.end_headers()
                self.wfile.write(response.body)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    @abstractmethod
    def answer(self, request: Request) -> Response:
        """The answer to a request; called in many threads."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Endpoint(HttpPlace):
    """Keeps what it is sent and answers as `decide` says; what it answered with 2xx has arrived."""

    def __init__(self) -> None:
        super().__init__()
        self.decide: Callable[[Request], Response] = lambda _request: Response()
        self.requests: list[Request] = []
        self.arrived: list[str] = []
        self._failed: set[str] = set()

    def answer(self, request: Request) -> Response:
        self.requests.append(request)
        response = self.decide(request)
        if response.status < 300:
            self.arrived.append(request.headers["idempotency-key"])
        return response

    def fail_once(self, request: Request) -> Response:
        """A `decide`: 503 at the first attempt of a message with the text `FAILING`."""
        key = request.headers["idempotency-key"]
        if request.body == FAILING.encode() and key not in self._failed:
            self._failed.add(key)
            return Response(status=503, body=b"not now")
        return Response()


class OtherPlace(HttpPlace):
    """What answers in place of a service: always the same."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self._response = response

    def answer(self, request: Request) -> Response:  # noqa: ARG002
        return self._response


class FaultyAws(HttpPlace):
    """A proxy: throttles everything while `throttles`; while `fails`, fails messages with the text `FAILING` once."""

    def __init__(self, upstream: str) -> None:
        super().__init__()
        self.throttles = False
        self.fails = False
        self._upstream = upstream
        self._pool = urllib3.PoolManager()
        self._failed: set[str] = set()

    def answer(self, request: Request) -> Response:
        operation = request.headers.get("x-amz-target", "").partition(".")[2]
        if self.throttles:
            return _throttle(request, operation)
        if self.fails and operation == "SendMessageBatch":
            return self._fail_sqs(request)
        if self.fails and operation == "PutRecords":
            return self._fail_kinesis(request)
        if self.fails and b"Action=PublishBatch" in request.body:
            return self._fail_sns(request)
        return self._forward(request, request.body)

    def _forward(self, request: Request, body: bytes) -> Response:
        headers = {name: value for name, value in request.headers.items() if name != "content-length"}
        answer = self._pool.request("POST", f"http://{self._upstream}{request.path}", body=body, headers=headers)
        passed = tuple(
            (name, value)
            for name, value in answer.headers.items()
            if name.lower() not in ("content-length", "connection", "date", "server", "transfer-encoding")
        )
        return Response(status=answer.status, headers=passed, body=answer.data)

    def _fails_now(self, key: str, text: str) -> bool:
        if text != FAILING or key in self._failed:
            return False
        self._failed.add(key)
        return True

    def _fail_sqs(self, request: Request) -> Response:
        content = json.loads(request.body)
        failed = [entry for entry in content["Entries"] if self._fails_now(_jms_id(entry), entry["MessageBody"])]
        content["Entries"] = [entry for entry in content["Entries"] if entry not in failed]
        answer: dict[str, Any] = {"Successful": []}
        if content["Entries"]:
            answer = json.loads(self._forward(request, json.dumps(content).encode()).body)
        answer["Failed"] = [
            {"Id": entry["Id"], "SenderFault": False, "Code": "InternalError", "Message": "made by the test"}
            for entry in failed
        ]
        return _json(200, answer)

    def _fail_kinesis(self, request: Request) -> Response:
        content = json.loads(request.body)
        records = content["Records"]
        fails = [
            self._fails_now(record["PartitionKey"], base64.b64decode(record["Data"]).decode()) for record in records
        ]
        content["Records"] = [record for record, failed in zip(records, fails, strict=True) if not failed]
        stored = iter(json.loads(self._forward(request, json.dumps(content).encode()).body)["Records"])
        throttle = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "made by the test"}
        return _json(
            200,
            {"FailedRecordCount": sum(fails), "Records": [throttle if failed else next(stored) for failed in fails]},
        )

    def _fail_sns(self, request: Request) -> Response:
        """The query protocol: entries are the fields `PublishBatchRequestEntries.member.<n>.<name>`, counted from 1."""
        fields = {name: values[0] for name, values in parse_qs(request.body.decode(), keep_blank_values=True).items()}
        prefix = "PublishBatchRequestEntries.member."
        entries: dict[int, dict[str, str]] = {}
        for name in [name for name in fields if name.startswith(prefix)]:
            number, _, rest = name.removeprefix(prefix).partition(".")
            entries.setdefault(int(number), {})[rest] = fields.pop(name)
        failed = [entry for entry in entries.values() if self._fails_now(_sns_jms_id(entry), entry["Message"])]
        going = [entry for entry in entries.values() if entry not in failed]
        for position, entry in enumerate(going, start=1):
            fields |= {f"{prefix}{position}.{name}": value for name, value in entry.items()}
        answer = self._forward(request, urlencode(fields).encode())
        members = "".join(
            f"<member><Id>{entry['Id']}</Id><Code>InternalError</Code><Message>made by the test</Message>"
            "<SenderFault>false</SenderFault></member>"
            for entry in failed
        )
        text = answer.body.decode().replace("<Failed/>", "<Failed></Failed>").replace("<Failed>", f"<Failed>{members}")
        return Response(status=answer.status, headers=(("Content-Type", "text/xml"),), body=text.encode())


def _jms_id(entry: Mapping[str, Any]) -> str:
    return str(entry["MessageAttributes"]["jms_message_id"]["StringValue"])


def _sns_jms_id(entry: Mapping[str, str]) -> str:
    return next(value for name, value in entry.items() if name.endswith("Value.StringValue") and "ID:" in value)


def _json(status: int, content: Mapping[str, Any], *headers: tuple[str, str]) -> Response:
    body = json.dumps(content).encode()
    return Response(status=status, headers=(("Content-Type", "application/x-amz-json-1.1"), *headers), body=body)


def _throttle(request: Request, operation: str) -> Response:
    """The throttle of the API that is called."""
    if request.path.startswith("/2015-03-31/functions/"):
        kind = ("x-amzn-errortype", "TooManyRequestsException")
        return _json(429, {"Type": "User", "message": "Rate Exceeded.", "Reason": "FunctionInvocationRateLimit"}, kind)
    if operation == "PutRecords":
        code = "ProvisionedThroughputExceededException"
        return _json(400, {"__type": code, "message": "Rate exceeded for shard"})
    if operation == "SendMessageBatch":
        query = ("x-amzn-query-error", "RequestThrottled;Sender")
        return _json(403, {"__type": "com.amazonaws.sqs#RequestThrottled", "message": "too many requests"}, query)
    error = "<Error><Type>Sender</Type><Code>Throttled</Code><Message>Rate exceeded</Message></Error>"
    body = f"<ErrorResponse>{error}<RequestId>1</RequestId></ErrorResponse>"
    return Response(status=429, headers=(("Content-Type", "text/xml"),), body=body.encode())
