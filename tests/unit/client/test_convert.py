"""From text to values."""

from collections.abc import Callable
from typing import Any

import pytest
from penstock.client import binary, boolean, json_value, string_list


@pytest.mark.parametrize(
    ("convert", "text", "value"),
    [
        (boolean, "true", True),
        (boolean, " No ", False),
        (boolean, "0", False),
        (string_list, "a, b,c", ["a", "b", "c"]),
        (string_list, "", [""]),
        (json_value, '{"a": [1]}', {"a": [1]}),
        (binary, "aGk=", b"hi"),
    ],
)
def test_text_becomes_the_value_it_stands_for(convert: Callable[[str], Any], text: str, value: object) -> None:
    """As people write it."""
    assert convert(text) == value


@pytest.mark.parametrize(("convert", "text"), [(boolean, "maybe"), (json_value, "{"), (binary, "%")])
def test_other_text_is_refused(convert: Callable[[str], Any], text: str) -> None:
    """A guess would be found in production."""
    with pytest.raises(ValueError, match=r"."):
        convert(text)
