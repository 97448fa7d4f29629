"""Chaos in its short form; `make chaos-bridge` runs the long one."""

import random
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from deploy.local.jms import JmsClient
from tests.integration.chaos import Campaign, Chaos, Fault, Report, drawn
from tests.integration.parts import RunningPart

Run = Callable[[Campaign], Awaitable[Report]]


@pytest.fixture
def run(activemq: RunningPart, valkey: RunningPart, jms: JmsClient, tmp_path: Path) -> Run:
    """Runs a campaign on the parts of the session."""

    async def run(campaign: Campaign) -> Report:
        tell = partial(print, flush=True)
        chaos = Chaos(campaign=campaign, activemq=activemq, valkey=valkey, jms=jms, directory=tmp_path, progress=tell)
        report = await chaos.run()
        tell("\n".join(report.lines()))
        return report

    return run


async def test_nothing_is_lost_when_broker_bridge_and_target_are_killed_and_stopped(run: Run) -> None:
    """Faults of the broker repeat nothing at the target, others at most the deliveries that ran."""
    seed = random.randrange(10**6)
    report = await run(Campaign(good=3000, faults=drawn(6, seed), seed=seed))
    assert report.violations() == []


async def test_poison_becomes_exactly_as_many_dead_letters_also_when_broker_and_bridge_are_killed(run: Run) -> None:
    """With their reasons; everything good arrives."""
    seed = random.randrange(10**6)
    faults = [Fault.KILL_BRIDGE, Fault.KILL_BROKER]
    report = await run(Campaign(good=1000, poison=50, refused=50, faults=faults, seed=seed, batch=20))
    assert report.violations() == []


async def test_a_bridge_that_acknowledges_before_it_delivers_is_caught(run: Run) -> None:
    """The control: the same harness reports loss."""
    module = "tests.integration.early_ack_bridge"
    campaign = Campaign(good=1500, faults=[Fault.KILL_BRIDGE], batch=20, work_seconds=0.1, module=module)
    report = await run(campaign)
    assert report.lost > 0, "an early ACK lost nothing: the chaos proves nothing"
    assert any("lost" in violation for violation in report.violations())
