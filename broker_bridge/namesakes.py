"""Messages of one id from several queues of a wildcard: copies of a virtual topic, or of a send to several queues.

ActiveMQ finds what an ACK, a NACK or a transaction is about by the message id alone: it would take the first message of
that id it sent, whichever was meant, and know no other any more. So only the first one is taken as long as it is in
flight. The others are left to the broker, which sends them again by the next connection.
"""

from broker_bridge.message import Message
from broker_bridge.settlement import Ledger

_FEW = 1000


class Namesakes:
    """What is left to the broker on the current connection of a route."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._first: dict[str, str] = {}
        """Keys by message id; some are settled."""
        self._awaited: set[str] = set()

    def begin(self) -> None:
        """A new connection: everything comes again."""
        self._first.clear()
        self._awaited.clear()

    def leaves(self, message: Message) -> bool:
        """Whether the message must be left to the broker, because another one of its id is in flight."""
        first = self._first.get(message.id)
        if first is not None and first != message.key and self._ledger.holds(first):
            self._awaited.add(first)
            return True
        if len(self._first) > _FEW + 2 * self._ledger.in_flight():
            self._first = {id_: key for id_, key in self._first.items() if self._ledger.holds(key)}
        self._first[message.id] = message.key
        return False

    def renewal(self) -> str:
        """Why to subscribe anew, so that what was left comes again; empty while there is nothing, or it could not."""
        if self._awaited and not any(self._ledger.holds(key) for key in self._awaited):
            return "messages of one id are taken from one queue after the other"
        return ""
