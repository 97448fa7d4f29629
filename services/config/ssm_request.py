"""The body of an AWS JSON 1.1 request: its members by type, with Parameter Store's error where one does not fit."""

from collections.abc import Mapping
from typing import Any, Self

import orjson


class SsmError(Exception):
    """An answer in the words of Parameter Store: its code, a message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def invalid(message: str) -> SsmError:
    """The error for whatever has no name of its own."""
    return SsmError("ValidationException", message)


class Body:
    """The members of a JSON object; those nobody asks for are ignored."""

    def __init__(self, members: Mapping[str, Any]) -> None:
        self._members = members

    @classmethod
    def parsed(cls, data: bytes) -> Self:
        """The object in a request.

        Raises:
            SsmError: SerializationException, when it is none.
        """
        try:
            members = orjson.loads(data or b"{}")
        except ValueError:
            raise SsmError("SerializationException", "The body is not JSON.") from None
        if not isinstance(members, dict):
            raise SsmError("SerializationException", "The body is not a JSON object.")
        return cls(members)

    def text(self, name: str) -> str:
        """A member that must be there."""
        found = self.optional(name)
        if found is None:
            raise invalid(f"{name}: is required")
        return found

    def optional(self, name: str) -> str | None:
        """A text, None when it is absent."""
        found = self._members.get(name)
        if found is not None and not isinstance(found, str):
            raise _wrong_type(name, "a string")
        return found

    def flag(self, name: str) -> bool:
        """A boolean, false when it is absent."""
        found = self._members.get(name)
        if not isinstance(found, bool | None):
            raise _wrong_type(name, "a boolean")
        return bool(found)

    def number(self, name: str, *, default: int | None = None, least: int = 1, most: int = 2**63 - 1) -> int:
        """An integer within bounds; it must be there when there is no `default`."""
        found = self._members.get(name)
        if found is None and default is not None:
            return default
        if found is None:
            raise invalid(f"{name}: is required")
        if not isinstance(found, int) or isinstance(found, bool):
            raise _wrong_type(name, "an integer")
        if not least <= found <= most:
            raise invalid(f"{name}: {found} is not between {least} and {most}")
        return found

    def texts(self, name: str, *, least: int = 1, most: int = 1000) -> list[str]:
        """A list of texts within bounds."""
        found = self._members.get(name) or []
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise _wrong_type(name, "a list of strings")
        if not least <= len(found) <= most:
            raise invalid(f"{name}: {len(found)} are given, {least} to {most} are allowed")
        return found

    def objects(self, name: str) -> "list[Body]":
        """A list of objects; empty when it is absent."""
        found = self._members.get(name) or []
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise _wrong_type(name, "a list of objects")
        return [Body(one) for one in found]

    def tags(self, name: str) -> dict[str, str]:
        """A list of `{"Key", "Value"}` as a mapping."""
        return {one.text("Key"): one.text("Value") for one in self.objects(name)}


def _wrong_type(name: str, wanted: str) -> SsmError:
    return SsmError("SerializationException", f"{name}: is not {wanted}.")
