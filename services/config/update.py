"""A change that a caller asks for: which rules it must keep, and the version that comes of it. Pure decisions."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from services.config.data_type import DATA_TYPES, DEFAULT_DATA_TYPE
from services.config.parameter import (
    DOCUMENTS,
    MAX_DESCRIPTION_LENGTH,
    MAX_DOCUMENT_BYTES,
    MAX_LABEL_LENGTH,
    MAX_PATTERN_LENGTH,
    MAX_SCHEMA_LENGTH,
    MAX_STANDARD_VALUE_BYTES,
    MAX_TAG_KEY_LENGTH,
    MAX_TAG_VALUE_LENGTH,
    MAX_TAGS,
    MAX_VALUE_BYTES,
    Parameter,
    ParameterType,
    Sealed,
    Tier,
)
from services.config.path import parse_name
from services.config.policies import EXPIRATION, PolicyError, expiry_of, parse_policies, policies_text
from services.config.tier import tier_after, tier_faults
from services.runtime.errors import (
    AbortedError,
    AlreadyExistsError,
    FailedPreconditionError,
    FieldViolation,
    InvalidArgumentError,
    NotFoundError,
)

Seal = Callable[[str, str, int], Sealed]
"""Encrypts a value for the name and version it is written under."""

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
        raise _invalid(update.name, faults)
    return name


def next_version(
    update: ParameterUpdate,
    current: Parameter | None,
    *,
    name: str,
    revision: int,
    now: float,
    seal: Seal,
    principal: str = "",
    full: Collection[Tier] = (),
) -> Parameter:
    """The version that the update makes of the current one.

    Raises:
        AlreadyExistsError, AbortedError: the expected version is not the current one.
        FailedPreconditionError: the type would change, or there is no room for another parameter of the tier.
        InvalidArgumentError: the value does not have the parameter's data type, the tier is not enough, or there are
            too many tags.
    """
    check_expected_version(name, update.expected_version, current)
    kind = type_after(update, current)
    if current and kind is not current.type:
        raise FailedPreconditionError(
            f"{name} is a {current.type} and cannot become a {kind}: delete it first, or use another name",
            reason="ERROR_REASON_PARAMETER_TYPE_MISMATCH",
            metadata={"name": name, "type": current.type},
        )
    data_type = update.data_type or (current.data_type if current else DEFAULT_DATA_TYPE)
    tags = MappingProxyType({**(current.tags if current else {}), **update.tags})
    policies, expires_at = _timing(update, current)
    size, needs_policies = len(update.value.encode()), bool(policies) or expires_at is not None
    wanted = update.tier or (update.default_tier if not current or current.tier is Tier.STANDARD else None)
    faults = [
        *_combined_faults(update.value, kind, data_type, tags),
        *(Fault(*fault) for fault in tier_faults(wanted, current, size, data_type, policies=needs_policies)),
    ]
    if faults:
        raise _invalid(name, faults)
    version = current.version + 1 if current else 1
    return Parameter(
        name=name,
        type=kind,
        value=seal(update.value, name, version) if kind is ParameterType.SECURE_STRING else update.value,
        version=version,
        revision=revision,
        modified_at=now,
        description=_kept(update.description, current.description if current else ""),
        allowed_pattern=pattern_after(update, current),
        data_type=data_type,
        expires_at=expires_at,
        tags=tags,
        json_schema=schema_after(update, current),
        tier=tier_after(wanted, current, size, data_type, policies=needs_policies, full=full),
        policies=policies,
        key_id=_kept(update.key_id, current.key_id if current else ""),
        modified_by=principal,
    )


def type_after(update: ParameterUpdate, current: Parameter | None) -> ParameterType:
    """The type that is asked for: the named one, else the one that the parameter has, else String."""
    return update.type or (current.type if current else ParameterType.STRING)


def may_change_tier(update: ParameterUpdate, current: Parameter | None) -> bool:
    """Whether the number of parameters of a tier may change by it; never false when it does."""
    if current is None:
        return True
    asks = update.tier or update.policies or update.expires_at or update.data_type
    is_long = len(update.value) > MAX_STANDARD_VALUE_BYTES // 4  # a character has up to 4 bytes
    return current.tier is Tier.STANDARD and bool(asks or is_long)


def schema_after(update: ParameterUpdate, current: Parameter | None) -> str:
    """The JSON Schema of the parameter that the new value must satisfy; empty for none."""
    return _kept(update.json_schema, current.json_schema if current else "")


def pattern_after(update: ParameterUpdate, current: Parameter | None) -> str:
    """The pattern the new value must match: the new one, else the one that the parameter has; empty for none."""
    return _kept(update.allowed_pattern, current.allowed_pattern if current else "")


def check_expected_version(name: str, expected: int | None, current: Parameter | None) -> None:
    """Nothing, when compare-and-set holds.

    Raises:
        AlreadyExistsError: 0 was expected and the parameter exists.
        AbortedError: another version is current.
    """
    found = current.version if current else 0
    if expected is None or expected == found:
        return
    if expected == 0:
        raise AlreadyExistsError(
            f"{name} exists already, its version is {found}",
            reason="ERROR_REASON_PARAMETER_ALREADY_EXISTS",
            metadata={"name": name},
        )
    raise AbortedError(
        f"{name} has version {found}, not {expected}: read it again, then repeat",
        reason="ERROR_REASON_VERSION_CONFLICT",
        metadata={"name": name, "expected_version": str(expected), "current_version": str(found)},
    )


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


def not_found(shown: str) -> NotFoundError:
    """The error for a name, `name:version` or `name:label` under which nothing is stored."""
    return NotFoundError(
        f"no parameter {shown}: `penstock params ls` lists what there is",
        reason="ERROR_REASON_PARAMETER_NOT_FOUND",
        metadata={"name": shown},
    )


def _kept(new: str | None, old: str) -> str:
    return old if new is None else new


def _timing(update: ParameterUpdate, current: Parameter | None) -> tuple[str, float | None]:
    """The policies and the expiry after the update; a new `expires_at` replaces a policy that says another."""
    if update.policies is not None:
        policies = parse_policies(update.policies)
        expires_at = update.expires_at if update.expires_at is not None else expiry_of(policies)
        return policies_text(policies), expires_at
    if current is None:
        return "", update.expires_at
    if update.expires_at is None:
        return current.policies, current.expires_at
    kept = [policy for policy in parse_policies(current.policies) if policy.type != EXPIRATION]
    return policies_text(kept), update.expires_at


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


def _combined_faults(value: str, kind: ParameterType, data_type: str, tags: Mapping[str, str]) -> Iterator[Fault]:
    if kind is ParameterType.STRING_LIST and data_type != DEFAULT_DATA_TYPE:
        yield Fault("data_type", f"a {kind} has the data type {DEFAULT_DATA_TYPE}, not {data_type}")
    elif not DATA_TYPES[data_type](value):
        shown = "the value" if kind is ParameterType.SECURE_STRING else repr(value[:80])
        yield Fault("value", f"{shown} is not of the parameter's data type {data_type}")
    if len(tags) > MAX_TAGS:
        yield Fault(
            "tags", f"the parameter would have {len(tags)} tags, at most {MAX_TAGS} are allowed", "TooManyTagsError"
        )


def _too_long(text: str, limit: int) -> str:
    return f"has {len(text)} characters, at most {limit} are allowed"


def _invalid(name: str, faults: Sequence[Fault]) -> InvalidArgumentError:
    text = "; ".join(f"{fault.field}: {fault.text}" for fault in faults)
    return InvalidArgumentError(
        f"parameter {name[:80]!r} is refused: {text}",
        violations=[FieldViolation(field=fault.field, description=fault.text) for fault in faults],
        metadata=_named(faults),
    )


def _named(faults: Sequence[Fault]) -> Mapping[str, str]:
    name = next((fault.ssm_error for fault in faults if fault.ssm_error), "")
    return {"ssm_error": name} if name else {}
