"""Parameters in one DynamoDB table, for several replicas: each write is a transaction that takes the next revision.

So revisions have one order for all replicas, and a replica that reads the events after the revision it knows misses
none: its own writes it announces before they return, those of others within `poll_seconds`. All writes take turns at
the item of the store: some hundred a second, with retries when replicas meet.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from services.config.dynamodb_items import (
    STORE_KEY,
    Current,
    Item,
    current_item,
    current_key,
    current_of,
    due_key,
    ensure_table,
    event_item,
    event_key,
    event_of,
    number,
    parameter_item,
    parameter_of,
    version_key,
    version_partition,
)
from services.config.dynamodb_table import ConflictError, Table
from services.config.parameter import KEPT_VERSIONS, Deletion, MetadataChange, Parameter, ParameterEvent, Tier
from services.config.path import Selector, below, concerns, is_child
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
    check_resumable,
    check_room_for_labels,
    check_room_for_version,
    due_events,
    not_found,
    stored_envelope,
)
from services.runtime.errors import InternalError, PenstockError, ResourceExhaustedError
from services.runtime.retry import Backoff

T = TypeVar("T")

_ATTEMPTS = 30
_CONSISTENT_READS = 5
_FIRST, _LAST = "!", "~"  # around all keys that begin with a digit
_COMPACTED_AT_ONCE = 1000


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
        self._name = table
        self._create = create
        self._kept_revisions = kept_revisions
        self._poll_seconds = poll_seconds
        self._on_trouble = on_trouble
        self._table = Table(client, table)
        self._backoff = Backoff(initial=0.01, maximum=0.5)
        self._listeners: list[Listener] = []
        self._revision = 0
        self._floor = 0
        self._turn, self._reading = asyncio.Lock(), asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Raises FailedPreconditionError, UnavailableError."""
        await self._table.called(lambda client, name: ensure_table(client, name, create=self._create))
        self._revision, self._floor = await self._reached()
        self._follower = asyncio.ensure_future(self._follow())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def revision(self) -> int:
        return self._revision

    def on_commit(self, listener: Listener) -> None:
        self._listeners.append(listener)

    async def put(self, name: str, decide: Decide) -> Parameter:
        async def attempt() -> Parameter:
            revision, current = await self._state_of(name)
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
            writes = [
                *self._written(current, after),
                _put(version_key(name, after.generation, parameter.version), parameter),
            ]
            if current and dropped > 0:
                writes.append({"Delete": {"Key": version_key(name, after.generation, dropped)}})
            await self._commit(revision, [parameter], writes, _tiers(current, after))
            return parameter

        return await self._repeated(attempt)

    async def delete(self, name: str, *, expected_version: int | None = None) -> int:
        async def attempt() -> int:
            revision, current = await self._state_of(name)
            if current is None:
                raise not_found(name)
            check_expected_version(name, expected_version, current.parameter)
            events = [Deletion(name=name, revision=revision + 1)]
            await self._commit(revision, events, self._written(current, None), _tiers(current, None))
            await self._forget_versions(current)
            return revision + 1

        return await self._repeated(attempt)

    async def act_on_due(self, now: float) -> int:
        count = 0
        names = [item["name"]["S"] for item in await self._all("due", _FIRST, f"{now:020.6f}#{_LAST}")]
        for name in dict.fromkeys(names):
            count += await self._repeated(partial(self._act_on, name, now))
        return count

    async def next_due(self) -> float | None:
        async with aclosing(self._table.query("due", _FIRST, _LAST, limit=1)) as pages:
            async for page in pages:
                return float(page[0]["due_at"]["N"]) if page else None
        return None

    async def label(self, name: str, labels: Sequence[str], *, version: int | None = None) -> LabelMove:
        async def attempt() -> LabelMove:
            revision, current = await self._state_of(name)
            found = await self._version(current, version)
            if current is None or found is None:
                raise not_found(name if version is None else f"{name}:{version}")
            check_room_for_labels(name, found.version, {*current.labels_of(found.version), *labels})
            moved = {**current.labels, **dict.fromkeys(labels, found.version)}
            told = await self._commit_metadata(revision, current, replace(current, labels=moved))
            return LabelMove(version=found.version, labels=labels, revision=told)

        return await self._repeated(attempt)

    async def unlabel(self, name: str, labels: Sequence[str], *, version: int) -> LabelMove:
        async def attempt() -> LabelMove:
            revision, current = await self._state_of(name)
            if current is None or await self._version(current, version) is None:
                raise not_found(f"{name}:{version}")
            removed = [label for label in labels if current.labels.get(label) == version]
            left = {label: labelled for label, labelled in current.labels.items() if label not in removed}
            told = await self._commit_metadata(revision, current, replace(current, labels=left))
            return LabelMove(version=version, labels=removed, revision=told)

        return await self._repeated(attempt)

    async def retag(self, name: str, retag: Retag) -> Tagged:
        async def attempt() -> Tagged:
            revision, current = await self._state_of(name)
            if current is None:
                raise not_found(name)
            tags = retag(current.parameter)
            tagged = replace(current.parameter, tags=tags)
            version = _put(version_key(name, current.generation, tagged.version), tagged)
            told = await self._commit_metadata(revision, current, replace(current, parameter=tagged), version)
            return Tagged(tags=tags, revision=told)

        return await self._repeated(attempt)

    async def count(self, tier: Tier) -> int:
        store = await self._table.get(STORE_KEY)
        return int(store[tier.value.lower()]["N"]) if store else 0

    async def envelopes(self, *, after: int, limit: int) -> Sequence[StoredEnvelope]:
        found: dict[int, StoredEnvelope] = {}
        async for page in self._table.scan("attribute_exists(envelope)"):
            for item in page:
                envelope = stored_envelope(parameter_of(item))
                if envelope and envelope.revision > after:
                    found[envelope.revision] = envelope
        return [found[revision] for revision in sorted(found)][:limit]

    async def replace_envelopes(self, envelopes: Sequence[StoredEnvelope]) -> int:
        replaced = 0
        for one in envelopes:
            current = await self._current(one.name)
            generation = current.generation if current else 0
            keys = [event_key(one.revision), version_key(one.name, generation, one.version), current_key(one.name)]
            done = [await self._replaced(key, one) for key in keys]
            replaced += any(done)
        return replaced

    async def get(self, selectors: Sequence[Selector]) -> Found:
        for _ in range(_CONSISTENT_READS):
            before, _floor = await self._reached()
            found = [await self._selected(selector) for selector in selectors]
            if (await self._reached())[0] == before:
                break
        return Found(parameters=found, revision=before)

    async def list_below(self, path: str, *, recursive: bool, after: str = "", limit: int) -> Listing:
        wanted = below(path)
        revision, _floor = await self._reached()
        found: list[Parameter] = []
        first = max(wanted.first, after)
        async with aclosing(self._table.query("current", first, wanted.last, limit=limit + 2)) as pages:
            async for page in pages:
                currents = (current_of(item) for item in page)
                found += [
                    one.parameter
                    for one in currents
                    if one and after < one.parameter.name < wanted.last
                    if recursive or is_child(path, one.parameter.name)
                ]
                if len(found) > limit:
                    break
        return Listing(parameters=found[:limit], revision=revision, more=len(found) > limit)

    async def versions(self, name: str, *, before: int | None = None, limit: int) -> Sequence[Parameter]:
        current = await self._current(name)
        if current is None:
            return ()
        found: list[Parameter] = []
        last = f"{(before or 10**12) - 1:012}"
        partition = version_partition(name, current.generation)
        query = self._table.query(partition, _FIRST, last, limit=limit, newest_first=True)
        async with aclosing(query) as pages:
            async for page in pages:
                found += [replace(one, labels=current.labels_of(one.version)) for one in map(parameter_of, page)]
                if len(found) >= limit:
                    break
        return found[:limit]

    async def events(self, path: str, *, after: int, limit: int) -> EventPage:
        revision, floor = await self._reached()
        check_resumable(after, floor=floor, revision=revision)
        found: list[ParameterEvent] = []
        async with aclosing(self._events_after(after, revision)) as events:
            async for event in events:
                if not concerns(path, event.name):
                    continue
                if len(found) == limit:
                    return EventPage(events=found, revision=found[-1].revision)
                found.append(event)
        return EventPage(events=found, revision=revision)

    async def holds_secrets(self) -> bool:
        async with aclosing(self._table.scan("attribute_exists(envelope)")) as pages:
            async for page in pages:
                if page:
                    return True
        return False

    async def failed(self) -> None:
        await asyncio.shield(self._follower)

    async def close(self) -> None:
        self._follower.cancel()
        with suppress(asyncio.CancelledError, PenstockError):
            await self._follower
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
                    await self._catch_up()
                    return result
        raise ResourceExhaustedError(f"{_ATTEMPTS} attempts met other writers: retry", retry_after=1.0)

    async def _state_of(self, name: str) -> tuple[int, Current | None]:
        store, item = await self._table.get_together([STORE_KEY, current_key(name)])
        assert store
        return int(store["revision"]["N"]), current_of(item)

    async def _current(self, name: str) -> Current | None:
        return current_of(await self._table.get(current_key(name)))

    async def _version(self, current: Current | None, version: int | None) -> Parameter | None:
        if current is None or version is None or version == current.parameter.version:
            return current.parameter if current else None
        item = await self._table.get(version_key(current.parameter.name, current.generation, version))
        return parameter_of(item, current.labels_of(version)) if item else None

    async def _selected(self, selector: Selector) -> Parameter | None:
        current = await self._current(selector.name)
        if current is None or (selector.label is not None and selector.label not in current.labels):
            return None
        version = selector.version if selector.label is None else current.labels[selector.label]
        return await self._version(current, version)

    async def _commit(
        self, revision: int, events: Sequence[ParameterEvent], writes: Sequence[Item], tiers: Mapping[str, int]
    ) -> None:
        values = {":old": number(revision), ":new": number(events[-1].revision)}
        added = [f"{tier} :{tier}" for tier in tiers]
        values |= {f":{tier}": number(change) for tier, change in tiers.items()}
        update = "SET revision = :new" + (f" ADD {', '.join(added)}" if added else "")
        store = {
            "Key": STORE_KEY,
            "UpdateExpression": update,
            "ConditionExpression": "revision = :old",
            "ExpressionAttributeValues": values,
        }
        puts = [
            {"Put": {"Item": event_item(event), "ConditionExpression": "attribute_not_exists(pk)"}} for event in events
        ]
        await self._table.write_together([{"Update": store}, *puts, *writes])

    async def _commit_metadata(self, revision: int, before: Current, after: Current, *more: Item) -> int:
        """Writes other labels or tags; answers the revision, 0 when they are the same."""
        if after == before:
            return 0
        name, tags = after.parameter.name, after.parameter.tags
        event = MetadataChange(name=name, revision=revision + 1, labels=after.labels, tags=tags)
        writes = self._written(before, replace(after, stamp=before.stamp + 1))
        await self._commit(revision, [event], [*writes, *more], {})
        return event.revision

    def _written(self, before: Current | None, after: Current | None) -> list[Item]:
        """The writes that lead a parameter's own item, and its due item, from one state to another."""
        condition: Item = {"ConditionExpression": "attribute_not_exists(pk)"}
        if before:
            condition = {
                "ConditionExpression": "stamp = :stamp",
                "ExpressionAttributeValues": {":stamp": number(before.stamp)},
            }
        writes: list[Item] = []
        if after:
            writes.append({"Put": {"Item": current_item(after), **condition}})
        elif before:
            writes.append({"Delete": {"Key": current_key(before.parameter.name), **condition}})
        old, new = (one.due_at if one else None for one in (before, after))
        if before and old is not None and old != new:
            writes.append({"Delete": {"Key": due_key(before.parameter.name, old)}})
        if after and new is not None:
            name = after.parameter.name
            item = {**due_key(name, new), "name": {"S": name}, "due_at": number(new)}
            writes.append({"Put": {"Item": item}})
        return writes

    async def _act_on(self, name: str, now: float) -> int:
        revision, current = await self._state_of(name)
        if current is None or current.due_at is None or current.due_at > now:
            return 0
        events, ahead = due_events(current.parameter, current.notice_at, now, revision)
        is_gone = any(isinstance(event, Deletion) for event in events)
        after = None if is_gone else replace(current, stamp=current.stamp + 1, notice_at=ahead)
        await self._commit(revision, events, self._written(current, after), _tiers(current, after))
        if after is None:
            await self._forget_versions(current)
        return len(events)

    async def _forget_versions(self, current: Current) -> None:
        """Nothing finds them any more: what is left behind by a killed process only takes room."""
        partition = version_partition(current.parameter.name, current.generation)
        with suppress(PenstockError):
            items = await self._all(partition, _FIRST, _LAST)
            await self._table.delete_all([{"pk": item["pk"], "sk": item["sk"]} for item in items])

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

    async def _reached(self) -> tuple[int, int]:
        store = await self._table.get(STORE_KEY)
        assert store
        return int(store["revision"]["N"]), int(store["floor"]["N"])

    async def _all(self, partition: str, first: str, last: str) -> list[Item]:
        return [item async for page in self._table.query(partition, first, last) for item in page]

    async def _events_after(self, after: int, revision: int) -> AsyncGenerator[ParameterEvent, None]:
        if after >= revision:
            return
        async for page in self._table.query("event", f"{after + 1:016}", f"{revision:016}"):
            for item in page:
                yield event_of(item)

    async def _catch_up(self) -> None:
        """Announces every event up to the store's revision, in order and once."""
        async with self._reading:
            revision, self._floor = await self._reached()
            if self._floor > self._revision:
                raise InternalError(
                    f"events up to revision {self._floor} are gone, this replica knows {self._revision}: restart it"
                )
            events = [event async for event in self._events_after(self._revision, revision)]
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

    async def _follow(self) -> None:
        """Announces other replicas' writes, until closed or left behind."""
        while True:
            await asyncio.sleep(self._poll_seconds)
            try:
                await self._catch_up()
            except InternalError:
                raise
            except PenstockError as error:
                self._on_trouble(error.message)
            else:
                self._on_trouble("")


def _put(key: Item, parameter: Parameter) -> Item:
    return {"Put": {"Item": {**key, **parameter_item(parameter)}}}


def _tiers(before: Current | None, after: Current | None) -> dict[str, int]:
    """How the numbers of parameters by tier change."""
    changes: dict[str, int] = {}
    for current, change in ((before, -1), (after, 1)):
        if current:
            tier = current.parameter.tier.value.lower()
            changes[tier] = changes.get(tier, 0) + change
    return {tier: change for tier, change in changes.items() if change}
