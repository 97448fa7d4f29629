"""The gRPC server of a process: built, bound, watched over and drained. Every service's `__main__` ends here."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import grpc
import structlog
import uvloop
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import REGISTRY, CollectorRegistry, start_http_server

from services.runtime.channel import KEEPALIVE_MILLISECONDS
from services.runtime.errors import PenstockError
from services.runtime.health import HealthBoard, HealthServicer
from services.runtime.interceptors import ServerCalls
from services.runtime.settings import S, ServiceSettings, SettingsError, parse_command_line
from services.runtime.telemetry import configure_logging

Register = Callable[[grpc.aio.Server], Sequence[str]]
"""Adds the servicers to a server and returns the full names of their services."""

Hook = Callable[[], Awaitable[None]]

# What cancelled background tasks get to put their things in order; beside the drain time, within any kill timeout.
_CANCEL_SECONDS = 2.0
_HEALTH_NAME = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name


class BindError(Exception):
    """The process cannot listen where it was told to."""


class BackgroundTaskError(Exception):
    """A task that must run as long as the process ended with an exception."""


def run(main: Callable[[S], Coroutine[Any, Any, None]], settings: type[S], *, prog: str, description: str) -> int:
    """A process from its command line to its exit code: reads the settings, runs `main` with them on uvloop.

    Settings that cannot be used are told in plain text, exit code 2. From then on every line on stderr is JSON. A
    failure is logged, exit code 1; 0 when `main` returns, 130 on Ctrl-C before it handles signals.
    """
    try:
        given = parse_command_line(settings, prog=prog, description=description)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    configure_logging(given.service_name(), given.log_level)
    log = structlog.get_logger(component="server")
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main(given))
    except (BindError, BackgroundTaskError, PenstockError) as error:
        log.critical("failed", error=str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    except Exception:
        log.critical("crashed", exc_info=True)
        return 1
    return 0


async def serve(
    *,
    settings: ServiceSettings,
    register: Register,
    health: HealthBoard,
    tasks: Sequence[Hook] = (),
    before_stop: Sequence[Hook] = (),
) -> None:
    """Serves until SIGTERM or SIGINT, then drains: health says NOT_SERVING, `before_stop` runs, calls in flight finish.

    Args:
        settings: where to listen, limits, drain time.
        register: adds the servicers; the services it names serve at once unless the board already says otherwise.
        health: the board the process reports to.
        tasks: run beside the server and are cancelled after it; one that raises ends the process.
        before_stop: run in order when the drain begins: stop taking in work here, end long-lived streams here. They
            and the calls in flight have `drain_seconds` together. What must come after the last call belongs behind
            `serve` in `__main__`.

    Raises:
        BindError: an address is taken or does not exist.
        BackgroundTaskError: one of `tasks` failed.
    """
    log = structlog.get_logger(component="server")
    background: set[asyncio.Task[None]] = set()
    try:
        async with _started(settings, register, health) as (server, address):
            with _signals() as stop_wanted:
                log.info("serving", address=address, metrics_port=settings.metrics_port, pid=os.getpid())
                background.update(asyncio.ensure_future(_run(task)) for task in tasks)
                failure = await _first_failure(background, stop_wanted)
            log.info("draining", reason="a background task failed" if failure else "signal")
            await _drain(server, health, before_stop, settings.drain_seconds)
    finally:
        await _cancel(background)
    if failure is not None:
        log.error("a background task failed", exc_info=failure)
        raise BackgroundTaskError(f"a background task failed: {failure!r}") from failure
    log.info("stopped")


@asynccontextmanager
async def listening(*, settings: ServiceSettings, register: Register, health: HealthBoard) -> AsyncIterator[str]:
    """A served address (`host:port`, the port being the real one when 0 was asked for); at the end calls are drained.

    Raises:
        BindError: an address is taken or does not exist.
    """
    async with _started(settings, register, health) as (server, address):
        try:
            yield address
        finally:
            await _drain(server, health, (), settings.drain_seconds)


@asynccontextmanager
async def _started(
    settings: ServiceSettings, register: Register, health: HealthBoard
) -> AsyncIterator[tuple[grpc.aio.Server, str]]:
    """The server and its address; at the end calls that were not drained before are cut."""
    server = grpc.aio.server(
        interceptors=(ServerCalls(access_log=settings.access_log),),
        options=_options(settings),
        maximum_concurrent_rpcs=settings.max_concurrent_rpcs,
    )
    services = register(server)
    health_pb2_grpc.add_HealthServicer_to_server(HealthServicer(health), server)
    reflection.enable_server_reflection((*services, _HEALTH_NAME, reflection.SERVICE_NAME), server)
    port = _bound(server, settings)
    with _metrics(settings, health):
        for service in services:
            health.add(service)
        await server.start()
        try:
            yield server, _address(settings.host, port)
        finally:
            await server.stop(None)


def _options(settings: ServiceSettings) -> list[tuple[str, Any]]:
    return [
        # Otherwise a second process could bind the same port and take half of the calls.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        ("grpc.keepalive_time_ms", KEEPALIVE_MILLISECONDS),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", KEEPALIVE_MILLISECONDS // 3),
    ]


def _bound(server: grpc.aio.Server, settings: ServiceSettings) -> int:
    address = _address(settings.host, settings.port)
    try:
        if settings.tls_cert is None or settings.tls_key is None:
            return server.add_insecure_port(address)
        authorities = settings.tls_client_ca.read_bytes() if settings.tls_client_ca else None
        credentials = grpc.ssl_server_credentials(
            [(settings.tls_key.read_bytes(), settings.tls_cert.read_bytes())],
            root_certificates=authorities,
            require_client_auth=authorities is not None,
        )
        return server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise BindError(
            f"cannot listen on {address}: the port is taken or the address is not this machine's; "
            f"choose another with {settings.variable('port')} or {settings.variable('host')}"
        ) from error


@contextmanager
def _metrics(settings: ServiceSettings, health: HealthBoard) -> Iterator[None]:
    """The Prometheus endpoint, in a thread of its own so that a busy loop still answers."""
    if not settings.metrics_port:
        yield
        return
    registry = CollectorRegistry()
    registry.register(REGISTRY)
    registry.register(health)
    try:
        server, thread = start_http_server(
            settings.metrics_port,
            settings.host,
            registry,
            certfile=str(settings.tls_cert) if settings.tls_cert else None,
            keyfile=str(settings.tls_key) if settings.tls_key else None,
        )
    except OSError as error:
        address = _address(settings.host, settings.metrics_port)
        raise BindError(
            f"cannot serve metrics on {address}: {error.strerror}; "
            f"choose another port with {settings.variable('metrics_port')}, or 0 for none"
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


@contextmanager
def _signals() -> Iterator[asyncio.Event]:
    """An event set by the first SIGTERM or SIGINT; a second one then ends the process at once, as by default."""
    loop, wanted = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, wanted.set)
    try:
        yield wanted
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def _run(task: Hook) -> None:
    await task()


async def _first_failure(tasks: set[asyncio.Task[None]], stop_wanted: asyncio.Event) -> BaseException | None:
    """Waits for the wish to stop (None) or the first exception of a task; a task may end by itself."""
    wish = asyncio.ensure_future(stop_wanted.wait())
    running: set[asyncio.Task[Any]] = set(tasks)
    while not wish.done():
        done, running = await asyncio.wait({wish, *running}, return_when=asyncio.FIRST_COMPLETED)
        running.discard(wish)
        for task in done - {wish}:
            if not task.cancelled() and (failure := task.exception()) is not None:
                wish.cancel()
                return failure
    return None


async def _drain(server: grpc.aio.Server, health: HealthBoard, hooks: Sequence[Hook], seconds: float) -> None:
    """Ends the hooks and then the calls; all of it takes at most `seconds`, however long one of them wants to take."""
    log, loop = structlog.get_logger(component="server"), asyncio.get_running_loop()
    deadline = loop.time() + seconds
    health.drain()
    for hook in hooks:
        step = asyncio.ensure_future(_run(hook))
        await asyncio.wait({step}, timeout=max(deadline - loop.time(), 0.0))
        if not step.done():
            step.cancel()  # nobody waits for it: it may not heed this either
            log.error("a step of the shutdown did not end in time", step=_name(hook), drain_seconds=seconds)
        elif not step.cancelled() and (failure := step.exception()) is not None:
            log.error("a step of the shutdown failed", step=_name(hook), exc_info=failure)
    await server.stop(max(deadline - loop.time(), 0.0))


def _name(hook: Hook) -> str:
    return getattr(hook, "__qualname__", repr(hook))


async def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if not tasks:
        return
    done, hanging = await asyncio.wait(tasks, timeout=_CANCEL_SECONDS)
    await asyncio.gather(*done, return_exceptions=True)
    if hanging:
        structlog.get_logger(component="server").error("background tasks do not end", tasks=len(hanging))
