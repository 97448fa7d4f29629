"""`make bench-filtering`: our index against AWS's event-ruler and moto's matcher, on the same rules and unseen events.

Each side has its events parsed already: ours as Python has JSON, event-ruler's as Jackson nodes; of messages with
attributes, ours and moto's have them as each keeps them. Every round takes events that no round before has seen. Match
sets are compared before anything is timed.
"""

import asyncio
import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Any

from moto.sns.utils import FilterPolicyMatcher

from bench.event_ruler import EventRuler
from bench.filtering_push import put_to_replicas
from bench.filtering_rpc import batch_rpc
from bench.filtering_workload import exact_event, exact_policy, mixed_policy, order, sets_differ
from bench.measure import ROUNDS, Comparison, Machine, Sample, Subject, compare, print_progress
from bench.report import publish
from services.filtering.dialect import EVENTBRIDGE, SNS_ATTRIBUTES, Dialect
from services.filtering.index import Index
from services.filtering.masks import BITSET, PORTABLE
from services.filtering.message import Attributes, AttributeType, attribute_document
from services.filtering.policy import parse_policy

NOTES = (
    "rates are events per second of CPU time of the matching thread; event-ruler's GC and compiler not counted",
    "overlapping: two to five keys of exact values, lists, anything-but, prefix, suffix, ranges, exists, ignore-case",
    "event-ruler is warmed for ten seconds at each size; 100,000 overlapping rules take it minutes to build: left out",
    f"ours is {'compiled' if BITSET is not PORTABLE else 'portable Python: no C compiler was at hand'}",
)
_WARM_UP_SECONDS = 10.0
Events = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """A number of subscriptions, and how many events each side takes in a round."""

    subscriptions: int
    ours: int
    peer: int
    floor: float


AGAINST_EVENT_RULER = (
    Size(subscriptions=5, ours=20_000, peer=20_000, floor=0.6),
    Size(subscriptions=1_000, ours=8_000, peer=1_500, floor=15),
    Size(subscriptions=10_000, ours=4_000, peer=60, floor=120),
)
EXACT = tuple(Size(subscriptions=n, ours=20_000, peer=20_000, floor=1) for n in (1_000, 10_000, 100_000))
AGAINST_MOTO = (
    Size(subscriptions=1_000, ours=8_000, peer=30, floor=800),
    Size(subscriptions=10_000, ours=4_000, peer=4, floor=2_500),
)
_ROUNDS = ROUNDS + 1  # with the one that warms up


async def main() -> int:
    """Measure and publish. The exit code says nothing of the ratios: the results do."""
    with Machine() as machine:
        with EventRuler() as event_ruler:
            comparisons = [await overlapping(event_ruler, size) for size in AGAINST_EVENT_RULER]
            comparisons += [await selective(event_ruler, size) for size in EXACT]
        comparisons += [await against_moto(size) for size in AGAINST_MOTO]
        comparisons += [await at_100000(), await batch_rpc()]
        notes = [*NOTES, *build_and_update(10_000), *build_and_update(100_000), memory()]
        pushed = await put_to_replicas()
    publish("filtering", comparisons, machine.figures(), notes, pushed)
    return 0


async def overlapping(event_ruler: EventRuler, size: Size) -> Comparison:
    random, count = Random(size.subscriptions), size.subscriptions
    subject = Subject(
        key=f"vs_event_ruler_{count}",
        what=f"{count:,} overlapping subscriptions, against event-ruler",
        unit="events/CPU s",
        floor=size.floor,
    )
    return await against(event_ruler, size, subject, [mixed_policy(random) for _ in range(count)], order, random)


async def selective(event_ruler: EventRuler, size: Size) -> Comparison:
    random, count = Random(size.subscriptions), size.subscriptions
    subject = Subject(
        key=f"exact_vs_event_ruler_{count}",
        what=f"{count:,} subscriptions to one or two exact values, against event-ruler",
        unit="events/CPU s",
        floor=size.floor,
    )
    policies = [exact_policy(random, count) for _ in range(count)]
    return await against(event_ruler, size, subject, policies, lambda random: exact_event(random, count), random)


