"""Rollouts: a new value for a part of the callers. Which callers, and the document that says so. Pure decisions."""

import hashlib
import math
from dataclasses import dataclass, field

from google.protobuf import json_format
from penstock.config.v1 import rollout_pb2

from services.runtime.errors import InvalidArgumentError, invalid_field

ROLLOUTS_PATH = "/penstock/rollouts"
"""Below it lie the documents, `penstock.config.v1.Rollout`, each under the name of its parameter."""

_BUCKETS = 2**64


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """A value for callers who are named or lie below `percentage`, while version `base_version` is the current one.

    Raises:
        InvalidArgumentError: the percentage is not 0 to 100, or the base version is none.
    """

    value: str = field(repr=False)
    base_version: int
    percentage: float
    callers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not (math.isfinite(self.percentage) and 0 <= self.percentage <= 100):  # noqa: PLR2004 - per cent
            raise invalid_field("percentage", f"{self.percentage} is not 0 to 100")
        if self.base_version < 1:
            raise invalid_field("base_version", f"{self.base_version} is not the version of a parameter, 1 or more")

    def includes(self, name: str, caller: str) -> bool:
        """Whether a caller has the new value of the parameter `name`."""
        return caller in self.callers or bucket(name, self.base_version, caller) < self.percentage


def bucket(name: str, base_version: int, caller: str) -> float:
    """The place of a caller among all, 0 to 100 exclusive; always the same, as rollout.proto defines it."""
    digest = hashlib.sha256(f"{name}|{base_version}|{caller}".encode()).digest()
    # Rounded up to 100 a caller would lie outside of everybody.
    return min(int.from_bytes(digest[:8], "big") * 100 / _BUCKETS, math.nextafter(100, 0))


def rollout_parameter(name: str) -> str:
    """The name of the parameter that holds the rollout of `name`."""
    return f"{ROLLOUTS_PATH}/{name.lstrip('/')}"


def parameter_rolled_out(rollout_name: str) -> str:
    """The inverse of `rollout_parameter`."""
    return rollout_name.removeprefix(ROLLOUTS_PATH)


def rollouts_below(path: str) -> str:
    """The path of all rollouts of parameters below `path`."""
    return f"{ROLLOUTS_PATH}{path}".rstrip("/")


def read_rollout(text: str) -> Rollout:
    """The rollout in a document.

    Raises:
        InvalidArgumentError: it is none.
    """
    try:
        message = json_format.Parse(text, rollout_pb2.Rollout())
    except json_format.ParseError:
        # The parser's words may quote the value, which may be a secret.
        raise InvalidArgumentError("not a penstock.config.v1.Rollout in proto3 JSON") from None
    return Rollout(
        value=message.value,
        base_version=message.base_version,
        percentage=message.percentage,
        callers=tuple(message.callers),
    )


def rollout_document(rollout: Rollout) -> str:
    """The document of a rollout."""
    message = rollout_pb2.Rollout(
        value=rollout.value,
        base_version=rollout.base_version,
        percentage=rollout.percentage,
        callers=rollout.callers,
    )
    return json_format.MessageToJson(message, indent=None, preserving_proto_field_name=True, ensure_ascii=False)
