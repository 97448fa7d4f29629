"""Outgoing gRPC: one channel per target, with keepalive, limits, retries, deadline, trace context and request id."""

import json
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import grpc
from grpc.aio import ClientCallDetails

from services.runtime.telemetry import REQUEST_ID_KEY, current_request_id, inject_trace

KEEPALIVE_MILLISECONDS = 30_000
"""How often an idle connection is probed. The server permits a third of it; else it would answer `too_many_pings`."""

_MEBIBYTE = 1024 * 1024
_DEADLINE_MARGIN = 0.05  # seconds kept for our own answer when a deadline is passed on

current_deadline: ContextVar[float | None] = ContextVar("current_deadline", default=None)
"""When the call being served must be answered, on the monotonic clock; outgoing calls end a little earlier.

A task started while serving inherits it: work that outlives its call sets None first.
"""

Req = TypeVar("Req")
Call = TypeVar("Call")
Continuation: TypeAlias = Callable[[ClientCallDetails, Req], Awaitable[Call]]


def open_channel(
    target: str,
    *,
    tls_ca: Path | None = None,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    token: str = "",
    max_message_bytes: int = 16 * _MEBIBYTE,
    default_timeout: float | None = 30.0,
    idempotent: Sequence[str] = (),
) -> grpc.aio.Channel:
    """A channel to `target` (`host:port`); it connects by itself, again and again. Close it when done.

    Args:
        target: address; `ipv4:a:1,b:2` or a DNS name with several addresses is used round robin.
        tls_ca: PEM authorities of the server's certificate; without it the connection is plain text.
        tls_cert: PEM certificate this client presents.
        tls_key: its PEM key.
        token: sent with every call as `authorization: Bearer <token>`; give it to TLS channels and loopback only.
        max_message_bytes: largest message, in and out.
        default_timeout: seconds granted to a unary call that names none; an earlier deadline of the call being served
            wins.
        idempotent: `package.Service` or `package.Service/Method` names whose calls are repeated on UNAVAILABLE, up to
            four attempts; only what may run twice belongs here.
    """
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.keepalive_time_ms", KEEPALIVE_MILLISECONDS),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1_000),  # a peer that restarts is used again within about a second
        ("grpc.service_config", _service_config(idempotent)),
        ("grpc.enable_http_proxy", 0),
    ]
    interceptors: list[grpc.aio.ClientInterceptor] = [
        _UnaryUnary(token, default_timeout),
        _UnaryStream(token),
        _StreamUnary(token),
        _StreamStream(token),
    ]
    if tls_ca is None:
        return grpc.aio.insecure_channel(target, options, interceptors=interceptors)
    credentials = grpc.ssl_channel_credentials(
        tls_ca.read_bytes(), tls_key.read_bytes() if tls_key else None, tls_cert.read_bytes() if tls_cert else None
    )
    return grpc.aio.secure_channel(target, credentials, options, interceptors=interceptors)


def _service_config(idempotent: Sequence[str]) -> str:
    names = []
    for name in idempotent:
        service, _, method = name.partition("/")
        names.append({"service": service, "method": method} if method else {"service": service})
    config: dict[str, object] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if names:
        policy = {
            "maxAttempts": 4,
            "initialBackoff": "0.1s",
            "maxBackoff": "2s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"],
        }
        config["methodConfig"] = [{"name": names, "retryPolicy": policy}]
        # When a target fails for good, retries would triple its load: gRFC A6's budget stops them.
        config["retryThrottling"] = {"maxTokens": 100, "tokenRatio": 0.1}
    return json.dumps(config)


def remaining_time(now: Callable[[], float] = time.monotonic) -> float | None:
    """Seconds an outgoing call may take so that the call being served is answered in time; None without a deadline."""
    deadline = current_deadline.get()
    return None if deadline is None else max(deadline - now() - _DEADLINE_MARGIN, 0.0)


def _passed_on(details: ClientCallDetails, token: str, default_timeout: float | None = None) -> ClientCallDetails:
    """The call with our token, and with trace, request id and deadline of the call being served."""
    metadata = details.metadata if details.metadata is not None else grpc.aio.Metadata()
    # As metadata: call credentials leak in grpc.aio (grpc#43193), and need TLS even on loopback.
    carried = {"authorization": f"Bearer {token}"} if token else {}
    inject_trace(carried)
    if request_id := current_request_id.get():
        carried[REQUEST_ID_KEY] = request_id
    for key, value in carried.items():
        if metadata.get(key) is None:
            metadata.add(key, value)
    limits = [limit for limit in (details.timeout or default_timeout, remaining_time()) if limit is not None]
    return ClientCallDetails(
        details.method, min(limits, default=None), metadata, details.credentials, details.wait_for_ready
    )


class _Caller:
    def __init__(self, token: str, default_timeout: float | None = None) -> None:
        self._token = token
        self._default_timeout = default_timeout


# grpc.aio sorts interceptors by class, the first matching arity only: one class for each.
class _UnaryUnary(_Caller, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self, continuation: Continuation[Req, Call], client_call_details: ClientCallDetails, request: Req
    ) -> Call:
        return await continuation(_passed_on(client_call_details, self._token, self._default_timeout), request)


class _UnaryStream(_Caller, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self, continuation: Continuation[Req, Call], client_call_details: ClientCallDetails, request: Req
    ) -> Call:
        return await continuation(_passed_on(client_call_details, self._token), request)


class _StreamUnary(_Caller, grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(
        self,
        continuation: Continuation[AsyncIterable[Req] | Iterable[Req], Call],
        client_call_details: ClientCallDetails,
        request_iterator: AsyncIterable[Req] | Iterable[Req],
    ) -> Call:
        return await continuation(_passed_on(client_call_details, self._token), request_iterator)


class _StreamStream(_Caller, grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(
        self,
        continuation: Continuation[AsyncIterable[Req] | Iterable[Req], Call],
        client_call_details: ClientCallDetails,
        request_iterator: AsyncIterable[Req] | Iterable[Req],
    ) -> Call:
        return await continuation(_passed_on(client_call_details, self._token), request_iterator)
