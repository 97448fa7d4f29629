"""A rollout from its first share to everybody, and every way it can end early."""

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import pytest
from penstock.client import (
    AbortedError,
    AlreadyExistsError,
    InvalidArgumentError,
    NotFoundError,
    Outcome,
    ParameterClient,
    RemoteParameter,
    RollingOut,
    RolloutPlan,
    UnavailableError,
)
from penstock.client.rollout import read_rollout, rollout_parameter

NAME, PLACE = "/prod/app/a", rollout_parameter("/prod/app/a")
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
PLAN = RolloutPlan(percentages=(5, 50), callers=("host-1",), bake_seconds=10, poll_seconds=5)


class Parameters:
    """The calls of a ParameterClient on a dictionary."""

    def __init__(self) -> None:
        self.held = {NAME: RemoteParameter(name=NAME, value="old", version=3, revision=3)}
        self.expiries: list[dt.datetime | None] = []
        self.away = False

    async def get(self, name: str) -> RemoteParameter:
        if name not in self.held:
            raise NotFoundError(name, reason="ERROR_REASON_PARAMETER_NOT_FOUND")
        return self.held[name]

    async def put(self, name: str, value: str, *, expected_version: int, **options: Any) -> int:
        current = self.held[name].version if name in self.held else 0
        if expected_version != current:
            cls = AbortedError if expected_version else AlreadyExistsError
            raise cls(f"{name} has version {current}", reason="ERROR_REASON_VERSION_CONFLICT")
        self.expiries.append(options.get("expires_at"))
        secret = options.get("secret", False) or (current > 0 and self.held[name].secret)
        self.held[name] = RemoteParameter(name=name, value=value, version=current + 1, revision=9, secret=secret)
        return current + 1

    async def delete(self, name: str) -> None:
        if self.away:
            raise UnavailableError("away")
        if self.held.pop(name, None) is None:
            raise NotFoundError(name, reason="ERROR_REASON_PARAMETER_NOT_FOUND")


class Run:
    """A rollout whose alarm is answered from a list, and during whose pauses something may happen."""

    def __init__(self, alarms: Sequence[bool | Exception] = ()) -> None:
        self.parameters = Parameters()
        self.alarms = list(alarms)
        self.told: list[str] = []
        self.shares: list[float] = []
        self.meanwhile: Callable[[], Awaitable[None]] | None = None

    async def alarm(self) -> bool:
        answer = self.alarms.pop(0) if self.alarms else False
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def sleep(self, _seconds: float) -> None:
        if PLACE in self.parameters.held:
            self.shares.append(read_rollout(self.parameters.held[PLACE].value).percentage)
        if self.meanwhile:
            happening, self.meanwhile = self.meanwhile, None
            await happening()

    async def __call__(self, plan: RolloutPlan = PLAN) -> Outcome:
        rolling = RollingOut(
            cast("ParameterClient", self.parameters),
            alarm=self.alarm,
            tell=self.told.append,
            sleep=self.sleep,
            now=lambda: NOW,
        )
        return await rolling.run(NAME, "new", plan)

    @property
    def value(self) -> str:
        return self.parameters.held[NAME].value


async def test_without_an_alarm_everybody_has_the_value_in_the_end() -> None:
    """Share after share, each watched for its bake time; the document is gone."""
    run = Run()
    assert await run() is Outcome.COMPLETED
    assert run.shares == [5, 5, 50, 50]
    assert (run.value, run.parameters.held[NAME].version) == ("new", 4)
    assert PLACE not in run.parameters.held


@pytest.mark.parametrize("alarm", [True, RuntimeError("no answer")], ids=["alarm", "alarm that fails"])
async def test_an_alarm_takes_the_value_back_from_everybody(alarm: bool | Exception) -> None:  # noqa: FBT001
    """At once, in whatever step; an alarm that cannot be asked is one."""
    run = Run([False, False, alarm])
    assert await run() is Outcome.ROLLED_BACK
    assert (run.shares, run.value) == ([5, 5, 50], "old")
    assert PLACE not in run.parameters.held


async def test_a_cancelled_rollout_is_taken_back() -> None:
    """Ctrl-C in the middle of a bake."""
    run = Run()

    async def cancel() -> None:
        task = asyncio.current_task()
        assert task
        task.cancel()
        await asyncio.sleep(0)

    run.meanwhile = cancel
    with pytest.raises(asyncio.CancelledError):
        await run()
    assert PLACE not in run.parameters.held
    assert run.value == "old"


async def test_whoever_runs_it_may_die_as_every_step_has_an_expiry() -> None:
    """Beyond its bake time, so that it does not end early; and the value itself has none."""
    run = Run()
    await run()
    steps, promotion = run.parameters.expiries[:-1], run.parameters.expiries[-1]
    assert steps == [NOW + dt.timedelta(seconds=10, minutes=2)] * 2
    assert promotion is None


async def test_a_rollout_that_somebody_else_ends_is_not_completed() -> None:
    """Deleting the document is how an operator stops it."""
    run = Run()
    run.meanwhile = lambda: run.parameters.delete(PLACE)
    assert await run() is Outcome.ROLLED_BACK
    assert run.value == "old"


async def test_a_value_that_somebody_writes_meanwhile_stays() -> None:
    """Ours was decided on without knowing it."""
    run = Run()

    async def write() -> None:
        await run.parameters.put(NAME, "theirs", expected_version=3)

    run.meanwhile = write
    with pytest.raises(AbortedError):
        await run()
    assert (run.value, PLACE in run.parameters.held) == ("theirs", False)


async def test_a_second_rollout_of_a_parameter_is_refused_and_leaves_the_first() -> None:
    run = Run()
    await run.parameters.put(PLACE, "{}", expected_version=0)
    with pytest.raises(AlreadyExistsError):
        await run()
    assert PLACE in run.parameters.held


async def test_a_rollout_of_a_secret_is_a_secret() -> None:
    """Its document holds the value."""
    run = Run()
    run.parameters.held[NAME] = RemoteParameter(name=NAME, value="", version=3, revision=3, secret=True)
    seen: list[bool] = []

    async def look() -> None:
        seen.append(run.parameters.held[PLACE].secret)

    run.meanwhile = look
    await run()
    assert seen == [True]


async def test_a_document_that_cannot_be_deleted_does_not_hide_the_outcome(caplog: pytest.LogCaptureFixture) -> None:
    """It expires, and the log says so."""
    run = Run([True])
    run.parameters.away = True
    assert await run() is Outcome.ROLLED_BACK
    assert "ends by its expiry" in caplog.text


@pytest.mark.parametrize("percentages", [(), (50, 5), (5, 5), (-1, 5), (5, 101)])
def test_shares_have_to_grow(percentages: Sequence[float]) -> None:
    with pytest.raises(InvalidArgumentError, match="percentages"):
        RolloutPlan(percentages=percentages)


def test_an_alarm_is_asked_at_least_once_per_share() -> None:
    """A poll longer than the bake time would ask never."""
    with pytest.raises(InvalidArgumentError, match="poll_seconds"):
        RolloutPlan(bake_seconds=1, poll_seconds=2)
