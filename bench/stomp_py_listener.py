"""`python -m bench.stomp_py_listener HOST:PORT QUEUE COUNT`: a bare stomp.py listener, the peer of `drain_vs_stomp_py`.

Stock `Connection12`, prefetch 1000, an ACK in the listener for each message, sent without a receipt, nothing else done.
Prints one JSON object with the seconds from the first message to the receipt of DISCONNECT.
"""

import json
import os
import sys
import threading
import time

os.environ.setdefault("STOMP_SKIP_HOSTNAME_SCAN", "1")

import stomp

from deploy.local.activemq import BROKER_PASSWORD, BROKER_USER


class Listener(stomp.ConnectionListener):  # type: ignore[misc]  # stomp.py has no types
    """Acknowledges and counts."""

    def __init__(self, connection: stomp.Connection12, count: int) -> None:
        self._connection = connection
        self._count = count
        self.received = 0
        self.started: tuple[float, float] = (0.0, 0.0)
        self.enough = threading.Event()
        self.ended = threading.Event()

    def on_message(self, frame: stomp.utils.Frame) -> None:
        if not self.received:
            self.started = time.perf_counter(), time.process_time()
        self._connection.ack(frame.headers["ack"])
        self.received += 1
        if self.received == self._count:
            self.enough.set()

    def on_receipt(self, frame: stomp.utils.Frame) -> None:  # noqa: ARG002 - the only one is that of DISCONNECT
        self.ended.set()


def main(address: str, queue: str, count: int) -> dict[str, float]:
    host, _, port = address.rpartition(":")
    connection = stomp.Connection12([(host, int(port))])
    listener = Listener(connection, count)
    connection.set_listener("bench", listener)
    connection.connect(BROKER_USER, BROKER_PASSWORD, wait=True)
    prefetch = {"activemq.prefetchSize": "1000"}
    connection.subscribe(f"/queue/{queue}", id="1", ack="client-individual", headers=prefetch)
    listener.enough.wait(120)
    connection.disconnect(receipt="end")
    listener.ended.wait(30)
    seconds, cpu_seconds = time.perf_counter() - listener.started[0], time.process_time() - listener.started[1]
    return {"messages": listener.received, "work": count - 1, "seconds": seconds, "cpu_seconds": cpu_seconds}


if __name__ == "__main__":
    sys.stdout.write(f"{json.dumps(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))}\n")