async def against(
    event_ruler: EventRuler,
    size: Size,
    subject: Subject,
    policies: Events,
    make_event: Callable[[Random], Mapping[str, Any]],
    random: Random,
) -> Comparison:
    answers = event_ruler.rules(policies)
    if set(answers) != {"ok"}:
        raise RuntimeError(f"event-ruler does not take every rule: {set(answers)}")
    index = index_of(policies, EVENTBRIDGE)
    checked = [make_event(random) for _ in range(min(200, size.peer))]
    ours = [set(index.match_document(document)) for document in parsed(checked)]
    if difference := sets_differ(ours, [set(names) for names in event_ruler.match(checked)], checked):
        raise RuntimeError(f"{subject.key}: the sides differ on {difference}")
    peer_events = [make_event(random) for _ in range(size.peer * (_ROUNDS + 1))]
    event_ruler.keep(peer_events)
    deadline = time.monotonic() + _WARM_UP_SECONDS
    while time.monotonic() < deadline:
        event_ruler.time(size.peer * _ROUNDS, size.peer * (_ROUNDS + 1))
    slices = iter(range(_ROUNDS))

    async def peer_round() -> Sample:
        begin = next(slices) * size.peer
        seconds, _ = await asyncio.to_thread(event_ruler.time, begin, begin + size.peer)
        return Sample(work=size.peer, seconds=seconds, cpu_seconds=seconds)

    events = parsed([make_event(random) for _ in range(size.ours * _ROUNDS)])
    our_round = rounds_of(index.match_document, events, size.ours)
    return await compare(subject, ours=our_round, peer=peer_round, progress=print_progress)


async def against_moto(size: Size) -> Comparison:
    random, count = Random(size.subscriptions), size.subscriptions
    policies = [mixed_policy(random) for _ in range(count)]
    subject = Subject(
        key=f"vs_moto_{count}",
        what=f"{count:,} overlapping subscriptions on message attributes, against moto's matcher one by one",
        unit="events/CPU s",
        floor=size.floor,
    )
    index = index_of(policies, SNS_ATTRIBUTES)
    matchers = [FilterPolicyMatcher(policy, "MessageAttributes") for policy in policies]
    checked = [order(random) for _ in range(size.peer * 2)]

    def our_match(attributes: Attributes) -> list[int]:
        return index.match_document(attribute_document(attributes))

    ours = [set(our_match(our_attributes(event))) for event in checked]
    if difference := sets_differ(ours, [matched_by_moto(matchers, event) for event in checked], checked):
        raise RuntimeError(f"{subject.key}: the sides differ on {difference}")
    peer_events = [[moto_attributes(order(random)) for _ in range(size.peer)] for _ in range(_ROUNDS)]

    async def peer_round() -> Sample:
        events = peer_events.pop()
        started = time.thread_time()
        for attributes in events:
            for matcher in matchers:
                matcher.matches(attributes, "")
        seconds = time.thread_time() - started
        return Sample(work=len(events), seconds=seconds, cpu_seconds=seconds)

    our_round = rounds_of(our_match, [our_attributes(order(random)) for _ in range(size.ours * _ROUNDS)], size.ours)
    return await compare(subject, ours=our_round, peer=peer_round, progress=print_progress)


