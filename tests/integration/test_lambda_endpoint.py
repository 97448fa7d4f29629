"""The Lambda endpoint under the real boto3 and the real awslambdaric."""

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from deploy.local.lambda_endpoint.endpoint import LambdaEndpoint
from deploy.local.lambda_endpoint.function import FunctionSpec, load_functions
from deploy.local.ports import free_port_numbers

FUNCTIONS = Path(__file__).parent / "lambda_functions" / "functions.toml"
MEBIBYTE = 1024 * 1024


class Caller:
    """boto3 in a thread, since the endpoint runs in the loop of the test."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.boto = boto3.client(
            "lambda",
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}, read_timeout=120, max_pool_connections=20),
        )

    async def invoke(self, function: str, event: Any = None, **more: Any) -> Any:
        """The answer, with `Payload` read and parsed."""
        payload = {} if event is None else {"Payload": event if isinstance(event, bytes) else json.dumps(event)}
        answer = await asyncio.to_thread(self.boto.invoke, FunctionName=function, **payload, **more)
        text = await asyncio.to_thread(answer["Payload"].read)
        return {**answer, "Payload": json.loads(text) if text else None}

    async def refusal(self, function: str, event: Any = None, **more: Any) -> tuple[int, str, str]:
        """Status, code and message of the error that the invocation must raise."""
        with pytest.raises(ClientError) as caught:
            await self.invoke(function, event, **more)
        response: Any = caught.value.response
        return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"], response["Error"]["Message"]

    async def first_records(self, count: int, function: str) -> list[dict[str, Any]]:
        """The records of a function, once there are `count` of them."""
        while len(records := await self.records(function)) < count:  # noqa: ASYNC110 - another process is waited for
            await asyncio.sleep(0)
        return records

    async def records(self, function: str) -> list[dict[str, Any]]:
        url = f"http://127.0.0.1:{self.port}/_penstock/invocations?function={function}"
        return list((await asyncio.to_thread(_get_json, url))["invocations"])


def _get_json(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=60) as response:
        return json.load(response)


@pytest.fixture
async def endpoint(tmp_path: Path) -> AsyncIterator[LambdaEndpoint]:
    [port] = free_port_numbers(1)
    functions = load_functions(FUNCTIONS)
    async with LambdaEndpoint(
        functions, host="127.0.0.1", port=port, data_directory=tmp_path / "lambda", retry_delays=(0.0, 0.0)
    ) as running:
        yield running


@pytest.fixture
def caller(endpoint: LambdaEndpoint) -> Caller:
    return Caller(endpoint.port)


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


async def _write(pipe: Path, text: str) -> None:
    """Wait until a handler reads the pipe, then end its wait."""
    await asyncio.to_thread(pipe.write_text, text)


async def test_synchronous_invocation_returns_the_answer(caller: Caller) -> None:
    """RequestResponse: status 200, the handler's JSON, a request id that the handler saw as well."""
    answer = await caller.invoke("echo", {"order": 1})
    assert answer["StatusCode"] == 200
    assert "FunctionError" not in answer
    assert answer["ExecutedVersion"] == "$LATEST"
    payload = answer["Payload"]
    assert payload["event"] == {"order": 1}
    assert payload["request_id"] == answer["ResponseMetadata"]["RequestId"]
    assert payload["arn"] == "arn:aws:lambda:us-east-1:123456789012:function:echo"
    assert payload["has_time_left"] is True
    assert (payload["name"], payload["setting"]) == ("echo", "from the file")


async def test_invocation_without_payload_gets_an_empty_object(caller: Caller) -> None:
    """A missing payload is the event {}."""
    assert (await caller.invoke("echo"))["Payload"]["event"] == {}


@pytest.mark.parametrize(
    "reference",
    [
        "arn:aws:lambda:us-east-1:123456789012:function:echo",
        "arn:aws:lambda:us-east-1:123456789012:function:echo:$LATEST",
        "123456789012:function:echo",
        "function:echo",
        "echo:$LATEST",
    ],
)
async def test_function_is_found_by_every_form_of_its_name(caller: Caller, reference: str) -> None:
    """ARN, partial ARN and qualified name all name the same function."""
    assert (await caller.invoke(reference))["Payload"]["name"] == "echo"


