"""The Runtime API (version 2018-06-01) as `awslambdaric` calls it, of one worker."""

import json
import re

from deploy.local.lambda_endpoint.http_server import HttpRequest, HttpResponse, HttpServer
from deploy.local.lambda_endpoint.worker import Worker, WorkerGoneError

_RESULT = re.compile(r"/2018-06-01/runtime/invocation/(?P<request_id>[^/]+)/(?P<result>response|error)")
_ACCEPTED = HttpResponse(status=202, body=b'{"status":"OK"}', headers={"Content-Type": "application/json"})


def runtime_api(worker: Worker) -> HttpServer:
    """The server by which the process of `worker` takes invocations and gives answers."""

    async def handle(request: HttpRequest) -> HttpResponse:
        match (request.method, request.path):
            case ("GET", "/2018-06-01/runtime/invocation/next"):
                return await _next(worker)
            case ("POST", "/2018-06-01/runtime/init/error"):
                worker.fail_init(request.body)
                return _ACCEPTED
        found = _RESULT.fullmatch(request.path)
        if request.method != "POST" or not found:
            return _refused(404, "NotFound", f"{request.method} {request.path} is not part of the Runtime API")
        return _result(worker, found["request_id"], found["result"], request.body)

    return HttpServer(handle)


async def _next(worker: Worker) -> HttpResponse:
    try:
        invocation = await worker.next_invocation()
    except WorkerGoneError:
        return _refused(410, "WorkerGone", "the process of this worker has ended")
    headers = {
        "Content-Type": "application/json",
        "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
        "Lambda-Runtime-Deadline-Ms": str(worker.deadline_ms),
        "Lambda-Runtime-Invoked-Function-Arn": worker.function.arn,
    }
    if invocation.client_context:
        headers["Lambda-Runtime-Client-Context"] = invocation.client_context
    if invocation.trace_id:
        headers["Lambda-Runtime-Trace-Id"] = invocation.trace_id
    return HttpResponse(status=200, body=invocation.payload, headers=headers)


def _result(worker: Worker, request_id: str, result: str, body: bytes) -> HttpResponse:
    if not worker.holds(request_id):
        return _refused(400, "InvalidRequestID", f"this worker does not hold request {request_id}")
    if result == "error":
        worker.fail(request_id, body)
    elif not worker.respond(request_id, body):
        return _refused(413, "RequestEntityTooLarge", f"a response of {len(body)} bytes is too large")
    return _ACCEPTED


def _refused(status: int, error_type: str, message: str) -> HttpResponse:
    body = json.dumps({"errorType": error_type, "errorMessage": message}).encode()
    return HttpResponse(status=status, body=body, headers={"Content-Type": "application/json"})
