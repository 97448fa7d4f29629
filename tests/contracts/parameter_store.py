"""What every parameter store must do; a store's tests subclass it with a `store` fixture of 100 kept revisions."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import pytest

from services.config.parameter import (
    KEPT_VERSIONS,
    Deletion,
    MetadataChange,
    Notice,
    Parameter,
    ParameterEvent,
    ParameterType,
    Sealed,
    Tier,
)
from services.config.path import Selector
from services.config.store import Decide, LabelMove, ParameterStore, Tagged
from services.runtime.errors import (
    AbortedError,
    AlreadyExistsError,
    FailedPreconditionError,
    NotFoundError,
    OutOfRangeError,
)

KEPT_REVISIONS = 100


def writing(
    name: str,
    value: str | Sealed = "v",
    *,
    expires_at: float | None = None,
    policies: str = "",
    tier: Tier = Tier.STANDARD,
) -> Decide:
    """A decision that writes `value` as the next version, with every field of its own."""

    def decide(current: Parameter | None, revision: int) -> Parameter:
        return Parameter(
            name=name,
            type=ParameterType.STRING if isinstance(value, str) else ParameterType.SECURE_STRING,
            value=value,
            version=current.version + 1 if current else 1,
            revision=revision,
            modified_at=1.5,
            description="what for",
            allowed_pattern=".*",
            data_type="text",
            expires_at=expires_at,
            tags={"team": "lab"},
            json_schema="{}",
            tier=tier,
            policies=policies,
            key_id="alias/mine",
            modified_by="alice",
        )

    return decide


async def put(
    store: ParameterStore,
    name: str,
    value: str | Sealed = "v",
    *,
    expires_at: float | None = None,
    policies: str = "",
    tier: Tier = Tier.STANDARD,
) -> Parameter:
    decide = writing(name, value, expires_at=expires_at, policies=policies, tier=tier)
    return await store.put(name, decide)


async def current(store: ParameterStore, name: str) -> Parameter | None:
    return (await store.get([Selector(name=name)])).parameters[0]


async def names(
    store: ParameterStore, path: str, *, recursive: bool = True, after: str = "", limit: int = 99
) -> list[str]:
    listing = await store.list_below(path, recursive=recursive, after=after, limit=limit)
    return [parameter.name for parameter in listing.parameters]


class ParameterStoreContract:
    """The behaviour of `ParameterStore`; subclasses bring the fixture `store`, which keeps `kept_revisions`."""

    kept_revisions: ClassVar[int] = KEPT_REVISIONS

    async def test_an_empty_store_has_revision_0(self, store: ParameterStore) -> None:
        """Nothing was written, nothing is found."""
        assert store.revision == 0
        assert (await store.get([Selector(name="/a")])).parameters == [None]

    async def test_a_put_is_read_back_with_every_field(self, store: ParameterStore) -> None:
        """What was decided is what is stored."""
        written = await put(store, "/a", "höher", expires_at=99.25)
        assert await current(store, "/a") == written
        assert (written.version, written.revision, written.tags) == (1, 1, {"team": "lab"})

    async def test_a_sealed_value_stays_sealed(self, store: ParameterStore) -> None:
        """The envelope comes back byte by byte."""
        await put(store, "/a", Sealed(b"\x00\xff"))
        found = await current(store, "/a")
        assert found is not None
        assert found.value == Sealed(b"\x00\xff")

    async def test_revisions_count_over_all_parameters(self, store: ParameterStore) -> None:
        """Versions count per parameter, revisions over the store."""
        written = [await put(store, name) for name in ("/a", "/b", "/a")]
        assert [(one.version, one.revision) for one in written] == [(1, 1), (1, 2), (2, 3)]
        assert store.revision == 3

    async def test_concurrent_puts_have_versions_without_a_gap(self, store: ParameterStore) -> None:
        """Each decision sees the one before, however many wait at the same time."""
        written = await asyncio.gather(*(put(store, "/a", str(number)) for number in range(50)))
        assert sorted(one.version for one in written) == list(range(1, 51))
        assert sorted(one.revision for one in written) == list(range(1, 51))

    async def test_a_refused_decision_writes_nothing(self, store: ParameterStore) -> None:
        """The error of the decision reaches the caller, its neighbours are written."""

        def refuse(_current: Parameter | None, _revision: int) -> Parameter:
            raise AbortedError("no", reason="ERROR_REASON_VERSION_CONFLICT")

        results = await asyncio.gather(
            put(store, "/a"), store.put("/b", refuse), put(store, "/c"), return_exceptions=True
        )
        assert isinstance(results[1], AbortedError)
        assert await names(store, "/") == ["/a", "/c"]
        assert store.revision == 2

    async def test_selectors_find_versions_and_labels(self, store: ParameterStore) -> None:
        """The newest, a version, a label, and nothing."""
        for value in ("one", "two", "three"):
            await put(store, "/a", value)
        await store.label("/a", ["stable"], version=2)
        found = await store.get(
            [
                Selector(name="/a"),
                Selector(name="/a", version=1),
                Selector(name="/a", label="stable"),
                Selector(name="/a", version=4),
                Selector(name="/a", label="beta"),
                Selector(name="/b", version=1),
            ]
        )
        assert [one and one.value for one in found.parameters] == ["three", "one", "two", None, None, None]
        assert found.revision == 4

    async def test_listing_is_ordered_and_keeps_to_its_path(self, store: ParameterStore) -> None:
        """Neither neighbours with the same beginning nor the path itself belong to it."""
        for name in ("/p", "/p/b", "/p/a/x", "/p-q", "/p.r/s", "/p/a", "/pq", "/o"):
            await put(store, name)
        assert await names(store, "/p") == ["/p/a", "/p/a/x", "/p/b"]
        assert await names(store, "/p", recursive=False) == ["/p/a", "/p/b"]
        assert await names(store, "/", recursive=False) == ["/o", "/p", "/p-q", "/pq"]
        assert len(await names(store, "/")) == 8

    async def test_listing_goes_on_after_a_name(self, store: ParameterStore) -> None:
        """A limit cuts, and says so; the last page says that it is the last."""
        for name in ("/a", "/b", "/c"):
            await put(store, name)
        first = await store.list_below("/", recursive=True, limit=2)
        assert ([one.name for one in first.parameters], first.more, first.revision) == (["/a", "/b"], True, 3)
        last = await store.list_below("/", recursive=True, after="/b", limit=2)
        assert ([one.name for one in last.parameters], last.more) == (["/c"], False)

    async def test_a_deleted_parameter_is_gone_with_its_versions(self, store: ParameterStore) -> None:
        """The next put of the name begins again with version 1, at a new revision."""
        await put(store, "/a", "old")
        await store.label("/a", ["stable"])
        assert await store.delete("/a") == 3
        assert await current(store, "/a") is None
        assert await store.versions("/a", limit=10) in ([], ())
        again = await put(store, "/a", "new")
        assert (again.version, again.revision) == (1, 4)
        found = await store.get([Selector(name="/a", label="stable")])
        assert found.parameters == [None]

    async def test_deleting_compares_the_version(self, store: ParameterStore) -> None:
        """Another version, or none at all, is an error and deletes nothing."""
        await put(store, "/a")
        with pytest.raises(AbortedError):
            await store.delete("/a", expected_version=2)
        with pytest.raises(NotFoundError):
            await store.delete("/b")
        with pytest.raises(AlreadyExistsError):
            await store.delete("/a", expected_version=0)
        assert await store.delete("/a", expected_version=1) == 2

    async def test_the_newest_100_versions_are_kept(self, store: ParameterStore) -> None:
        """Older ones are dropped, newest first is the order, paging goes on before a version."""
        for number in range(KEPT_VERSIONS + 5):
            await put(store, "/a", str(number))
        kept = await store.versions("/a", limit=1000)
        assert [one.version for one in kept] == list(range(KEPT_VERSIONS + 5, 5, -1))
        older = await store.versions("/a", before=10, limit=2)
        assert [one.version for one in older] == [9, 8]
        found = await store.get([Selector(name="/a", version=5), Selector(name="/a", version=6)])
        assert [one and one.version for one in found.parameters] == [None, 6]
        with pytest.raises(NotFoundError, match="/a:5"):
            await store.label("/a", ["stable"], version=5)

    async def test_a_labelled_version_is_not_dropped(self, store: ParameterStore) -> None:
        """The put that would drop it is refused until the label moves on."""
        for _ in range(KEPT_VERSIONS):
            await put(store, "/a")
        await store.label("/a", ["stable"], version=1)
        with pytest.raises(FailedPreconditionError, match="carries a label"):
            await put(store, "/a")
        assert store.revision == KEPT_VERSIONS + 1
        await store.label("/a", ["stable"], version=2)
        assert (await put(store, "/a")).version == KEPT_VERSIONS + 1

    async def test_a_label_moves(self, store: ParameterStore) -> None:
        """It names one version at a time, and is shown with it."""
        for _ in range(2):
            await put(store, "/a")
        assert (await store.label("/a", ["stable", "beta"], version=1)).version == 1
        assert (await store.label("/a", ["stable"])).version == 2
        labels = {one.version: one.labels for one in await store.versions("/a", limit=10)}
        assert labels == {1: ("beta",), 2: ("stable",)}
        with pytest.raises(NotFoundError):
            await store.label("/a", ["x"], version=3)
        with pytest.raises(NotFoundError):
            await store.label("/b", ["x"])

    async def test_a_version_carries_10_labels(self, store: ParameterStore) -> None:
        """An eleventh is refused, repeating one is not."""
        await put(store, "/a")
        await store.label("/a", [f"l{number}" for number in range(10)])
        await store.label("/a", ["l3"])
        with pytest.raises(FailedPreconditionError, match="11 labels"):
            await store.label("/a", ["l10"])

    async def test_a_later_version_does_not_inherit_labels(self, store: ParameterStore) -> None:
        """A label stays with the version it was given to."""
        await put(store, "/a")
        await store.label("/a", ["stable"])
        await put(store, "/a")
        found = await current(store, "/a")
        assert found is not None
        assert found.labels == ()

    async def test_what_has_expired_is_deleted(self, store: ParameterStore) -> None:
        """Only what is due, the earliest first; each is a revision of its own."""
        await put(store, "/late", expires_at=30.0)
        await put(store, "/second", expires_at=20.0)
        await put(store, "/first", expires_at=10.0)
        await put(store, "/never")
        assert await store.next_due() == 10.0
        assert await store.act_on_due(20.0) == 2
        assert await names(store, "/") == ["/late", "/never"]
        assert await store.next_due() == 30.0
        page = await store.events("/", after=4, limit=10)
        assert page.events == [Deletion(name="/first", revision=5), Deletion(name="/second", revision=6)]
        assert await store.act_on_due(20.0) == 0
        assert store.revision == 6

    async def test_nothing_expires_in_a_store_without_expiries(self, store: ParameterStore) -> None:
        """There is no next expiry."""
        await put(store, "/a")
        assert await store.next_due() is None

    async def test_labels_are_taken_away(self, store: ParameterStore) -> None:
        """Those the version carries; the others are not answered."""
        for _ in range(2):
            await put(store, "/a")
        await store.label("/a", ["stable", "beta"], version=1)
        assert await store.unlabel("/a", ["beta", "other"], version=1) == LabelMove(
            version=1, labels=["beta"], revision=4
        )
        assert await store.unlabel("/a", ["stable"], version=2) == LabelMove(version=2, labels=[])
        assert [one.labels for one in await store.versions("/a", limit=9)] == [(), ("stable",)]
        with pytest.raises(NotFoundError):
            await store.unlabel("/a", ["stable"], version=3)

    async def test_tags_change_without_a_new_version(self, store: ParameterStore) -> None:
        """The next version has them too; what the decision raises is raised."""
        await put(store, "/a")

        def refuse(_current: Parameter) -> dict[str, str]:
            raise AbortedError("no", reason="ERROR_REASON_VERSION_CONFLICT")

        tags = {"team": "lab", "new": "ö"}
        assert await store.retag("/a", lambda current: {**current.tags, "new": "ö"}) == Tagged(tags=tags, revision=2)
        assert await store.retag("/a", lambda current: current.tags) == Tagged(tags=tags)
        with pytest.raises(AbortedError):
            await store.retag("/a", refuse)
        with pytest.raises(NotFoundError):
            await store.retag("/b", lambda _current: {})
        found = await current(store, "/a")
        assert found is not None
        assert (found.tags, found.version, store.revision) == (tags, 1, 2)

    async def test_labels_and_tags_that_change_are_events(self, store: ParameterStore) -> None:
        """With all labels and tags of the parameter then: who wants `name:label` hears. Repetitions are none."""
        for _ in range(2):
            await put(store, "/a")
        await store.label("/a", ["stable", "beta"], version=1)
        await store.label("/a", ["stable"], version=2)
        await store.label("/a", ["stable"], version=2)
        await store.unlabel("/a", ["beta"], version=1)
        await store.unlabel("/a", ["beta"], version=1)
        await store.retag("/a", lambda _current: {"team": "shop"})
        page = await store.events("/a", after=2, limit=9)
        assert page.events == [
            MetadataChange(name="/a", revision=3, labels={"beta": 1, "stable": 1}, tags={"team": "lab"}),
            MetadataChange(name="/a", revision=4, labels={"beta": 1, "stable": 2}, tags={"team": "lab"}),
            MetadataChange(name="/a", revision=5, labels={"stable": 2}, tags={"team": "lab"}),
            MetadataChange(name="/a", revision=6, labels={"stable": 2}, tags={"team": "shop"}),
        ]
        assert store.revision == 6

    async def test_parameters_are_counted_by_tier(self, store: ParameterStore) -> None:
        """As they are now."""
        await put(store, "/a")
        await put(store, "/b")
        await put(store, "/b", tier=Tier.ADVANCED)
        await put(store, "/c")
        await store.delete("/c")
        assert (await store.count(Tier.STANDARD), await store.count(Tier.ADVANCED)) == (1, 1)

    async def test_notices_are_given_once_and_in_order(self, store: ParameterStore) -> None:
        """Before an expiry and after a time without change; each is a revision that watchers read."""
        policies = (
            '[{"Type":"ExpirationNotification","Version":"1.0","Attributes":{"Before":"1","Unit":"Hours"}},'
            '{"Type":"NoChangeNotification","Version":"1.0","Attributes":{"After":"1","Unit":"Hours"}}]'
        )
        await put(store, "/a", expires_at=10_000.0, policies=policies)
        assert await store.next_due() == 3601.5
        assert await store.act_on_due(3601.0) == 0
        assert await store.act_on_due(3601.5) == 1
        assert await store.next_due() == 6400.0
        assert await store.act_on_due(7000.0) == 1
        assert await store.act_on_due(7001.0) == 0
        assert await store.next_due() == 10_000.0
        await put(store, "/a", expires_at=10_000.0, policies=policies)
        assert await store.act_on_due(20_000.0) == 3
        page = await store.events("/a", after=1, limit=9)
        told = [(type(event), getattr(event, "policy_type", ""), event.revision) for event in page.events]
        assert told == [
            (Notice, "NoChangeNotification", 2),
            (Notice, "ExpirationNotification", 3),
            (Parameter, "", 4),
            (Notice, "NoChangeNotification", 5),
            (Notice, "ExpirationNotification", 6),
            (Deletion, "", 7),
        ]

    async def test_envelopes_are_replaced_in_place(self, store: ParameterStore) -> None:
        """Of every version; one that has changed meanwhile stays, revisions do not move."""
        for envelope in (b"one", b"two"):
            await put(store, "/a", Sealed(envelope))
        await put(store, "/plain")
        found = list(await store.envelopes(after=0, limit=9))
        assert [(one.name, one.version, one.key_id, one.sealed.envelope) for one in found] == [
            ("/a", 1, "alias/mine", b"one"),
            ("/a", 2, "alias/mine", b"two"),
        ]
        assert [one.version for one in await store.envelopes(after=found[0].revision, limit=9)] == [2]
        stale = replace(found[1], sealed=Sealed(b"other"), replacement=Sealed(b"wrong"))
        assert await store.replace_envelopes([replace(found[0], replacement=Sealed(b"new")), stale]) == 1
        assert [one.value for one in await store.versions("/a", limit=9)] == [Sealed(b"two"), Sealed(b"new")]
        assert store.revision == 3

    async def test_events_of_a_path_follow_a_revision(self, store: ParameterStore) -> None:
        """The name itself and what is below it, in the order of revisions, up to the store's newest."""
        written = [await put(store, name) for name in ("/p", "/p/a", "/pq", "/p/a", "/o")]
        revision = await store.delete("/p/a")
        page = await store.events("/p", after=1, limit=10)
        assert page.events == [written[1], written[3], Deletion(name="/p/a", revision=revision)]
        assert page.revision == 6

    async def test_a_limited_page_of_events_ends_at_its_last_event(self, store: ParameterStore) -> None:
        """Reading on from its revision misses nothing."""
        for _ in range(5):
            await put(store, "/a")
            await put(store, "/b")
        found: list[int] = []
        position = 0
        while position < store.revision:
            page = await store.events("/a", after=position, limit=2)
            found += [event.revision for event in page.events]
            position = page.revision
        assert found == [1, 3, 5, 7, 9]

    async def test_events_survive_the_versions_they_wrote(self, store: ParameterStore) -> None:
        """A watcher hears of a version that was deleted meanwhile, with its value."""
        await put(store, "/a", "gone")
        await store.delete("/a")
        page = await store.events("/", after=0, limit=10)
        first = page.events[0]
        assert isinstance(first, Parameter)
        assert first.value == "gone"

    async def test_only_the_newest_events_are_kept(self, store: ParameterStore) -> None:
        """Resuming from before them is an error that says so; what is current stays readable."""
        await put(store, "/old", "kept")
        for _ in range(3 * self.kept_revisions):
            await put(store, "/a")
        with pytest.raises(OutOfRangeError, match="no longer kept") as caught:
            await store.events("/", after=1, limit=10)
        assert caught.value.reason == "ERROR_REASON_COMPACTED"
        oldest = int(caught.value.metadata["oldest_revision"])
        page = await store.events("/", after=oldest, limit=1000)
        assert [event.revision for event in page.events] == list(range(oldest + 1, store.revision + 1))
        assert len(page.events) >= self.kept_revisions
        found = await current(store, "/old")
        assert found is not None
        assert found.value == "kept"

    async def test_resuming_from_the_future_is_an_error(self, store: ParameterStore) -> None:
        """The watcher knows another store: it has to list again."""
        await put(store, "/a")
        with pytest.raises(OutOfRangeError, match="newest revision is 1"):
            await store.events("/", after=2, limit=10)

    async def test_listeners_hear_each_event_once_and_in_order(self, store: ParameterStore) -> None:
        """Before the write returns."""
        heard: list[ParameterEvent] = []

        def listen(events: Sequence[ParameterEvent]) -> None:
            heard.extend(events)

        store.on_commit(listen)
        written = await put(store, "/a")
        assert heard == [written]
        await asyncio.gather(*(put(store, f"/{number}") for number in range(20)))
        await store.label("/a", ["stable"])
        await store.delete("/a")
        assert [event.revision for event in heard] == list(range(1, 24))
        assert [type(event) for event in heard[-2:]] == [MetadataChange, Deletion]
