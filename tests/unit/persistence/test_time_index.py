"""The merge of sharded indexes gives what one index would."""

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from services.persistence.record import EventRecord
from services.persistence.store import Position, StoredEvent
from services.persistence.time_index import SHARDS, ReadShard, merged, read_page, shard_of

PLACES = st.lists(
    st.builds(lambda time, number: Position(occurred_at=time, key=f"m{number}"), st.integers(0, 5), st.integers(0, 99)),
    max_size=120,
    unique=True,
)


def shard_reader(positions: Sequence[Position]) -> ReadShard:
    async def read(after: Position | None, count: int) -> Sequence[Position]:
        return [position for position in sorted(positions) if after is None or position > after][:count]

    return read


@given(PLACES, st.integers(1, 40), st.none() | st.integers(0, 119))
async def test_a_merge_is_the_sorted_whole(places: list[Position], limit: int, start: int | None) -> None:
    """Whatever lies in which shard, from whatever place, in pieces of whatever size."""
    shards: list[list[Position]] = [[] for _ in range(SHARDS)]
    for place in places:
        shards[shard_of(place.key)].append(place)
    after = None if start is None or start >= len(places) else places[start]
    expected = sorted(place for place in places if after is None or place > after)
    assert await merged([shard_reader(shard) for shard in shards], after=after, limit=limit) == expected[:limit]


async def test_a_shard_with_all_of_it_is_read_on() -> None:
    """A shard gives its positions in pieces; the merge asks for more before it goes on."""
    places = [Position(occurred_at=number, key="m") for number in range(300)]
    readers = [shard_reader(places), *[shard_reader([])] * (SHARDS - 1)]
    assert await merged(readers, after=None, limit=250) == places[:250]


async def test_an_event_in_the_index_twice_is_listed_where_its_row_is() -> None:
    """Two datacentres took it at different times, and one row has won; an index row without a row is passed over."""
    row = EventRecord(message_id="m", program_id="p", occurred_at=2, payload=b"")
    places = [Position(occurred_at=time, key=key) for time, key in ((1, "m"), (2, "gone"), (2, "m"), (3, "m"))]

    async def next_places(after: Position | None, count: int) -> Sequence[Position]:
        return [place for place in places if after is None or place > after][:count]

    async def rows(message_ids: Sequence[str]) -> Mapping[str, EventRecord]:
        return {"m": row} if "m" in message_ids else {}

    listed = await read_page(next_places, rows, after=None, limit=10)
    assert listed == [StoredEvent(record=row, position=Position(occurred_at=2, key="m"))]


def test_message_ids_spread_over_all_shards() -> None:
    """Consecutive ids do not share one."""
    counts = [0] * SHARDS
    for number in range(16_000):
        counts[shard_of(f"m-{number}")] += 1
    assert min(counts) > 800
    assert shard_of("m-1") == 4
