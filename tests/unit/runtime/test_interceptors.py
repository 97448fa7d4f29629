"""What surrounds a call, with a context of our own."""

import asyncio
from typing import Any

import grpc
import pytest
import structlog
from google.protobuf.timestamp_pb2 import Timestamp
from prometheus_client import CollectorRegistry

from services.runtime.channel import current_deadline
from services.runtime.errors import NotFoundError
from services.runtime.interceptors import ServerCalls

METHOD = "/sample.v1.SampleService/Do"


class FakeContext:
    """As much of a servicer context as the interceptor uses."""

    def __init__(self, *, remaining: float | None = None, metadata: tuple[tuple[str, str | bytes], ...] = ()) -> None:
        self.remaining = remaining
        self.metadata = metadata
        self.aborted: tuple[grpc.StatusCode, str] | None = None
        self.trailing: tuple[tuple[str, str], ...] = ()
        self.written: list[str] = []
        self.ended = False

    def time_remaining(self) -> float | None:
        return self.remaining

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        return self.metadata

    def set_trailing_metadata(self, metadata: tuple[tuple[str, str], ...]) -> None:
        self.trailing = metadata

    def peer(self) -> str:
        assert not self.ended, "gRPC would read freed memory"
        return "ipv4:127.0.0.1:1"

    def code(self) -> int:
        return 0 if self.aborted is None else self.aborted[0].value[0]

    async def abort(self, code: grpc.StatusCode, details: str, _metadata: object) -> None:
        self.aborted = (code, details)
        raise grpc.aio.AbortError

    async def write(self, message: str) -> None:
        self.written.append(message)


class Details:
    """What gRPC tells of a call before it begins."""

    method = METHOD
    invocation_metadata = ()


def calls(**options: Any) -> ServerCalls:
    """An interceptor with metrics of its own."""
    return ServerCalls(registry=CollectorRegistry(), **options)


async def wrapped(interceptor: ServerCalls, handler: Any) -> Any:
    """The handler as gRPC would run it."""

    async def continuation(_details: Any) -> Any:
        return handler

    details: Any = Details()
    return await interceptor.intercept_service(continuation, details)


async def call(interceptor: ServerCalls, behaviour: Any, context: FakeContext) -> Any:
    """Runs a unary behaviour inside the interceptor, in a task as gRPC does."""
    handler = await wrapped(interceptor, grpc.unary_unary_rpc_method_handler(behaviour))
    return await asyncio.ensure_future(handler.unary_unary("request", context))


async def answer(_request: str, _context: Any) -> str:
    """A behaviour that works."""
    return "answer"


async def test_call_whose_deadline_has_passed_is_refused_before_any_work() -> None:
    """Nobody waits for the answer any more."""
    began = False

    async def work(_request: str, _context: Any) -> str:
        nonlocal began
        began = True
        return ""

    late = FakeContext(remaining=0)
    with pytest.raises(grpc.aio.AbortError):
        await call(calls(), work, late)
    assert not began
    assert late.aborted
    assert late.aborted[0] is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_deadline_is_known_while_serving_and_not_afterwards() -> None:
    """On the clock that the interceptor was given; it ends with the call's task."""
    seen: list[float | None] = []

    async def work(_request: str, _context: Any) -> str:
        seen.append(current_deadline.get())
        return ""

    interceptor = calls(now=lambda: 100.0)
    await call(interceptor, work, FakeContext(remaining=5))
    await call(interceptor, work, FakeContext())
    assert seen == [105.0, None]
    assert current_deadline.get() is None


async def test_cancelled_call_stays_cancelled() -> None:
    """A swallowed cancellation would hang the client."""

    async def work(_request: str, _context: Any) -> str:
        raise asyncio.CancelledError

    context = FakeContext()
    with pytest.raises(asyncio.CancelledError):
        await call(calls(), work, context)
    assert context.aborted is None


async def test_call_that_has_ended_is_not_asked_for_its_peer() -> None:
    """The call is freed before a cancelled handler has come to its end."""

    async def work(_request: str, context: Any) -> str:
        context.ended = True
        raise asyncio.CancelledError

    with structlog.testing.capture_logs() as lines, pytest.raises(asyncio.CancelledError):
        await call(calls(), work, FakeContext())
    assert [(line["code"], line["peer"]) for line in lines] == [("CANCELLED", "ipv4:127.0.0.1:1")]


