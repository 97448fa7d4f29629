"""The dead letters of a queue for operators: listed by browsing, sent back or deleted one by one.

Each operation uses a connection of its own. A message leaves the dead letter queue only together with what shall
happen to it: sending back is a transaction of copy and ACK.
"""

from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
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
from broker_bridge.source import dead_letter_queue
from broker_bridge.visit import Frame, Visit, selector_of

# Where a broker without an individual dead letter strategy moves everything.
_SHARED_QUEUE = "queue://ActiveMQ.DLQ"
_SHOWN_BYTES = 8 * 1024 * 1024  # half of what a gRPC message may have


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
        """The oldest dead letters; they stay where they are. Their bodies are cut to 8 MiB in all."""
        found: list[DeadMessage] = []
        room = _SHOWN_BYTES
        async with Visit(self._connect, self._addresses) as visit:
            stories = await self._stories(visit)
            async with aclosing(self._shown(visit, stories.keys())) as frames:
                async for queue, (headers, body) in frames:
                    found.append(self._dead(queue, self._decoded((headers, body[:room])), stories))
                    room = max(room - len(body), 0)
                    if len(found) == limit:
                        break
        return found

    async def _shown(self, visit: Visit, told: Collection[str]) -> AsyncGenerator[tuple[str, Frame], None]:
        """The dead letters with the queues they lie in; `told` are the ids of those the broker was asked to move."""
        missing = set(told)
        async with aclosing(visit.browse(self._queue)) as frames:
            async for frame in frames:
                missing.discard(frame[0]["message-id"])
                yield self._queue, frame
        if missing:
            async with aclosing(visit.browse(_SHARED_QUEUE)) as frames:
                async for frame in frames:
                    if frame[0]["message-id"] in missing:
                        yield _SHARED_QUEUE, frame

    async def get(self, message_id: str) -> DeadMessage | None:
        """The dead letter of an id, its own or that of the original; its body is cut to 8 MiB.

        Found anywhere in the queue.
        """
        ids = [message_id]
        selector = f"{selector_of('JMSMessageID', ids)} OR {selector_of(ORIGINAL_MESSAGE_ID, ids)}"
        async with Visit(self._connect, self._addresses) as visit:
            stories = await self._stories(visit)
            for queue in (self._queue, *([_SHARED_QUEUE] if message_id in stories else ())):
                async with aclosing(visit.browse(queue, selector=selector)) as frames:
                    async for headers, body in frames:
                        return self._dead(queue, self._decoded((headers, body[:_SHOWN_BYTES])), stories)
        return None

    async def replay(self, ids: Sequence[str]) -> Replayed:
        """Sends dead letters back to where they came from, all of them when no ids are given."""
        replayed = skipped = 0
        bare: set[str] = set()
        async with Visit(self._connect, self._addresses) as visit:
            stories = await self._stories(visit)
            async with aclosing(self._taken(visit, ids)) as messages:
                async for ack_id, message in messages:
                    if obstacle_to_copy(message):
                        skipped += 1
                        continue
                    await visit.move(ack_id, *self._original(message, stories))
                    replayed += 1
                    bare.update(_without_story(message))
            await self._forget_stories(visit, bare)
        return Replayed(replayed=replayed, skipped=skipped)

    async def purge(self, ids: Sequence[str]) -> int:
        """Deletes dead letters for good, all of them when no ids are given."""
        purged = 0
        bare: set[str] = set()
        async with Visit(self._connect, self._addresses) as visit:
            async with aclosing(self._taken(visit, ids)) as messages:
                async for ack_id, message in messages:
                    await visit.delete(ack_id)
                    purged += 1
                    bare.update(_without_story(message))
            await self._forget_stories(visit, bare)
        return purged

    async def _taken(self, visit: Visit, ids: Sequence[str]) -> AsyncGenerator[tuple[str, Message], None]:
        """Dead letters by id, or all that are there now, each with its ack id."""
        began = self._now_ms()
        found = visit.select(self._queue, "JMSMessageID", set(ids)) if ids else visit.consume(self._queue)
        async with aclosing(found) as frames:
            async for headers, body in frames:
                # What was replayed a moment ago and failed again is behind everything else.
                if not ids and int(headers.get(FIRST_FAILED_AT, "0")) > began:
                    return
                yield headers["ack"], self._decoded((headers, body))

    async def _stories(self, visit: Visit) -> dict[str, Mapping[str, str]]:
        """The stories beside the queue, of messages that the broker moved itself, by original message id."""
        async with aclosing(visit.browse(reasons_queue(self._queue))) as frames:
            return {headers.get(ORIGINAL_MESSAGE_ID, ""): headers async for headers, _ in frames}

    async def _forget_stories(self, visit: Visit, ids: set[str]) -> None:
        """Deletes the stories of messages that are no dead letters any more."""
        queue = reasons_queue(self._queue)
        async with aclosing(visit.select(queue, ORIGINAL_MESSAGE_ID, ids)) as frames:
            async for headers, _ in frames:
                await visit.delete(headers["ack"])

    def _decoded(self, frame: tuple[Mapping[str, str], bytes]) -> Message:
        return decode_message(*frame, source=self._queue, received_at=self._now_ms())

    def _original(self, message: Message, stories: Mapping[str, Mapping[str, str]]) -> tuple[dict[str, str], bytes]:
        """The SEND that brings a message back: without its story, to where it was."""
        story = stories.get(message.id, message.properties)
        destination = story.get(ORIGINAL_DESTINATION) or message.original_destination or self._source
        headers = copy_headers(message, destination, {})
        return {name: value for name, value in headers.items() if name not in STORY}, message.body

    def _dead(self, queue: str, message: Message, stories: Mapping[str, Mapping[str, str]]) -> DeadMessage:
        story = stories.get(message.id, message.properties)
        return DeadMessage(
            message=message,
            queue=queue,
            reason=story.get(REASON) or message.properties.get("dlqDeliveryFailureCause", ""),
            error_class=story.get(ERROR_CLASS, ""),
            attempts=int(story.get(ATTEMPTS, "0")),
            original_destination=story.get(ORIGINAL_DESTINATION, message.original_destination),
            original_message_id=story.get(ORIGINAL_MESSAGE_ID, message.id),
            route=story.get(ROUTE, ""),
            first_failed_at=int(story.get(FIRST_FAILED_AT, "0")),
        )


def _without_story(message: Message) -> set[str]:
    """The id of a message that the broker moved itself: its story lies beside it."""
    return set() if ORIGINAL_MESSAGE_ID in message.properties else {message.id}
