"""The Runtime API (version 2018-06-01) as `awslambdaric` calls it, below `/w/<function>/<worker>`."""

import json
import re
from collections.abc import Mapping

from deploy.local.lambda_endpoint.http_server import HttpRequest, HttpResponse
from deploy.local.lambda_endpoint.pool import WorkerPool
from deploy.local.lambda_endpoint.worker import Worker, WorkerGoneError

_PATH = re.compile(
    r"/w/(?P<function>[^/]+)/(?P<worker>[^/]+)/2018-06-01/runtime/"
    r"(?P<call>invocation/next|init/error|invocation/(?P<request_id>[^/]+)/(?P<result>response|error))"
)
_ACCEPTED = HttpResponse(status=202, body=b'{"status":"OK"}', headers={"Content-Type": "application/json"})


def _refused(status: int, error_type: str, message: str) -> HttpResponse:
    body = json.dumps({"errorType": error_type, "errorMessage": message}).encode()
    return HttpResponse(status=status, body=body, headers={"Content-Type": "application/json"})


class RuntimeApi:
    """Hands invocations to workers and takes their answers."""

    def __init__(self, pools: Mapping[str, WorkerPool]) -> None:
        self._pools = pools

    async def handle(self, request: HttpRequest) -> HttpResponse:
        match = _PATH.fullmatch(request.path)
        pool = self._pools.get(match["function"]) if match else None
        worker = pool.worker(match["worker"]) if pool and match else None
        if match is None or worker is None:
            return _refused(403, "InvalidWorker", f"no worker is known at {request.path}")
        expected = "GET" if match["call"] == "invocation/next" else "POST"
        if request.method != expected:
            return _refused(405, "InvalidMethod", f"{request.path} takes {expected}")
        if match["call"] == "invocation/next":
            return await self._next(worker)
        if match["call"] == "init/error":
            worker.fail_init(request.body)
            return _ACCEPTED
        return self._result(worker, match["request_id"], match["result"], request.body)

    async def _next(self, worker: Worker) -> HttpResponse:
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

    def _result(self, worker: Worker, request_id: str, result: str, body: bytes) -> HttpResponse:
        if not worker.holds(request_id):
            return _refused(400, "InvalidRequestID", f"this worker does not hold request {request_id}")
        if result == "error":
            worker.fail(request_id, body)
        elif not worker.respond(request_id, body):
            return _refused(413, "RequestEntityTooLarge", f"a response of {len(body)} bytes is too large")
        return _ACCEPTED
