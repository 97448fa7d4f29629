"""The Lambda API as boto3 calls it: Invoke and ListFunctions, and the records of what was invoked."""

import base64
import binascii
import json
import re
import time
import uuid
from collections.abc import Mapping
from typing import Any

from deploy.local.lambda_endpoint.event_queue import EventQueue, QueueFullError
from deploy.local.lambda_endpoint.function import FunctionSpec, function_name
from deploy.local.lambda_endpoint.http_server import HttpRequest, HttpResponse
from deploy.local.lambda_endpoint.invocation import EVENT_LIMIT_BYTES, REQUEST_LIMIT_BYTES, Invocation, Outcome
from deploy.local.lambda_endpoint.pool import TooManyRequestsError, WorkerPool, WorkerStartError
from deploy.local.lambda_endpoint.records import InvocationRecords

_INVOKE = re.compile(r"/2015-03-31/functions/(?P<reference>[^/]+)/invocations")
_TYPES = ("RequestResponse", "Event", "DryRun")
_CLIENT_CONTEXT_LIMIT_BYTES = 3583  # API_Invoke, ClientContext


class ApiError(Exception):
    """An error of the Lambda API: `code` is the exception's name in the SDKs."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class InvokeApi:
    """Answers callers; request and error shapes are those of the API reference's Invoke page."""

    def __init__(self, *, pools: Mapping[str, WorkerPool], queue: EventQueue, records: InvocationRecords) -> None:
        self._pools = pools
        self._queue = queue
        self._records = records

    async def handle(self, request: HttpRequest) -> HttpResponse:
        request_id = str(uuid.uuid4())
        try:
            return await self._route(request, request_id)
        except ApiError as error:
            body = {"Type": "User", "message": str(error), "Message": str(error)}
            return _json(error.status, body, {"x-amzn-ErrorType": error.code, "x-amzn-RequestId": request_id})

    async def _route(self, request: HttpRequest, request_id: str) -> HttpResponse:
        match (request.method, request.path):
            case ("GET", "/2015-03-31/functions" | "/2015-03-31/functions/"):
                return _json(200, {"Functions": [_configuration(pool.function) for pool in self._pools.values()]})
            case ("GET", "/_penstock/invocations"):
                return _json(200, {"invocations": self._records.list(request.query.get("function"))})
            case ("GET", "/_penstock/health"):
                return _json(200, {"status": "SERVING"})
        found = _INVOKE.fullmatch(request.path)
        if request.method != "POST" or not found:
            raise ApiError(404, "ResourceNotFoundException", f"{request.method} {request.path} is not served here")
        return await self._invoke(self._pool(found["reference"]), request, request_id)

    def _pool(self, reference: str) -> WorkerPool:
        name = function_name(reference)
        if name is None:
            raise ApiError(400, "InvalidParameterValueException", f"not a function name or ARN: {reference!r}")
        if name not in self._pools:
            arn = f"arn:aws:lambda:us-east-1:123456789012:function:{name}"
            raise ApiError(404, "ResourceNotFoundException", f"Function not found: {arn}")
        return self._pools[name]

    async def _invoke(self, pool: WorkerPool, request: HttpRequest, request_id: str) -> HttpResponse:
        invocation_type = request.headers.get("x-amz-invocation-type", "RequestResponse")
        if invocation_type not in _TYPES:
            raise ApiError(400, "InvalidParameterValueException", f"unknown invocation type {invocation_type!r}")
        invocation = _invocation(pool.function, request, request_id, invocation_type)
        headers = {"x-amzn-RequestId": request_id}
        if invocation_type == "DryRun":
            return HttpResponse(status=204, headers=headers)
        if invocation_type == "Event":
            return self._accept(invocation, headers)
        started = time.time()
        try:
            outcome = await pool.invoke(invocation)
        except TooManyRequestsError as error:
            raise ApiError(429, "TooManyRequestsException", "Rate Exceeded.") from error
        except WorkerStartError as error:
            raise ApiError(500, "ServiceException", str(error)) from error
        self._records.add(invocation, outcome, invocation_type=invocation_type, attempt=1, started=started)
        return _answer(outcome, headers, with_log=request.headers.get("x-amz-log-type") == "Tail")

    def _accept(self, invocation: Invocation, headers: Mapping[str, str]) -> HttpResponse:
        try:
            self._queue.put(invocation)
        except QueueFullError as error:
            raise ApiError(429, "TooManyRequestsException", "Rate Exceeded: the event queue is full.") from error
        return HttpResponse(status=202, headers=headers)


def _invocation(function: FunctionSpec, request: HttpRequest, request_id: str, invocation_type: str) -> Invocation:
    limit = EVENT_LIMIT_BYTES if invocation_type == "Event" else REQUEST_LIMIT_BYTES
    if len(request.body) > limit:
        size = f"{len(request.body)} byte payload is too large"
        message = f"{size} for the {invocation_type} invocation type (limit {limit} bytes)"
        raise ApiError(413, "RequestTooLargeException", message)
    payload = request.body or b"{}"
    try:
        json.loads(payload)
    except ValueError as error:
        message = f"Could not parse request body into json: {error}"
        raise ApiError(400, "InvalidRequestContentException", message) from error
    client_context = _client_context(request.headers.get("x-amz-client-context", ""))
    return Invocation(
        request_id=request_id,
        function=function.name,
        payload=payload,
        # API_Invoke: passed to the function for synchronous invocations only.
        client_context="" if invocation_type == "Event" else client_context,
        trace_id=request.headers.get("x-amzn-trace-id", ""),
    )


def _client_context(encoded: str) -> str:
    """The JSON object within the header, on one line; Lambda refuses anything else."""
    if not encoded:
        return ""
    try:
        value = json.loads(base64.b64decode(encoded, validate=True))
    except (binascii.Error, ValueError) as error:
        raise ApiError(
            400, "InvalidRequestContentException", f"client context is not base64 of JSON: {error}"
        ) from error
    if not isinstance(value, dict) or len(encoded) > _CLIENT_CONTEXT_LIMIT_BYTES:
        message = f"client context must be a JSON object of at most {_CLIENT_CONTEXT_LIMIT_BYTES} bytes in base64"
        raise ApiError(400, "InvalidRequestContentException", message)
    return json.dumps(value)


def _answer(outcome: Outcome, headers: Mapping[str, str], *, with_log: bool) -> HttpResponse:
    more = {"X-Amz-Executed-Version": "$LATEST", "Content-Type": "application/json"}
    if outcome.failed:
        more["X-Amz-Function-Error"] = "Unhandled"
    if with_log:
        more["X-Amz-Log-Result"] = base64.b64encode(outcome.log_tail).decode()
    return HttpResponse(status=200, body=outcome.payload, headers={**headers, **more})


def _configuration(function: FunctionSpec) -> Mapping[str, Any]:
    return {
        "FunctionName": function.name,
        "FunctionArn": function.arn,
        "Handler": function.handler,
        "Timeout": max(1, round(function.timeout)),
        "Runtime": "python3.11",
        "Version": "$LATEST",
    }


def _json(status: int, body: Any, headers: Mapping[str, str] | None = None) -> HttpResponse:
    return HttpResponse(
        status=status, body=json.dumps(body).encode(), headers={"Content-Type": "application/json", **(headers or {})}
    )
