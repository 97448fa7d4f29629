"""JSON text -> nodes that know where they stand, so that every fault of a policy can be shown at its place."""

import json
import re
from dataclasses import dataclass
from typing import NoReturn

from services.filtering.values import Constant, Value, exact_number

MAX_DEPTH = 64
"""Containers within containers that are read; far above what any policy needs, far below the interpreter's limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar:
    """A text, number or literal at `text[start:end]`."""

    start: int
    end: int
    value: Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Array:
    """An array at `text[start:end]`."""

    start: int
    end: int
    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A name and its value; `start` is where the name begins."""

    start: int
    name: str
    node: "Node"


@dataclass(frozen=True, slots=True, kw_only=True)
class Object:
    """An object at `text[start:end]`, repeated names included."""

    start: int
    end: int
    members: tuple[Member, ...]


Node = Scalar | Array | Object


class DocumentError(ValueError):
    """The text is not JSON (RFC 8259); `offset` counts characters from 0."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


def parse_document(text: str) -> Node:
    """The document a text holds.

    Raises:
        DocumentError: the text is not one JSON value, or nests deeper than `MAX_DEPTH`.
    """
    reader = _Reader(text)
    node = reader.value(0)
    if reader.skip_space() < len(text):
        reader.fail("unexpected text after the end")
    return node


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    """Where an offset lies; both count from 1, columns in characters."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


_SPACE = re.compile(r"[ \t\n\r]*")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_LITERAL = re.compile(r"true|false|null")


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def fail(self, message: str) -> NoReturn:
        raise DocumentError(message, self._at)

    def skip_space(self) -> int:
        match = _SPACE.match(self._text, self._at)
        assert match
        self._at = match.end()
        return self._at

    def value(self, depth: int) -> Node:
        start = self.skip_space()
        head = self._text[start : start + 1]
        if head in ("{", "[") and depth >= MAX_DEPTH:
            self.fail(f"nested deeper than {MAX_DEPTH} levels")
        if head == "{":
            return self._object(start, depth + 1)
        if head == "[":
            return self._array(start, depth + 1)
        return self._scalar(start)

    def _object(self, start: int, depth: int) -> Object:
        members: list[Member] = []
        self._at += 1
        while not self._closes("}", first=not members):
            name_start = self.skip_space()
            name = self._string("a name in double quotes")
            self._take(":")
            members.append(Member(start=name_start, name=name, node=self.value(depth)))
        return Object(start=start, end=self._at, members=tuple(members))

    def _array(self, start: int, depth: int) -> Array:
        items: list[Node] = []
        self._at += 1
        while not self._closes("]", first=not items):
            items.append(self.value(depth))
        return Array(start=start, end=self._at, items=tuple(items))

    def _closes(self, bracket: str, *, first: bool) -> bool:
        """Past the closing bracket, or past the comma before the next element."""
        self.skip_space()
        head = self._text[self._at : self._at + 1]
        if head == bracket:
            self._at += 1
            return True
        if not first:
            self._take(",", f"`,` or `{bracket}`")
        return False

    def _take(self, character: str, expected: str | None = None) -> None:
        self.skip_space()
        if self._text[self._at : self._at + 1] != character:
            self.fail(f"expected {expected or f'`{character}`'}{self._found()}")
        self._at += 1

    def _scalar(self, start: int) -> Scalar:
        value: Value
        if self._text[start : start + 1] == '"':
            value = self._string("a string")
        elif match := _LITERAL.match(self._text, start):
            value, self._at = Constant(match.group()), match.end()
        elif match := _NUMBER.match(self._text, start):
            try:
                value = exact_number(match.group())
            except ValueError as error:
                self.fail(str(error))
            self._at = match.end()
        else:
            self.fail(f"expected a value{self._found()}")
        return Scalar(start=start, end=self._at, value=value)

    def _string(self, expected: str) -> str:
        match = _STRING.match(self._text, self._at)
        if not match:
            broken = self._text[self._at : self._at + 1] == '"'
            self.fail("unterminated or wrongly escaped string" if broken else f"expected {expected}{self._found()}")
        self._at = match.end()
        text: str = json.loads(match.group())
        return text

    def _found(self) -> str:
        head = self._text[self._at : self._at + 1]
        return f", found {head!r}" if head else ", found the end of the text"
