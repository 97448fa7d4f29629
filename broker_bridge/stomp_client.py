"""stomp.py as the bridge uses it: it connects, logs in and reads in a thread of its own. The only file that knows it.

What it would do with a connection by itself (reconnecting, heart-beats, waiting without limit) is switched off, and
frames are handed to the event loop once per chunk read.
"""

import asyncio
import contextlib
import os
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any

# Importing stomp.py otherwise asks the resolver for the names of this machine, which may take seconds.
os.environ.setdefault("STOMP_SKIP_HOSTNAME_SCAN", "1")

import stomp
from stomp.connect import BaseConnection
from stomp.exception import ConnectFailedException, ConnectionClosedException, StompException
from stomp.protocol import Protocol12
from stomp.transport import Transport
from stomp.utils import Frame

from broker_bridge.broker import BrokerAddress, Login
from broker_bridge.frame_reader import FrameReader
from broker_bridge.tls_socket import TlsSocket, reason_of

_RECEIVE_BYTES = 64 * 1024
_QUICKACK = getattr(socket, "TCP_QUICKACK", None)  # Linux


class NotConnectedError(Exception):
    """stomp.py could not connect; why, only an ERROR frame or `StompTransport.failure` tell."""


class HandOver:
    """Frames read by stomp.py's thread, handed to the event loop once per chunk. stomp.py calls the `on_` methods."""

    def __init__(self, loop: asyncio.AbstractEventLoop, deliver: Callable[[list[tuple[str, Any]]], None]) -> None:
        self._loop = loop
        self._deliver = deliver
        self._events: list[tuple[str, Any]] = []

    def flush(self) -> None:
        if self._events:
            events, self._events = self._events, []
            # The loop may be closed at exit, and an exception here would end up in stomp.py.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._deliver, events)

    def on_connected(self, frame: Any) -> None:
        self._events.append(("connected", frame))

    def on_message(self, frame: Any) -> None:
        self.on_message_parts(frame.headers, frame.body or b"")

    def on_message_parts(self, headers: dict[str, str], body: bytes) -> None:
        self._events.append(("message", (headers, body)))

    def on_receipt(self, frame: Any) -> None:
        self._events.append(("receipt", frame))

    def on_error(self, frame: Any) -> None:
        self._events.append(("error", frame))

    def on_disconnected(self) -> None:
        self._events.append(("disconnected", None))
        self.flush()


class StompTransport(Transport):  # type: ignore[misc]  # stomp.py has no types
    """stomp.py's transport with the two socket options that keep small packets from waiting (40 ms each)."""

    def __init__(
        self, address: BrokerAddress, hand_over: HandOver, *, timeout: float, tls: ssl.SSLContext | None
    ) -> None:
        super().__init__(
            host_and_ports=[(address.host, address.port)],
            prefer_localhost=False,
            try_loopback_connect=False,
            reconnect_attempts_max=1,
            timeout=timeout,
            auto_decode=False,
            is_eol_fc=stomp.Connection12.is_eol,
            recv_bytes=_RECEIVE_BYTES,
        )
        self._hand_over = hand_over
        self._address = address
        self._tls = tls
        self._timeout = timeout
        self.over_tls: TlsSocket | None = None
        self.tls_failure = ""
        self.kept_socket: socket.socket | None = None
        self.heard_at = time.monotonic()
        self._given_up = False
        self._reader = FrameReader()

    def attempt_connection(self) -> None:
        super().attempt_connection()
        kept: socket.socket = self.socket
        kept.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.kept_socket = kept
        if self._address.tls:
            self._secure(kept)
        if self._given_up:
            self.shut_down()
            kept.close()
            raise ConnectFailedException

    def _BaseTransport__io_loop(self) -> None:  # noqa: N802
        """As stomp.py's, which leaves the socket open when it was shut down before the loop began."""
        super()._BaseTransport__io_loop()
        if self.kept_socket is not None:
            self.kept_socket.close()

    def _secure(self, connected: socket.socket) -> None:
        """TLS of our own instead of stomp.py's, which polls a non-blocking socket and has no limit on its end."""
        tls = TlsSocket(connected, self._tls or ssl.create_default_context(), host=self._address.host)
        try:
            tls.handshake(self._timeout)
        except OSError as error:
            self.tls_failure = reason_of(error) if isinstance(error, ssl.SSLError) else f"TLS: no handshake: {error}"
            self.shut_down()
            connected.close()
            raise ConnectFailedException from error
        self.over_tls = tls
        self.socket: Any = tls

    def failure(self) -> str:
        """Why TLS could not be had, or ended; empty when it is not to blame."""
        return self.tls_failure or (self.over_tls.failure if self.over_tls else "")

    def receive(self) -> bytes | None:
        self._hand_over.flush()
        chunk: bytes | None = super().receive()
        if chunk:
            self.heard_at = time.monotonic()
            if _QUICKACK is not None and self.kept_socket is not None:
                # The kernel falls back to delayed acknowledgements by itself: set again after every read.
                with contextlib.suppress(OSError):
                    self.kept_socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        return chunk

    def _BaseTransport__read_frames(self) -> None:  # noqa: N802
        """Takes the place of stomp.py's reader of this name: only messages go another, shorter way."""
        chunk = self.receive()
        if not chunk:
            raise ConnectionClosedException
        for command, headers, body in self._reader.feed(chunk):
            if command == "MESSAGE":
                self._hand_over.on_message_parts(headers, body)
            else:
                self.process_frame(Frame(command, headers, body), body)

    def shut_down(self) -> None:
        """Ends reading and writing, whatever they wait for."""
        self._given_up = True
        self.running = False
        if self.kept_socket is not None:
            with contextlib.suppress(OSError):
                self.kept_socket.shutdown(socket.SHUT_RDWR)


class StompClient(stomp.Connection12):  # type: ignore[misc]  # stomp.py has no types
    """stomp.py's connection on our transport."""

    def __init__(self, transport: StompTransport) -> None:
        BaseConnection.__init__(self, transport)
        Protocol12.__init__(self, transport, heartbeats=(0, 0), auto_content_length=False)

    def log_in(self, login: Login, headers: Mapping[str, str]) -> None:
        """Connects and sends CONNECT; the answer comes by the listener. Blocks. Raises NotConnectedError."""
        try:
            self.connect(login.user, login.password, wait=False, headers=headers)
        except (StompException, OSError) as error:
            raise NotConnectedError from error
