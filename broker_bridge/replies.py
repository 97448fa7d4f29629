"""Answers of targets to the senders of messages: request and reply, as JMS has it (JMS 1.1 section 3.4.3 and 3.4.5)."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

import structlog

from broker_bridge.broker import BrokerError, OversizedError, RefusedError
from broker_bridge.frames import MAX_HEADER_BYTES, MAX_HEADERS, header_bytes
from broker_bridge.message import Message, to_stomp
from broker_bridge.sender import Sender, Sending
from broker_bridge.stats import RouteStats
from broker_bridge.targets import Reply
from broker_bridge.text_codec import encode_text
from services.runtime.retry import Backoff

_PATIENCE_SECONDS = 30.0
_BACKOFF = Backoff(initial=0.2, maximum=5.0)
# Headers of ours that a property must not take the place of.
_RESERVED = frozenset({"destination", "content-length", "receipt", "transaction", "persistent", "amq-msg-type"})


class Answers(Protocol):
    """The way to the senders of messages."""

    async def send(self, message: Message, reply: Reply, stats: RouteStats) -> None:
        """Answers a message that has a reply-to, within a bounded time; a sender that is gone is counted."""
        ...


class MemoryAnswers:
    """Keeps the answers. For tests and dry runs."""

    def __init__(self) -> None:
        self.sent: list[tuple[Message, Reply]] = []

    async def send(self, message: Message, reply: Reply, stats: RouteStats) -> None:
        self.sent.append((message, reply))
        stats.replies += 1


class BrokerAnswers:
    """Answers by a connection of its own; while there is none it waits, for some seconds."""

    def __init__(self, sender: Sender, now: Callable[[], float]) -> None:
        self._sender = sender
        self._now = now
        self._log = structlog.get_logger("replies")

    async def send(self, message: Message, reply: Reply, stats: RouteStats) -> None:
        began, attempt = self._now(), 0
        while True:
            attempt += 1
            try:
                frame = reply_frame(message, reply, await self._sender.server())
                if fault := _fault(frame):
                    raise OversizedError(fault)  # noqa: TRY301 - what the broker would say by ending the connection
                await self._sender.send([frame])
            except OversizedError as error:
                stats.unsent_replies += 1
                self._log.warning("no reply", message_id=message.id, reply_to=message.reply_to, reason=str(error))
                return
            except RefusedError as error:
                self._too_late(message, str(error), stats)
                return
            except BrokerError as error:
                if self._now() - began > _PATIENCE_SECONDS:
                    self._too_late(message, str(error), stats)
                    return
                await asyncio.sleep(_BACKOFF.delay(attempt))
            else:
                stats.replies += 1
                return

    def _too_late(self, message: Message, reason: str, stats: RouteStats) -> None:
        stats.late_replies += 1
        self._log.info("a late reply", message_id=message.id, reply_to=message.reply_to, reason=reason)


def reply_frame(message: Message, reply: Reply, server: str) -> Sending:
    """The SEND of an answer: its correlation id is that of the message, or else the message's id."""
    headers = {name: value for name, value in reply.properties.items() if name not in _RESERVED}
    headers |= _addressed(message)
    if isinstance(reply.body, bytes):
        return Sending(headers=headers | {"content-length": str(len(reply.body))}, body=reply.body)
    more, body = encode_text(reply.body, server)
    return Sending(headers=headers | more, body=body)


def _fault(frame: Sending) -> str:
    """Why the broker would end the connection instead of taking the headers; empty when it would not."""
    if len(frame.headers) >= MAX_HEADERS:
        return f"it has {len(frame.headers)} headers; the broker takes {MAX_HEADERS}"
    names = (name for name, value in frame.headers.items() if header_bytes(name, value) > MAX_HEADER_BYTES)
    long = next(names, "")
    return f"its property {long[:80]} is longer than the {MAX_HEADER_BYTES} bytes the broker takes" if long else ""


def _addressed(message: Message) -> Mapping[str, str]:
    return {
        "destination": to_stomp(message.reply_to),
        "correlation-id": message.correlation_id or message.id,
        # A temporary destination does not outlive its connection.
        "persistent": "false" if message.reply_to.startswith("temp-") else "true",
    }
