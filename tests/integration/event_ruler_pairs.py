"""Random EventBridge patterns and events over a small alphabet, so that they meet often; valid for event-ruler too.

Left out is what is a difference by decision, see "Differences from AWS" in docs/filter-policies.md: numbers that a
double does not hold, wide networks and single addresses, keys named twice, the empty policy, several spellings of one
IPv6 address, letters whose case is not established.
"""

from random import Random
from typing import Any

Json = Any

TEXTS = ["", "a", "b", "ab", "ba", "aab", "A", "Ab", "AB", "a*b", "a\\b", "é", "É", "ß", "日本", "1", "true", "null",
         '"q"', "aXbXc", "a b", "10.0.0.1", "10.0.0.77", "10.0.1.1", "192.168.1.7", "::1", "2001:db8::5"]  # fmt: skip
NUMBERS = [0, 1, -1, 2, 3, 10, 100, 0.5, 1.5, -0.5, 2.25, 301.5, 1e3, 123456.789, -5000000000, 5000000000]
LITERALS = [True, False, None]
NAMES = ["a", "b", "c", "d"]
WILDCARDS = ["*", "a*", "*b", "a*b", "*a*", "a\\*b", "*a*b*", "", "ab", "*X*X*", "1*1", "a\\\\b", "*é*", "日*"]
NETWORKS = ["10.0.0.0/24", "10.0.0.0/8", "192.168.1.0/30", "2001:db8::/32", "::/127"]


def scalar(random: Random) -> Json:
    kinds: list[list[Json]] = [TEXTS, TEXTS, NUMBERS, LITERALS]
    return random.choice(random.choice(kinds))


def condition(random: Random) -> Json:
    """One element of a key's array."""
    text, number = random.choice(TEXTS), random.choice(NUMBERS)
    full = random.choice(TEXTS[1:])
    choices: list[Json] = [
        scalar(random), scalar(random), text,
        {"prefix": text}, {"prefix": {"equals-ignore-case": text}},
        {"suffix": text}, {"suffix": {"equals-ignore-case": text}},
        {"equals-ignore-case": text}, {"wildcard": random.choice(WILDCARDS)},
        {"exists": True}, {"exists": False}, {"cidr": random.choice(NETWORKS)},
        {"numeric": [random.choice(["=", "<", "<=", ">", ">="]), number]},
        {"numeric": [random.choice([">", ">="]), number, random.choice(["<", "<="]), number + 1.5]},
        {"anything-but": random.choice([text, number])},
        {"anything-but": random.sample(TEXTS, random.randrange(1, 4))},
        {"anything-but": random.sample(NUMBERS, random.randrange(1, 4))},
        {"anything-but": {random.choice(["prefix", "suffix", "equals-ignore-case"]): full}},
        {"anything-but": {random.choice(["prefix", "suffix", "equals-ignore-case"]): random.sample(TEXTS[1:], 2)}},
        {"anything-but": {"wildcard": random.choice(WILDCARDS[1:])}},
        {"anything-but": {"wildcard": random.sample(WILDCARDS[1:], 2)}},
    ]  # fmt: skip
    return random.choice(choices)


def conditions(random: Random) -> list[Json]:
    """The array of a key. A wildcard does not stand beside anything-but: event-ruler errs in one of them at times."""
    found = [condition(random) for _ in range(random.choice([1, 1, 1, 2, 3]))]
    wildcards = [each for each in found if "'wildcard':" in str(each)]
    return wildcards[:1] if "anything-but" in str(found) and wildcards else found


def pattern(random: Random, depth: int = 2, allowed: list[str] = NAMES) -> dict[str, Json]:
    """A policy, at most three levels deep, each path named once."""
    names = random.sample(allowed, random.randrange(1, 1 + min(3, len(allowed))))
    free = [name for name in allowed if name not in names]
    written: dict[str, Json] = {}
    for name in names:
        if depth and random.random() < 0.25:
            written[name] = pattern(random, depth - 1)
        else:
            written[name] = conditions(random)
    if free and random.random() < 0.2:
        written["$or"] = [pattern(random, max(depth - 1, 0), free) for _ in range(random.randrange(2, 4))]
    return written


def event(random: Random, depth: int = 3) -> dict[str, Json]:
    """An object with nested objects and arrays."""
    return {name: value(random, depth) for name in random.sample(NAMES, random.randrange(1, 5))}


def value(random: Random, depth: int) -> Json:
    kind = random.random()
    if depth == 0 or kind < 0.55:
        return scalar(random)
    if kind < 0.7:
        return [scalar(random) for _ in range(random.randrange(4))]
    if kind < 0.85:
        return event(random, depth - 1)
    return [event(random, depth - 1) for _ in range(random.randrange(1, 4))]