async def test_client_context_reaches_the_handler(caller: Caller) -> None:
    """The base64 JSON of the caller is the handler's context.client_context."""
    context = base64.b64encode(json.dumps({"custom": {"traceparent": "00-ab-cd-01", "name": "Zoë"}}).encode()).decode()
    answer = await caller.invoke("echo", ClientContext=context)
    assert answer["Payload"]["custom"] == {"traceparent": "00-ab-cd-01", "name": "Zoë"}


async def test_client_context_that_is_no_json_object_is_refused(caller: Caller) -> None:
    """A context the handler could not read is the caller's error."""
    encoded = base64.b64encode(b"[1]").decode()
    status, code, message = await caller.refusal("echo", ClientContext=encoded)
    assert (status, code) == (400, "InvalidRequestContentException")
    assert "client context" in message


async def test_worker_is_reused_between_invocations(caller: Caller) -> None:
    """A warm invocation runs in the process of the one before."""
    pids = [(await caller.invoke("echo"))["Payload"]["pid"] for _ in range(3)]
    assert len(set(pids)) == 1


async def test_simultaneous_invocations_get_processes_of_their_own(caller: Caller) -> None:
    """Two invocations at once never share a worker, and all are answered."""
    answers = await asyncio.gather(*(caller.invoke("echo", {"number": number}) for number in range(8)))
    assert sorted(answer["Payload"]["event"]["number"] for answer in answers) == list(range(8))


async def test_back_to_back_invocations_are_all_answered(caller: Caller) -> None:
    """An invocation that arrives before the worker asks for it waits for the worker, not for ever."""
    for number in range(100):
        answer = await caller.invoke("echo", number)
        assert answer["Payload"]["event"] == number


async def test_dry_run_starts_nothing(caller: Caller) -> None:
    """DryRun answers 204 and leaves no record."""
    assert (await caller.invoke("echo", InvocationType="DryRun"))["StatusCode"] == 204
    assert await caller.records("echo") == []


async def test_exception_of_the_handler_is_a_function_error_with_its_stack(caller: Caller) -> None:
    """Status 200, FunctionError Unhandled, type, message and the real trace."""
    answer = await caller.invoke("fail", {"order": 7})
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    error = answer["Payload"]
    assert (error["errorType"], error["errorMessage"]) == ("ValueError", "no such order: 7")
    assert "handlers.py" in error["stackTrace"][0]
    assert "raise ValueError" in error["stackTrace"][0]


async def test_module_that_cannot_be_imported_is_an_import_module_error(caller: Caller) -> None:
    """The reason is the import, not the exit that follows it; a second invocation says the same."""
    for _ in range(2):
        answer = await caller.invoke("broken")
        assert answer["FunctionError"] == "Unhandled"
        assert answer["Payload"]["errorType"] == "Runtime.ImportModuleError"
        assert "a_module_that_is_not_there" in answer["Payload"]["errorMessage"]


async def test_missing_handler_is_named(caller: Caller) -> None:
    """A module without the function is Runtime.HandlerNotFound."""
    answer = await caller.invoke("no-handler")
    assert answer["Payload"]["errorType"] == "Runtime.HandlerNotFound"


async def test_handler_that_takes_too_long_is_killed(caller: Caller, pipe: Path) -> None:
    """Sandbox.Timedout names the limit; the process is gone and the next invocation gets a new one."""
    answer = await caller.invoke("too-slow", {"pipe": str(pipe)})
    assert answer["FunctionError"] == "Unhandled"
    assert answer["Payload"]["errorType"] == "Sandbox.Timedout"
    assert answer["Payload"]["errorMessage"].endswith("Error: Task timed out after 0.20 seconds")
    with pytest.raises(OSError, match="No such device"):  # ENXIO: nobody holds the reading end any more
        os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    assert (await caller.invoke("too-slow", {"pipe": "/dev/null"}))["Payload"] == ""


