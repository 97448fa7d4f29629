"""The dead letters of a queue for operators: listed by browsing, sent back or deleted one by one.

Each operation uses a connection of its own. A message leaves the dead letter queue only together with what shall
happen to it: sending back is a transaction of copy and ACK.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from broker_bridge.broker import BrokerAddress, Connect
from broker_bridge.dead_letters import (
    ATTEMPTS,
    ERROR_CLASS,
    FIRST_FAILED_AT,
    ORIGINAL_DESTINATION,
    ORIGINAL_MESSAGE_ID,
    REASON,
    ROUTE,
    STORY,
    copy_headers,
    obstacle_to_copy,
    reasons_queue,
)
from broker_bridge.message import Message, decode_message
from broker_bridge.routes import dead_letter_queue
from broker_bridge.visit import Visit

_MAX_BROWSED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadMessage:
    """A message in a dead letter queue with its story.

    `first_failed_at` in milliseconds; 0 and empty mean not known.
    """

    message: Message
    queue: str
    reason: str
    error_class: str
    attempts: int
    original_destination: str
    original_message_id: str
    route: str
    first_failed_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """How many messages were sent back, and how many stay because a copy would lose something."""

    replayed: int
    skipped: int


class DeadLetterQueue:
    """The dead letters of `source`, e.g. `queue://orders`. Every method raises BrokerError."""

    def __init__(
        self, source: str, *, connect: Connect, addresses: Sequence[BrokerAddress], now_ms: Callable[[], int]
    ) -> None:
        self._source = source
        self._queue = dead_letter_queue(source)
        self._connect = connect
        self._addresses = addresses
        self._now_ms = now_ms

    async def list(self, limit: int) -> list[DeadMessage]:
        """The oldest dead letters; they stay where they are."""
        async with Visit(self._connect, self._addresses) as visit:
            stories = await self._stories(visit)
            found = await visit.browse(self._queue, limit)
            return [self._dead(self._decoded(frame), stories) for frame in found]

    async def replay(self, ids: Sequence[str]) -> Replayed:
        """Sends dead letters back to where they came from, all of them when no ids are given."""
        skipped = 0
        moved: set[str] = set()
        async with Visit(self._connect, self._addresses) as visit:
            stories = await self._stories(visit)
            async for headers, body in visit.consume(self._queue, await self._wanted(visit, ids)):
                message = self._decoded((headers, body))
                if obstacle_to_copy(message):
                    skipped += 1
                else:
                    await visit.move(headers["ack"], *self._original(message, stories))
                    moved.add(message.id)
            await self._forget_stories(visit, moved)
        return Replayed(replayed=len(moved), skipped=skipped)

    async def purge(self, ids: Sequence[str]) -> int:
        """Deletes dead letters for good, all of them when no ids are given."""
        purged: set[str] = set()
        async with Visit(self._connect, self._addresses) as visit:
            async for headers, _ in visit.consume(self._queue, await self._wanted(visit, ids)):
                await visit.delete(headers["ack"])
                purged.add(headers["message-id"])
            await self._forget_stories(visit, purged)
        return len(purged)

    async def _wanted(self, visit: Visit, ids: Sequence[str]) -> set[str]:
        """Of the messages that are there now those that are wanted: what arrives meanwhile is left alone."""
        present = {headers["message-id"] for headers, _ in await visit.browse(self._queue, _MAX_BROWSED)}
        return present & set(ids) if ids else present

    async def _stories(self, visit: Visit) -> dict[str, Mapping[str, str]]:
        """The stories beside the queue, of messages that the broker moved itself, by original message id."""
        found = await visit.browse(reasons_queue(self._queue), _MAX_BROWSED)
        return {headers.get(ORIGINAL_MESSAGE_ID, ""): headers for headers, _ in found}

    async def _forget_stories(self, visit: Visit, ids: set[str]) -> None:
        """Deletes the stories of messages that are no dead letters any more."""
        queue = reasons_queue(self._queue)
        found = await visit.browse(queue, _MAX_BROWSED)
        over = {headers["message-id"] for headers, _ in found if headers.get(ORIGINAL_MESSAGE_ID) in ids}
        async for headers, _ in visit.consume(queue, over):
            await visit.delete(headers["ack"])

    def _decoded(self, frame: tuple[Mapping[str, str], bytes]) -> Message:
        return decode_message(*frame, source=self._queue, received_at=self._now_ms())

    def _original(self, message: Message, stories: Mapping[str, Mapping[str, str]]) -> tuple[dict[str, str], bytes]:
        """The SEND that brings a message back: without its story, to where it was."""
        story = stories.get(message.id, message.properties)
        destination = story.get(ORIGINAL_DESTINATION) or message.original_destination or self._source
        headers = copy_headers(message, destination, {})
        return {name: value for name, value in headers.items() if name not in STORY}, message.body

    def _dead(self, message: Message, stories: Mapping[str, Mapping[str, str]]) -> DeadMessage:
        story = stories.get(message.id, message.properties)
        return DeadMessage(
            message=message,
            queue=self._queue,
            reason=story.get(REASON) or message.properties.get("dlqDeliveryFailureCause", ""),
            error_class=story.get(ERROR_CLASS, ""),
            attempts=int(story.get(ATTEMPTS, "0")),
            original_destination=story.get(ORIGINAL_DESTINATION, message.original_destination),
            original_message_id=story.get(ORIGINAL_MESSAGE_ID, message.id),
            route=story.get(ROUTE, ""),
            first_failed_at=int(story.get(FIRST_FAILED_AT, "0")),
        )
