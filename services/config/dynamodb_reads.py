"""Reads of the DynamoDB store, each of them consistent: what was written before it began is seen."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from services.config.dynamodb_items import (
    STORE_KEY,
    Current,
    Item,
    current_key,
    current_of,
    event_of,
    parameter_of,
    version_key,
    version_partition,
)
from services.config.dynamodb_table import Table
from services.config.parameter import Parameter, ParameterEvent, Tier
from services.config.path import Selector, below, concerns, is_child
from services.config.store import EventPage, Found, Listing, StoredEnvelope, check_resumable, stored_envelope

_CONSISTENT_READS = 5
_FIRST, _LAST = "!", "~"  # around all keys that begin with a digit


class Reads:
    """What is in the table. Those named as in ParameterStore do what is said there."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def reached(self) -> tuple[int, int]:
        """The newest revision, and the one up to which events are no longer kept."""
        store = await self._table.get(STORE_KEY)
        assert store
        return int(store["revision"]["N"]), int(store["floor"]["N"])

    async def state_of(self, name: str) -> tuple[int, Current | None]:
        """The newest revision and a parameter, both of one moment."""
        store, item = await self._table.get_together([STORE_KEY, current_key(name)])
        assert store
        return int(store["revision"]["N"]), current_of(item)

    async def current(self, name: str) -> Current | None:
        return current_of(await self._table.get(current_key(name)))

    async def version(self, current: Current | None, version: int | None) -> Parameter | None:
        """A version of a parameter, the newest by default."""
        if current is None or version is None or version == current.parameter.version:
            return current.parameter if current else None
        item = await self._table.get(version_key(current.parameter.name, current.generation, version))
        return parameter_of(item, current.labels_of(version)) if item else None

    async def get(self, selectors: Sequence[Selector]) -> Found:
        for _ in range(_CONSISTENT_READS):
            before, _floor = await self.reached()
            found = [await self._selected(selector) for selector in selectors]
            if (await self.reached())[0] == before:
                break
        return Found(parameters=found, revision=before)

    async def list_below(self, path: str, *, recursive: bool, after: str = "", limit: int) -> Listing:
        wanted = below(path)
        revision, _floor = await self.reached()
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
        current = await self.current(name)
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
        revision, floor = await self.reached()
        check_resumable(after, floor=floor, revision=revision)
        found: list[ParameterEvent] = []
        async with aclosing(self.events_after(after, revision)) as events:
            async for event in events:
                if not concerns(path, event.name):
                    continue
                if len(found) == limit:
                    return EventPage(events=found, revision=found[-1].revision)
                found.append(event)
        return EventPage(events=found, revision=revision)

    async def events_after(self, after: int, revision: int) -> AsyncGenerator[ParameterEvent, None]:
        """Events with revisions after `after` up to `revision`, in their order."""
        if after >= revision:
            return
        async for page in self._table.query("event", f"{after + 1:016}", f"{revision:016}"):
            for item in page:
                yield event_of(item)

    async def next_due(self) -> float | None:
        async with aclosing(self._table.query("due", _FIRST, _LAST, limit=1)) as pages:
            async for page in pages:
                return float(page[0]["due_at"]["N"]) if page else None
        return None

    async def due_names(self, now: float) -> Sequence[str]:
        """The parameters about which something is to be done at `now`, those due first first."""
        items = await self._all("due", _FIRST, f"{now:020.6f}#{_LAST}")
        return list(dict.fromkeys(item["name"]["S"] for item in items))

    async def version_keys(self, current: Current) -> Sequence[Item]:
        """The keys of a parameter's kept versions."""
        partition = version_partition(current.parameter.name, current.generation)
        return [{"pk": item["pk"], "sk": item["sk"]} for item in await self._all(partition, _FIRST, _LAST)]

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

    async def holds_secrets(self) -> bool:
        async with aclosing(self._table.scan("attribute_exists(envelope)")) as pages:
            async for page in pages:
                if page:
                    return True
        return False

    async def _selected(self, selector: Selector) -> Parameter | None:
        current = await self.current(selector.name)
        if current is None or (selector.label is not None and selector.label not in current.labels):
            return None
        version = selector.version if selector.label is None else current.labels[selector.label]
        return await self.version(current, version)

    async def _all(self, partition: str, first: str, last: str) -> Sequence[Item]:
        return [item async for page in self._table.query(partition, first, last) for item in page]
