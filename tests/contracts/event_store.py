"""What every event store must do; a store's test module subclasses it with a `store` fixture."""

import asyncio
from collections.abc import Sequence

from services.persistence.record import EventRecord
from services.persistence.store import EventQuery, EventStore, Position, PutOutcome, StoredEvent

STORED, DUPLICATE = PutOutcome.STORED, PutOutcome.DUPLICATE
EVERYTHING = EventQuery()


def record(message_id: str, *, program_id: str = "p-1", occurred_at: int = 0, payload: bytes = b"event") -> EventRecord:
    return EventRecord(message_id=message_id, program_id=program_id, occurred_at=occurred_at, payload=payload)


def ids(events: Sequence[StoredEvent]) -> list[str]:
    return [event.record.message_id for event in events]


async def pages(store: EventStore, query: EventQuery, *, size: int) -> list[list[str]]:
    """The message ids of every page, going on from the last position until a page is empty."""
    found: list[list[str]] = []
    after: Position | None = None
    while events := await store.list_events(query, after=after, limit=size):
        found.append(ids(events))
        after = events[-1].position
    return found


class EventStoreContract:
    """The behaviour of `EventStore`; subclasses bring the fixture `store`."""

    large_batch = 1201
    """Records of a large batch; stores that are called once per record take fewer."""

    async def test_a_new_message_id_is_stored(self, store: EventStore) -> None:
        """The outcome tells it, and the row reads back as it was given."""
        given = record("m-1", program_id="p-7", occurred_at=-5, payload=b"\x00\xff")
        assert await store.put([given]) == [STORED]
        assert await store.get("m-1") == given

    async def test_an_unknown_message_id_has_no_row(self, store: EventStore) -> None:
        """Reading what was never stored gives None."""
        assert await store.get("m-none") is None

    async def test_the_first_row_of_a_message_id_stays(self, store: EventStore) -> None:
        """A repetition, even with other content, is a duplicate and changes nothing."""
        first = record("m-1", occurred_at=1, payload=b"first")
        await store.put([first])
        assert await store.put([record("m-1", occurred_at=2, payload=b"second")]) == [DUPLICATE]
        assert await store.get("m-1") == first
        assert ids(await store.list_events(EVERYTHING, after=None, limit=10)) == ["m-1"]

    async def test_repetitions_within_one_batch_are_stored_once(self, store: EventStore) -> None:
        """The first of them wins."""
        batch = [record("a", payload=b"1"), record("b"), record("a", payload=b"2"), record("a", payload=b"3")]
        assert await store.put(batch) == [STORED, STORED, DUPLICATE, DUPLICATE]
        kept = await store.get("a")
        assert kept is not None
        assert kept.payload == b"1"

    async def test_a_batch_of_old_and_new_has_an_outcome_for_each(self, store: EventStore) -> None:
        """Outcomes stand in the order of the records."""
        await store.put([record("b"), record("d")])
        assert await store.put([record(name) for name in "abcde"]) == [STORED, DUPLICATE, STORED, DUPLICATE, STORED]

    async def test_large_batches_keep_their_order(self, store: EventStore) -> None:
        """Every second record is new, and each outcome says so."""
        names = [f"m-{number:04}" for number in range(self.large_batch)]
        await store.put([record(name) for name in names[::2]])
        outcomes = await store.put([record(name) for name in names])
        assert outcomes == [DUPLICATE if number % 2 == 0 else STORED for number in range(self.large_batch)]

    async def test_callers_at_the_same_time_store_one_row_per_message_id(self, store: EventStore) -> None:
        """Of twenty callers with the same three ids exactly one stores each."""
        answers = await asyncio.gather(*(store.put([record(name) for name in "abc"]) for _ in range(20)))
        assert [sum(answer[place] is STORED for answer in answers) for place in range(3)] == [1, 1, 1]

    async def test_events_are_listed_oldest_first(self, store: EventStore) -> None:
        """Whatever the order they came in, times before 1970 included."""
        await store.put([record("c", occurred_at=30), record("a", occurred_at=-10), record("b", occurred_at=20)])
        assert ids(await store.list_events(EVERYTHING, after=None, limit=10)) == ["a", "b", "c"]

    async def test_a_query_selects_by_program(self, store: EventStore) -> None:
        """Other programs do not show."""
        await store.put([record("a", program_id="x"), record("b", program_id="y"), record("c", program_id="x")])
        assert ids(await store.list_events(EventQuery(program_id="x"), after=None, limit=10)) == ["a", "c"]

    async def test_a_time_range_includes_its_start_and_excludes_its_end(self, store: EventStore) -> None:
        """Ranges that meet show every event once."""
        await store.put([record(f"m{time}", occurred_at=time) for time in (9, 10, 19, 20)])
        query = EventQuery(program_id="p-1", from_time=10, until_time=20)
        assert ids(await store.list_events(query, after=None, limit=10)) == ["m10", "m19"]

    async def test_pages_show_every_event_once(self, store: EventStore) -> None:
        """Also where many events have the same time."""
        await store.put([record(f"m{number}", occurred_at=number // 4) for number in range(11)])
        found = await pages(store, EVERYTHING, size=3)
        assert [len(page) for page in found] == [3, 3, 3, 2]
        assert sorted(name for page in found for name in page) == sorted(f"m{number}" for number in range(11))

    async def test_pages_stay_stable_while_events_are_stored(self, store: EventStore) -> None:
        """Events stored between two pages, before and behind the place, neither repeat nor hide one that was there."""
        was_there = [f"m{number}" for number in range(10)]
        await store.put([record(name, occurred_at=10 * place) for place, name in enumerate(was_there)])
        seen: list[str] = []
        after: Position | None = None
        while events := await store.list_events(EVERYTHING, after=after, limit=3):
            seen += ids(events)
            after = events[-1].position
            step = after.occurred_at
            await store.put(
                [record(f"early-{step}", occurred_at=-1), record(f"same-{step}", occurred_at=min(step, 80))]
            )
        assert len(seen) == len(set(seen))
        assert [name for name in seen if name in was_there] == was_there

    async def test_a_replaced_row_has_the_new_content_at_its_place(self, store: EventStore) -> None:
        """New ids are stored, of an id given twice the last one stays, and every id keeps its one row."""
        await store.put([record("a", occurred_at=1, payload=b"old"), record("b", occurred_at=2, payload=b"kept")])
        await store.replace(
            [
                record("a", occurred_at=1, payload=b"newer"),
                record("c", occurred_at=3, payload=b"new"),
                record("a", occurred_at=1, payload=b"newest"),
            ]
        )
        found = await store.list_events(EVERYTHING, after=None, limit=10)
        assert [(event.record.message_id, event.record.payload) for event in found] == [
            ("a", b"newest"),
            ("b", b"kept"),
            ("c", b"new"),
        ]
        assert await store.put([record("c", occurred_at=3)]) == [DUPLICATE]

    async def test_message_ids_of_every_character_are_kept_apart(self, store: EventStore) -> None:
        """Separators, blanks, U+0000 and letters beyond ASCII, in order of their code points where times are equal."""
        names = ["#", "%20", "a", "a ", "a#b", "a\x00", "a/b", "\u00e9", "\u65e5\u672c", "\U0001f600", "x" * 100]
        assert await store.put([record(name, program_id=f"p#{name}") for name in names]) == [STORED] * len(names)
        for name in names:
            found = await store.list_events(EventQuery(program_id=f"p#{name}"), after=None, limit=5)
            assert ids(found) == [name]
            assert await store.get(name) == found[0].record
        assert sorted(name for page in await pages(store, EVERYTHING, size=4) for name in page) == sorted(names)


class PurgingEventStoreContract(EventStoreContract):
    """What stores that do not expire rows by themselves do beside it."""

    async def test_a_purge_deletes_the_oldest_before_a_time(self, store: EventStore) -> None:
        """At most as many as allowed; the time itself is kept, and a deleted id is new again."""
        await store.put([record(f"m{time}", occurred_at=time) for time in (3, 1, 2, 4)])
        assert await store.purge(4, limit=2) == 2
        assert ids(await store.list_events(EVERYTHING, after=None, limit=9)) == ["m3", "m4"]
        assert await store.purge(4, limit=2) == 1
        assert await store.purge(4, limit=2) == 0
        assert await store.put([record("m4"), record("m1", occurred_at=1)]) == [DUPLICATE, STORED]
        assert ids(await store.list_events(EVERYTHING, after=None, limit=9)) == ["m1", "m4"]

    async def test_a_store_purged_empty_takes_new_events(self, store: EventStore) -> None:
        """Beside puts and replacements that wait at the same time."""
        await store.put([record("old", occurred_at=1)])
        outcomes, _, deleted, more = await asyncio.gather(
            store.put([record("a", occurred_at=10)]),
            store.replace([record("b", occurred_at=11)]),
            store.purge(5, limit=10),
            store.put([record("a", occurred_at=10), record("c", occurred_at=12)]),
        )
        assert (outcomes, deleted, more) == ([STORED], 1, [DUPLICATE, STORED])
        assert ids(await store.list_events(EVERYTHING, after=None, limit=9)) == ["a", "b", "c"]
