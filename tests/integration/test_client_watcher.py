"""Parameters followed over real sockets through every kind of break."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from penstock.client import IDEMPOTENT_METHODS, ParameterClient

from services.runtime.channel import open_channel
from services.runtime.errors import AbortedError, NotFoundError, UnavailableError
from services.runtime.health import HealthState
from tests.integration.config_fake import FakeConfig, fake_config
from tests.integration.config_follower import PATH, following, ready


@pytest.fixture
async def config() -> AsyncIterator[FakeConfig]:
    """A config service with two routes, running."""
    made = fake_config()
    made.put(f"{PATH}/a", "1")
    made.put(f"{PATH}/b", "1")
    await made.start()
    yield made
    await made.stop()


START = [("a", "1"), ("b", "1")]


async def test_existing_parameters_are_told_before_ready(config: FakeConfig) -> None:
    """A service that is ready knows all of its routes."""
    async with following(config.address) as follower:
        await ready(follower)
        assert follower.told == START
        assert follower.state() == HealthState(serving=True)
        assert (follower.watcher.revision, sorted(follower.watcher.parameters)) == (2, [f"{PATH}/a", f"{PATH}/b"])


async def test_changes_and_deletions_are_pushed(config: FakeConfig) -> None:
    """In the order of their revisions."""
    async with following(config.address) as follower:
        await ready(follower)
        config.put(f"{PATH}/c", "1")
        config.put(f"{PATH}/a", "2")
        config.delete(f"{PATH}/b")
        await follower.until(lambda: len(follower.told) == 5)
        assert follower.told[2:] == [("c", "1"), ("a", "2"), ("b", None)]
        assert follower.watcher.revision == 5


async def test_break_is_survived_resumed_and_shown(config: FakeConfig) -> None:
    """The values stay, the health says so, and only what changed meanwhile is told."""
    async with following(config.address) as follower:
        await ready(follower)
        await config.stop()
        await follower.until(lambda: "away since" in follower.state().detail)
        assert follower.state().serving
        assert "going on with revision 2" in follower.state().detail
        config.put(f"{PATH}/a", "2")
        config.delete(f"{PATH}/b")
        await config.start()
        await follower.until(lambda: len(follower.told) == 4 and not follower.state().detail)
        assert follower.told[2:] == [("a", "2"), ("b", None)]
        assert config.watches_from == [0, 2]


async def test_compacted_history_is_read_again_and_only_differences_are_told(config: FakeConfig) -> None:
    """A deletion that nobody can replay any more is still noticed."""
    async with following(config.address) as follower:
        await ready(follower)
        await config.stop()
        config.put(f"{PATH}/c", "1")
        config.delete(f"{PATH}/b")
        config.compact()
        await config.start()
        await follower.until(lambda: len(follower.told) == 4)
        assert sorted(follower.told[2:], key=str) == [("b", None), ("c", "1")]
        assert config.watches_from == [0, 2, 0]
        assert follower.watcher.revision == 4


async def test_store_that_went_back_is_read_again(config: FakeConfig) -> None:
    """A restored backup has lower revisions: waiting for higher ones would be deaf for ever."""
    async with following(config.address) as follower:
        await ready(follower)
        await config.stop()
        config.reset()
        config.put(f"{PATH}/a", "restored")
        await config.start()
        await follower.until(lambda: len(follower.told) == 4)
        assert sorted(follower.told[2:], key=str) == [("a", "restored"), ("b", None)]
        config.put(f"{PATH}/d", "1")
        await follower.until(lambda: follower.told[-1] == ("d", "1"))


async def test_without_service_and_snapshot_the_part_does_not_serve() -> None:
    """A bridge without routes must not look ready; it becomes so when the service comes."""
    config = fake_config()
    async with following(config.address) as follower:
        await follower.until(lambda: "away since" in follower.state().detail)
        assert not follower.state().serving
        assert not follower.watcher.ready.is_set()
        await config.start()
        await ready(follower)
        assert follower.told == []
        assert follower.state() == HealthState(serving=True)
    await config.stop()


async def test_snapshot_starts_a_process_while_the_service_is_away(config: FakeConfig, tmp_path: Path) -> None:
    """Last known good values, resumed from their revision when the service is back."""
    snapshot = tmp_path / "routes.json"
    async with following(config.address, snapshot) as follower:
        await ready(follower)
        config.put(f"{PATH}/a", "2")
        await follower.until(lambda: len(follower.told) == 3)
    await config.stop()
    async with following(config.address, snapshot) as follower:
        await ready(follower)
        assert follower.told == [("a", "2"), ("b", "1")]
        await follower.until(lambda: "going on with revision 3" in follower.state().detail)
        assert follower.state().serving
        config.put(f"{PATH}/b", "2")
        await config.start()
        await follower.until(lambda: follower.told[-1] == ("b", "2"))
        assert config.watches_from[-1] == 3


async def test_damaged_snapshot_is_replaced(config: FakeConfig, tmp_path: Path) -> None:
    """It costs the head start, not the service."""
    snapshot = tmp_path / "routes.json"
    snapshot.write_text("{")
    async with following(config.address, snapshot) as follower:
        await ready(follower)
        assert follower.told == START
    assert b'"revision":2' in snapshot.read_bytes()


async def test_refused_value_is_shown_until_it_is_replaced(config: FakeConfig) -> None:
    """One bad route neither ends the watch nor stays secret; the others go on."""
    async with following(config.address) as follower:
        await ready(follower)
        config.put(f"{PATH}/a", "bad")
        config.put(f"{PATH}/b", "crash")
        config.put(f"{PATH}/c", "1")
        await follower.until(lambda: follower.told[-1] == ("c", "1"))
        assert follower.state().serving
        assert f"{PATH}/a is refused: it is bad" in follower.state().detail
        assert f"{PATH}/b is refused" in follower.state().detail
        config.put(f"{PATH}/a", "good")
        config.delete(f"{PATH}/b")
        await follower.until(lambda: follower.state() == HealthState(serving=True))


async def test_snapshot_that_cannot_be_written_does_not_end_the_watch(config: FakeConfig, tmp_path: Path) -> None:
    """The folder's place is taken by a file: worse than a full disk, and no reason to lose a change."""
    (tmp_path / "taken").write_text("")
    async with following(config.address, tmp_path / "taken" / "routes.json") as follower:
        await ready(follower)
        config.put(f"{PATH}/a", "2")
        await follower.until(lambda: follower.told[-1] == ("a", "2"))


