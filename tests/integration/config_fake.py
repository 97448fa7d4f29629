"""A config service in memory that can be compacted, emptied, broken and restarted at will."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import grpc
from penstock.config.v1 import config_service_pb2 as api
from penstock.config.v1 import config_service_pb2_grpc, parameter_pb2

from deploy.local.ports import free_port_numbers
from services.runtime.errors import AbortedError, NotFoundError, OutOfRangeError
from services.runtime.health import HealthBoard
from services.runtime.server import listening
from services.runtime.settings import ServiceSettings

Context = grpc.aio.ServicerContext[Any, Any]
Event = api.WatchParametersResponse


class FakeConfig(config_service_pb2_grpc.ConfigServiceServicer):
    """Parameters with revisions, and a history that can be cut off."""

    def __init__(self) -> None:
        (self.port,) = free_port_numbers(1)
        self.reset()
        self.watches_from: list[int] = []
        self._running: AsyncExitStack | None = None

    @property
    def address(self) -> str:
        """Where it listens, whenever it runs."""
        return f"127.0.0.1:{self.port}"

    def reset(self) -> None:
        """A new, empty store."""
        self.parameters: dict[str, parameter_pb2.Parameter] = {}
        self.revision, self.oldest = 0, 0
        self.history: list[tuple[int, Event]] = []
        self.changed = asyncio.Event()

    async def start(self, **changes: object) -> None:
        """Listens, with changed settings; what it held is still there."""
        self._running = AsyncExitStack()
        settings = ServiceSettings.model_validate({"port": self.port, "drain_seconds": 0, **changes})
        await self._running.enter_async_context(
            listening(settings=settings, register=self._register, health=HealthBoard())
        )

    async def stop(self) -> None:
        """Cuts every watch and closes the port."""
        if self._running:
            await self._running.aclose()
            self._running = None

    def put(self, name: str, value: str) -> int:
        """Writes a new version and returns it."""
        self.revision += 1
        version = self.parameters[name].version + 1 if name in self.parameters else 1
        parameter = parameter_pb2.Parameter(name=name, value=value, version=version, revision=self.revision)
        self.parameters[name] = parameter
        self._tell(Event(put=api.ParameterPut(parameter=parameter)))
        return version

    def delete(self, name: str) -> None:
        """Deletes a parameter."""
        self.revision += 1
        del self.parameters[name]
        self._tell(Event(delete=api.ParameterDelete(name=name, revision=self.revision)))

    def compact(self) -> None:
        """Forgets the history: nobody can resume from before."""
        self.oldest = self.revision
        self.history.clear()

    def _tell(self, event: Event) -> None:
        self.history.append((self.revision, event))
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    def _register(self, server: grpc.aio.Server) -> Sequence[str]:
        config_service_pb2_grpc.add_ConfigServiceServicer_to_server(self, server)
        return ("penstock.config.v1.ConfigService",)

    async def WatchParameters(  # noqa: N802
        self, request: api.WatchParametersRequest, _context: Context
    ) -> AsyncIterator[Event]:
        self.watches_from.append(request.from_revision)
        position = request.from_revision
        if not position:
            for parameter in sorted(self.parameters.values(), key=lambda item: item.name):
                yield Event(put=api.ParameterPut(parameter=parameter))
            position = self.revision
            yield Event(bookmark=api.WatchBookmark(revision=position))
        elif position < self.oldest:
            raise OutOfRangeError("compacted", reason="ERROR_REASON_COMPACTED")
        while True:
            changed = self.changed
            for revision, event in list(self.history):
                if revision > position:
                    position = revision
                    yield event
            await changed.wait()

    async def ListParameters(  # noqa: N802
        self, request: api.ListParametersRequest, _context: Context
    ) -> api.ListParametersResponse:
        names = [name for name in sorted(self.parameters) if name > request.page_token]
        page = names[: min(request.page_size, 2)]  # small pages, so that clients have to turn them
        return api.ListParametersResponse(
            parameters=[self.parameters[name] for name in page],
            next_page_token=page[-1] if len(page) < len(names) else "",
            revision=self.revision,
        )

    async def GetParameter(  # noqa: N802
        self, request: api.GetParameterRequest, _context: Context
    ) -> api.GetParameterResponse:
        if request.name not in self.parameters:
            raise _missing(request.name)
        return api.GetParameterResponse(parameter=self.parameters[request.name])

    async def PutParameter(  # noqa: N802
        self, request: api.PutParameterRequest, _context: Context
    ) -> api.PutParameterResponse:
        current = self.parameters[request.name].version if request.name in self.parameters else 0
        if request.HasField("expected_version") and request.expected_version != current:
            raise AbortedError(f"the version is {current}", reason="ERROR_REASON_VERSION_CONFLICT")
        return api.PutParameterResponse(version=self.put(request.name, request.value), revision=self.revision)

    async def DeleteParameter(  # noqa: N802
        self, request: api.DeleteParameterRequest, _context: Context
    ) -> api.DeleteParameterResponse:
        if request.name not in self.parameters:
            raise _missing(request.name)
        self.delete(request.name)
        return api.DeleteParameterResponse(revision=self.revision)


def fake_config() -> FakeConfig:
    """A service of which the methods nobody here calls are left as generated, on purpose."""
    return FakeConfig()  # type: ignore[abstract]


def _missing(name: str) -> NotFoundError:
    return NotFoundError(f"no parameter {name}", reason="ERROR_REASON_PARAMETER_NOT_FOUND", metadata={"name": name})
