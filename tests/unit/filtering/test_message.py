"""Messages: attributes and bodies flattened, refused where they are malformed, same-element places joined."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.filtering.message import (
    MAX_ATTRIBUTES,
    MAX_BODY_BYTES,
    AttributeType,
    BodyTooLargeError,
    Elements,
    InvalidAttributeError,
    InvalidBodyError,
    _flat,
    _Flattener,
    attribute_facets,
    body_facets,
    share_an_element,
)
from services.filtering.values import Constant


def test_attributes_become_values_of_their_type() -> None:
    """String, Number, String.Array; Binary is as if it were not there."""
    facets = attribute_facets(
        {
            "text": (AttributeType.STRING, "1"),
            "number": (AttributeType.NUMBER, "+1.50"),
            "array": (AttributeType.STRING_ARRAY, '["a", 1, true, null]'),
            "empty": (AttributeType.STRING_ARRAY, "[]"),
            "binary": (AttributeType.BINARY, "AAEC"),
        }
    )
    assert facets.values == {
        "text": ("1",),
        "number": (Decimal("1.5"),),
        "array": ("a", Decimal(1), Constant.TRUE, Constant.NULL),
    }
    assert not facets.blank


def test_binary_attributes_alone_are_no_attributes() -> None:
    """There is nothing to match on."""
    assert attribute_facets({"binary": (AttributeType.BINARY, "AAEC")}).blank


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        (AttributeType.NUMBER, "12 apples", "'a' is declared a Number: '12 apples' is not a decimal number"),
        (AttributeType.NUMBER, "", "is not a decimal number"),
        (AttributeType.STRING_ARRAY, "rugby", "is no JSON"),
        (AttributeType.STRING_ARRAY, '{"a": 1}', "must be a JSON array of scalars"),
        (AttributeType.STRING_ARRAY, '["a", ["b"]]', "must be a JSON array of scalars"),
        (AttributeType.STRING_ARRAY, "[NaN]", "NaN is not JSON"),
        (AttributeType.STRING_ARRAY, "[" * 200_000, "is no JSON"),
    ],
)
def test_attribute_that_is_not_of_its_type_is_refused(kind: AttributeType, text: str, words: str) -> None:
    """The error names the attribute."""
    with pytest.raises(InvalidAttributeError, match=words):
        attribute_facets({"a": (kind, text)})


def test_too_many_attributes_are_refused() -> None:
    """One more than the limit."""
    with pytest.raises(InvalidAttributeError, match=f"at most {MAX_ATTRIBUTES}"):
        attribute_facets({f"a{number}": (AttributeType.STRING, "") for number in range(MAX_ATTRIBUTES + 1)})


def test_body_becomes_values_by_dotted_key() -> None:
    """Nested objects, arrays, and nothing for empty ones."""
    facets = body_facets(b'{"a": {"b": 1.0, "c": [true, "x"]}, "d": {}, "e": [], "f.g": null}')
    assert dict(facets.values) == {"a.b": (Decimal(1),), "a.c": (Constant.TRUE, "x"), "f.g": (Constant.NULL,)}
    assert not facets.elements


def test_arrays_of_objects_keep_their_elements_apart() -> None:
    """Each value knows the array and the position."""
    facets = body_facets(b'{"a": [{"b": 1}, {"b": [2, 3]}], "c": 4}')
    assert facets.values["a.b"] == (Decimal(1), Decimal(2), Decimal(3))
    assert dict(facets.elements) == {"a.b": [(((0, 0),), [Decimal(1)]), (((0, 1),), [Decimal(2), Decimal(3)])]}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not valid JSON"),
        (b'{"a": 1', "not valid JSON"),
        (b"[1]", "must be a JSON object"),
        (b'"text"', "must be a JSON object"),
        (b'{"a": "\xff"}', "not UTF-8: invalid start byte at byte 7"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": 1e99999999999999999999}', "exponent"),
        (b'{"a":' * 50_000, "deeper than 64 levels"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, "deeper than 64 levels"),
        (b'{"a": ' + b"[" * 100 + b"1" + b"]" * 100 + b"}", "deeper than 64 levels"),
    ],
)
def test_body_that_is_no_json_object_is_refused(body: bytes, words: str) -> None:
    """The error says what is wrong with it."""
    with pytest.raises(InvalidBodyError, match=words):
        body_facets(body)


def test_body_has_a_limit_of_256_kib() -> None:
    """The largest that is matched, and one byte more."""
    frame = len(b'{"a": ""}')
    body_facets(b'{"a": "%b"}' % (b"x" * (MAX_BODY_BYTES - frame)))
    with pytest.raises(BodyTooLargeError, match=str(MAX_BODY_BYTES + 1)):
        body_facets(b'{"a": "%b"}' % (b"x" * (MAX_BODY_BYTES - frame + 1)))


def naive_share(candidates: list[list[Elements]], chosen: tuple[tuple[int, int], ...] = ()) -> bool:
    """Every combination, one after the other."""
    if not candidates:
        return True
    first, *rest = candidates
    return any(
        naive_share(rest, chosen + place)
        for place in first
        if all(dict(chosen).get(number, position) == position for number, position in place)
    )


PLACES = st.lists(
    # Array 0 is the outer one; the inner ones (1 to 4) belong to one element of it each, as in a JSON tree.
    st.sampled_from(
        [(), ((0, 0),), ((0, 1),), *(((0, outer), (1 + 2 * kind + outer, inner))
                                     for outer in (0, 1) for kind in (0, 1) for inner in (0, 1)), ((9, 0),), ((9, 1),)]
    ),
    min_size=1,
    max_size=4,
)  # fmt: skip


@given(st.lists(PLACES, max_size=4))
def test_places_are_joined_as_by_trying_every_combination(candidates: list[list[Elements]]) -> None:
    """Nested and independent arrays."""
    assert share_an_element(candidates) is naive_share(candidates)


def test_many_elements_without_a_common_one_are_joined_in_linear_steps() -> None:
    """Five keys over 12,000 elements: their combinations would be 10^16."""
    body = {"a": [{f"k{number % 5}": "x"} for number in range(12_000)]}
    facets = body_facets(json.dumps(body).encode())
    places = [[place for place, _ in facets.elements[f"a.k{key}"]] for key in range(5)]
    assert not share_an_element(places)


def test_names_with_dots_do_not_multiply_the_work_without_end() -> None:
    """Two arrays that twenty keys may mean: a million readings, each to be tried where no element has all keys."""
    elements = [{f"k{number}": 1} for number in range(20)]
    facets = body_facets(json.dumps({"a": {"b": elements}, "a.b": elements}).encode())
    places = [[place for place, _ in facets.elements[f"a.b.k{key}"]] for key in range(20)]
    assert not share_an_element(places[:6])
    with pytest.raises(InvalidBodyError, match="names with dots"):
        share_an_element(places)


@given(
    document=st.dictionaries(
        st.sampled_from("abc"),
        st.recursive(
            st.one_of(
                st.text(max_size=2), st.decimals(allow_nan=False, allow_infinity=False), st.none(), st.booleans()
            ),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xy"), inner, max_size=2),
            max_leaves=5,
        ),
        max_size=3,
    )
)
def test_flat_objects_are_taken_as_any_other(document: dict[str, Any]) -> None:
    """The short way and the one that takes any document."""
    values = _flat(document)
    if values is not None:
        assert dict(_Flattener().flatten(document).values) == values
