"""Parameters in one DynamoDB table, for several replicas: each write is a transaction that takes the next revision.

So revisions have one order for all replicas, and a replica that reads the events after the revision it knows misses
none: its own writes it announces before they return, those of others within `poll_seconds`. All writes take turns at
the item of the store: some hundred a second, with retries when replicas meet.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from services.config.dynamodb_changes import put_version, transaction
from services.config.dynamodb_follower import Follower
from services.config.dynamodb_items import Current, Item, current_key, ensure_table, event_key, version_key
from services.config.dynamodb_reads import Reads
from services.config.dynamodb_table import ConflictError, Table
from services.config.parameter import KEPT_VERSIONS, Deletion, MetadataChange, Parameter, Tier
from services.config.path import Selector
from services.config.policies import first_notice
from services.config.store import (
    Decide,
    EventPage,
    Found,
    LabelMove,
    Listener,
    Listing,
    Retag,
    StoredEnvelope,
    Tagged,
    check_expected_version,
    check_room_for_labels,
    check_room_for_version,
    due_events,
    not_found,
)
from services.runtime.errors import PenstockError, ResourceExhaustedError
from services.runtime.retry import Backoff

T = TypeVar("T")

_ATTEMPTS = 30


class DynamoDbStore:
    """A ParameterStore; an async context manager, to be entered on the event loop that uses it.

    Args:
        client: boto3's DynamoDB client.
        table: name; made when there is none and `create` is true.
        create: whether to make the table, paid by request.
        kept_revisions: how many events a watcher can resume over.
        poll_seconds: how often other replicas' writes are looked for.
        on_trouble: hears why nothing can be read or written, and the empty text when it works again.
    """

    def __init__(
        self,
        client: Any,
        *,
        table: str,
        create: bool = False,
        kept_revisions: int = 10_000,
        poll_seconds: float = 0.2,
        on_trouble: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._client = client
        self._create = create
        self._table = Table(client, table)
        self._reads = Reads(self._table)
        self._follower = Follower(
            self._table,
            self._reads,
            kept_revisions=kept_revisions,
            poll_seconds=poll_seconds,
            on_trouble=on_trouble,
        )
        self._backoff = Backoff(initial=0.01, maximum=0.5)
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Raises FailedPreconditionError, UnavailableError."""
        await self._table.called(lambda client, name: ensure_table(client, name, create=self._create))
        await self._follower.start()
        self._following = asyncio.ensure_future(self._follower.run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def revision(self) -> int:
        return self._follower.revision

    def on_commit(self, listener: Listener) -> None:
        self._follower.on_commit(listener)

    async def put(self, name: str, decide: Decide) -> Parameter:
        async def attempt() -> Parameter:
            revision, current = await self._reads.state_of(name)
            parameter = decide(current.parameter if current else None, revision + 1)
            dropped = parameter.version - KEPT_VERSIONS
            if current and dropped > 0:
                labelled = dropped in current.labels.values()
                check_room_for_version(name, parameter.version, dropped_has_label=labelled)
            after = Current(
                parameter=parameter,
                generation=current.generation if current else parameter.revision,
                stamp=current.stamp + 1 if current else 1,
                labels=current.labels if current else {},
                notice_at=first_notice(parameter),
            )
            kept = [put_version(parameter, after.generation)]
            if current and dropped > 0:
                kept.append({"Delete": {"Key": version_key(name, after.generation, dropped)}})
            await self._table.write_together(transaction(revision, [parameter], current, after, kept))
            return parameter

        return await self._repeated(attempt)

    async def delete(self, name: str, *, expected_version: int | None = None) -> int:
        async def attempt() -> int:
            revision, current = await self._reads.state_of(name)
            if current is None:
                raise not_found(name)
            check_expected_version(name, expected_version, current.parameter)
            events = [Deletion(name=name, revision=revision + 1)]
            await self._table.write_together(transaction(revision, events, current, None))
            await self._forget_versions(current)
            return revision + 1

        return await self._repeated(attempt)

    async def act_on_due(self, now: float) -> int:
        count = 0
        for name in await self._reads.due_names(now):
            count += await self._repeated(partial(self._act_on, name, now))
        return count

    async def next_due(self) -> float | None:
        return await self._reads.next_due()

    async def label(self, name: str, labels: Sequence[str], *, version: int | None = None) -> LabelMove:
        async def attempt() -> LabelMove:
            revision, current = await self._reads.state_of(name)
            found = await self._reads.version(current, version)
            if current is None or found is None:
                raise not_found(name if version is None else f"{name}:{version}")
            check_room_for_labels(name, found.version, {*current.labels_of(found.version), *labels})
            moved = {**current.labels, **dict.fromkeys(labels, found.version)}
            told = await self._commit_metadata(revision, current, replace(current, labels=moved))
            return LabelMove(version=found.version, labels=labels, revision=told)

        return await self._repeated(attempt)

    async def unlabel(self, name: str, labels: Sequence[str], *, version: int) -> LabelMove:
        async def attempt() -> LabelMove:
            revision, current = await self._reads.state_of(name)
            if current is None or await self._reads.version(current, version) is None:
                raise not_found(f"{name}:{version}")
            removed = [label for label in labels if current.labels.get(label) == version]
            left = {label: labelled for label, labelled in current.labels.items() if label not in removed}
            told = await self._commit_metadata(revision, current, replace(current, labels=left))
            return LabelMove(version=version, labels=removed, revision=told)

        return await self._repeated(attempt)

    async def retag(self, name: str, retag: Retag) -> Tagged:
        async def attempt() -> Tagged:
            revision, current = await self._reads.state_of(name)
            if current is None:
                raise not_found(name)
            tags = retag(current.parameter)
            tagged = replace(current.parameter, tags=tags)
            version = put_version(tagged, current.generation)
            told = await self._commit_metadata(revision, current, replace(current, parameter=tagged), version)
            return Tagged(tags=tags, revision=told)

        return await self._repeated(attempt)

    async def count(self, tier: Tier) -> int:
        return await self._reads.count(tier)

    async def envelopes(self, *, after: int, limit: int) -> Sequence[StoredEnvelope]:
        return await self._reads.envelopes(after=after, limit=limit)

    async def replace_envelopes(self, envelopes: Sequence[StoredEnvelope]) -> int:
        replaced = 0
        for one in envelopes:
            current = await self._reads.current(one.name)
            generation = current.generation if current else 0
            keys = [event_key(one.revision), version_key(one.name, generation, one.version), current_key(one.name)]
            done = [await self._replaced(key, one) for key in keys]
            replaced += any(done)
        return replaced

    async def get(self, selectors: Sequence[Selector]) -> Found:
        return await self._reads.get(selectors)

    async def list_below(self, path: str, *, recursive: bool, after: str = "", limit: int) -> Listing:
        return await self._reads.list_below(path, recursive=recursive, after=after, limit=limit)

    async def versions(self, name: str, *, before: int | None = None, limit: int) -> Sequence[Parameter]:
        return await self._reads.versions(name, before=before, limit=limit)

    async def events(self, path: str, *, after: int, limit: int) -> EventPage:
        return await self._reads.events(path, after=after, limit=limit)

    async def holds_secrets(self) -> bool:
        return await self._reads.holds_secrets()

    async def failed(self) -> None:
        await asyncio.shield(self._following)

    async def close(self) -> None:
        self._following.cancel()
        with suppress(asyncio.CancelledError, PenstockError):
            await self._following
        self._client.close()

    async def _repeated(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """What an attempt answers that met no other writer."""
        async with self._turn:  # writers of this process take turns here instead of colliding
            for number_of_try in range(1, _ATTEMPTS + 1):
                try:
                    result = await attempt()
                except ConflictError:
                    await asyncio.sleep(self._backoff.delay(number_of_try))
                else:
                    await self._follower.catch_up()
                    return result
        raise ResourceExhaustedError(f"{_ATTEMPTS} attempts met other writers: retry", retry_after=1.0)

    async def _commit_metadata(self, revision: int, before: Current, after: Current, *more: Item) -> int:
        """Writes other labels or tags; answers the revision, 0 when they are the same."""
        if after == before:
            return 0
        name, tags = after.parameter.name, after.parameter.tags
        event = MetadataChange(name=name, revision=revision + 1, labels=after.labels, tags=tags)
        stamped = replace(after, stamp=before.stamp + 1)
        await self._table.write_together(transaction(revision, [event], before, stamped, more))
        return event.revision

    async def _act_on(self, name: str, now: float) -> int:
        revision, current = await self._reads.state_of(name)
        if current is None or current.due_at is None or current.due_at > now:
            return 0
        events, ahead = due_events(current.parameter, current.notice_at, now, revision)
        is_gone = any(isinstance(event, Deletion) for event in events)
        after = None if is_gone else replace(current, stamp=current.stamp + 1, notice_at=ahead)
        await self._table.write_together(transaction(revision, events, current, after))
        if after is None:
            await self._forget_versions(current)
        return len(events)

    async def _forget_versions(self, current: Current) -> None:
        """Nothing finds them any more: what is left behind by a killed process only takes room."""
        with suppress(PenstockError):
            await self._table.delete_all(await self._reads.version_keys(current))

    async def _replaced(self, key: Item, envelope: StoredEnvelope) -> bool:
        if envelope.replacement is None:
            return False
        values = {":old": {"B": envelope.sealed.envelope}, ":new": {"B": envelope.replacement.envelope}}

        def update(client: Any, name: str) -> None:
            client.update_item(
                TableName=name,
                Key=key,
                UpdateExpression="SET envelope = :new",
                ConditionExpression="envelope = :old",
                ExpressionAttributeValues=values,
            )

        try:
            await self._table.called(update)
        except ConflictError:
            return False
        return True
