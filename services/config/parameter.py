"""What a parameter is: one version of a named value, and the changes of the store that watchers hear of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

KEPT_VERSIONS = 100
"""Versions kept of each parameter; writing another one drops the oldest, unless it carries a label."""

MAX_VALUE_BYTES = 8192
"""Bytes of UTF-8 in the Advanced tier."""

DOCUMENTS = "/penstock/"
MAX_DOCUMENT_BYTES = 768 * 1024
"""Bytes of UTF-8 below `DOCUMENTS`, where the suite keeps subscriptions and routes: a filter policy of 256 KiB, written
as a JSON string, and what stands beside it."""

MAX_STANDARD_VALUE_BYTES = 4096
"""Bytes of UTF-8 in the Standard tier."""

MAX_DESCRIPTION_LENGTH = 1024
MAX_PATTERN_LENGTH = 1024
MAX_SCHEMA_LENGTH = 32 * 1024
"""Characters of a JSON Schema, the limit of AWS AppConfig's validators."""

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


class Tier(StrEnum):
    """How much a parameter may hold: Advanced has larger values, policies, and the data types url, json and jsonc."""

    STANDARD = "Standard"
    ADVANCED = "Advanced"


MAX_PARAMETERS = {Tier.STANDARD: 10_000, Tier.ADVANCED: 100_000}
"""Parameters of a tier that a store holds, as AWS allows them for each account and region."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """An encrypted value as it lies in the store; only `crypto` reads it."""

    envelope: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One version of a parameter. `value` is Sealed for a SecureString and text for the other types.

    `version` counts from 1 for each parameter, `revision` over the whole store. Times are seconds since the epoch.
    `policies` is a JSON array, empty for none; `modified_by` the principal that wrote the version.
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
    json_schema: str = ""
    tier: Tier = Tier.STANDARD
    policies: str = ""
    key_id: str = ""
    modified_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """A parameter was deleted with all its versions."""

    name: str
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A notification policy of a parameter became due at `due_at`."""

    name: str
    revision: int
    policy_type: str
    due_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataChange:
    """Labels or tags of a parameter have changed, its versions have not.

    `labels` maps every label of the parameter to the version that carries it now, `tags` are all it has now.
    """

    name: str
    revision: int
    labels: Mapping[str, int]
    tags: Mapping[str, str]


ParameterEvent = Parameter | Deletion | MetadataChange | Notice
"""What happened in the store: a version was written, a parameter deleted, labelled or tagged, a notice given.

Revisions order them.
"""