@pytest.mark.parametrize(("by", "ending"), [("exit", "exit status 3"), ("signal", "signal: 9")])
async def test_process_that_ends_is_an_exit_error_and_replaced(caller: Caller, by: str, ending: str) -> None:
    """Runtime.ExitError says how it ended; the next invocation gets a new process."""
    for _ in range(2):
        answer = await caller.invoke("leave", {"by": by})
        assert answer["FunctionError"] == "Unhandled"
        assert answer["Payload"]["errorType"] == "Runtime.ExitError"
        assert answer["Payload"]["errorMessage"].endswith(f"Error: Runtime exited with error: {ending}")


async def test_unknown_function_is_not_found(caller: Caller) -> None:
    """404 with the ARN that was looked for."""
    status, code, message = await caller.refusal("nothing")
    assert (status, code) == (404, "ResourceNotFoundException")
    assert message == "Function not found: arn:aws:lambda:us-east-1:123456789012:function:nothing"


async def test_invocation_above_the_concurrency_is_throttled(caller: Caller, pipe: Path) -> None:
    """429 while the one worker is busy; served again afterwards."""
    first = asyncio.create_task(caller.invoke("hold", {"pipe": str(pipe)}))
    writer = await asyncio.to_thread(pipe.open, "w")  # opens when the handler reads
    try:
        status, code, _ = await caller.refusal("hold", {"pipe": str(pipe)})
        assert (status, code) == (429, "TooManyRequestsException")
        writer.write("done")
    finally:
        writer.close()
    assert (await first)["Payload"] == "done"
    assert (await caller.invoke("hold", {"pipe": "/dev/null"}))["Payload"] == ""


@pytest.mark.parametrize(
    ("invocation_type", "limit"), [("RequestResponse", 6 * MEBIBYTE), ("Event", MEBIBYTE)], ids=["sync", "event"]
)
async def test_payload_up_to_the_limit_is_taken_and_above_refused(
    endpoint: LambdaEndpoint, caller: Caller, invocation_type: str, limit: int
) -> None:
    """6 MiB synchronously, 1 MiB asynchronously; one byte more is 413."""
    largest = json.dumps("x" * (limit - 2)).encode()
    answer = await caller.invoke("chatter", largest, InvocationType=invocation_type)
    assert answer["StatusCode"] in {200, 202}
    await endpoint.drained()
    status, code, message = await caller.refusal("chatter", largest + b" ", InvocationType=invocation_type)
    assert (status, code) == (413, "RequestTooLargeException")
    assert str(limit + 1) in message
    assert [record["payload_bytes"] for record in await caller.records("chatter")] == [limit]


async def test_response_up_to_the_limit_is_passed_and_above_is_an_error(caller: Caller) -> None:
    """Lambda's limit for a response is 6 MiB + 100 bytes; above: Function.ResponseSizeTooLarge, then service again."""
    limit = 6 * MEBIBYTE + 100
    assert len((await caller.invoke("answer-of", {"bytes": limit}))["Payload"]) == limit - 2
    answer = await caller.invoke("answer-of", {"bytes": limit + 1})
    assert answer["FunctionError"] == "Unhandled"
    assert answer["Payload"]["errorType"] == "Function.ResponseSizeTooLarge"
    assert (await caller.invoke("answer-of", {"bytes": 10}))["Payload"] == "x" * 8


async def test_payload_that_is_no_json_is_refused(caller: Caller) -> None:
    """The handler never sees bytes that it could not parse."""
    status, code, message = await caller.refusal("echo", b'{"half": ')
    assert (status, code) == (400, "InvalidRequestContentException")
    assert message.startswith("Could not parse request body into json: ")
    assert await caller.records("echo") == []


async def test_log_tail_holds_the_last_four_kibibytes(caller: Caller) -> None:
    """LogType=Tail: the end of what the handler wrote, base64; nothing without it."""
    answer = await caller.invoke("chatter", LogType="Tail")
    tail = base64.b64decode(answer["LogResult"]).decode()
    assert len(tail) == 4096
    assert "line 999\n" in tail
    assert "last line\n" in tail
    assert "first line" not in tail
    assert f"END RequestId: {answer['ResponseMetadata']['RequestId']}\n" in tail
    assert "LogResult" not in await caller.invoke("chatter")


