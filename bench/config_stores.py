"""Ours and etcd behind one face, both called by the same grpc.aio client."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import grpc
from penstock.config.v1 import config_service_pb2 as api
from penstock.config.v1.config_service_pb2_grpc import ConfigServiceStub

from bench.etcd import etcd_api


class Store(Protocol):
    """What both servers can do, for the one client that measures them."""

    async def put(self, name: str, value: str) -> None: ...
    async def get(self, name: str) -> str: ...
    async def names(self, path: str) -> Sequence[str]: ...
    async def watch(self, path: str, channel: grpc.aio.Channel) -> Callable[[], Awaitable[str]]:
        """A watch that is established; each call waits for the next value."""


class Penstock:
    """Ours."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = ConfigServiceStub(channel)

    async def put(self, name: str, value: str) -> None:
        await self._stub.PutParameter(api.PutParameterRequest(name=name, value=value))

    async def get(self, name: str) -> str:
        return (await self._stub.GetParameter(api.GetParameterRequest(name=name))).parameter.value

    async def names(self, path: str) -> Sequence[str]:
        listed = await self._stub.ListParameters(api.ListParametersRequest(path=path, page_size=1000))
        return [parameter.name for parameter in listed.parameters]

    async def watch(self, path: str, channel: grpc.aio.Channel) -> Callable[[], Awaitable[str]]:
        call: Any = ConfigServiceStub(channel).WatchParameters(api.WatchParametersRequest(path=path))
        while (await call.read()).WhichOneof("event") != "bookmark":
            pass

        async def value() -> str:
            while True:
                response = await call.read()
                if response.WhichOneof("event") == "put":
                    found: str = response.put.parameter.value
                    return found

        return value


class Etcd:
    """The peer."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._messages: Any
        self._stubs: Any
        self._messages, self._stubs = etcd_api()
        self._kv = self._stubs.KVStub(channel)

    async def put(self, name: str, value: str) -> None:
        await self._kv.Put(self._messages.PutRequest(key=name.encode(), value=value.encode()))

    async def get(self, name: str) -> str:
        found: str = (await self._kv.Range(self._messages.RangeRequest(key=name.encode()))).kvs[0].value.decode()
        return found

    async def names(self, path: str) -> Sequence[str]:
        request = self._messages.RangeRequest(key=f"{path}/".encode(), range_end=f"{path}0".encode())
        return [kv.key.decode() for kv in (await self._kv.Range(request)).kvs]

    async def watch(self, path: str, channel: grpc.aio.Channel) -> Callable[[], Awaitable[str]]:
        call = self._stubs.WatchStub(channel).Watch()
        create = self._messages.WatchCreateRequest(key=f"{path}/".encode(), range_end=f"{path}0".encode())
        await call.write(self._messages.WatchRequest(create_request=create))
        while not (await call.read()).created:
            pass

        async def value() -> str:
            while True:
                for event in (await call.read()).events:
                    found: str = event.kv.value.decode()
                    return found

        return value
