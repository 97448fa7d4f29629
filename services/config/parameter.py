"""What a parameter is: one version of a named value, and the changes of the store that watchers hear of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

KEPT_VERSIONS = 100
"""Versions kept of each parameter; writing another one drops the oldest, unless it carries a label."""

MAX_VALUE_BYTES = 8192
"""Bytes of UTF-8, the Advanced tier of Parameter Store."""

MAX_DESCRIPTION_LENGTH = 1024
MAX_PATTERN_LENGTH = 1024
MAX_TAGS = 50
MAX_TAG_KEY_LENGTH = 128
MAX_TAG_VALUE_LENGTH = 256
MAX_LABELS = 10
"""Labels that one version may carry."""

MAX_LABEL_LENGTH = 100


class ParameterType(StrEnum):
    """How a value is stored; the words are Parameter Store's."""

    STRING = "String"
    STRING_LIST = "StringList"
    SECURE_STRING = "SecureString"


@dataclass(frozen=True, slots=True)
class Sealed:
    """An encrypted value as it lies in the store; only `crypto` reads it."""

    envelope: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One version of a parameter. `value` is Sealed for a SecureString and text for the other types.

    `version` counts from 1 for each parameter, `revision` over the whole store. Times are seconds since the epoch.
    """

    name: str
    type: ParameterType
    value: str | Sealed = field(repr=False)
    version: int
    revision: int
    modified_at: float
    labels: tuple[str, ...] = ()
    description: str = ""
    allowed_pattern: str = ""
    data_type: str = "text"
    expires_at: float | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """A parameter was deleted with all its versions."""

    name: str
    revision: int


ParameterEvent = Parameter | Deletion
"""A change of the store: a version was written, or a parameter deleted. Revisions order them."""
