"""A broker of a few lines for tests of the session: it remembers frames and answers receipts."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from broker_bridge.broker import (
    BrokerAddress,
    ConnectFailedError,
    ConnectionLostError,
    Handler,
    refusal,
)
from broker_bridge.frame_core import Frame
from broker_bridge.frame_reader import FrameReader


@dataclass(kw_only=True)
class FakeBroker:
    """Opens `FakeConnection`s; `refusals` maps a command to the reason it is refused with."""

    connections: "list[FakeConnection]" = field(default_factory=list)
    refusals: dict[str, str] = field(default_factory=dict)
    unreachable: dict[str, str] = field(default_factory=dict)
    confirms: bool = True
    server: str = "Fake/1"
    client_ids: list[str] = field(default_factory=list)

    async def __call__(self, address: BrokerAddress, handler: Handler, *, client_id: str = "") -> "FakeConnection":
        self.client_ids.append(client_id)
        await asyncio.sleep(0)
        if reason := self.unreachable.get(str(address)):
            raise ConnectFailedError(f"cannot connect to {address}: {reason}")
        connection = FakeConnection(self, address, handler)
        self.connections.append(connection)
        return connection


class FakeConnection:
    """A `broker_bridge.broker.Connection`."""

    def __init__(self, broker: FakeBroker, address: BrokerAddress, handler: Handler) -> None:
        self.server = broker.server
        self.address = address
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.handler = handler
        self.frames: list[Frame] = []
        self._broker = broker

    @property
    def commands(self) -> list[str]:
        return [command for command, _, _ in self.frames]

    def headers(self, command: str) -> list[dict[str, str]]:
        return [headers for name, headers, _ in self.frames if name == command]

    def write(self, frames: bytes) -> None:
        if self.ended.done():
            raise ConnectionLostError(self.ended.result())
        found = FrameReader().feed(frames)
        self.frames += found
        if self._broker.confirms:
            self._answer(
                [headers["receipt"] for _, headers, _ in found if headers.get("receipt", "").startswith("ack-")]
            )

    def _answer(self, receipts: Sequence[str]) -> None:
        for receipt in receipts:
            asyncio.get_running_loop().call_soon(self.handler.on_receipt, receipt)

    async def request(self, frames: bytes, receipt: str) -> None:
        self.write(frames)
        await asyncio.sleep(0)
        if self.ended.done():
            raise ConnectionLostError(self.ended.result())
        commands = [command for command, headers, _ in self.frames if headers.get("receipt") == receipt]
        for command in commands:
            if reason := self._broker.refusals.get(command):
                raise refusal(self.address, reason)

    async def close(self) -> None:
        if not self.ended.done():
            self.write(b"DISCONNECT\n\n\x00")
        self.abort("closed")

    def abort(self, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_result(reason)
