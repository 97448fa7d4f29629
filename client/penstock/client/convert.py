"""From the text of a parameter to a value of a program. Any function of one text will do; these are the usual."""

import base64
import binascii
from typing import Any

import orjson

_WORDS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


def boolean(text: str) -> bool:
    """`true`, `yes`, `on`, `1` and their opposites, in any case. Python's `bool` would take `false` for true."""
    try:
        return _WORDS[text.strip().lower()]
    except KeyError:
        raise ValueError(f"not one of {', '.join(_WORDS)}") from None


def string_list(text: str) -> list[str]:
    """The texts of a StringList: separated by commas, blanks around them dropped, without escaping."""
    return [item.strip() for item in text.split(",")]


def json_value(text: str) -> Any:
    """The value of a JSON document. Callers share it: do not change it."""
    return orjson.loads(text)


def binary(text: str) -> bytes:
    """The bytes that the text holds as base64."""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from None
