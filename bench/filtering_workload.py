"""Orders and the policies of those who want some of them: the subscriptions and events of `bench.filtering`."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

Json = Any

_TYPES = ["lab_supplies", "office_supplies", "tech_supplies", "books", "food", "furniture", "tools", "toys"]
_REGIONS = ["Asia-Pacific-", "Europe-", "US-", "Africa-", "Latin-America-"]
_PLACES = ["North", "South", "East", "West", "Central"]
_INTERESTS = ["rugby", "soccer", "chess", "golf", "music", "art", "film", "travel", "cooking", "cycling"]
STORES = 2000


def order(random: Random) -> dict[str, Json]:
    """An event of about 150 bytes; its price is hardly ever seen twice."""
    event: dict[str, Json] = {
        "order_type": random.choice(_TYPES),
        "location": random.choice(_REGIONS) + random.choice(_PLACES),
        "price": random.randrange(1, 2_000_000) / 100,
        "store": f"store-{random.randrange(STORES)}",
        "interests": random.sample(_INTERESTS, random.randrange(1, 4)),
    }
    if random.random() < 0.8:
        event["insurance"] = random.choice(["full", "basic", "none"])
    return event


def mixed_policy(random: Random) -> dict[str, Json]:
    """Two to five keys with conditions of many kinds: about one in a hundred orders satisfies it, and many overlap.

    Written so that moto's matcher, which has faults of its own in other operators, decides it rightly too.
    """
    keys = random.sample(sorted(_CONDITIONS), random.choice([2, 3, 3, 4, 5]))
    return {key: _CONDITIONS[key](random) for key in keys}


def _order_type(random: Random) -> Json:
    return random.choice(
        [
            [random.choice(_TYPES)],
            random.sample(_TYPES, 2),
            [{"anything-but": random.sample(_TYPES, 4)}],
            [{"equals-ignore-case": random.choice(_TYPES)}],
        ]
    )


def _insurance(random: Random) -> Json:
    return random.choice([[{"exists": False}], ["full"], ["basic", "none"], [{"exists": True}]])


def _location(random: Random) -> Json:
    region, place = random.choice(_REGIONS), random.choice(_PLACES)
    return random.choice([[{"prefix": region}], [{"suffix": place}], [{"prefix": region + place[0]}], [region + place]])


def _price(random: Random) -> Json:
    bottom = random.randrange(0, 1_900_000) / 100
    return random.choice(
        [
            [{"numeric": [">=", bottom, "<", round(bottom + 1000, 2)]}],
            [{"numeric": [">", bottom]}],
            [{"numeric": ["<=", bottom]}],
        ]
    )


def _store(random: Random) -> Json:
    stores = [f"store-{random.randrange(STORES)}" for _ in range(random.choice([1, 3, 10]))]
    return stores if random.random() < 0.6 else [{"anything-but": stores}]


def _interests(random: Random) -> Json:
    return random.sample(_INTERESTS, random.choice([1, 1, 2]))


_CONDITIONS = {
    "order_type": _order_type,
    "insurance": _insurance,
    "location": _location,
    "price": _price,
    "store": _store,
    "interests": _interests,
}


def exact_policy(random: Random, count: int) -> dict[str, Json]:
    """One or two exact values, of which there are as many as subscriptions: an order satisfies hardly any."""
    policy: dict[str, Json] = {"customer": [f"c-{random.randrange(count)}"]}
    if random.random() < 0.5:
        policy["product"] = [f"p-{random.randrange(100)}"]
    return policy


def exact_event(random: Random, count: int) -> dict[str, Json]:
    """An order of one customer."""
    return {
        "customer": f"c-{random.randrange(count)}",
        "product": f"p-{random.randrange(100)}",
        "quantity": random.randrange(1, 50),
        "note": f"order {random.randrange(10**9)}",
    }


def sets_differ(ours: Sequence[set[int]], theirs: Sequence[set[int]], events: Sequence[Mapping[str, Json]]) -> str:
    """The first event that both sides decide differently, in words; empty when there is none."""
    for left, right, event in zip(ours, theirs, events, strict=True):
        if left != right:
            return f"{event}: only ours {sorted(left - right)[:5]}, only the peer's {sorted(right - left)[:5]}"
    return ""
