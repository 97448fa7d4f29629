"""How a replica hears of the writes to a DynamoDB table: its own and those of others, in order and once."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from services.config.dynamodb_items import STORE_KEY, event_key, number
from services.config.dynamodb_reads import Reads
from services.config.dynamodb_table import ConflictError, Table
from services.config.store import Listener
from services.runtime.errors import InternalError, PenstockError


class Follower:
    """Announces events to listeners, and forgets those of which more than `kept_revisions` are newer.

    See `DynamoDbStore` for the arguments.
    """

    def __init__(
        self,
        table: Table,
        reads: Reads,
        *,
        kept_revisions: int,
        poll_seconds: float,
        on_trouble: Callable[[str], None],
    ) -> None:
        self._table = table
        self._reads = reads
        self._kept_revisions = kept_revisions
        self._poll_seconds = poll_seconds
        self._on_trouble = on_trouble
        self._listeners: list[Listener] = []
        self._revision = 0
        self._floor = 0
        self._reading = asyncio.Lock()

    @property
    def revision(self) -> int:
        """The newest revision that was announced, or found at the start."""
        return self._revision

    def on_commit(self, listener: Listener) -> None:
        self._listeners.append(listener)

    async def start(self) -> None:
        """Begins after what is in the table now."""
        self._revision, self._floor = await self._reads.reached()

    async def catch_up(self) -> None:
        """Announces every event up to the store's revision, in order and once."""
        async with self._reading:
            revision, self._floor = await self._reads.reached()
            if self._floor > self._revision:
                raise InternalError(
                    f"events up to revision {self._floor} are gone, this replica knows {self._revision}: restart it"
                )
            events = [event async for event in self._reads.events_after(self._revision, revision)]
            if events:
                self._revision = events[-1].revision
                for listener in self._listeners:
                    listener(events)
        if self._revision - self._kept_revisions - self._floor > max(self._kept_revisions // 10, 1):
            await self._compact(self._revision - self._kept_revisions)

    async def _compact(self, floor: int) -> None:
        """Forgets the events up to a revision; first nobody may rely on them any more, then they go."""
        before = self._floor

        def raise_floor(client: Any, name: str) -> None:
            client.update_item(
                TableName=name,
                Key=STORE_KEY,
                UpdateExpression="SET floor = :new",
                ConditionExpression="floor = :old",
                ExpressionAttributeValues={":old": number(before), ":new": number(floor)},
            )

        with suppress(ConflictError, PenstockError):  # another replica does it, or the next write will
            await self._table.called(raise_floor)
            self._floor = floor
            await self._table.delete_all([event_key(revision) for revision in range(before + 1, floor + 1)])

    async def run(self) -> None:
        """Announces other replicas' writes, until closed or left behind."""
        while True:
            await asyncio.sleep(self._poll_seconds)
            try:
                await self.catch_up()
            except InternalError:
                raise
            except PenstockError as error:
                self._on_trouble(error.message)
            else:
                self._on_trouble("")
