"""Which callers have a rolled out value."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock.client import InvalidArgumentError
from penstock.client.rollout import (
    Rollout,
    bucket,
    parameter_rolled_out,
    read_rollout,
    rollout_document,
    rollout_parameter,
    rollouts_below,
)

CALLERS = [f"host-{number}" for number in range(2000)]


def rollout(percentage: float, *callers: str, base_version: int = 1) -> Rollout:
    return Rollout(value="new", base_version=base_version, percentage=percentage, callers=callers)


def included(percentage: float, base_version: int = 1) -> set[str]:
    return {
        caller for caller in CALLERS if rollout(percentage, base_version=base_version).includes("/prod/app/a", caller)
    }


def test_the_share_is_the_percentage() -> None:
    """Of many callers, within what chance allows: 5 standard deviations are 97 of 2000."""
    assert abs(len(included(25)) - 500) < 97
    assert (included(0), included(100)) == (set(), set(CALLERS))


def test_a_growing_percentage_keeps_its_callers() -> None:
    """Nobody flips back and forth while a rollout advances."""
    assert included(5) < included(25) < included(70)


def test_the_next_rollout_begins_with_others() -> None:
    """The same hosts must not be the first to break every time."""
    assert included(5, base_version=1) != included(5, base_version=2)


def test_named_callers_are_in_whatever_their_bucket() -> None:
    """A canary host by name."""
    assert rollout(0, "host-7").includes("/prod/app/a", "host-7")
    assert not rollout(0, "host-7").includes("/prod/app/a", "host-8")


def test_the_bucket_is_what_the_proto_file_defines() -> None:
    """Clients in other languages have to agree: sha256('/prod/app/a|3|host-1') begins with these bytes."""
    assert math.isclose(bucket("/prod/app/a", 3, "host-1"), 0xE0FF7F67EADEA5B4 * 100 / 2**64)


@given(
    st.builds(
        Rollout,
        value=st.text(st.characters(codec="utf-8"), min_size=1),
        base_version=st.integers(1, 2**60),
        percentage=st.floats(0, 100),
        callers=st.lists(st.text(st.characters(codec="utf-8")), max_size=3).map(tuple),
    )
)
def test_a_document_is_read_back(given_rollout: Rollout) -> None:
    """Every value and share survives."""
    assert read_rollout(rollout_document(given_rollout)) == given_rollout


@pytest.mark.parametrize("percentage", [-1, 100.1, math.nan, math.inf])
def test_a_share_outside_of_0_to_100_is_refused(percentage: float) -> None:
    with pytest.raises(InvalidArgumentError, match="percentage"):
        rollout(percentage)


@pytest.mark.parametrize("text", ["", "{", '{"value": 1}', '{"percent": 5}', '{"value": "x", "percentage": 5}'])
def test_other_documents_are_refused_without_being_quoted(text: str) -> None:
    """A rollout of a secret holds the secret."""
    with pytest.raises(InvalidArgumentError) as caught:
        read_rollout(text)
    assert text == "" or text not in caught.value.message


def test_names_and_paths_of_rollouts() -> None:
    """Below /penstock/rollouts, in the order of the parameters."""
    assert rollout_parameter("/prod/app/a") == "/penstock/rollouts/prod/app/a"
    assert parameter_rolled_out("/penstock/rollouts/prod/app/a") == "/prod/app/a"
    assert (rollouts_below("/prod"), rollouts_below("/")) == ("/penstock/rollouts/prod", "/penstock/rollouts")
