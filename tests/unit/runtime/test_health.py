"""The health board: what works, by name, with details."""

import asyncio

from prometheus_client import CollectorRegistry, generate_latest

from services.runtime.health import HealthBoard, HealthState

SERVICE = "penstock.sample.v1.SampleService"


def board(**states: HealthState) -> HealthBoard:
    """A board with the given states."""
    made = HealthBoard()
    for name, state in states.items():
        made.set(name, state.serving, state.detail)
    return made


GOOD = HealthState(serving=True)
DEGRADED = HealthState(serving=True, detail="without dedup")
BAD = HealthState(serving=False, detail="disk full")


def test_process_serves_when_every_part_does() -> None:
    """One name that fails is enough for the process not to be ready."""
    assert board(a=GOOD, b=GOOD).get() == GOOD
    assert board(a=GOOD, b=BAD).get() == HealthState(serving=False, detail="b: disk full")


def test_degraded_part_still_serves_and_says_what_is_missing() -> None:
    """The bridge without Valkey goes on, and tells so."""
    assert board(valkey=DEGRADED).get() == HealthState(serving=True, detail="valkey: without dedup")


def test_unknown_name_has_no_state() -> None:
    """Neither good nor bad: not known to be up."""
    assert board(a=GOOD).get("b") is None


def test_added_service_serves_unless_something_spoke_before() -> None:
    """A service that waits for its parameters is not switched on by the server's start."""
    made = board(waiting=BAD)
    made.add("waiting")
    made.add(SERVICE)
    assert made.get("waiting") == BAD
    assert made.get(SERVICE) == GOOD


def test_draining_overrules_every_state_and_lasts() -> None:
    """Nothing may call us back into service while we go."""
    made = board(a=GOOD)
    made.drain()
    made.set("a", True)
    assert made.get("a") == HealthState(serving=False, detail="draining")
    assert made.get() == HealthState(serving=False, detail="draining")


async def test_watch_tells_the_state_now_each_change_and_ends_with_the_drain() -> None:
    """A change made while the watcher is busy is not lost; the same state twice is told once."""
    made = board(a=GOOD)
    seen: list[HealthState | None] = []

    async def follow() -> None:
        async for state in made.watch("a"):
            seen.append(state)
            if state == GOOD and len(seen) == 1:
                made.set("a", False, "disk full")
                made.set("a", False, "disk full")
            elif state == BAD:
                asyncio.get_running_loop().call_soon(made.drain)

    await asyncio.wait_for(follow(), 5)
    assert seen == [GOOD, BAD, HealthState(serving=False, detail="draining")]


async def test_drain_while_a_state_is_being_sent_is_still_told() -> None:
    """A slow watcher must not mistake the end of the stream for the last good state."""
    made = board(a=GOOD)
    states = made.watch("a")
    assert await anext(states) == GOOD
    made.drain()
    assert [state async for state in states] == [HealthState(serving=False, detail="draining")]


async def test_watch_of_an_unknown_name_waits_for_it() -> None:
    """The name may come later, as the health protocol has it."""
    made = HealthBoard()
    states = made.watch("later")
    assert await anext(states) is None
    made.set("later", True)
    assert await anext(states) == GOOD


def test_metrics_show_each_name_with_its_present_detail_only() -> None:
    """A detail of yesterday must not linger as a series."""
    made = board(valkey=DEGRADED)
    registry = CollectorRegistry()
    registry.register(made)
    made.set("valkey", False, "gone")
    text = generate_latest(registry).decode()
    assert 'penstock_health{detail="gone",service="valkey"} 0.0' in text
    assert 'penstock_health{detail="valkey: gone",service=""} 0.0' in text
    assert "without dedup" not in text


def test_a_page_of_detail_is_cut() -> None:
    """Some servers answer with a page, and a detail is the label of a metric."""
    state = board(a=HealthState(serving=True, detail="the store is away: " + "word " * 400)).get("a")
    assert state
    assert state.detail.startswith("the store is away: word")
    assert len(state.detail) <= 300