async def test_log_tail_holds_only_the_invocation_it_belongs_to(caller: Caller) -> None:
    """A warm worker's earlier output is not repeated."""
    await caller.invoke("chatter")
    answer = await caller.invoke("chatter", LogType="Tail")
    assert base64.b64decode(answer["LogResult"]).decode().count("last line") == 1


async def test_event_is_accepted_and_run_once_when_it_succeeds(endpoint: LambdaEndpoint, caller: Caller) -> None:
    """202 with an empty body, then one successful attempt."""
    answer = await caller.invoke("echo", {"order": 1}, InvocationType="Event")
    assert (answer["StatusCode"], answer["Payload"]) == (202, None)
    await endpoint.drained()
    [record] = await caller.records("echo")
    assert (record["invocation_type"], record["attempt"], record["outcome"]) == ("Event", 1, "success")
    assert record["request_id"] == answer["ResponseMetadata"]["RequestId"]
    assert record["payload"] == {"order": 1}


async def test_failing_event_is_tried_three_times_in_all(endpoint: LambdaEndpoint, caller: Caller) -> None:
    """Two retries with the same request id, then it is given up."""
    await caller.invoke("fail", {"order": 9}, InvocationType="Event")
    await endpoint.drained()
    records = await caller.records("fail")
    assert [(record["attempt"], record["outcome"], record["error_type"]) for record in records] == [
        (1, "error", "ValueError"),
        (2, "error", "ValueError"),
        (3, "error", "ValueError"),
    ]
    assert len({record["request_id"] for record in records}) == 1


async def test_event_that_succeeds_on_a_retry_is_not_tried_again(
    endpoint: LambdaEndpoint, caller: Caller, tmp_path: Path
) -> None:
    """The retries end with the first success."""
    await caller.invoke("fail-twice", {"counter": str(tmp_path / "counter")}, InvocationType="Event")
    await endpoint.drained()
    assert [record["outcome"] for record in await caller.records("fail-twice")] == ["error", "error", "success"]


async def test_events_above_the_concurrency_wait(endpoint: LambdaEndpoint, caller: Caller, pipe: Path) -> None:
    """Asynchronous invocations are queued where synchronous ones are refused."""
    for _ in range(3):
        await caller.invoke("hold", {"pipe": str(pipe)}, InvocationType="Event")
    for number in range(3):
        await _write(pipe, f"{number}")
        await caller.first_records(number + 1, "hold")
    await endpoint.drained()
    assert [record["response"] for record in await caller.records("hold")] == ["0", "1", "2"]


async def test_function_whose_folder_is_gone_is_a_service_error(tmp_path: Path) -> None:
    """500 ServiceException, and a failed attempt of an Event; the endpoint goes on."""
    code = tmp_path / "code"
    await asyncio.to_thread(code.mkdir)
    function = FunctionSpec(name="orders", handler="orders.handle", code=code)
    await asyncio.to_thread(code.rmdir)
    [port] = free_port_numbers(1)
    async with LambdaEndpoint(
        {"orders": function}, host="127.0.0.1", port=port, data_directory=tmp_path, retry_delays=()
    ) as endpoint:
        caller = Caller(port)
        status, error, message = await caller.refusal("orders")
        assert (status, error) == (500, "ServiceException")
        assert str(code) in message
        await caller.invoke("orders", InvocationType="Event")
        await endpoint.drained()
        [record] = await caller.records("orders")
        assert (record["outcome"], record["error_type"]) == ("error", "ServiceException")


async def test_functions_are_listed(caller: Caller) -> None:
    """ListFunctions shows what the file declares."""
    listed = (await asyncio.to_thread(caller.boto.list_functions))["Functions"]
    assert {function["FunctionName"] for function in listed} == set(load_functions(FUNCTIONS))


async def test_unknown_path_is_a_clear_404(caller: Caller) -> None:
    """What the endpoint does not serve is said so, through the SDK as well."""
    with pytest.raises(ClientError, match="is not served here"):
        await asyncio.to_thread(caller.boto.get_function, FunctionName="echo")


