"""What an acknowledged event survives: the end of the process at any moment, and the loss of power.

`make chaos-tracking` runs the kills a thousand times.
"""

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.local.part import PartSpec
from tests.integration.conftest import running
from tests.integration.forked_intake import forked_intake
from tests.integration.intake_kills import events, kill_moments, killed_in_a_storm
from tests.integration.parts import RunningPart
from tests.integration.power_loss import JOURNAL, lose_power
from tests.integration.tracking_harness import NOWHERE, Intake, describe_intake, intake_of

KILLS = int(os.environ.get("PENSTOCK_CHAOS_KILLS", "3"))
FRESH_LOG_EVERY = 20


@pytest.fixture
def redis(valkey: RunningPart) -> str:
    return valkey.addresses["redis"]


@pytest.mark.parametrize("level", ["disk", "os"])
async def test_killed_in_a_storm_it_loses_no_acknowledged_event(redis: str, tmp_path: Path, level: str) -> None:
    """Each kill is followed by a start on the same log. This proves survival of the process, not of the machine."""
    moment = kill_moments(seed=1)
    async with forked_intake(tmp_path, redis=redis, redis_prefix="kill", ack_level=level) as where:
        await where.put_program("p")
        for kill in range(KILLS):
            acknowledged = await killed_in_a_storm(where, f"kill-{kill}", after=moment())
            assert acknowledged - set(where.logged()) == set(), f"lost by kill {kill}"
            if kill % FRESH_LOG_EVERY == FRESH_LOG_EVERY - 1:
                where.begin_anew()
            await where.start()


async def test_at_level_memory_a_kill_loses_events(redis: str, tmp_path: Path) -> None:
    """The control: the same storm and the same look into the log do see a loss where there is one."""
    async with forked_intake(tmp_path, redis=redis, redis_prefix="kill", ack_level="memory") as where:
        await where.put_program("p")
        for kill in range(20):
            if await killed_in_a_storm(where, f"memory-{kill}", after=80) - set(where.logged()):
                return
            await where.start()
    pytest.fail("twenty kills at level memory lost nothing: this test could not see a loss at level disk either")


@asynccontextmanager
async def forgetful(directory: Path, redis: str, **settings: str) -> AsyncIterator[tuple[Intake, Path]]:
    """An intake on a disk that forgets, and the journal of what it synchronised."""
    journal = directory / "journal"

    def describe(data_directory: Path) -> PartSpec:
        environment = {"redis_prefix": "power", **settings}
        spec = describe_intake(data_directory, redis=redis, persistence=NOWHERE, environment=environment)
        argv = (sys.executable, "-m", "tests.integration.power_loss")
        return replace(spec, argv=argv, environment={**spec.environment, JOURNAL: str(journal)})

    async with running(describe, directory) as part, intake_of(part) as where:
        yield where, journal


async def lost_by_power(where: Intake, journal: Path, name: str, chance: random.Random) -> set[str]:
    acknowledged = await killed_in_a_storm(where, name, after=chance.randint(5, 60))
    await asyncio.to_thread(lose_power, where.part.spec.data_directory / "log", journal, chance)
    return acknowledged - set(where.logged())


async def test_what_was_acknowledged_at_level_disk_survives_a_loss_of_power(redis: str, tmp_path: Path) -> None:
    """Of what was not synchronised nothing certain is left, and nothing of it was acknowledged."""
    chance = random.Random(7)
    async with forgetful(tmp_path, redis, ack_level="disk", log_segment_bytes="300000") as (where, journal):
        await where.put_program("p")
        first = events("first", 1)
        await where.track(*first)  # in the first segment, before any other one is begun
        await where.part.kill()
        await asyncio.to_thread(lose_power, where.part.spec.data_directory / "log", journal, chance)
        assert {one.message_id for one in first} <= set(where.logged())
        await where.start()
        for loss in range(3):
            assert await lost_by_power(where, journal, f"loss-{loss}", chance) == set()
            await where.start()


async def test_at_level_os_a_loss_of_power_loses_events(redis: str, tmp_path: Path) -> None:
    """The control: this level does not synchronise, and the test sees it."""
    async with forgetful(tmp_path, redis, ack_level="os") as (where, journal):
        await where.put_program("p")
        chance = random.Random(1)  # which truncates the one segment to what was synchronised
        acknowledged = await killed_in_a_storm(where, "os", after=20)
        await asyncio.to_thread(lose_power, where.part.spec.data_directory / "log", journal, chance)
        assert acknowledged - set(where.logged())
