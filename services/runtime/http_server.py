"""The HTTP server: granian inside this process and on its event loop, so that HTTP and gRPC share one domain."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from services.runtime.open_files import connections_allowed
from services.runtime.server import BindError

Application = Callable[[Any, Any, Any], Awaitable[None]]
"""An ASGI application: scope, receive, send."""

_MAX_CONNECTIONS = 8192
# Also ends connections on which no next request begins: those of clients that went away would add up to the limit.
_HEADER_SECONDS = 30


class HttpServer:
    """Serves an ASGI application on `host:port`; `run` is a background task of the process, `stop` ends it.

    `setting` is the variable that chooses another port, for messages.

    Up to 8192 connections, or as many as the process may open files for; further ones wait. One on which no request
    begins for 30 s is closed.

    Raises:
        BindError: the address is taken or not one of this machine's.
    """

    def __init__(
        self,
        application: Application,
        *,
        host: str,
        port: int,
        setting: str,
        tls_cert: Path | None = None,
        tls_key: Path | None = None,
    ) -> None:
        _require_free(host, port, setting)
        self._stopping = False
        self._ended = asyncio.Event()
        tls: dict[str, Any] = {"ssl_cert": tls_cert, "ssl_key": tls_key} if tls_cert and tls_key else {}
        self._server = Server(
            application,
            address=host,
            port=port,
            interface=Interfaces.ASGINL,
            # Waiting for the first bytes to tell the versions apart, a connection that sends none would stay for ever.
            http=HTTPModes.http1,
            websockets=False,
            log_enabled=False,
            backlog=1024,
            backpressure=connections_allowed(_MAX_CONNECTIONS),
            http1_settings=HTTP1Settings(header_read_timeout=_HEADER_SECONDS * 1000),
            **tls,
        )

    async def run(self) -> None:
        """Serves until `stop`."""
        try:
            await self._server.serve()
        finally:
            self._ended.set()
        if not self._stopping:
            raise RuntimeError("the HTTP server ended by itself")

    async def stop(self) -> None:
        """Takes no more requests and returns when those in progress are answered."""
        self._stopping = True
        self._server.stop()  # type: ignore[no-untyped-call]
        await self._ended.wait()


def _require_free(host: str, port: int, setting: str) -> None:
    # granian binds with SO_REUSEPORT: a second process would silently take half of the requests.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise BindError(
                f"cannot listen on {host}:{port} for HTTP: {error.strerror}; choose another port with "
                f"{setting}, or 0 for none"
            ) from error
