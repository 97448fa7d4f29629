"""Delivery by the batch calls of AWS, by boto3 in threads: what SQS, SNS and Kinesis have in common."""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from broker_bridge.aws_answers import NOT_THE_SERVICE, call_failed, cannot_be_read
from broker_bridge.parcel import Parcel
from broker_bridge.targets import ErrorClass, Origin, Outcome, Rejected, Retry
from services.runtime.aws import BlockingCalls

_BEHIND = Retry(reason="a message before it in its group was not taken", error_class=ErrorClass.UNAVAILABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A message as an entry of a request: its position in the delivery, and its size in bytes as the service counts."""

    position: int
    entry: Mapping[str, Any]
    size: int

    @property
    def group(self) -> str:
        """The message group, whose order counts at the service; empty where that knows none."""
        return str(self.entry.get("MessageGroupId", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a request holds at most. A message of more than `shared_bytes` has a request of its own."""

    entries: int
    bytes: int
    shared_bytes: int


class AwsBatchDelivery(ABC):
    """A `broker_bridge.targets.Target`: requests as large as the service takes, several at the same time.

    Of a message group the next one is sent when the one before it was taken, and the group stops at its first failure:
    in one request the service takes or fails each entry by itself (API_SendMessageBatch, API_PublishBatch).
    """

    def __init__(
        self,
        service: str,
        limits: Limits,
        *,
        client: Callable[[], Any],
        calls: BlockingCalls,
        poison: frozenset[str] = frozenset(),
    ) -> None:
        self._service = service
        self._limits = limits
        self._client = client
        self._calls = calls
        self._poison = poison

    @abstractmethod
    def _entry(self, parcel: Parcel, position: int) -> Mapping[str, Any]:
        """The entry for a message."""

    @abstractmethod
    def _size(self, entry: Mapping[str, Any]) -> int:
        """Bytes of an entry."""

    @abstractmethod
    def _fault(self, entry: Mapping[str, Any]) -> str:
        """Why the service would refuse the message whatever is sent beside it; empty when it would not."""

    @abstractmethod
    def _call(self, client: Any, entries: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Sends a request, in a thread."""

    @abstractmethod
    def _outcomes(self, items: Sequence[Item], response: Mapping[str, Any]) -> dict[int, Outcome]:
        """The outcomes of the messages that the response tells of, by position."""

    async def deliver(self, parcels: Sequence[Parcel], origin: Origin) -> Sequence[Outcome]:  # noqa: ARG002
        outcomes: dict[int, Outcome] = {}
        items = []
        for position, parcel in enumerate(parcels):
            entry = self._entry(parcel, position)
            if fault := self._fault(entry):
                outcomes[position] = Rejected(reason=fault, error_class=ErrorClass.POISON)
            else:
                items.append(Item(position=position, entry=entry, size=self._size(entry)))
        outcomes.update(await self._send_in_turns(items))
        return [outcomes[position] for position in range(len(parcels))]

    async def _send_in_turns(self, items: Sequence[Item]) -> dict[int, Outcome]:
        """In the first turn everything without a group; in each, the next message of every group."""
        outcomes: dict[int, Outcome] = {item.position: _BEHIND for item in items}
        groups: dict[str, deque[Item]] = {}
        for item in items:
            groups.setdefault(item.group, deque()).append(item)
        turn = [*groups.pop("", ()), *(waiting.popleft() for waiting in groups.values())]
        while turn:
            for answers in await asyncio.gather(*(self._send(request) for request in self._requests(turn))):
                outcomes.update(answers)
            taken = [item.group for item in turn if not isinstance(outcomes[item.position], Retry)]
            turn = [groups[group].popleft() for group in taken if groups.get(group)]
        return outcomes

    async def _send(self, items: Sequence[Item]) -> dict[int, Outcome]:
        entries = [item.entry for item in items]
        positions = [item.position for item in items]
        try:
            response = await self._calls.run(lambda: self._call(self._client(), entries))
            answered = self._outcomes(items, response)
        except (ClientError, BotoCoreError) as error:
            failure = call_failed(self._service, error, shared=len(items) > 1, poison=self._poison)
            return dict.fromkeys(positions, failure)
        except NOT_THE_SERVICE as error:
            return dict.fromkeys(positions, cannot_be_read(self._service, error))
        missing = Retry(reason=f"{self._service} gave no result for the message", error_class=ErrorClass.UNAVAILABLE)
        return {position: answered.get(position, missing) for position in positions}

    def _requests(self, items: Sequence[Item]) -> Iterator[list[Item]]:
        """The items in order, in requests that the service takes."""
        limits = self._limits
        request: list[Item] = []
        size = 0
        for item in items:
            is_full = len(request) == limits.entries or size + item.size > limits.bytes
            if request and (is_full or max(item.size, request[-1].size) > limits.shared_bytes):
                yield request
                request, size = [], 0
            request.append(item)
            size += item.size
        if request:
            yield request

    async def close(self) -> None:  # noqa: B027 - complete as it is
        """Nothing to do: the client is shared."""
