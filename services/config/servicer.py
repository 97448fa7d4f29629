"""`penstock.config.v1.ConfigService` over the registry and the watch hub."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, TypeAlias

import grpc
from penstock.config.v1 import config_service_pb2 as messages
from penstock.config.v1 import config_service_pb2_grpc

from services.config.encoding import message_of, update_of, watch_message_of
from services.config.path import parse_path
from services.config.registry import ParameterRegistry
from services.config.watch import WatchHub
from services.runtime.errors import UnimplementedError, invalid_field

SERVICE = messages.DESCRIPTOR.services_by_name["ConfigService"].full_name

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


class ConfigServicer(config_service_pb2_grpc.ConfigServiceServicer):
    """Decodes requests, encodes answers; errors become statuses in the interceptor."""

    def __init__(self, registry: ParameterRegistry, hub: WatchHub) -> None:
        self._registry = registry
        self._hub = hub

    async def PutParameter(  # noqa: N802
        self, request: messages.PutParameterRequest, _context: Context
    ) -> messages.PutParameterResponse:
        written = await self._registry.put(update_of(request))
        return messages.PutParameterResponse(version=written.version, revision=written.revision)

    async def GetParameter(  # noqa: N802
        self, request: messages.GetParameterRequest, _context: Context
    ) -> messages.GetParameterResponse:
        parameter = await self._registry.get(request.name)
        return messages.GetParameterResponse(
            parameter=message_of(parameter, self._registry, decrypt=request.with_decryption)
        )

    async def BatchGetParameters(  # noqa: N802
        self, request: messages.BatchGetParametersRequest, _context: Context
    ) -> messages.BatchGetParametersResponse:
        batch = await self._registry.get_batch(request.names)
        return messages.BatchGetParametersResponse(
            parameters=[
                message_of(found, self._registry, decrypt=request.with_decryption) for found in batch.parameters
            ],
            missing_names=batch.missing,
            revision=batch.revision,
        )

    async def ListParameters(  # noqa: N802
        self, request: messages.ListParametersRequest, _context: Context
    ) -> messages.ListParametersResponse:
        page = await self._registry.list_page(
            request.path, recursive=request.recursive, page_size=request.page_size, token=request.page_token
        )
        return messages.ListParametersResponse(
            parameters=[
                message_of(found, self._registry, decrypt=request.with_decryption) for found in page.parameters
            ],
            next_page_token=page.next_token,
            revision=page.revision,
        )

    async def DeleteParameter(  # noqa: N802
        self, request: messages.DeleteParameterRequest, _context: Context
    ) -> messages.DeleteParameterResponse:
        expected = request.expected_version if request.HasField("expected_version") else None
        revision = await self._registry.delete(request.name, expected_version=expected)
        return messages.DeleteParameterResponse(revision=revision)

    async def ListParameterVersions(  # noqa: N802
        self, request: messages.ListParameterVersionsRequest, _context: Context
    ) -> messages.ListParameterVersionsResponse:
        page = await self._registry.versions_page(request.name, page_size=request.page_size, token=request.page_token)
        return messages.ListParameterVersionsResponse(
            parameters=[
                message_of(found, self._registry, decrypt=request.with_decryption) for found in page.parameters
            ],
            next_page_token=page.next_token,
        )

    async def LabelParameterVersion(  # noqa: N802
        self, request: messages.LabelParameterVersionRequest, _context: Context
    ) -> messages.LabelParameterVersionResponse:
        labelled = await self._registry.label(request.name, request.labels, version=request.version or None)
        return messages.LabelParameterVersionResponse(version=labelled.version, invalid_labels=labelled.invalid_labels)

    async def UnlabelParameterVersion(  # noqa: N802
        self, request: messages.UnlabelParameterVersionRequest, _context: Context
    ) -> messages.UnlabelParameterVersionResponse:
        raise _not_built("UnlabelParameterVersion", request.name)

    async def TagParameter(  # noqa: N802
        self, request: messages.TagParameterRequest, _context: Context
    ) -> messages.TagParameterResponse:
        raise _not_built("TagParameter", request.name)

    async def ExplainAccess(  # noqa: N802
        self, request: messages.ExplainAccessRequest, _context: Context
    ) -> messages.ExplainAccessResponse:
        raise _not_built("ExplainAccess", request.name)

    async def WatchParameters(  # noqa: N802
        self, request: messages.WatchParametersRequest, _context: Context
    ) -> AsyncIterator[messages.WatchParametersResponse]:
        path = parse_path(request.path)
        if request.from_revision < 0:
            fault = f"{request.from_revision} is negative; 0 begins with what exists"
            raise invalid_field("from_revision", fault)
        async with aclosing(self._hub.follow(path, request.from_revision)) as events:
            async for event in events:
                yield watch_message_of(event, self._registry, decrypt=request.with_decryption)


def _not_built(method: str, name: str) -> UnimplementedError:
    return UnimplementedError(f"{method} of {name!r} is declared but not built yet", metadata={"method": method})
