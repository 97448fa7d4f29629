"""The load client of the benchmarks against a real gRPC server: it must not call a failure fast."""

from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
import pytest

from bench.load import LoadError, drive

Behaviour = Callable[[bytes, "grpc.aio.ServicerContext[bytes, bytes]"], Awaitable[bytes]]


async def echo(request: bytes, _context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
    return request


async def fail_some(request: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
    if request == b"7":
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no more")
    return request


async def fail_late(request: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
    """A message and a bad status, as a handler may give them."""
    context.set_code(grpc.StatusCode.INTERNAL)
    return request


async def noisy(request: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
    """Trailers of its own beside the status."""
    context.set_trailing_metadata((("x-request-id", "grpc-status"), ("other", "1")))
    return request


@pytest.fixture
async def address() -> AsyncIterator[str]:
    server = grpc.aio.server()
    behaviours: dict[str, Behaviour] = {"Echo": echo, "Some": fail_some, "Late": fail_late, "Noisy": noisy}
    methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        name: grpc.unary_unary_rpc_method_handler(behaviour) for name, behaviour in behaviours.items()
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Test", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


@pytest.mark.parametrize(("connections", "streams"), [(1, 1), (3, 7)], ids=["one call", "many calls"])
@pytest.mark.parametrize("method", ["Echo", "Noisy"])
async def test_every_request_gets_its_own_response(address: str, method: str, connections: int, streams: int) -> None:
    """In the order of the requests, however many are under way."""
    requests = [str(number).encode() for number in range(200)]
    result = await drive(address, f"/bench.Test/{method}", requests, connections=connections, streams=streams)
    assert result.responses == requests
    assert result.seconds > 0


async def test_more_connections_than_requests_end_too(address: str) -> None:
    """A connection without work is done at once."""
    result = await drive(address, "/bench.Test/Echo", [b"only"], connections=4, streams=2)
    assert result.responses == [b"only"]


async def test_requests_of_several_frames_and_windows_arrive_whole(address: str) -> None:
    """Messages above a frame are divided, and the server's window is not overrun."""
    requests = [bytes([number % 256]) * 60_000 for number in range(60)]
    result = await drive(address, "/bench.Test/Echo", requests, connections=2, streams=8)
    assert result.responses == requests


async def test_an_empty_message_is_a_message(address: str) -> None:
    """Its response is empty as well."""
    assert (await drive(address, "/bench.Test/Echo", [b""], connections=1, streams=1)).responses == [b""]


@pytest.mark.parametrize("method", ["Some", "Late", "Missing"])
async def test_a_call_that_fails_ends_the_run(address: str, method: str) -> None:
    """Refused, failed after its message, or unknown: no rate is made of it."""
    requests = [str(number).encode() for number in range(50)]
    with pytest.raises(LoadError, match="not answered OK"):
        await drive(address, f"/bench.Test/{method}", requests, connections=2, streams=4)


async def test_a_request_beyond_the_window_is_refused(address: str) -> None:
    """The client follows no windows of streams, and says so."""
    with pytest.raises(LoadError, match="at most 65530"):
        await drive(address, "/bench.Test/Echo", [bytes(65_531)], connections=1, streams=1)
