"""The DynamoDB store keeps the contract on moto, and two replicas hear of each other's writes.

moto knows conditions, transactions and consistent reads; it checks neither throughput, nor the sizes of transactions in
bytes, nor what DynamoDB does when a partition moves.
"""

import asyncio
import copy
import threading
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.dynamodb.models.table import Table

from services.config.dynamodb_store import DynamoDbStore
from services.config.next_version import next_version
from services.config.parameter import Parameter, ParameterEvent, Sealed
from services.config.store import Decide, ParameterStore
from services.config.update import ParameterUpdate
from services.config.watch import Bookmark, WatchHub
from services.runtime.errors import AbortedError, FailedPreconditionError, InternalError
from tests.contracts.parameter_store import ParameterStoreContract, current, put

FEW = 10  # moto takes its time


def snapshot(table: Table, _memo: object) -> Table:
    """What moto copies before each part of a transaction, without copying what transactions replace as a whole.

    moto's own copy grows with the table: 100 versions take minutes. Only the store's item is updated in place.
    """
    twin = copy.copy(table)
    twin.items = defaultdict(dict, {key: dict(items) for key, items in table.items.items()})
    store = next((key for key in twin.items if key.value == "store"), None)
    if store is not None:
        twin.items[store] = copy.deepcopy(table.items[store])
    return twin


class OneAtATime:
    """A client whose calls take turns: DynamoDB's transactions are isolated from each other, moto's are not."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)
        if name in ("get_waiter", "close"):  # the client is shared by the tests
            return call if name == "get_waiter" else lambda: None

        def locked(**arguments: Any) -> Any:
            with self._lock:
                return call(**arguments)

        return locked


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        patch.setattr(Table, "__deepcopy__", snapshot, raising=False)
        keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
        client = boto3.client("dynamodb", region_name="eu-west-1", **keys)
        yield OneAtATime(client)
        client.close()


@dataclass(frozen=True)
class Place:
    """A table of one test."""

    client: Any
    table: str

    def store(self) -> DynamoDbStore:
        return DynamoDbStore(self.client, table=self.table, create=True, kept_revisions=FEW, poll_seconds=0.01)


@pytest.fixture
def place(endpoint: Any) -> Place:
    return Place(endpoint, f"penstock-{uuid.uuid4()}")


class TestDynamoDbStore(ParameterStoreContract):
    """The contract, in a table."""

    kept_revisions = FEW

    @pytest.fixture
    async def store(self, place: Place) -> AsyncIterator[ParameterStore]:
        async with place.store() as store:
            yield store


async def test_replicas_writing_at_the_same_time_share_one_order(place: Place) -> None:
    """No revision twice, no version lost; both hear of everything in the same order."""
    async with place.store() as one, place.store() as other:
        heard: tuple[list[ParameterEvent], list[ParameterEvent]] = ([], [])
        one.on_commit(heard[0].extend)
        other.on_commit(heard[1].extend)
        written = await asyncio.gather(*(put(store, "/a", str(n)) for n in range(10) for store in (one, other)))
        assert sorted(parameter.revision for parameter in written) == list(range(1, 21))
        assert sorted(parameter.version for parameter in written) == list(range(1, 21))
        await asyncio.gather(put(one, "/b"), put(other, "/c"))
        await asyncio.gather(one._follower.catch_up(), other._follower.catch_up())
        assert [event.revision for event in heard[0]] == list(range(1, 23))
        assert heard[0] == heard[1]


def expecting(version: int) -> Decide:
    """A decision that writes only where this version is current."""
    update = ParameterUpdate(name="/a", value="v", expected_version=version)

    def seal(*_: object) -> Sealed:
        pytest.fail("it is no secret")

    def decide(current: Parameter | None, revision: int) -> Parameter:
        return next_version(update, current, name="/a", revision=revision, now=0.0, seal=seal)

    return decide


async def test_of_replicas_that_expect_the_same_version_one_writes(place: Place) -> None:
    """Compare-and-set over all of them: of puts and of a deletion at the same time."""
    async with place.store() as one, place.store() as other:
        await put(one, "/a")
        puts = [store.put("/a", expecting(1)) for _ in range(3) for store in (one, other)]
        results = await asyncio.gather(*puts, return_exceptions=True)
        assert [one.version for one in results if isinstance(one, Parameter)] == [2]
        assert len([one for one in results if isinstance(one, AbortedError)]) == 5
        race = one.put("/a", expecting(2)), other.delete("/a", expected_version=2)
        written, deleted = await asyncio.gather(*race, return_exceptions=True)
        if isinstance(written, Parameter):
            assert isinstance(deleted, AbortedError)
        else:
            assert isinstance(written, AbortedError)
            assert isinstance(deleted, int)


async def test_a_change_reaches_the_watchers_of_another_replica(place: Place) -> None:
    """Pushed, after what existed."""
    async with place.store() as one, place.store() as other:
        await put(one, "/w/a", "one")
        watch = WatchHub(other, bookmark_seconds=3600.0).follow("/w", 0)
        first = await anext(watch)
        assert isinstance(first, Parameter)
        assert first.value == "one"
        assert isinstance(await anext(watch), Bookmark)
        await put(one, "/w/a", "two")
        async with asyncio.timeout(30):
            second = await anext(watch)
        assert isinstance(second, Parameter)
        assert second.value == "two"
        await watch.aclose()


async def test_a_replica_that_is_left_behind_fails_rather_than_miss_an_event(place: Place) -> None:
    """What it has not heard of is kept no longer: it tells nothing of what comes after, and must be started again."""
    heard: list[ParameterEvent] = []
    async with place.store() as one, place.store() as behind, asyncio.timeout(30):
        behind.on_commit(heard.extend)
        async with behind._follower._reading:  # as if the machine had stopped it
            for number in range(FEW + 3):
                await put(one, "/a", str(number))
        with pytest.raises(InternalError, match="restart it"):
            await behind.failed()
    assert not heard


async def test_what_is_due_is_done_once_by_all_replicas(place: Place) -> None:
    """Whoever is first."""
    async with place.store() as one, place.store() as other:
        await put(one, "/a", expires_at=10.0)
        assert sorted(await asyncio.gather(one.act_on_due(10.0), other.act_on_due(10.0))) == [0, 1]
        assert await current(other, "/a") is None


async def test_everything_is_there_for_a_later_replica(place: Place) -> None:
    """With the revision; a table that may not be made is asked for."""
    with pytest.raises(FailedPreconditionError, match="PENSTOCK_CONFIG_CREATE_TABLE"):
        await DynamoDbStore(place.client, table=place.table).__aenter__()
    async with place.store() as store:
        written = await put(store, "/a", "v")
    async with place.store() as store:
        assert store.revision == 1
        assert await current(store, "/a") == written
