"""Map messages as the broker writes them; every sample was sent by ActiveMQ."""

import json
from dataclasses import replace

import pytest

from broker_bridge.map_message import MapError, map_json, read_map, read_transformed
from broker_bridge.message import MapValue, MessageKind
from tests.unit.broker_bridge.builders import message


def written(*entries: str) -> str:
    return f'{{"map":{{"entry":[{",".join(entries)}]}}}}'


@pytest.mark.parametrize(
    ("body", "entries"),
    [
        ('{"map":""}', {}),
        ('{"map":{"entry":{"string":"one","int":1}}}', {"one": 1}),
        ('{"map":{"entry":{"string":["s","only"]}}}', {"s": "only"}),
        (written('{"string":"a","int":1}', '{"string":"t","boolean":true}'), {"a": 1, "t": True}),
        (written('{"string":["c",true]}', '{"string":[123,456]}'), {"c": "true", "123": "456"}),
        (written('{"string":["e",""]}', '{"string":["i",-1]}'), {"e": "", "i": "-1"}),
        (
            written('{"string":"eb","byte-array":""}', '{"string":"b","byte-array":"AP8="}'),
            {"eb": b"", "b": b"\x00\xff"},
        ),
        (
            written('{"string":"inf","float":"Infinity"}', '{"string":"z","double":-0}'),
            {"inf": float("inf"), "z": -0.0},
        ),
        (written('{"string":"tiny","double":"4.9E-324"}'), {"tiny": 5e-324}),
        (written('{"string":"min","long":-9223372036854775808}'), {"min": -(2**63)}),
        (written('{"string":"n","null":""}'), {"n": None}),
    ],
)
def test_entries_have_the_types_they_had(body: str, entries: dict[str, object]) -> None:
    """Strings that look like something else too."""
    found = read_map(body.encode())
    assert found == entries
    assert [type(value) for value in found.values()] == [type(value) for value in entries.values()]


@pytest.mark.parametrize(
    "body",
    [
        "{",
        '{"map":{"entry":[{"string":"a"}]}}',
        '{"map":{"entry":[{"string":"a","linked-hash-map":""}]}}',
        '{"map":{"other":1}}',
        '{"map":3}',
        '{"map":{"entry":{"string":"a","int":"x"}}}',
    ],
)
def test_json_that_is_no_map_is_told(body: str) -> None:
    """It becomes poison, with the reason."""
    with pytest.raises(MapError):
        read_map(body.encode())


def test_a_map_is_plain_json_for_targets_of_text() -> None:
    """Which every JSON parser reads."""
    entries: dict[str, MapValue] = {"a": 1, "b": b"\x00", "n": None, "nan": float("nan"), "ü": "é"}
    assert json.loads(map_json(entries)) == {"a": 1, "b": "AA==", "n": None, "nan": "NaN", "ü": "é"}


def test_only_text_that_begins_like_the_brokers_json_is_a_map() -> None:
    """The broker marks text messages with the transformation too."""
    text = message(body=b"hello")
    assert read_transformed(text) is text
    assert read_transformed(message(body=b'{"map":""}')).kind is MessageKind.MAP
    data = replace(message(body=b'{"map":""}'), kind=MessageKind.BYTES)
    assert read_transformed(data) is data
    assert "not that of a Map message" in read_transformed(message(body=b'{"map":3}')).transformation_error
