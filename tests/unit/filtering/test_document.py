"""JSON with positions: the same values as the standard library's, and faults at their place."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.filtering.document import (
    MAX_DEPTH,
    Array,
    DocumentError,
    Node,
    Object,
    Scalar,
    line_and_column,
    parse_document,
)
from services.filtering.values import scalar

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.decimals(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=20,
)


def plain(node: Node) -> Any:
    """The value of a node as the standard library would give it."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Array):
        return [plain(item) for item in node.items]
    return {member.name: plain(member.node) for member in node.members}


def expected(value: Any) -> Any:
    if isinstance(value, list):
        return [expected(item) for item in value]
    if isinstance(value, dict):
        return {name: expected(item) for name, item in value.items()}
    return scalar(Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else value)


@given(value=JSON, indent=st.sampled_from([None, 1]), ascii_only=st.booleans())
def test_reads_what_the_standard_library_writes(value: Any, indent: int | None, *, ascii_only: bool) -> None:
    """Every JSON value, with and without space and escapes."""
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only, default=lambda number: f"number {number}")
    assert plain(parse_document(text)) == expected(json.loads(text, parse_float=Decimal))


@given(st.text(alphabet='{}[]",:\\ntrue-.e0123456789 \t\n', max_size=30))
def test_accepts_and_refuses_as_the_standard_library(text: str) -> None:
    """Malformed text never passes, valid text always does."""
    try:
        json.loads(text, parse_constant=_refuse, parse_int=str)
    except ValueError:
        with pytest.raises(DocumentError) as caught:
            parse_document(text)
        assert 0 <= caught.value.offset <= len(text)
    else:
        parse_document(text)


def _refuse(name: str) -> None:
    raise ValueError(name)


@pytest.mark.parametrize(
    ("text", "offset", "words"),
    [
        ("", 0, "expected a value, found the end of the text"),
        ('{"a": [1,]}', 9, "expected a value, found ']'"),
        ('{"a" 1}', 5, "expected `:`, found '1'"),
        ('{"a": 1', 7, "expected `,` or `}`, found the end of the text"),
        ('{"a": "x', 6, "unterminated or wrongly escaped string"),
        ("{a: 1}", 1, "expected a name in double quotes, found 'a'"),
        ('{"a": NaN}', 6, "expected a value, found 'N'"),
        ("[1] 2", 4, "unexpected text after the end"),
        ("[01]", 2, "expected `,` or `]`, found '1'"),
    ],
)  # fmt: skip
def test_malformed_text_is_refused_at_its_place(text: str, offset: int, words: str) -> None:
    """The offset of the fault and what was expected there."""
    with pytest.raises(DocumentError) as caught:
        parse_document(text)
    assert (caught.value.offset, str(caught.value)) == (offset, words)


def test_repeated_names_are_kept() -> None:
    """The policy reader has to see them to refuse them."""
    node = parse_document('{"a": 1, "a": 2}')
    assert isinstance(node, Object)
    assert [(member.name, member.start) for member in node.members] == [("a", 1), ("a", 9)]


def test_deep_nesting_is_refused_instead_of_exhausting_the_stack() -> None:
    """The deepest that is read, and one more."""
    parse_document("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    with pytest.raises(DocumentError, match=f"deeper than {MAX_DEPTH}"):
        parse_document("[" * 100_000)


def test_lines_and_columns_count_from_one_in_characters() -> None:
    """Characters beyond ASCII are one column each."""
    text = '{\n "é": x'
    assert line_and_column(text, 0) == (1, 1)
    assert line_and_column(text, text.index("x")) == (2, 7)
