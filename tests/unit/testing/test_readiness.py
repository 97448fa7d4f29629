"""Waiting for containers and for what a test wants to see, on a clock that the tests turn."""

import asyncio
from collections.abc import Iterator

import grpc
import pytest
from penstock.bridge.v1.bridge_service_pb2 import GetStatsRequest
from penstock.bridge.v1.bridge_service_pb2_grpc import BridgeServiceStub
from penstock.testing.clients import patiently, until
from penstock.testing.errors import PartFailedError, WaitError
from penstock.testing.readiness import wait_until_ready

from deploy.local.part import PartNotReadyError
from deploy.local.ports import free_port_numbers
from services.runtime.errors import UnavailableError


class Clock:
    """Time passes only by sleeping."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


class Part:
    """Answers after some refusals; may have ended."""

    def __init__(self, refusals: int, ending: str = "") -> None:
        self.refusals = refusals
        self.ended = ending

    async def probe(self) -> None:
        if self.refusals:
            self.refusals -= 1
            raise PartNotReadyError("it loads its file")

    def ending(self) -> str:
        return self.ended


def wait(part: Part, clock: Clock) -> None:
    wait_until_ready(
        part.probe,
        name="valkey",
        ending=part.ending,
        logs=lambda: "first line\nlast line",
        timeout_seconds=5,
        now=clock.now,
        sleep=clock.sleep,
    )


def test_a_part_is_asked_until_it_answers() -> None:
    """Refusals are no failures."""
    part = Part(refusals=3)
    wait(part, Clock())
    assert part.refusals == 0


async def test_waiting_works_inside_a_running_event_loop() -> None:
    """A blocking call of an asyncio test: the probe needs a loop of its own."""
    assert asyncio.get_running_loop().is_running()
    wait(Part(refusals=1), Clock())


def test_a_part_that_never_answers_fails_with_the_last_reason_and_its_log() -> None:
    """After the time-out, by the clock given."""
    clock = Clock()
    with pytest.raises(PartFailedError, match=r"valkey is not ready after 5 s \(it loads its file\)(.|\n)*last line"):
        wait(Part(refusals=1000), clock)
    assert clock.time >= 5


def test_a_part_that_ended_is_not_waited_for() -> None:
    """Its end and its log are told at once."""
    clock = Clock()
    with pytest.raises(PartFailedError, match=r"ended before it was ready \(exited, exit code 2\):\n  first line"):
        wait(Part(refusals=1000, ending="exited, exit code 2"), clock)
    assert clock.time == 0


def test_until_gives_the_first_true_answer() -> None:
    """Asked again and again."""
    clock = Clock()
    answers: Iterator[str] = iter(["", "", "there"])
    assert until(lambda _left: next(answers), 5, lambda: "an answer", now=clock.now, sleep=clock.sleep) == "there"


def test_until_says_what_did_not_come() -> None:
    """A time-out of its own kind, and a TimeoutError."""
    clock = Clock()
    with pytest.raises(WaitError, match=r"waited 5 s: an answer") as caught:
        until(lambda _left: None, 5, lambda: "an answer", now=clock.now, sleep=clock.sleep)
    assert isinstance(caught.value, TimeoutError)


def test_a_service_that_is_away_is_what_was_waited_for() -> None:
    """The probe is told how long it may take; what it says of an absent service ends as the reason of the wait."""
    clock = Clock()
    left: list[float] = []

    def away(seconds: float) -> None:
        left.append(seconds)
        raise UnavailableError("nobody at 127.0.0.1:1")

    with pytest.raises(WaitError, match=r"waited 5 s: nobody at 127\.0\.0\.1:1"):
        until(away, 5, lambda: "an answer", now=clock.now, sleep=clock.sleep)
    assert (left[0], left[-1]) == (5, 1), "a busy service has a second to answer the last look"
    assert left == sorted(left, reverse=True)


def test_a_part_that_is_down_is_waited_for_no_longer_than_was_said() -> None:
    """Of a call, too, that gRPC itself would let wait for a connection."""
    (port,) = free_port_numbers(1)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        method = BridgeServiceStub(channel).GetStats
        with pytest.raises(UnavailableError, match=r"no answer within 0\.3 s"):
            patiently(method, GetStatsRequest(), 0.3)
