"""What callers can do: patterns, pages, batches, secrets, and the errors in the words of their request."""

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest

from services.config.crypto import DataKey, SecretBox
from services.config.key_file import LocalKeys
from services.config.memory_store import MemoryStore
from services.config.parameter import ParameterType, Sealed, Tier
from services.config.path import Selector
from services.config.putting import Matches
from services.config.registry import ParameterRegistry
from services.config.schemas import SchemaBook
from services.config.store import Found
from services.config.update import ParameterUpdate
from services.runtime.errors import (
    AbortedError,
    FailedPreconditionError,
    FieldViolation,
    InvalidArgumentError,
    NotFoundError,
)


async def matches(pattern: str, value: str) -> bool:
    return re.fullmatch(pattern, value) is not None


async def satisfies(schema: str, value: str | None) -> Sequence[str]:
    """Stands in for the process that knows JSON Schema: the schema is the one value allowed."""
    return [] if value in (None, schema) else [f"$: is not {schema}"]


def registry_of(store: MemoryStore, matches: Matches) -> ParameterRegistry:
    schemas = SchemaBook(store, satisfies)
    return ParameterRegistry(store, SecretBox(LocalKeys([b"k" * 32])), matches, schemas, now=lambda: 1000.0)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def registry(store: MemoryStore) -> ParameterRegistry:
    return registry_of(store, matches)


def update(name: str, value: str = "v", **fields: object) -> ParameterUpdate:
    return replace(ParameterUpdate(name=name, value=value), **fields)  # type: ignore[arg-type]


def fields(error: InvalidArgumentError) -> list[str]:
    return [violation.field for violation in error.violations]


async def test_a_name_without_its_slash_is_the_same_parameter(registry: ParameterRegistry) -> None:
    """Written as `one`, read as `/one`."""
    await registry.put(update("one"))
    assert (await registry.get("/one")).name == "/one"
    assert (await registry.get(" one:1 ")).version == 1


async def test_a_value_must_match_the_whole_pattern(registry: ParameterRegistry) -> None:
    """Now and with every later value; the refused one is not written."""
    await registry.put(update("/a", "abc", allowed_pattern="[a-c]+"))
    with pytest.raises(InvalidArgumentError, match="allowed pattern") as caught:
        await registry.put(update("/a", "abcd"))
    assert (caught.value.reason, fields(caught.value)) == ("ERROR_REASON_PATTERN_MISMATCH", ["value"])
    assert (await registry.get("/a")).value == "abc"
    await registry.put(update("/a", "abcd", allowed_pattern=""))


async def test_a_later_value_must_satisfy_the_schemas(registry: ParameterRegistry) -> None:
    """The parameter's own, and those that were put on a path above it since it was written."""
    await registry.put(update("/a/own", "v", json_schema="v"))
    await registry.put(update("/a/below", "v"))
    await registry.put(update("/penstock/schemas/a", "v"))
    for name in ("/a/own", "/a/below"):
        with pytest.raises(InvalidArgumentError, match="is not v") as caught:
            await registry.put(update(name, "w"))
        assert caught.value.reason == "ERROR_REASON_SCHEMA_MISMATCH"
        await registry.put(update(name, "v"))
    await registry.put(update("/other/own", "v", json_schema="v"))
    with pytest.raises(InvalidArgumentError, match="is not v"):
        await registry.put(update("/other/own", "w"))


async def test_a_pattern_that_changes_meanwhile_is_matched_too(store: MemoryStore) -> None:
    """Two callers: one sets a pattern while the value of the other is being matched with the former pattern."""
    seen: list[str] = []

    async def matches_slowly(pattern: str, value: str) -> bool:
        seen.append(pattern)
        if seen == ["b+"]:
            await other.put(update("/a", "a", allowed_pattern="a+"))
        return re.fullmatch(pattern, value) is not None

    other = registry_of(store, matches)
    await other.put(update("/a", "b", allowed_pattern="b+"))
    registry = registry_of(store, matches_slowly)
    with pytest.raises(InvalidArgumentError, match=re.escape("'a+'")):
        await registry.put(update("/a", "bb"))
    assert seen == ["b+", "a+"]
    assert (await registry.get("/a")).value == "a"