async def test_client_writes_reads_lists_and_deletes(config: FakeConfig) -> None:
    """The few calls other services need, all pages included."""
    async with open_channel(config.address, idempotent=IDEMPOTENT_METHODS) as channel:
        client = ParameterClient(channel)
        assert await client.put(f"{PATH}/c", "1", expected_version=0, description="new") == 1
        assert (await client.get(f"{PATH}/c")).value == "1"
        assert [parameter.name for parameter in [p async for p in client.list(PATH)]] == [
            f"{PATH}/a",
            f"{PATH}/b",
            f"{PATH}/c",
        ]
        await client.delete(f"{PATH}/c")
        with pytest.raises(NotFoundError, match=f"no parameter {PATH}/c"):
            await client.get(f"{PATH}/c")
        with pytest.raises(NotFoundError):
            await client.delete(f"{PATH}/c")


async def test_client_tells_a_lost_race_from_an_absent_service(config: FakeConfig) -> None:
    """Read again in one case, wait in the other."""
    async with open_channel(config.address) as channel:
        client = ParameterClient(channel)
        with pytest.raises(AbortedError) as caught:
            await client.put(f"{PATH}/a", "2", expected_version=7)
        assert caught.value.reason == "ERROR_REASON_VERSION_CONFLICT"
        await config.stop()
        with pytest.raises(UnavailableError):
            await client.put(f"{PATH}/a", "2")
        with pytest.raises(UnavailableError):
            await anext(aiter(client.list(PATH)))
