"""What surrounds every incoming call: request id, trace, deadline, errors to status, metrics, access log.

One interceptor wraps each handler once: wrapping is what interceptors cost.
"""

import asyncio
import inspect
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, TypeAlias

import grpc
import structlog
from google.protobuf.message import DecodeError
from prometheus_client import REGISTRY, CollectorRegistry, Histogram

from services.runtime import errors
from services.runtime.channel import current_deadline
from services.runtime.status import DETAILS_KEY, code_of, from_rpc_error, to_status
from services.runtime.telemetry import (
    REQUEST_ID_KEY,
    counter,
    current_request_id,
    current_trace,
    gauge,
    histogram,
    request_id_from_mapping,
    trace_from_mapping,
)

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
# The handler of a method; generic for the type checker only.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
MaybeHandler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"

# A call of ours to another service that fails for a passing reason fails our caller's call for the same reason.
_PASSED_ON = (errors.RetryableError, errors.DeadlineExceededError)
_OURS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS, grpc.StatusCode.UNAVAILABLE}
_MAKERS: dict[tuple[bool, bool], Callable[..., Handler]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}
_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


class ServerCalls(grpc.aio.ServerInterceptor):
    """Runs every handler inside a `_Call`; `access_log` says which calls are logged: none, failed ones, or all."""

    def __init__(
        self,
        *,
        access_log: Literal["off", "errors", "all"] = "errors",
        registry: CollectorRegistry = REGISTRY,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.now = now
        self.in_flight = 0
        self._access_log = access_log
        self._log = structlog.get_logger(component="access")
        self._wrapped: dict[str, Handler] = {}
        self._seconds: dict[tuple[str, str], Histogram] = {}
        labels = ("method", "code")
        self._handled = histogram(
            "penstock_grpc_server_seconds", "Duration of served calls by method and code.", labels, registry=registry
        )
        gauge(
            "penstock_grpc_server_in_flight", "Calls being served, streams included.", registry=registry
        ).set_function(lambda: self.in_flight)
        self._crashes = counter(
            "penstock_grpc_server_unexpected_errors", "Calls that failed unexpectedly.", registry=registry
        )

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[MaybeHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> MaybeHandler:
        method = handler_call_details.method
        wrapped = self._wrapped.get(method)
        if wrapped is None:
            handler = await continuation(handler_call_details)
            if handler is None:  # no such method: gRPC answers UNIMPLEMENTED
                return None
            wrapped = self._wrapped[method] = self._wrap(handler, method)
        return wrapped

    def _wrap(self, handler: Handler, method: str) -> Handler:
        # Exactly the behaviour of the handler's arity is set.
        behaviour: Any = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
        given = _each_well_formed if handler.request_streaming else _well_formed
        wrapped = (self._streaming if handler.response_streaming else self._single)(behaviour, given, method)
        return _MAKERS[handler.request_streaming, handler.response_streaming](
            wrapped, _tolerant(handler.request_deserializer), _passing_bytes(handler.response_serializer)
        )

    def _single(
        self, behaviour: Callable[[Any, Context], Any], given: Callable[[Any], Any], method: str
    ) -> Callable[[Any, Context], Awaitable[Any]]:
        async def call(request: Any, context: Context) -> Any:
            async with _Call(self, context, method):
                return await behaviour(given(request), context)

        return call

    def _streaming(
        self, behaviour: Callable[[Any, Context], Any], given: Callable[[Any], Any], method: str
    ) -> Callable[[Any, Context], Any]:
        async def call(request: Any, context: Context) -> AsyncIterator[Any]:
            async with _Call(self, context, method):
                responses = behaviour(given(request), context)
                if inspect.isawaitable(responses):  # a handler that answers by context.write
                    await responses
                    return
                async with aclosing(responses):
                    async for response in responses:
                        yield response

        return call

    def failure(self, error: Exception, method: str, given: grpc.StatusCode | None) -> errors.PenstockError:
        """What the caller is told of an error; an unexpected one is logged whole and told as an id."""
        if isinstance(error, errors.PenstockError):
            return error
        if isinstance(error, NotImplementedError) and given is grpc.StatusCode.UNIMPLEMENTED:  # a generated method
            return errors.UnimplementedError(f"{method} is declared but not built yet", metadata={"method": method})
        if isinstance(error, grpc.aio.AioRpcError):
            failure = from_rpc_error(error)
            if isinstance(failure, _PASSED_ON):
                return failure
        self._crashes.inc()
        self._log.error("unexpected error", method=method, exc_info=error)
        request_id = current_request_id.get()
        return errors.InternalError(
            f"an unexpected error; the server's log has it under the request id {request_id}",
            metadata={"request_id": request_id},
        )

    def finished(self, method: str, code: grpc.StatusCode, seconds: float, peer: str) -> None:
        """Counts and logs a call that has its status."""
        child = self._seconds.get((method, code.name))
        if child is None:
            child = self._seconds[method, code.name] = self._handled.labels(method, code.name)
        child.observe(seconds)
        if self._access_log == "all" or (self._access_log == "errors" and code is not grpc.StatusCode.OK):
            log = self._log.warning if code in _OURS else self._log.info
            log("call", method=method, code=code.name, milliseconds=round(seconds * 1000, 3), peer=peer)


@dataclass(frozen=True, slots=True)
class _Malformed:
    """Stands in for a request whose bytes are no message: what a deserializer raises, gRPC answers with UNKNOWN."""

    fault: str


def _tolerant(deserialize: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    if deserialize is None:
        return None

    def request_of(data: bytes) -> Any:
        try:
            return deserialize(data)
        except DecodeError as error:
            return _Malformed(str(error))

    return request_of


def _passing_bytes(serialize: Callable[[Any], bytes] | None) -> Callable[[Any], bytes] | None:
    """A handler may give bytes it has serialised itself, once for many callers."""
    if serialize is None:
        return None
    return lambda response: response if type(response) is bytes else serialize(response)


def _well_formed(request: Any) -> Any:
    if isinstance(request, _Malformed):
        raise errors.InvalidArgumentError(f"the request cannot be read: {request.fault}")
    return request


async def _each_well_formed(requests: AsyncIterable[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        yield _well_formed(request)


class _Call:
    """One call, from its arrival to its status."""

    __slots__ = ("_calls", "_context", "_method", "_peer", "_started")

    def __init__(self, calls: ServerCalls, context: Context, method: str) -> None:
        self._calls = calls
        self._context = context
        self._method = method
        self._started = calls.now()
        # Asked now: once the call has ended gRPC reads freed memory for its peer, and the process crashes.
        self._peer = context.peer()

    async def __aenter__(self) -> None:
        # Every call is a task of its own: what is set here ends with it.
        metadata = {key: value for key, value in self._context.invocation_metadata() or () if isinstance(value, str)}
        request_id = request_id_from_mapping(metadata)
        current_request_id.set(request_id)
        current_trace.set(trace_from_mapping(metadata))
        remaining = self._context.time_remaining()
        current_deadline.set(None if remaining is None else self._started + remaining)
        self._context.set_trailing_metadata(((REQUEST_ID_KEY, request_id),))
        self._calls.in_flight += 1
        if remaining is not None and remaining <= 0:
            late = errors.DeadlineExceededError(f"the deadline of {self._method} had passed when the call arrived")
            await self.__aexit__(type(late), late, None)

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        given = _code_set(self._context)
        code = given or grpc.StatusCode.OK
        try:
            if isinstance(error, asyncio.CancelledError | GeneratorExit):
                code = grpc.StatusCode.CANCELLED
            elif isinstance(error, grpc.aio.AbortError):
                code = given or grpc.StatusCode.UNKNOWN
            elif isinstance(error, Exception):
                failure = self._calls.failure(error, self._method, given)
                code = code_of(failure)
                await _abort(self._context, failure)
        finally:
            self._calls.in_flight -= 1
            self._calls.finished(self._method, code, self._calls.now() - self._started, self._peer)


def _code_set(context: Context) -> grpc.StatusCode | None:
    """The code a handler gave by abort or set_code; grpc.aio keeps it as a number, 0 when none was given."""
    code: Any = context.code()
    return code if isinstance(code, grpc.StatusCode) else _BY_NUMBER.get(code)


async def _abort(context: Context, error: errors.PenstockError) -> None:
    status = to_status(error)
    metadata = ((REQUEST_ID_KEY, current_request_id.get()), (DETAILS_KEY, status.SerializeToString()))
    await context.abort(code_of(error), status.message, metadata)