class UnreadStore(MemoryStore):
    """Notes what is read of it."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    async def get(self, selectors: Sequence[Selector]) -> Found:
        self.reads += 1
        return await super().get(selectors)


async def test_nothing_is_read_before_a_write_that_asks_for_no_checks() -> None:
    """What is stored is seen by the write itself, also where the value has to be checked because of it."""
    store = UnreadStore()
    registry = registry_of(store, matches)
    await registry.put(update("/a", "abc", allowed_pattern="[a-c]+", json_schema="abc"))
    store.reads = 0
    await registry.put(update("/a", "abc"))
    with pytest.raises(InvalidArgumentError, match="allowed pattern"):
        await registry.put(update("/a", "abcd"))
    assert store.reads == 0


async def test_a_secret_takes_one_data_key(store: MemoryStore) -> None:
    """A key service answers slowly and counts its calls; a write that is refused by its version asks for none."""

    class CountedBox(SecretBox):
        keys = 0

        async def data_key(self, name: str, key_id: str = "") -> DataKey:
            self.keys += 1
            return await super().data_key(name, key_id)

    box = CountedBox(LocalKeys([b"k" * 32]))
    registry = ParameterRegistry(store, box, matches, SchemaBook(store, satisfies), now=lambda: 1000.0)
    await registry.put(update("/s", "one", type=ParameterType.SECURE_STRING))
    await registry.put(update("/s", "two"))
    with pytest.raises(AbortedError):
        await registry.put(update("/s", "three", expected_version=1))
    assert box.keys == 2


async def test_a_secret_is_sealed_in_the_store(registry: ParameterRegistry) -> None:
    """Read back only where decryption is asked for."""
    await registry.put(update("/s", "s3cret", type=ParameterType.SECURE_STRING))
    found = await registry.get("/s")
    assert isinstance(found.value, Sealed)
    assert b"s3cret" not in found.value.envelope
    assert (await registry.open(found)).value == "s3cret"


async def test_what_is_not_there_is_named_as_asked(registry: ParameterRegistry) -> None:
    """With version or label."""
    await registry.put(update("/a"))
    for text in ("/b", "/a:2", "/a:stable"):
        with pytest.raises(NotFoundError, match=text) as caught:
            await registry.get(text)
        assert caught.value.metadata == {"name": text}


async def test_a_batch_has_a_result_per_name(registry: ParameterRegistry) -> None:
    """In the order asked, duplicates once, with what is missing beside."""
    for name in ("/a", "/b"):
        await registry.put(update(name))
    batch = await registry.get_batch(["/b", "/x", "/a:1", "/b"])
    assert [one.name for one in batch.parameters] == ["/b", "/a"]
    assert (batch.missing, batch.revision) == (["/x"], 2)


async def test_a_batch_names_every_malformed_name(registry: ParameterRegistry) -> None:
    """By its place in the request."""
    with pytest.raises(InvalidArgumentError, match="2 of 3") as caught:
        await registry.get_batch(["a b", "/ok", "/c/"])
    assert fields(caught.value) == ["names[0]", "names[2]"]


@pytest.mark.parametrize("count", [0, 101])
async def test_a_batch_has_1_to_100_names(registry: ParameterRegistry, count: int) -> None:
    """None and too many are refused."""
    with pytest.raises(InvalidArgumentError, match=f"{count} names"):
        await registry.get_batch([f"/{number}" for number in range(count)])


async def test_pages_hold_every_parameter_once(registry: ParameterRegistry) -> None:
    """Also when others write between two pages."""
    for number in range(7):
        await registry.put(update(f"/p/{number}"))
    found, token = [], ""
    while True:
        page = await registry.list_page("/p", recursive=True, page_size=3, token=token)
        found += [one.name for one in page.parameters]
        await registry.put(update("/p/0"))
        token = page.next_token
        if not token:
            break
    assert found == [f"/p/{number}" for number in range(7)]


async def test_a_page_of_large_values_is_cut(registry: ParameterRegistry) -> None:
    """A message stays below what gRPC clients accept by default, 4 MiB."""
    for number in range(600):
        await registry.put(update(f"/p/{number:03}", "x" * 8192))
    page = await registry.list_page("/p", recursive=True, page_size=1000, token="")
    assert 300 < len(page.parameters) < 400
    rest = await registry.list_page("/p", recursive=True, page_size=1000, token=page.next_token)
    assert (len(page.parameters) + len(rest.parameters), rest.next_token) == (600, "")


async def test_a_token_is_good_for_its_query_only(registry: ParameterRegistry) -> None:
    """Another path or depth is another query."""
    for number in range(3):
        await registry.put(update(f"/p/{number}"))
    token = (await registry.list_page("/p", recursive=True, page_size=1, token="")).next_token
    for path, recursive in (("/", True), ("/p", False)):
        with pytest.raises(InvalidArgumentError, match="not issued for this query"):
            await registry.list_page(path, recursive=recursive, page_size=1, token=token)


async def test_versions_come_newest_first(registry: ParameterRegistry) -> None:
    """Page by page, and NOT_FOUND for a parameter that is not there."""
    for _ in range(5):
        await registry.put(update("/a"))
    first = await registry.versions_page("/a", page_size=3, token="")
    last = await registry.versions_page("/a", page_size=3, token=first.next_token)
    assert [one.version for one in [*first.parameters, *last.parameters]] == [5, 4, 3, 2, 1]
    assert last.next_token == ""
    with pytest.raises(NotFoundError):
        await registry.versions_page("/b", page_size=3, token="")


@pytest.mark.parametrize("page_size", [-1, 1001])
async def test_page_sizes_have_limits(registry: ParameterRegistry, page_size: int) -> None:
    """1 to 1000 for lists, 1 to 100 for versions."""
    with pytest.raises(InvalidArgumentError, match=f"{page_size} is not between"):
        await registry.list_page("/", recursive=True, page_size=page_size, token="")
    await registry.put(update("/a"))
    with pytest.raises(InvalidArgumentError, match="101 is not between 1 and 100"):
        await registry.versions_page("/a", page_size=101, token="")


async def test_malformed_labels_are_returned(registry: ParameterRegistry) -> None:
    """The others are attached."""
    await registry.put(update("/a"))
    labelled = await registry.label("/a", ["stable", "1st", "stable", "aws-x"], version=None)
    assert (labelled.version, labelled.invalid_labels) == (1, ["1st", "aws-x"])
    assert (await registry.get("/a:stable")).labels == ("stable",)
    with pytest.raises(NotFoundError):
        await registry.get("/a:1st")


@pytest.mark.parametrize("count", [0, 11])
async def test_1_to_10_labels_are_given(registry: ParameterRegistry, count: int) -> None:
    """None and too many are refused."""
    await registry.put(update("/a"))
    with pytest.raises(InvalidArgumentError, match=f"{count} labels"):
        await registry.label("/a", [f"l{number}" for number in range(count)], version=None)


async def test_deleting_takes_the_same_names(registry: ParameterRegistry) -> None:
    """And answers the revision."""
    await registry.put(update("one"))
    assert await registry.delete(" /one", expected_version=1) == 2


async def test_a_faulty_pattern_is_told_with_the_other_faults(store: MemoryStore) -> None:
    """One answer is enough to repair an update; the pattern was compiled where it cannot stop the service."""
    fault = FieldViolation(field="allowed_pattern", description="is not a regular expression")

    async def refuses(_pattern: str, _value: str) -> bool:
        raise InvalidArgumentError("no", violations=[fault])

    registry = registry_of(store, refuses)
    with pytest.raises(InvalidArgumentError) as caught:
        await registry.put(update("/a", "", allowed_pattern="("))
    assert fields(caught.value) == ["value", "allowed_pattern"]


class FilledStore(MemoryStore):
    """Says that it holds so many parameters."""

    def __init__(self, counts: dict[Tier, int]) -> None:
        super().__init__()
        self.counts = counts

    async def count(self, tier: Tier) -> int:
        return self.counts[tier]


@pytest.mark.parametrize(
    ("standard", "advanced", "wanted", "given"),
    [
        (9_999, 0, Tier.STANDARD, Tier.STANDARD),
        (10_000, 0, Tier.STANDARD, None),
        (10_000, 0, None, Tier.ADVANCED),
        (9_999, 100_000, None, Tier.STANDARD),
        (0, 99_999, Tier.ADVANCED, Tier.ADVANCED),
        (0, 100_000, Tier.ADVANCED, None),
        (10_000, 99_999, None, Tier.ADVANCED),
        (10_000, 100_000, None, None),
    ],
)
async def test_a_tier_holds_as_many_parameters_as_aws_allows(
    standard: int, advanced: int, wanted: Tier | None, given: Tier | None
) -> None:
    """10,000 Standard, 100,000 Advanced; whoever asks for none gets the one that has room. None: refused."""
    store = FilledStore({Tier.STANDARD: standard, Tier.ADVANCED: advanced})
    registry = registry_of(store, matches)
    if given is not None:
        assert (await registry.put(update("/new", tier=wanted))).tier is given
        return
    with pytest.raises(FailedPreconditionError) as caught:
        await registry.put(update("/new", tier=wanted))
    assert caught.value.metadata["ssm_error"] == "ParameterLimitExceeded"


async def test_a_parameter_becomes_advanced_only_where_there_is_room() -> None:
    """By its tier, its size or a policy; one that is Advanced is written on, however full it is."""
    store = FilledStore({Tier.STANDARD: 10_000, Tier.ADVANCED: 99_999})
    registry = registry_of(store, matches)
    await registry.put(update("/advanced", tier=Tier.ADVANCED))
    store.counts = {Tier.STANDARD: 9_999, Tier.ADVANCED: 100_000}
    await registry.put(update("/standard"))
    store.counts = {Tier.STANDARD: 10_000, Tier.ADVANCED: 100_000}
    for fields_of_it in ({"tier": Tier.ADVANCED}, {"value": "ä" * 2049}, {"expires_at": 2000.0}, {"data_type": "json"}):
        with pytest.raises(FailedPreconditionError, match="100000 Advanced parameters"):
            await registry.put(replace(update("/standard", "1"), **fields_of_it))
    assert (await registry.put(update("/standard", "two"))).version == 2
    assert (await registry.put(update("/advanced", "two" * 2000))).version == 2
