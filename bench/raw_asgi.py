"""The peer of the HTTP intake: the same server with an ASGI application that answers at once, and gRPC health."""

import os
from typing import Any

from bench.bare_server import bare_server, run
from services.runtime.http_server import HttpServer

_BODY = b'{"outcome":"ACCEPTED","message_id":"00000000-0000-0000-0000-000000000000"}'
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(_BODY)).encode())]


async def answer(_scope: Any, _receive: Any, send: Any) -> None:
    """What an accepted event is answered, without looking at it."""
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _BODY})


async def main(http_port: int) -> None:
    async with bare_server():
        await HttpServer(answer, host="127.0.0.1", port=http_port, setting="BENCH_HTTP_PORT").run()


if __name__ == "__main__":
    run(main(int(os.environ["BENCH_HTTP_PORT"])))
