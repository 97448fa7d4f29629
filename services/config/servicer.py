"""`penstock.config.v1.ConfigService` over the guard: who calls, what is asked, what is answered."""

from contextlib import aclosing
from typing import Any, TypeAlias

import grpc
from penstock.config.v1 import config_service_pb2 as messages
from penstock.config.v1 import config_service_pb2_grpc

from services.config.access import Action
from services.config.encoding import SharedEvents, filters_of, message_of, tier_number, update_of
from services.config.guard import Guard, Session
from services.config.identity import CallerIdentity
from services.config.path import parse_name
from services.runtime.errors import invalid_field

SERVICE = messages.DESCRIPTOR.services_by_name["ConfigService"].full_name

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


class ConfigServicer(config_service_pb2_grpc.ConfigServiceServicer):
    """Decodes requests, encodes answers; errors become statuses in the interceptor."""

    def __init__(self, guard: Guard, identity: CallerIdentity) -> None:
        self._guard = guard
        self._identity = identity
        self._events = SharedEvents()

    def _session(self, context: Context) -> Session:
        return self._guard.session(self._identity.of(context))

    async def PutParameter(  # noqa: N802
        self, request: messages.PutParameterRequest, context: Context
    ) -> messages.PutParameterResponse:
        written = await self._session(context).put(update_of(request), dry_run=request.dry_run)
        return messages.PutParameterResponse(
            version=written.version, revision=written.revision, tier=tier_number(written.tier)
        )

    async def GetParameter(  # noqa: N802
        self, request: messages.GetParameterRequest, context: Context
    ) -> messages.GetParameterResponse:
        found = await self._session(context).get(request.name, decrypt=request.with_decryption)
        return messages.GetParameterResponse(parameter=message_of(found))

    async def BatchGetParameters(  # noqa: N802
        self, request: messages.BatchGetParametersRequest, context: Context
    ) -> messages.BatchGetParametersResponse:
        batch = await self._session(context).get_batch(request.names, decrypt=request.with_decryption)
        return messages.BatchGetParametersResponse(
            parameters=map(message_of, batch.parameters), missing_names=batch.missing, revision=batch.revision
        )

    async def ListParameters(  # noqa: N802
        self, request: messages.ListParametersRequest, context: Context
    ) -> messages.ListParametersResponse:
        page = await self._session(context).list_page(
            request.path,
            recursive=request.recursive,
            page_size=request.page_size,
            token=request.page_token,
            filters=filters_of(request.filters),
            decrypt=request.with_decryption and not request.without_values,
        )
        return messages.ListParametersResponse(
            parameters=[message_of(found, with_value=not request.without_values) for found in page.parameters],
            next_page_token=page.next_token,
            revision=page.revision,
        )

    async def DeleteParameter(  # noqa: N802
        self, request: messages.DeleteParameterRequest, context: Context
    ) -> messages.DeleteParameterResponse:
        expected = request.expected_version if request.HasField("expected_version") else None
        revision = await self._session(context).delete(request.name, expected_version=expected)
        return messages.DeleteParameterResponse(revision=revision)

    async def ListParameterVersions(  # noqa: N802
        self, request: messages.ListParameterVersionsRequest, context: Context
    ) -> messages.ListParameterVersionsResponse:
        page = await self._session(context).versions_page(
            request.name, page_size=request.page_size, token=request.page_token, decrypt=request.with_decryption
        )
        return messages.ListParameterVersionsResponse(
            parameters=map(message_of, page.parameters), next_page_token=page.next_token
        )

    async def LabelParameterVersion(  # noqa: N802
        self, request: messages.LabelParameterVersionRequest, context: Context
    ) -> messages.LabelParameterVersionResponse:
        labelled = await self._session(context).label(request.name, request.labels, version=request.version or None)
        return messages.LabelParameterVersionResponse(
            version=labelled.version, invalid_labels=labelled.invalid_labels, revision=labelled.revision
        )

    async def UnlabelParameterVersion(  # noqa: N802
        self, request: messages.UnlabelParameterVersionRequest, context: Context
    ) -> messages.UnlabelParameterVersionResponse:
        if request.version < 1:
            raise invalid_field("version", f"{request.version} is no version: they count from 1")
        done = await self._session(context).unlabel(request.name, request.labels, version=request.version)
        return messages.UnlabelParameterVersionResponse(
            removed_labels=done.removed, invalid_labels=done.invalid, revision=done.revision
        )

    async def TagParameter(  # noqa: N802
        self, request: messages.TagParameterRequest, context: Context
    ) -> messages.TagParameterResponse:
        tagged = await self._session(context).tag(request.name, dict(request.tags), removed=request.removed_keys)
        return messages.TagParameterResponse(tags=tagged.tags, revision=tagged.revision)

    async def ExplainAccess(  # noqa: N802
        self, request: messages.ExplainAccessRequest, context: Context
    ) -> messages.ExplainAccessResponse:
        session, name = self._session(context), parse_name(request.name)
        return messages.ExplainAccessResponse(
            principal=session.principal, actions=[action for action in Action if session.allows(action, name)]
        )

    async def WatchParameters(  # type: ignore[override]  # noqa: N802
        self, request: messages.WatchParametersRequest, context: Context
    ) -> None:
        # Written from here, as bytes that are the same for all: with many watchers each step counts.
        session, generation = self._session(context), self._identity.generation
        events = session.follow(request.path, request.from_revision, decrypt=request.with_decryption)
        async with aclosing(events):
            async for event in events:
                if generation != self._identity.generation:
                    self._identity.confirm(context, session.principal)
                    generation = self._identity.generation
                await context.write(self._events.bytes_of(event))
