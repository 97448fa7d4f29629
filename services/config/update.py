"""A change that a caller asks for, and the rules it must keep whatever is stored. Pure decisions."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from services.config.data_type import DATA_TYPES
from services.config.parameter import (
    DOCUMENTS,
    MAX_DESCRIPTION_LENGTH,
    MAX_DOCUMENT_BYTES,
    MAX_LABEL_LENGTH,
    MAX_PATTERN_LENGTH,
    MAX_SCHEMA_LENGTH,
    MAX_TAG_KEY_LENGTH,
    MAX_TAG_VALUE_LENGTH,
    MAX_TAGS,
    MAX_VALUE_BYTES,
    ParameterType,
    Tier,
)
from services.config.path import parse_name
from services.config.policies import PolicyError, expiry_of, parse_policies
from services.runtime.errors import FieldViolation, InvalidArgumentError

_END_OF_TIME = 253402300800.0  # a protobuf Timestamp ends with the year 9999
_PATTERN_ERROR = "InvalidAllowedPatternException"
_KEY_ID = re.compile(r"[a-zA-Z0-9:/_-]{1,256}")
_LABEL = re.compile(r"(?!aws|ssm)[a-z._-][a-z0-9._-]*", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterUpdate:
    """What a put asks for. None keeps what the parameter has; an empty `allowed_pattern` removes it.

    `expected_version` is the version that must be current, 0 for "must not exist", None for whatever is there. Tags are
    added to those the parameter has. A `tier` that is asked for must be enough; None takes the cheapest one that is, or
    `default_tier` for a parameter that is not Advanced yet. `expires_at` stands for a policy of type Expiration.
    """

    name: str
    value: str = field(repr=False)
    type: ParameterType | None = None
    expected_version: int | None = None
    description: str | None = None
    allowed_pattern: str | None = None
    data_type: str | None = None
    expires_at: float | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    json_schema: str | None = None
    tier: Tier | None = None
    default_tier: Tier | None = None
    policies: str | None = None
    key_id: str | None = None


class Fault(NamedTuple):
    """What is wrong with a field; `ssm_error` is the name of Parameter Store's error, where it has one of its own."""

    field: str
    text: str
    ssm_error: str = ""


def check_update(update: ParameterUpdate, *, now: float, found: Sequence[FieldViolation] = ()) -> str:
    """The name in its one form, when the update keeps every rule that does not depend on what is stored.

    `found` are violations that are known already: of the pattern, which only `pattern` may compile.

    Raises:
        InvalidArgumentError: with all violations.
    """
    faults: list[Fault] = []
    name = ""
    try:
        name = parse_name(update.name)
    except InvalidArgumentError as error:
        ssm_error = error.metadata.get("ssm_error", "")
        faults.extend(Fault(violation.field, violation.description, ssm_error) for violation in error.violations)
    faults.extend(_faults(update, now))
    faults.extend(Fault(violation.field, violation.description, _PATTERN_ERROR) for violation in found)
    if faults:
        raise refusal(update.name, faults)
    return name


def is_label(text: str) -> bool:
    """Whether a text may be a label: letters, digits, `.-_`, not starting with a digit, `aws` or `ssm`."""
    return len(text) <= MAX_LABEL_LENGTH and _LABEL.fullmatch(text) is not None


def check_tags(tags: Mapping[str, str]) -> None:
    """Nothing, when a parameter may have these tags.

    Raises:
        InvalidArgumentError: one of them is malformed, or they are too many.
    """
    if faults := list(_tags_faults(tags)):
        violations = [FieldViolation(field=fault.field, description=fault.text) for fault in faults]
        text = "; ".join(f"{fault.field}: {fault.text}" for fault in faults)
        raise InvalidArgumentError(text, violations=violations, metadata=_named(faults))


def refusal(name: str, faults: Sequence[Fault]) -> InvalidArgumentError:
    """The error that tells all faults of a put."""
    text = "; ".join(f"{fault.field}: {fault.text}" for fault in faults)
    return InvalidArgumentError(
        f"parameter {name[:80]!r} is refused: {text}",
        violations=[FieldViolation(field=fault.field, description=fault.text) for fault in faults],
        metadata=_named(faults),
    )


