"""A Kinesis endpoint that makes trouble, in front of the emulator, which never does.

It refuses single records and whole calls, carries calls out without answering them, and enforces the limits of
PutRecords, which the emulator does not. Its answers follow the API reference; it is no evidence about AWS.
"""

import base64
import json
import random
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import urllib3

from tests.integration.http_place import HttpPlace, Request, Response

MAX_RECORDS, MAX_RECORD_BYTES, MAX_REQUEST_BYTES = 500, 1024 * 1024, 5 * 1024 * 1024
_THROTTLE = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "Rate exceeded for shard"}
_FAILURE = {"ErrorCode": "InternalFailure", "ErrorMessage": "Internal service failure."}


@dataclass(frozen=True, kw_only=True, slots=True)
class Trouble:
    """Shares between 0 and 1: of records refused, of calls throttled, of calls carried out and never answered."""

    records: float = 0.0
    calls: float = 0.0
    unanswered: float = 0.0


class TroubledKinesis(HttpPlace):
    """See the module. `arrived` are the records that were taken, in order: partition key and data."""

    def __init__(self, upstream: str, trouble: Trouble, *, seed: int = 1) -> None:
        super().__init__()
        self.trouble = trouble
        self.arrived: list[tuple[str, bytes]] = []
        self.calls: list[int] = []
        self.refused_records = self.refused_calls = self.unanswered = 0
        self.violations: list[str] = []
        self._upstream = upstream
        self._pool = urllib3.PoolManager(maxsize=8)
        self._random = random.Random(seed)
        self._lock = threading.Lock()

    def answer(self, request: Request) -> Response:
        content = json.loads(request.body)
        records = content["Records"]
        with self._lock:
            self.calls.append(len(records))
            self._check_limits(records)
            if self._random.random() < self.trouble.calls:
                self.refused_calls += 1
                return _error(request, "ProvisionedThroughputExceededException", "Rate exceeded")
            fails = [self._random.random() < self.trouble.records for _ in records]
            silent = self._random.random() < self.trouble.unanswered
            taken = [record for record, failed in zip(records, fails, strict=True) if not failed]
            self.refused_records += sum(fails)
            stored = iter(self._forward(request, {**content, "Records": taken}) if taken else ())
            self.arrived += [(record["PartitionKey"], base64.b64decode(record["Data"])) for record in taken]
            if silent:
                self.unanswered += 1
                raise ConnectionAbortedError("the call was carried out and is not answered")
        results = [self._failure() if failed else next(stored) for failed in fails]
        return _json(200, {"FailedRecordCount": sum(fails), "Records": results})

    def _failure(self) -> Mapping[str, str]:
        return self._random.choice((_THROTTLE, _FAILURE))

    def _check_limits(self, records: Sequence[Mapping[str, Any]]) -> None:
        sizes = [len(base64.b64decode(record["Data"])) + len(record["PartitionKey"].encode()) for record in records]
        if len(records) > MAX_RECORDS:
            self.violations.append(f"{len(records)} records")
        if max(sizes) > MAX_RECORD_BYTES:
            self.violations.append(f"a record of {max(sizes)} bytes")
        if sum(sizes) > MAX_REQUEST_BYTES:
            self.violations.append(f"a request of {sum(sizes)} bytes")

    def _forward(self, request: Request, content: Mapping[str, Any]) -> Sequence[Mapping[str, str]]:
        headers = {name: value for name, value in request.headers.items() if name != "content-length"}
        body = json.dumps(content).encode()
        answer = self._pool.request("POST", f"http://{self._upstream}{request.path}", body=body, headers=headers)
        assert answer.status == 200, answer.data
        records: Sequence[Mapping[str, str]] = json.loads(answer.data)["Records"]
        return records


def _error(request: Request, code: str, message: str) -> Response:
    assert "PutRecords" in request.headers["x-amz-target"]
    return _json(400, {"__type": code, "message": message})


def _json(status: int, value: object) -> Response:
    return Response(
        status=status, headers=(("Content-Type", "application/x-amz-json-1.1"),), body=json.dumps(value).encode()
    )
