"""Behaviour of the real broker and of stomp.py that the bridge relies on."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
import stomp
from stomp.exception import ConnectFailedException
from stomp.transport import BaseTransport

from broker_bridge.activemq import ActiveMq, ActiveMqConnection
from broker_bridge.broker import BrokerAddress, ConnectFailedError, ConnectionLostError, Login, RefusedError
from broker_bridge.frames import acks, encode_frame, subscribe
from broker_bridge.stomp_client import HandOver, StompTransport
from broker_bridge.transfer import transfer
from deploy.local.activemq import BROKER_PASSWORD, BROKER_USER
from deploy.local.jms import JmsClient, JmsMessage
from deploy.local.ports import free_port_numbers
from tests.integration.bridge_harness import eventually
from tests.integration.parts import RunningPart

# A temporary queue whose connection has ended: the broker answers a SEND with ERROR and stays.
GONE = "/remote-temp-queue/ID:gone-1-1-1:1:1"
LOGIN = Login(BROKER_USER, BROKER_PASSWORD)


class Received:
    """A handler that keeps what it hears."""

    def __init__(self) -> None:
        self.messages: list[tuple[Mapping[str, str], bytes]] = []
        self.receipts: list[str] = []
        self.errors: list[tuple[str, str]] = []

    def on_messages(self, messages: Sequence[tuple[Mapping[str, str], bytes]]) -> None:
        self.messages += messages

    def on_receipt(self, receipt: str) -> None:
        self.receipts.append(receipt)

    def on_error(self, receipt: str, reason: str) -> None:
        self.errors.append((receipt, reason))


def address(activemq: RunningPart) -> BrokerAddress:
    return BrokerAddress("127.0.0.1", activemq.port("stomp"))


@asynccontextmanager
async def connected(activemq: RunningPart) -> AsyncIterator[tuple[ActiveMqConnection, Received]]:
    received = Received()
    connection = await ActiveMq(LOGIN)(address(activemq), received)
    try:
        yield connection, received
    finally:
        await connection.close()


@pytest.fixture
def queue() -> str:
    return f"connection-{uuid4().hex[:8]}"


async def subscribed(connection: ActiveMqConnection, queue: str, name: str = "s") -> None:
    frames = subscribe(name, f"/queue/{queue}", selector="", prefetch=1000, receipt=f"r-{name}")
    await connection.request(frames, f"r-{name}")


def send_frame(queue: str, body: bytes, **headers: str) -> bytes:
    return encode_frame("SEND", {"destination": f"/queue/{queue}", "persistent": "true"} | headers, body)


@pytest.mark.parametrize("moment", ["while it is made", "before it is read"])
async def test_a_connection_that_is_given_up_early_leaves_no_socket_open(moment: str) -> None:
    """stomp.py closes it only when its reader has run; the other side sees the end at once."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        hand_over = HandOver(asyncio.get_running_loop(), lambda _events: None)
        transport = StompTransport(BrokerAddress("127.0.0.1", port), hand_over, timeout=10, tls=None)

        def read_too_late(io_loop: Callable[[], None]) -> None:
            transport.shut_down()
            io_loop()

        transport.override_threading(read_too_late)
        if moment == "while it is made":
            transport.shut_down()
            with pytest.raises(ConnectFailedException):
                transport.start()
        else:
            transport.start()
        assert transport.kept_socket is not None
        assert transport.kept_socket.fileno() == -1
        peer, _ = listener.accept()
        with peer:
            assert peer.recv(1) == b""


def test_stomp_py_still_has_the_methods_that_are_replaced() -> None:
    """With other names its slower reader would run and sockets stay open; this pins the private names."""
    assert callable(getattr(BaseTransport, "_BaseTransport__read_frames", None))
    assert callable(getattr(BaseTransport, "_BaseTransport__io_loop", None))
    assert str(stomp.__version__).startswith("9.0.")


