"""Moves a message: a copy is sent and the original acknowledged in one transaction, both or none."""

from collections.abc import Mapping

from broker_bridge.broker import Connection, RefusedError
from broker_bridge.frames import encode_frame


async def transfer(connection: Connection, name: str, *, headers: Mapping[str, str], body: bytes, ack_id: str) -> None:
    """Sends a copy with these SEND headers and acknowledges the original.

    `name` is used for the transaction and its receipts, once per connection. COMMIT follows only when the copy was
    taken: the broker would otherwise commit the ACK without the refused SEND.

    Raises:
        RefusedError: the broker did not take the copy; nothing has changed.
        ConnectionLostError: the connection ended: nothing has changed, or everything.
    """
    connection.write(encode_frame("BEGIN", {"transaction": name}))
    try:
        copied = f"{name}-copied"
        await connection.request(
            encode_frame("SEND", {**headers, "transaction": name, "receipt": copied}, body), copied
        )
    except RefusedError:
        connection.write(encode_frame("ABORT", {"transaction": name}))
        raise
    committed = f"{name}-committed"
    acknowledge = encode_frame("ACK", {"id": ack_id, "transaction": name})
    commit = encode_frame("COMMIT", {"transaction": name, "receipt": committed})
    await connection.request(acknowledge + commit, committed)
