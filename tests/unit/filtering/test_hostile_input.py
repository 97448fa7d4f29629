"""What nobody writes in good faith: each is answered rightly or refused with its reason, in bounded time and memory."""

import json
import tracemalloc
from random import Random

import pytest

from services.filtering.dialect import EVENTBRIDGE
from services.filtering.faults import PolicyError
from services.filtering.index import Index
from services.filtering.message import BodyTooLargeError, InvalidBodyError, body_facets
from services.filtering.policy import parse_policy
from services.filtering.topics import Message, Topics
from tests.contracts.subscription_store import subscription

POLICIES = {
    "exact": '{"a": [1e999999, "\\ud800", "x"]}',
    "below": '{"a": [{"numeric": ["<", 5]}]}',
    "but": '{"a": [{"anything-but": [1, 2]}]}',
    "wildcard": '{"a": [{"wildcard": "' + "*a" * 500 + '*b"}]}',
    "half": '{"a": [{"prefix": "\\ud83d"}, {"equals-ignore-case": "\\ud801"}]}',
    "same": '{"a": {"b": [1], "c": [2]}}',
    "address": '{"a": [{"cidr": "::/0"}]}',
}
PARSED = {name: parse_policy(text, EVENTBRIDGE) for name, text in POLICIES.items()}
INDEX = Index(PARSED.items())


def array(*items: object) -> bytes:
    return json.dumps({"a": items}, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(b'{"a": 1e999999}', {"exact", "but"}, id="huge number"),
        pytest.param(b'{"a": 10e999998}', {"exact", "but"}, id="huge number, written otherwise"),
        pytest.param(b'{"a": -1e999999999999999999}', {"below", "but"}, id="largest exponent"),
        pytest.param(b'{"a": ' + b"9" * 250_000 + b"}", {"but"}, id="250,000 digits"),
        pytest.param(b'{"a": 0.' + b"3" * 250_000 + b"}", {"below", "but"}, id="250,000 digits after the point"),
        pytest.param(b'{"a": "\\ud800"}', {"exact", "but"}, id="half a surrogate pair"),
        pytest.param(b'{"a": "\\uD801"}', {"half", "but"}, id="another half"),
        pytest.param('{"a": "\U0001f600"}'.encode(), {"but"}, id="a character of two halves begins with none"),
        pytest.param(b'{"a": "\\u0000"}', {"but"}, id="NUL"),
        pytest.param(b'{"a": "' + b"a" * 250_000 + b'"}', {"but"}, id="a long text against many wildcards"),
        pytest.param(b'{"a": "' + b"a" * 999 + b'b"}', {"but", "wildcard"}, id="a text that satisfies them"),
        pytest.param(b'{"a": 7, "a": "x"}', {"exact", "but"}, id="a name that stands twice: the later one counts"),
        pytest.param(array(*range(10_000)), {"below", "but"}, id="10,000 numbers"),
        pytest.param(array(*[1] * 120_000), {"below"}, id="120,000 times the same"),
        pytest.param(array(*[[]] * 60_000), set(), id="60,000 empty arrays"),
        pytest.param(array(*({"b": n, "c": n} for n in range(9_000))), set(), id="9,000 objects, none of which fits"),
        pytest.param(array(*({"b": n, "c": n + 1} for n in range(9_000))), {"same"}, id="9,000 objects, one fits"),
        pytest.param(
            b'{"a":' + b"[" * 60 + b'{"b": 1, "c": 2}' + b"]" * 60 + b"}", {"same"}, id="arrays within 60 arrays"
        ),
        pytest.param(json.dumps({f"k{n}": n for n in range(15_000)}).encode(), set(), id="15,000 keys nobody asks for"),
    ],
)
def test_strange_body_is_matched_as_the_policies_say(body: bytes, expected: set[str]) -> None:
    """By the index and by the policies one by one."""
    facets = body_facets(body)
    assert set(INDEX.match(facets)) == expected
    assert {name for name, policy in PARSED.items() if policy.accepts(facets)} == expected


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not valid JSON"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": -Infinity}', "-Infinity is not JSON"),
        (b'{"a": 1e9999999999999999999}', "exponent of a number is too large"),
        (b'{"a": "\xff"}', "not UTF-8: invalid start byte at byte 7"),
        (b'{"a": "\xed\xa0\x80"}', "not UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b'{"a": "\x00"}', "not valid JSON"),
        (b'{"a": 1} {"a": 2}', "not valid JSON"),
        (b'{"a":' + b"[" * 100_000, "nested deeper than 64 levels"),
        (b'{"z":' * 20_000 + b"1" + b"}" * 20_000, "nested deeper than 64 levels"),
        (b'{"z":' * 100 + b"1" + b"}" * 100, "nested deeper than 64 levels"),
    ],
)
def test_broken_body_is_refused_with_what_is_wrong(body: bytes, words: str) -> None:
    """Never a silent "no match"."""
    with pytest.raises(InvalidBodyError, match=words):
        INDEX.match(body_facets(body))