async def test_a_login_that_is_refused_tells_the_brokers_reason(activemq: RunningPart) -> None:
    """And never the password."""
    with pytest.raises(ConnectFailedError, match=r"User name .* or password is invalid") as caught:
        await ActiveMq(Login(BROKER_USER, "wrong-secret"))(address(activemq), Received())
    assert "wrong-secret" not in str(caught.value)


async def test_a_port_nobody_listens_on_is_told_at_once() -> None:
    """With the address."""
    (port,) = free_port_numbers(1)
    with pytest.raises(ConnectFailedError, match=f"stomp://127.0.0.1:{port}: nobody listens there"):
        await ActiveMq(LOGIN)(BrokerAddress("127.0.0.1", port), Received())


async def test_a_server_that_never_answers_is_given_up() -> None:
    """TCP is up, CONNECTED never comes."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        mute_address = BrokerAddress("127.0.0.1", mute.getsockname()[1])
        with pytest.raises(ConnectFailedError, match="no answer within"):
            await ActiveMq(LOGIN, answer_seconds=0.3)(mute_address, Received())


async def test_a_receipt_that_never_comes_ends_the_connection(activemq: RunningPart) -> None:
    """Nobody waits for ever."""
    connection = await ActiveMq(LOGIN, answer_seconds=5.0)(address(activemq), Received())
    connection._answer_seconds = 0.2
    with pytest.raises(ConnectionLostError, match="did not confirm"):
        await connection.request(encode_frame("BEGIN", {"transaction": "t"}), "never")
    assert connection.ended.done()


async def test_one_receipt_covers_all_acks_before_it(activemq: RunningPart, queue: str, jms: JmsClient) -> None:
    """The settlement stands on it: after kill -9 of the broker none of them comes again.

    Fewer than 200, the page of ActiveMQ: where nothing is acknowledged the next one may wait half a minute.
    """
    await asyncio.to_thread(jms.send, queue, [JmsMessage(text=str(n)) for n in range(150)])
    async with connected(activemq) as (connection, received):
        await subscribed(connection, queue)
        await eventually(lambda: len(received.messages) == 150, "all received")
        confirmed = [headers["ack"] for headers, _ in received.messages[:100]]
        connection.write(acks(confirmed, receipt="all"))
        await eventually(lambda: received.receipts == ["all"], "confirmed")
        await activemq.kill()
    await activemq.start()
    left = await asyncio.to_thread(jms.drain, queue)
    assert sorted(int(str(message.body)) for message in left.messages) == list(range(100, 150))


async def test_acks_after_unsubscribe_have_no_effect(activemq: RunningPart, queue: str, jms: JmsClient) -> None:
    """The broker confirms them and sends the messages again: a drain must acknowledge before it unsubscribes."""
    await asyncio.to_thread(jms.send, queue, [JmsMessage(text="a")])
    async with connected(activemq) as (connection, received):
        await subscribed(connection, queue)
        await eventually(lambda: len(received.messages) == 1, "received")
        await connection.request(encode_frame("UNSUBSCRIBE", {"id": "s", "receipt": "u"}), "u")
        await connection.request(acks([received.messages[0][0]["ack"]], receipt="late"), "late")
    assert (await asyncio.to_thread(jms.drain, queue)).count == 1


async def test_an_unknown_ack_is_an_error_and_the_connection_lives(activemq: RunningPart, queue: str) -> None:
    """As after a message that somebody else has settled."""
    async with connected(activemq) as (connection, received):
        await subscribed(connection, queue)
        connection.write(acks(["no-such-ack"], receipt="ack-1-1"))
        await eventually(lambda: bool(received.errors), "an error")
        ((receipt, reason),) = received.errors
        assert receipt == "ack-1-1"
        assert reason.startswith("Unexpected ACK received")
        assert not connection.ended.done()


async def test_a_transfer_is_atomic(activemq: RunningPart, queue: str, jms: JmsClient) -> None:
    """Copy and ACK together; a connection lost before COMMIT changes nothing."""
    await asyncio.to_thread(jms.send, queue, [JmsMessage(text="a")])
    headers = {"destination": f"/queue/{queue}-copy", "persistent": "true"}
    async with connected(activemq) as (connection, received):
        await subscribed(connection, queue)
        await eventually(lambda: bool(received.messages), "received")
        ack_id = received.messages[0][0]["ack"]
        connection.write(encode_frame("BEGIN", {"transaction": "t"}))
        copy = encode_frame("SEND", headers | {"transaction": "t", "receipt": "c"}, b"copy")
        await connection.request(copy, "c")
        connection.write(encode_frame("ACK", {"id": ack_id, "transaction": "t"}))
        connection.abort("lost before COMMIT")
    async with connected(activemq) as (connection, received):
        await subscribed(connection, queue)
        await eventually(lambda: bool(received.messages), "received again")
        ack_id = received.messages[0][0]["ack"]
        await transfer(connection, "t", headers=headers, body=b"copy", ack_id=ack_id)
    assert (await asyncio.to_thread(jms.drain, queue)).count == 0
    (copied,) = (await asyncio.to_thread(jms.drain, f"{queue}-copy")).messages
    assert copied.body == "copy"


async def test_a_refused_copy_changes_nothing(activemq: RunningPart, queue: str, jms: JmsClient) -> None:
    """The original stays with the broker, and can still be settled."""
    await asyncio.to_thread(jms.send, queue, [JmsMessage(text="a")])
    async with connected(activemq) as (connection, received):
        await subscribed(connection, queue)
        await eventually(lambda: bool(received.messages), "received")
        ack_id = received.messages[0][0]["ack"]
        with pytest.raises(RefusedError):
            await transfer(connection, "t", headers={"destination": GONE}, body=b"copy", ack_id=ack_id)
        await connection.request(encode_frame("NACK", {"id": ack_id, "receipt": "n"}), "n")
    (moved,) = (await asyncio.to_thread(jms.drain, f"DLQ.{queue}")).messages
    assert moved.body == "a"


async def test_header_names_and_values_arrive_as_they_were_sent(activemq: RunningPart, queue: str) -> None:
    """Colons, backslashes and line ends in both; stomp.py alone would forge header lines from such names."""
    name, value = "a:b\\c\nd", "v:w\\x\ny\rz"
    async with connected(activemq) as (connection, received):
        await subscribed(connection, queue)
        await connection.request(
            send_frame(queue, b"x", receipt="sent").replace(b"\n\nx", b"\na\\cb\\\\c\\nd:v\\cw\\\\x\\ny\\rz\n\nx"),
            "sent",
        )
        await eventually(lambda: bool(received.messages), "received")
        assert received.messages[0][0][name] == value


async def test_a_killed_broker_ends_the_connection_with_its_address(activemq: RunningPart) -> None:
    """Everybody who waits hears of it."""
    async with connected(activemq) as (connection, _):
        await activemq.kill()
        reason = await asyncio.wait_for(connection.ended, 30)
        assert str(address(activemq)) in reason
        with pytest.raises(ConnectionLostError):
            connection.write(b"\n")
        with pytest.raises(ConnectionLostError):
            await connection.request(encode_frame("BEGIN", {"transaction": "t", "receipt": "r"}), "r")
    await activemq.start()


async def test_a_peer_that_stops_reading_does_not_hold_up_the_loop() -> None:
    """Writes go through a thread; abort frees it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        host = BrokerAddress("127.0.0.1", server.getsockname()[1])

        def greet() -> socket.socket:
            peer, _ = server.accept()
            peer.recv(4096)
            peer.sendall(b"CONNECTED\nversion:1.2\nserver:Mute/1\n\n\x00")
            return peer

        greeting = asyncio.ensure_future(asyncio.to_thread(greet))
        connection = await ActiveMq(LOGIN)(host, Received())
        peer = await greeting
        assert connection.server == "Mute/1"
        with contextlib.suppress(ConnectionLostError):
            for _ in range(20_000):
                connection.write(b"x" * 10_000)
        assert connection.ended.done()
        assert "stopped reading" in connection.ended.result()
        peer.close()