def _faults(update: ParameterUpdate, now: float) -> Iterator[Fault]:
    yield from _value_faults(update.value, MAX_DOCUMENT_BYTES if update.name.startswith(DOCUMENTS) else MAX_VALUE_BYTES)
    if update.expected_version is not None and update.expected_version < 0:
        text = f"{update.expected_version} is negative; 0 means that the parameter must not exist"
        yield Fault("expected_version", text)
    for name, given, limit in (
        ("description", update.description, MAX_DESCRIPTION_LENGTH),
        ("allowed_pattern", update.allowed_pattern, MAX_PATTERN_LENGTH),
        ("json_schema", update.json_schema, MAX_SCHEMA_LENGTH),
    ):
        if len(given or "") > limit:
            yield Fault(name, _too_long(given or "", limit))
    if update.data_type is not None and update.data_type not in DATA_TYPES:
        yield Fault("data_type", f"{update.data_type[:128]!r} is not one of {', '.join(DATA_TYPES)}")
    if update.key_id is not None and not _KEY_ID.fullmatch(update.key_id):
        text = f"{update.key_id[:80]!r} is not a key id: 1 to 256 of letters, digits and `:/_-`"
        yield Fault("key_id", text, "InvalidKeyId")
    if update.expires_at is not None and not now < update.expires_at < _END_OF_TIME:
        yield Fault("expires_at", "lies in the past" if update.expires_at <= now else "lies beyond the year 9999")
    yield from _policies_faults(update, now)
    yield from _tags_faults(update.tags)


def _value_faults(value: str, limit: int) -> Iterator[Fault]:
    size = len(value.encode())
    if not value:
        yield Fault("value", "empty: a value has at least one character")
    if size > limit:
        yield Fault("value", f"has {size} bytes, at most {limit} are allowed")
    opening = value.find("{{")
    if opening >= 0 and value.find("}}", opening) >= 0:
        yield Fault("value", "contains `{{...}}`, which is reserved for references to parameters")


def _policies_faults(update: ParameterUpdate, now: float) -> Iterator[Fault]:
    try:
        policies = parse_policies(update.policies or "")
    except PolicyError as error:
        yield Fault("policies", str(error), error.ssm_error)
        return
    expires_at = expiry_of(policies)
    if expires_at is None:
        return
    if update.expires_at is not None:
        yield Fault(
            "policies", "an Expiration and expires_at are given: one of them is enough", "IncompatiblePolicyException"
        )
    if not now < expires_at < _END_OF_TIME:
        yield Fault(
            "policies", "the Expiration lies in the past or beyond the year 9999", "InvalidPolicyAttributeException"
        )


def _tags_faults(tags: Mapping[str, str]) -> Iterator[Fault]:
    if len(tags) > MAX_TAGS:  # not looked at one by one: there may be a million
        yield Fault("tags", f"has {len(tags)} tags, at most {MAX_TAGS} are allowed", "TooManyTagsError")
        return
    for key, value in tags.items():
        yield from _tag_faults(key, value)


def _tag_faults(key: str, value: str) -> Iterator[Fault]:
    field_name = f"tags[{key[:MAX_TAG_KEY_LENGTH]!r}]"
    if not 1 <= len(key) <= MAX_TAG_KEY_LENGTH:
        yield Fault(field_name, f"the key has {len(key)} characters, 1 to {MAX_TAG_KEY_LENGTH} are allowed")
    if len(value) > MAX_TAG_VALUE_LENGTH:
        yield Fault(field_name, _too_long(value, MAX_TAG_VALUE_LENGTH))
    if not all(character.isalnum() or character in " _.:/=+-@" for character in key + value):
        yield Fault(field_name, "only letters, digits, blanks and `_.:/=+-@` are allowed in a tag")


def _too_long(text: str, limit: int) -> str:
    return f"has {len(text)} characters, at most {limit} are allowed"


def _named(faults: Sequence[Fault]) -> Mapping[str, str]:
    name = next((fault.ssm_error for fault in faults if fault.ssm_error), "")
    return {"ssm_error": name} if name else {}
