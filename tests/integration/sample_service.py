"""A service whose calls behave as the requested name says; `python -m tests.integration.sample_service` runs it.

It borrows the shape of ConfigService: the runtime does not care which service it serves.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import grpc
import structlog
from penstock.config.v1 import config_service_pb2, config_service_pb2_grpc, parameter_pb2

from services.runtime.channel import remaining_time
from services.runtime.errors import FieldViolation, InvalidArgumentError, UnavailableError
from services.runtime.health import HealthBoard
from services.runtime.server import run, serve
from services.runtime.settings import ServiceSettings, settings_config
from services.runtime.telemetry import current_request_id, current_trace

SERVICE = "penstock.config.v1.ConfigService"
Context = grpc.aio.ServicerContext[Any, Any]


class SampleServiceSettings(ServiceSettings):
    """Settings of the sample: what is to go wrong."""

    model_config = settings_config("PENSTOCK_SAMPLE_")

    fail_task: bool = False
    hold_stream: bool = False
    hang_hook: bool = False
    fail_hook: bool = False
    crash: bool = False


def answer(value: object, version: int = 1) -> config_service_pb2.GetParameterResponse:
    """An answer that carries a value."""
    return config_service_pb2.GetParameterResponse(parameter=parameter_pb2.Parameter(value=str(value), version=version))


class SampleServicer(config_service_pb2_grpc.ConfigServiceServicer):
    """One behaviour per requested name; `released` lets the calls that wait go on, `entered` counts them."""

    def __init__(self, upstream: "config_service_pb2_grpc.ConfigServiceAsyncStub | None" = None) -> None:
        self.released = asyncio.Event()
        self.entered = asyncio.Semaphore(0)
        self.cancelled = asyncio.Event()
        self.upstream = upstream
        self.calls = 0

    async def GetParameter(  # noqa: N802
        self, request: config_service_pb2.GetParameterRequest, context: Context
    ) -> config_service_pb2.GetParameterResponse:
        self.calls += 1
        behaviour: Callable[[Context], Any] = getattr(self, f"_{request.name.replace('-', '_').partition('/')[0]}")
        if "/" in request.name and self.upstream:
            rest = config_service_pb2.GetParameterRequest(name=request.name.partition("/")[2])
            return await self.upstream.GetParameter(rest)
        result: config_service_pb2.GetParameterResponse = await behaviour(context)
        return result

    async def WatchParameters(  # noqa: N802
        self, request: config_service_pb2.WatchParametersRequest, _context: Context
    ) -> AsyncIterator[config_service_pb2.WatchParametersResponse]:
        yield config_service_pb2.WatchParametersResponse(bookmark=config_service_pb2.WatchBookmark(revision=1))
        if request.path == "fails":
            raise UnavailableError("the store went away", retry_after=2)
        try:
            await self.released.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def _echo(self, _context: Context) -> config_service_pb2.GetParameterResponse:
        return answer("echo")

    async def _authorization(self, context: Context) -> config_service_pb2.GetParameterResponse:
        return answer(dict(context.invocation_metadata() or ()).get("authorization", "none"))

    async def _context(self, _context: Context) -> config_service_pb2.GetParameterResponse:
        trace = current_trace.get()
        return answer(f"{current_request_id.get()} {trace.trace_id if trace else ''} {remaining_time()}")

    async def _wait(self, _context: Context) -> config_service_pb2.GetParameterResponse:
        self.entered.release()
        await self.released.wait()
        return answer("waited")

    async def _invalid(self, _context: Context) -> config_service_pb2.GetParameterResponse:
        violations = [FieldViolation(field="name", description="must start with /")]
        raise InvalidArgumentError("the name is not valid", violations=violations, metadata={"name": "invalid"})

    async def _crash(self, _context: Context) -> config_service_pb2.GetParameterResponse:
        raise KeyError("an inner secret")

    async def _abort(self, context: Context) -> config_service_pb2.GetParameterResponse:
        await context.abort(grpc.StatusCode.DATA_LOSS, "said by the servicer")

    async def _set_code(self, context: Context) -> config_service_pb2.GetParameterResponse:
        context.set_code(grpc.StatusCode.ALREADY_EXISTS)
        context.set_details("set by the servicer")
        return answer("")

    async def _flaky(self, _context: Context) -> config_service_pb2.GetParameterResponse:
        if self.calls < 3:
            raise UnavailableError(f"failure {self.calls}")
        return answer("at last")

    async def _large(self, _context: Context) -> config_service_pb2.GetParameterResponse:
        return answer("x" * 100_000)


def sample(upstream: "config_service_pb2_grpc.ConfigServiceAsyncStub | None" = None) -> SampleServicer:
    """A servicer of which most methods are left as generated, on purpose."""
    return SampleServicer(upstream)  # type: ignore[abstract]


def register(servicer: SampleServicer) -> Callable[[grpc.aio.Server], Sequence[str]]:
    """What `serve` and `listening` want."""

    def add(server: grpc.aio.Server) -> Sequence[str]:
        config_service_pb2_grpc.add_ConfigServiceServicer_to_server(servicer, server)
        return (SERVICE,)

    return add


async def main(settings: SampleServiceSettings) -> None:
    """Serves like any service; calls that wait are released when the drain begins."""
    servicer = sample()
    if settings.crash:
        raise KeyError("nobody thought of this")

    async def task() -> None:
        if settings.fail_task:
            raise OSError("the disk is gone")
        await asyncio.Event().wait()

    async def release() -> None:
        servicer.released.set()

    async def hang() -> None:
        if settings.hang_hook:
            with contextlib.suppress(asyncio.CancelledError):  # does not heed the first one
                await asyncio.Event().wait()
            await asyncio.Event().wait()

    async def fail() -> None:
        if settings.fail_hook:
            raise OSError("the file is gone")

    async def last() -> None:
        structlog.get_logger(component="sample").info("the last hook ran")

    await serve(
        settings=settings,
        register=register(servicer),
        health=HealthBoard(),
        tasks=[task],
        before_stop=[fail, hang, *([] if settings.hold_stream else [release]), last],
    )


if __name__ == "__main__":
    raise SystemExit(run(main, SampleServiceSettings, prog="sample", description="A sample."))
