"""A connection to ActiveMQ: frames reach the event loop, frames go out in order, and every wait has a limit.

Frames to send go through one writer thread, because `sendall` has no time-out. After the limit of a wait the socket is
shut down, which frees reader and writer within milliseconds.
"""

import asyncio
import contextlib
import logging
import ssl
import time
from typing import Any

from broker_bridge.broker import (
    BrokerAddress,
    ConnectFailedError,
    ConnectionLostError,
    Handler,
    Login,
    RefusedError,
    UnconfirmedError,
    refusal,
)
from broker_bridge.frame_writer import FrameWriter, WriterFullError
from broker_bridge.frames import encode_frame
from broker_bridge.stomp_client import HandOver, NotConnectedError, StompClient, StompTransport

_HEART_BEAT_SECONDS = 10.0
_SILENCE_SECONDS = 2.5 * _HEART_BEAT_SECONDS  # time for the peer's beat to be late
_ANSWER_SECONDS = 15.0
_CLOSE_SECONDS = 2.0


class ActiveMqConnection:
    """A `broker_bridge.broker.Connection`. Made by `connect_activemq`."""

    def __init__(
        self, address: BrokerAddress, handler: Handler, *, answer_seconds: float, tls: ssl.SSLContext | None = None
    ) -> None:
        loop = asyncio.get_running_loop()
        self.address = address
        self.server = ""
        self.ended: asyncio.Future[str] = loop.create_future()
        self._handler = handler
        self._answer_seconds = answer_seconds
        self._connected: asyncio.Future[None] = loop.create_future()
        self._answers: dict[str, asyncio.Future[None]] = {}
        self._writer: FrameWriter | None = None
        self._last_error: tuple[float, str] = (0.0, "")
        hand_over = HandOver(loop, self._deliver)
        self._transport = StompTransport(address, hand_over, timeout=answer_seconds, tls=tls)
        self._client = StompClient(self._transport)
        self._client.set_listener("penstock", hand_over)
        self._watch: asyncio.Task[None] | None = None

    async def open(self, login: Login, *, client_id: str) -> None:
        """Connects and logs in. Raises ConnectFailedError."""
        beat = str(int(_HEART_BEAT_SECONDS * 1000))
        headers = {"heart-beat": f"{beat},{beat}"} | ({"client-id": client_id} if client_id else {})
        try:
            async with asyncio.timeout(self._answer_seconds):
                await asyncio.to_thread(self._client.log_in, login, headers)
                await self._connected
        except TimeoutError:
            self._end(f"no answer within {self._answer_seconds:g} s")
        except NotConnectedError:
            self._end(self._transport.failure() or "nobody listens there")
        except ConnectionLostError as error:
            self._end(str(error))
        if self.ended.done():
            raise ConnectFailedError(f"cannot connect to {self.address}: {self.ended.result()}")
        if self._transport.kept_socket is None:
            raise ConnectFailedError(f"cannot connect to {self.address}: the socket is gone")
        name = f"stomp-writer-{self.address}"
        # The reader sees the end of the connection and reports it.
        wire = self._transport.over_tls or self._transport.kept_socket
        self._writer = FrameWriter(wire, name=name, failed=self._transport.shut_down)
        self._watch = asyncio.ensure_future(self._watch_silence())

    def write(self, frames: bytes) -> None:
        if self._writer is None or self.ended.done():
            raise ConnectionLostError(self.ended.result() if self.ended.done() else "not connected yet")
        try:
            self._writer.put(frames)
        except WriterFullError as error:
            self.abort(f"{self.address} has stopped reading: {error}")
            raise ConnectionLostError(self.ended.result()) from None

    async def request(self, frames: bytes, receipt: str) -> None:
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._answers[receipt] = answer
        try:
            self.write(frames)
            async with asyncio.timeout(self._answer_seconds):
                await answer
        except TimeoutError:
            self.abort(f"{self.address} did not confirm a frame within {self._answer_seconds:g} s")
            raise UnconfirmedError(self.ended.result()) from None
        finally:
            self._answers.pop(receipt, None)

    async def close(self) -> None:
        if not self.ended.done():
            with contextlib.suppress(ConnectionLostError, RefusedError, TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await self.request(encode_frame("DISCONNECT", {"receipt": "disconnect"}), "disconnect")
        self._end("closed")

    def abort(self, reason: str) -> None:
        self._end(reason)

    def _end(self, reason: str) -> None:
        """Ends the connection once: frees both threads, fails everybody who waits. Later calls change nothing."""
        self._transport.shut_down()
        if self.ended.done():
            return
        self.ended.set_result(reason)
        if self._writer is not None:
            self._writer.end()
        if self._watch is not None:
            self._watch.cancel()
        for waiting in (self._connected, *self._answers.values()):
            if not waiting.done():
                waiting.set_exception(ConnectionLostError(reason))
        # Nobody may be waiting for it any more.
        if not self._connected.cancelled():
            self._connected.exception()

    def _deliver(self, events: list[tuple[str, Any]]) -> None:
        """What was read in one chunk, on the event loop."""
        messages = []
        for kind, frame in events:
            if kind == "message":
                messages.append(frame)
                continue
            if messages:
                self._hand(messages)
                messages = []
            if kind == "receipt":
                self._on_receipt(frame.headers.get("receipt-id", ""))
            elif kind == "error":
                self._on_error(frame.headers.get("receipt-id", ""), _reason(frame))
            elif kind == "connected":
                self.server = frame.headers.get("server", "")
                if not self._connected.done():
                    self._connected.set_result(None)
            else:
                at, error = self._last_error
                recent = time.monotonic() - at < 1
                why = self._transport.failure()
                ended = f"{self.address} closed the connection{f' ({why})' if why else ''}"
                self._end(error if recent else ended)
        if messages:
            self._hand(messages)

    def _hand(self, messages: list[tuple[dict[str, str], bytes]]) -> None:
        # After the end stomp.py still delivers what it had read; its ack ids are worthless.
        if not self.ended.done():
            self._handler.on_messages(messages)

    def _on_receipt(self, receipt: str) -> None:
        answer = self._answers.get(receipt)
        if answer is None:
            self._handler.on_receipt(receipt)
        elif not answer.done():
            answer.set_result(None)

    def _on_error(self, receipt: str, reason: str) -> None:
        self._last_error = (time.monotonic(), reason)
        answer = self._answers.get(receipt)
        if not self._connected.done():
            self._end(reason)
        elif answer is None:
            self._handler.on_error(receipt, reason)
        elif not answer.done():
            answer.set_exception(refusal(self.address, reason))

    async def _watch_silence(self) -> None:
        """Own heart-beats, judged on bytes: stomp.py's would wait behind a blocked write."""
        while True:
            await asyncio.sleep(_HEART_BEAT_SECONDS / 2)
            now = time.monotonic()
            if now - self._transport.heard_at > _SILENCE_SECONDS:
                self._end(f"{self.address} was silent for {_SILENCE_SECONDS:g} s")
                return
            if self._writer is not None and now - self._writer.written_at >= _HEART_BEAT_SECONDS / 2:
                with contextlib.suppress(ConnectionLostError):
                    self.write(b"\n")


def _reason(frame: Any) -> str:
    """What an ERROR frame says, on one line; the body of ActiveMQ's is a stack trace."""
    text = frame.headers.get("message") or (frame.body or b"").decode(errors="replace").partition("\n")[0]
    return " ".join(str(text).split()) or "the broker gave no reason"


class ActiveMq:
    """Opens connections with one login: a `broker_bridge.broker.Connect`. `tls` is for addresses that want it."""

    def __init__(
        self, login: Login, *, answer_seconds: float = _ANSWER_SECONDS, tls: ssl.SSLContext | None = None
    ) -> None:
        self._login = login
        self._tls = tls
        self._answer_seconds = answer_seconds
        # What stomp.py logs is reported by us with its reason, and its tracebacks would bury it.
        logging.getLogger("stomp.py").setLevel(logging.CRITICAL)

    async def __call__(self, address: BrokerAddress, handler: Handler, *, client_id: str = "") -> ActiveMqConnection:
        connection = ActiveMqConnection(address, handler, answer_seconds=self._answer_seconds, tls=self._tls)
        try:
            await connection.open(self._login, client_id=client_id)
        except BaseException:
            connection.abort("given up")
            raise
        return connection
