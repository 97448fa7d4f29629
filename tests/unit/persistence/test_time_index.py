"""The merge of sharded indexes gives what one index would."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from services.persistence.store import Position
from services.persistence.time_index import SHARDS, ReadShard, merged, shard_of

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


def test_message_ids_spread_over_all_shards() -> None:
    """Consecutive ids do not share one."""
    counts = [0] * SHARDS
    for number in range(16_000):
        counts[shard_of(f"m-{number}")] += 1
    assert min(counts) > 800
    assert shard_of("m-1") == 4
