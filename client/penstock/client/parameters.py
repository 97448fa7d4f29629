"""Parameters of the config service, one call each: values in, values out, our own errors."""

import datetime as dt
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import grpc
from penstock.config.v1 import config_service_pb2, config_service_pb2_grpc, parameter_pb2

from services.runtime.status import from_rpc_error

CONFIG_SERVICE = "penstock.config.v1.ConfigService"
IDEMPOTENT_METHODS = tuple(
    f"{CONFIG_SERVICE}/{method}" for method in ("GetParameter", "BatchGetParameters", "ListParameters")
)
"""The reads, for `open_channel(..., idempotent=IDEMPOTENT_METHODS)`."""

_PAGE_SIZE = 1000  # the largest the service gives


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteParameter:
    """One version of a parameter; `version` counts per parameter, `revision` over the whole store.

    A secret (a SecureString) has its value only where decryption was asked for.
    """

    name: str
    value: str = field(repr=False)
    version: int
    revision: int
    secret: bool = False


class ParameterClient:
    """Reads and writes parameters on a channel.

    Every method raises the `PenstockError` that the service answered with, `UnavailableError` when there is no service.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = config_service_pb2_grpc.ConfigServiceStub(channel)

    async def put(
        self,
        name: str,
        value: str,
        *,
        expected_version: int | None = None,
        description: str = "",
        secret: bool = False,
        expires_at: dt.datetime | None = None,
    ) -> int:
        """Writes a new version, durable when this returns, and returns its number.

        `expected_version` is the version that must be current, 0 for "must not exist"; None writes in any case.
        `secret` makes a new parameter a SecureString; otherwise its type is kept, String if new. At `expires_at` the
        parameter deletes itself; None keeps what was set.
        """
        request = config_service_pb2.PutParameterRequest(name=name, value=value, expected_version=expected_version)
        if description:
            request.description = description
        if secret:
            request.type = parameter_pb2.PARAMETER_TYPE_SECURE_STRING
        if expires_at is not None:
            request.expires_at.FromDatetime(expires_at)
        try:
            return (await self._stub.PutParameter(request)).version
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    async def get(self, name: str, *, decrypt: bool = False) -> RemoteParameter:
        """The parameter of this name, `name:version` or `name:label`."""
        request = config_service_pb2.GetParameterRequest(name=name, with_decryption=decrypt)
        try:
            response = await self._stub.GetParameter(request)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        return remote_parameter(response.parameter)

    async def delete(self, name: str, *, expected_version: int | None = None) -> None:
        """Deletes the parameter with all its versions."""
        request = config_service_pb2.DeleteParameterRequest(name=name, expected_version=expected_version)
        try:
            await self._stub.DeleteParameter(request)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    async def list(self, path: str, *, decrypt: bool = False) -> AsyncIterator[RemoteParameter]:
        """Every parameter below `path`, all levels, by name."""
        async for message in self.messages(path, decrypt=decrypt):
            yield remote_parameter(message)

    async def messages(self, path: str, *, decrypt: bool = False) -> AsyncIterator[parameter_pb2.Parameter]:
        """The same as `list`, with everything that the service tells of them."""
        token = ""
        while True:
            request = config_service_pb2.ListParametersRequest(
                path=path, recursive=True, page_size=_PAGE_SIZE, page_token=token, with_decryption=decrypt
            )
            try:
                page = await self._stub.ListParameters(request)
            except grpc.aio.AioRpcError as error:
                raise from_rpc_error(error) from error
            for parameter in page.parameters:
                yield parameter
            token = page.next_page_token
            if not token:
                return

    async def revision(self, path: str, *, timeout: float) -> int:  # noqa: ASYNC109 - the deadline of the call
        """The store's current revision; fails after `timeout` seconds."""
        request = config_service_pb2.ListParametersRequest(path=path, recursive=True, page_size=1)
        try:
            return (await self._stub.ListParameters(request, timeout=timeout)).revision
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error


def remote_parameter(parameter: parameter_pb2.Parameter) -> RemoteParameter:
    """The value of a parameter as it came over the wire."""
    return RemoteParameter(
        name=parameter.name,
        value=parameter.value,
        version=parameter.version,
        revision=parameter.revision,
        secret=parameter.type == parameter_pb2.PARAMETER_TYPE_SECURE_STRING,
    )
