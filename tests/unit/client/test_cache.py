"""What a program sees of the parameters it follows."""

from typing import Any

import pytest
from penstock.client import InvalidArgumentError, NotFoundError, ParameterChange, RemoteParameter, boolean, json_value
from penstock.client.cache import MISSING, ParameterCache
from penstock.client.rollout import Rollout, rollout_document, rollout_parameter

NAME = "/prod/app/a"


def change(value: str | None, version: int | None = 1, *, secret: bool = False, name: str = NAME) -> ParameterChange:
    return ParameterChange(name=name, value=value, version=version, revision=(version or 0) + 10, secret=secret)


def rolled_out(percentage: float = 0, *callers: str, base_version: int = 1, value: str = "new") -> ParameterChange:
    document = Rollout(value=value, base_version=base_version, percentage=percentage, callers=callers)
    return change(rollout_document(document), 7, name=rollout_parameter(NAME))


def cache_of(*changes: ParameterChange, caller: str = "") -> ParameterCache:
    cache = ParameterCache(caller)
    for one in changes:
        cache.on_parameter(one)
    return cache


def test_a_value_has_the_type_that_is_asked_for() -> None:
    cache = cache_of(change("12"))
    assert cache.get(NAME, str, MISSING) == "12"
    assert cache.get(NAME, int, MISSING) == 12


def test_a_conversion_runs_once_per_version() -> None:
    """A get is a look-up, however dear the conversion."""
    ran: list[str] = []

    def convert(text: str) -> int:
        ran.append(text)
        return int(text)

    cache = cache_of(change("1"))
    assert [cache.get(NAME, convert, MISSING) for _ in range(3)] == [1, 1, 1]
    cache.on_parameter(change("2", 2))
    assert (cache.get(NAME, convert, MISSING), ran) == (2, ["1", "2"])


def test_what_is_not_there_is_the_default_or_an_error() -> None:
    cache = cache_of(change("1"), change(None, None))
    assert cache.get(NAME, int, 7) == 7
    assert cache.get(NAME, int, None) is None
    with pytest.raises(NotFoundError, match=NAME):
        cache.get(NAME, int, MISSING)


@pytest.mark.parametrize("convert", [int, boolean, json_value])
def test_a_value_that_cannot_be_converted_is_told_without_itself(convert: Any) -> None:
    """It may be a secret."""
    with pytest.raises(InvalidArgumentError, match=f"{NAME} version 1") as caught:
        cache_of(change("s3cret", secret=True)).get(NAME, convert, MISSING)
    assert "s3cret" not in repr(caught.value)
    assert caught.value.__cause__ is None


def test_no_value_is_in_a_repr() -> None:
    """Programs log what they hold."""
    held = cache_of(change("s3cret")).parameters()[NAME]
    assert "s3cret" not in repr((held, change("s3cret")))
    assert held == RemoteParameter(name=NAME, value="s3cret", version=1, revision=11)


def test_listeners_hear_of_what_lies_below_their_path_until_they_end() -> None:
    cache, heard = cache_of(), list[tuple[str, str | None]]()
    end = cache.listen("/prod", lambda told: heard.append((told.name, told.value)))
    for one in (change("1"), change("1", name="/product/a"), change("1", name="/prod"), change(None, None)):
        cache.on_parameter(one)
    end()
    cache.on_parameter(change("2", 2))
    assert heard == [(NAME, "1"), ("/prod", "1"), (NAME, None)]


def test_a_failing_listener_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """And its error does not show a secret it was told."""
    cache, heard = cache_of(), list[str | None]()

    def fails(told: ParameterChange) -> None:
        raise RuntimeError(f"cannot take {told.value}")

    cache.listen("/", fails)
    cache.listen("/", lambda told: heard.append(told.value))
    cache.on_parameter(change("s3cret", secret=True))
    assert heard == ["s3cret"]
    assert "a listener of / failed" in caplog.text
    assert "s3cret" not in caplog.text


def test_a_rollout_reaches_the_callers_it_names_and_nobody_else() -> None:
    """And deleting it gives the old value back."""
    named, other = cache_of(change("old"), caller="host-1"), cache_of(change("old"), caller="host-2")
    heard: list[str | None] = []
    named.listen(NAME, lambda told: heard.append(told.value))
    for cache in (named, other):
        cache.on_rollout(rolled_out(0, "host-1"))
    assert (named.get(NAME, str, MISSING), other.get(NAME, str, MISSING)) == ("new", "old")
    named.on_rollout(change(None, None, name=rollout_parameter(NAME)))
    assert heard == ["new", "old"]


@pytest.mark.parametrize("first", ["rollout", "parameter"])
def test_the_order_in_which_both_arrive_does_not_matter(first: str) -> None:
    """They come by two watches."""
    cache = ParameterCache("host-1")
    if first == "rollout":
        cache.on_rollout(rolled_out(100))
    cache.on_parameter(change("old"))
    if first == "parameter":
        cache.on_rollout(rolled_out(100))
    assert cache.get(NAME, str, MISSING) == "new"


def test_a_new_version_ends_a_rollout() -> None:
    """Whoever writes the parameter has the last word; promoting writes the new value itself, and is one change."""
    cache = cache_of(change("old"), caller="host-1")
    cache.on_rollout(rolled_out(100))
    heard: list[tuple[str | None, int | None]] = []
    cache.listen(NAME, lambda told: heard.append((told.value, told.version)))
    cache.on_parameter(change("newest", 2))
    cache.on_rollout(change(None, None, name=rollout_parameter(NAME)))
    assert heard == [("newest", 2)]


def test_a_malformed_rollout_leaves_the_parameter_alone() -> None:
    cache = cache_of(change("old"), caller="host-1")
    cache.on_rollout(rolled_out(100))
    with pytest.raises(InvalidArgumentError):
        cache.on_rollout(change("{", 8, name=rollout_parameter(NAME)))
    assert cache.get(NAME, str, MISSING) == "old"
