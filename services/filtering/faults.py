"""What is wrong with a policy, and where: all of it, not only the first finding."""

import re
from dataclasses import dataclass

from services.filtering.document import line_and_column


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A finding: `message` in AWS's words where known, `path` as in `$.price[0].numeric`, line and column from 1."""

    message: str
    path: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.message}\n at {self.path}, line {self.line}, column {self.column}"


class PolicyError(ValueError):
    """The policy is not valid in its dialect; `faults` are in the order of the text, at least one.

    `complexity` is what could be counted of its value combinations, 0 where the text is no JSON object.
    """

    def __init__(self, faults: tuple[Fault, ...], complexity: int) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = faults
        self.complexity = complexity


class RefusedError(ValueError):
    """What stands at `offset` of the policy text cannot be read; becomes a fault of the policy."""

    def __init__(self, message: str, path: str, offset: int) -> None:
        super().__init__(message)
        self.path = path
        self.offset = offset


MAX_FINDINGS = 1000
"""Told of one policy; the rest is left to the next attempt."""


class Findings:
    """Collects faults or warnings about one policy text, the first `MAX_FINDINGS` that are added."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._found: list[tuple[int, Fault]] = []

    def add(self, message: str, path: str, offset: int) -> None:
        if len(self._found) == MAX_FINDINGS:
            return
        message, path = _encodable(message), _encodable(path)
        line, column = line_and_column(self._text, offset)
        self._found.append((offset, Fault(message=message, path=path, line=line, column=column)))

    def in_order(self) -> tuple[Fault, ...]:
        """The findings by their place in the text."""
        return tuple(fault for _, fault in sorted(self._found, key=lambda found: found[0]))

    def __bool__(self) -> bool:
        return bool(self._found)


def _encodable(text: str) -> str:
    """The text as UTF-8 can carry it: JSON may escape one half of a surrogate pair."""
    return text.encode(errors="backslashreplace").decode()


_PLAIN_NAME = re.compile(r"[$A-Za-z_][$A-Za-z0-9_-]*")


def member_path(parent: str, name: str) -> str:
    """The JSON path of a member: `$.price`, or `$['a.b']` for a name that does not stand alone."""
    if _PLAIN_NAME.fullmatch(name):
        return f"{parent}.{name}"
    escaped = name.replace("\\", "\\\\").replace("'", "\\'")
    return f"{parent}['{escaped}']"