def test_body_of_the_largest_size_is_matched_and_one_byte_more_is_not() -> None:
    """256 KiB."""
    body = b'{"a": "x"' + b" " * (256 * 1024 - 10) + b"}"
    assert set(INDEX.match(body_facets(body))) == {"exact", "but"}
    with pytest.raises(BodyTooLargeError, match="262145 bytes; at most 262144"):
        body_facets(body + b" ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a":' * 50_000, "nested deeper than 64 levels"),
        ('{"a": [1e9999999999999999999]}', "exponent"),
        ('{"a": [NaN]}', "expected a value, found 'N'"),
        ('{"a": [1], "a": [2]}', "cannot be allowed multiple times"),
        ('{"a": [{"prefix": "x", "prefix": "y"}]}', "Only one key allowed"),
        ('{"a": ["\\ud83"]}', "wrongly escaped string"),
        ('{"a": ["\x01"]}', "wrongly escaped string"),
        ('{"a": [01]}', "expected `,` or `\\]`"),
        ('\ufeff{"a": [1]}', "expected a value"),
    ],
)
def test_broken_policy_is_refused_with_what_is_wrong(text: str, words: str) -> None:
    """At its place."""
    with pytest.raises(PolicyError, match=words):
        parse_policy(text, EVENTBRIDGE)


def test_policy_of_256_kib_of_conditions_is_filed_and_found() -> None:
    """The last of 18,000 values, the last of 18,000 keys."""
    values = parse_policy(json.dumps({"a": [f"v{n:06}" for n in range(18_000)]}), EVENTBRIDGE)
    keys = parse_policy("{" + ",".join(f'"k{n:05}":[1]' for n in range(17_000)) + "}", EVENTBRIDGE)
    index = Index([("values", values), ("keys", keys)])
    assert index.match(body_facets(b'{"a": "v017999"}')) == ["values"]
    body = "{" + ",".join(f'"k{n:05}":1' for n in range(17_000)) + "}"
    assert index.match(body_facets(body.encode())) == ["keys"]


def test_a_long_array_does_not_hold_a_mask_for_each_of_its_elements() -> None:
    """20,000 values in an index of 5,000 policies: a mask each would be 13 MB."""
    index = Index(
        (number, parse_policy(f'{{"a": [{{"numeric": [">", {number}]}}]}}', EVENTBRIDGE)) for number in range(5_000)
    )
    facets = body_facets(array(*range(20_000)))
    tracemalloc.start()
    try:
        assert len(index.match(facets)) == 5_000
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


def test_a_thousand_topics_do_not_meet() -> None:
    """Each answers for itself, also while others come, change and go."""
    topics, random = Topics(), Random(1)
    expected = {f"t{number}": str(number) for number in range(1000)}
    for topic, value in expected.items():
        topics.put(subscription("s", topic=topic, policy=json.dumps({"a": [value]}), dialect="FILTER_DIALECT_SNS_BODY"))
    for topic in random.sample(sorted(expected), 300):
        topics.delete(topic, "s")
        del expected[topic]
    for number in range(1000):
        found = topics.topic(f"t{number}")
        wanted = expected.get(f"t{number}")
        if found is None:
            assert wanted is None
            continue
        assert found.match(Message(attributes={}, body=f'{{"a": "{number}"}}'.encode())) == ["s"]
        assert found.match(Message(attributes={}, body=f'{{"a": "{number + 1}"}}'.encode())) == []