async def test_processes_a_handler_leaves_end_with_its_worker(tmp_path: Path) -> None:
    """The worker's whole group ends when the endpoint does."""
    [port] = free_port_numbers(1)
    functions = load_functions(FUNCTIONS)
    async with LambdaEndpoint(functions, host="127.0.0.1", port=port, data_directory=tmp_path, retry_delays=()):
        child = psutil.Process((await Caller(port).invoke("leave-child"))["Payload"])
        assert child.is_running()
    psutil.wait_procs([child], timeout=30)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


@contextmanager
def _endpoint_process(port: int, data: Path, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    argv = [sys.executable, "-m", "deploy.local.lambda_endpoint", "--port", str(port), "--data", str(data), *more]
    process = subprocess.Popen(argv, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def _serving(port: int, process: subprocess.Popen[bytes]) -> Mapping[str, str]:
    while process.poll() is None:
        try:
            health: Mapping[str, str] = await asyncio.to_thread(_get_json, f"http://127.0.0.1:{port}/_penstock/health")
        except OSError:
            await asyncio.sleep(0.02)
        else:
            return health
    raise AssertionError(f"the endpoint ended with exit code {process.returncode}")


async def test_killed_endpoint_leaves_no_worker(tmp_path: Path, pipe: Path) -> None:
    """SIGKILL of the endpoint ends its workers too, also one in the middle of an invocation."""
    [port] = free_port_numbers(1)
    with _endpoint_process(port, tmp_path, "--functions", str(FUNCTIONS)) as process:
        await _serving(port, process)
        await Caller(port).invoke("hold", {"pipe": str(pipe)}, InvocationType="Event")
        writer = await asyncio.to_thread(pipe.open, "w")
        [worker] = psutil.Process(process.pid).children()
        process.send_signal(signal.SIGKILL)
        _, alive = await asyncio.to_thread(psutil.wait_procs, [worker], 30)
        writer.close()
        assert alive == []


async def test_accepted_event_survives_the_death_of_the_endpoint(tmp_path: Path, pipe: Path) -> None:
    """An Event that was answered 202 is run by the next endpoint on the same data folder."""
    [port] = free_port_numbers(1)
    arguments = ("--functions", str(FUNCTIONS))
    with _endpoint_process(port, tmp_path / "data", *arguments) as process:
        await _serving(port, process)
        await Caller(port).invoke("hold", {"pipe": str(pipe)}, InvocationType="Event")
        writer = await asyncio.to_thread(pipe.open, "w")
        process.send_signal(signal.SIGKILL)
        process.wait()
        writer.close()
    with _endpoint_process(port, tmp_path / "data", *arguments) as process:
        await _serving(port, process)
        await _write(pipe, "second time")
        records = await Caller(port).first_records(1, "hold")
        assert [(record["outcome"], record["response"]) for record in records] == [("success", "second time")]
    assert list((tmp_path / "data" / "events").iterdir()) == []


async def test_records_of_an_earlier_run_are_still_listed(tmp_path: Path) -> None:
    """The file of records outlives the process; SIGTERM ends it with code 0."""
    [port] = free_port_numbers(1)
    for run in range(2):
        with _endpoint_process(port, tmp_path, "--functions", str(FUNCTIONS)) as process:
            await _serving(port, process)
            await Caller(port).invoke("echo", {"run": run})
            payloads = [record["payload"] for record in await Caller(port).records("echo")]
            assert payloads == [{"run": earlier} for earlier in range(run + 1)]
            process.terminate()
            assert process.wait(timeout=60) == 0


def test_bad_file_of_functions_is_refused_at_start(tmp_path: Path) -> None:
    """The start ends with every fault on standard error."""
    path = tmp_path / "functions.toml"
    path.write_text('[functions.one]\nhandler = "nodot"\ncode = "missing"\n')
    argv = [sys.executable, "-m", "deploy.local.lambda_endpoint", "--functions", str(path), "--data", str(tmp_path)]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "functions.one.handler" in ended.stderr
    assert "functions.one.code" in ended.stderr