async def test_handler_that_answers_by_writing_is_served() -> None:
    """GRPC's second way of streaming."""

    async def work(_request: str, context: Any) -> None:
        await context.write("one")

    handler = await wrapped(calls(), grpc.unary_stream_rpc_method_handler(work))
    context = FakeContext()
    assert [item async for item in handler.unary_stream("request", context)] == []
    assert context.written == ["one"]


@pytest.mark.parametrize(
    "make",
    [
        grpc.unary_unary_rpc_method_handler,
        grpc.unary_stream_rpc_method_handler,
        grpc.stream_unary_rpc_method_handler,
        grpc.stream_stream_rpc_method_handler,
    ],
)
async def test_wrapped_handler_keeps_arity_and_serializers(make: Any) -> None:
    """GRPC reads both from the handler."""
    handler = await wrapped(calls(), make(answer, bytes.decode, str.encode))
    original = make(answer, bytes.decode, str.encode)
    assert (handler.request_streaming, handler.response_streaming) == (
        original.request_streaming,
        original.response_streaming,
    )
    assert handler.request_deserializer(b"text") == "text"
    assert handler.response_serializer("text") == b"text"
    assert handler.response_serializer(b"done already") == b"done already"


async def test_unknown_method_is_left_to_grpc() -> None:
    """It answers UNIMPLEMENTED; nothing of an attacker's method names is remembered."""
    interceptor = calls()
    assert await wrapped(interceptor, None) is None
    assert await wrapped(interceptor, grpc.unary_unary_rpc_method_handler(answer)) is not None


async def test_handler_is_wrapped_once() -> None:
    """Wrapping is what an interceptor costs."""
    interceptor = calls()
    handler: Any = grpc.unary_unary_rpc_method_handler(answer)
    assert await wrapped(interceptor, handler) is await wrapped(interceptor, handler)


@pytest.mark.parametrize(
    ("access_log", "logged"), [("off", []), ("errors", ["NOT_FOUND"]), ("all", ["OK", "NOT_FOUND"])]
)
async def test_access_log_holds_what_was_asked_for(access_log: str, logged: list[str]) -> None:
    """One line per call with method, code, duration and peer."""

    async def missing(_request: str, _context: Any) -> str:
        raise NotFoundError("no program 7", reason="ERROR_REASON_PROGRAM_NOT_FOUND")

    with structlog.testing.capture_logs() as lines:
        assert await call(calls(access_log=access_log), answer, FakeContext()) == "answer"
        with pytest.raises(grpc.aio.AbortError):
            await call(calls(access_log=access_log), missing, FakeContext())
    assert [line["code"] for line in lines] == logged
    assert all(line["method"] == METHOD and line["peer"] and line["milliseconds"] >= 0 for line in lines)


async def test_binary_metadata_is_no_request_id() -> None:
    """A `-bin` header carries bytes."""
    context = FakeContext(metadata=(("x-request-id", b"\xff"), ("traceparent", b"\xff")))
    assert await call(calls(), answer, context) == "answer"
    assert len(context.trailing[0][1]) == 32


async def test_a_stream_ends_at_the_request_that_cannot_be_read() -> None:
    """What came before it was handed on."""
    seen: list[Timestamp] = []

    async def behaviour(requests: Any, _context: Any) -> Any:
        async for request in requests:
            seen.append(request)
            yield request

    context = FakeContext()
    handler = await wrapped(
        calls(), grpc.stream_stream_rpc_method_handler(behaviour, request_deserializer=Timestamp.FromString)
    )

    async def requests() -> Any:
        for data in (Timestamp(seconds=1).SerializeToString(), b"\xff", b""):
            yield handler.request_deserializer(data)

    with pytest.raises(grpc.aio.AbortError):
        async for _ in handler.stream_stream(requests(), context):
            pass
    assert seen == [Timestamp(seconds=1)]
    assert context.aborted
    assert context.aborted[0] is grpc.StatusCode.INVALID_ARGUMENT