async def at_100000() -> Comparison:
    """No peer gets this far: the compiled core against Python alone."""
    random = Random(100_000)
    policies = [mixed_policy(random) for _ in range(100_000)]
    subject = Subject(
        key="events_per_cpu_second_100000",
        what="100,000 overlapping subscriptions, against our own index without its compiled part",
        unit="events/CPU s",
        floor=1,
    )
    compiled, portable = index_of(policies, EVENTBRIDGE), index_of(policies, EVENTBRIDGE, portable=True)
    events = parsed([order(random) for _ in range(3000 * _ROUNDS)])
    checked = events[:50]
    ours, theirs = ([set(index.match_document(event)) for event in checked] for index in (compiled, portable))
    if difference := sets_differ(ours, theirs, checked):
        raise RuntimeError(f"{subject.key}: the implementations differ on {difference}")
    our_round = rounds_of(compiled.match_document, events, 3000)
    peer_round = rounds_of(portable.match_document, events, 300)
    return await compare(subject, ours=our_round, peer=peer_round, rounds=5, progress=print_progress)


def rounds_of(match: Callable[[Any], list[int]], events: Sequence[Any], size: int) -> Callable[[], Any]:
    """Our side: each round the next events, from the parsed event to the list of matches."""
    slices = [events[begin : begin + size] for begin in range(0, size * _ROUNDS, size)]

    async def our_round() -> Sample:
        taken = slices.pop()
        gc.collect()
        started = time.thread_time()
        for event in taken:
            match(event)
        seconds = time.thread_time() - started
        return Sample(work=len(taken), seconds=seconds, cpu_seconds=seconds)

    return our_round


def build_and_update(count: int) -> list[str]:
    """What building costs, and a change of one subscription; in words."""
    random = Random(count)
    policies = [parse_policy(json.dumps(mixed_policy(random)), EVENTBRIDGE) for _ in range(count)]
    gc.collect()
    started = time.process_time()
    index = Index(enumerate(policies))
    built = time.process_time() - started
    changes = []
    for _ in range(300):
        put = {random.randrange(count): random.choice(policies)}
        started = time.process_time()
        index = index.changed(put)
        changes.append(time.process_time() - started)
    changes.sort()
    rate, median, late = count / built, changes[150] * 1e3, changes[-3] * 1e3
    return [
        f"{count:,} overlapping subscriptions: built at {rate:,.0f} per second from parsed policies",
        f"{count:,} overlapping subscriptions: one replaced in {median:.2f} ms of CPU (median), {late:.2f} ms (99 %)",
    ]


def memory() -> str:
    """What 100,000 subscriptions occupy, in words; measured where nothing else was."""
    command = [sys.executable, "-m", "bench.filtering_memory"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def index_of(policies: Events, dialect: Dialect, *, portable: bool = False) -> Index[int]:
    parsed_policies = [parse_policy(json.dumps(policy), dialect) for policy in policies]
    return Index(enumerate(parsed_policies), bits=PORTABLE if portable else BITSET)


def parsed(events: Events) -> list[dict[str, Any]]:
    """As the service parses a body: numbers are decimals."""
    return [json.loads(json.dumps(event, default=float), parse_float=Decimal, parse_int=Decimal) for event in events]


def our_attributes(event: Mapping[str, Any]) -> Attributes:
    """The event as the attributes of a message."""
    return {name: _attribute(value) for name, value in event.items()}


def _attribute(value: object) -> tuple[AttributeType, str]:
    if isinstance(value, list):
        return AttributeType.STRING_ARRAY, json.dumps(value)
    return (AttributeType.STRING, value) if isinstance(value, str) else (AttributeType.NUMBER, str(value))


def moto_attributes(event: Mapping[str, Any]) -> dict[str, Any]:
    """The event as moto keeps the attributes of a message."""
    return {
        name: {
            "Type": "String" if isinstance(value, str) else "String.Array" if isinstance(value, list) else "Number",
            "Value": json.dumps(value) if isinstance(value, list) else value if isinstance(value, str) else str(value),
        }
        for name, value in event.items()
    }


def matched_by_moto(matchers: Sequence[FilterPolicyMatcher], event: Mapping[str, Any]) -> set[int]:
    attributes = moto_attributes(event)
    return {number for number, matcher in enumerate(matchers) if matcher.matches(attributes, "")}


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
