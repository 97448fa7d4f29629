"""A change that a caller asks for: which rules it must keep, and the version that comes of it. Pure decisions."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from services.config.data_type import DATA_TYPES, DEFAULT_DATA_TYPE
from services.config.parameter import (
    MAX_DESCRIPTION_LENGTH,
    MAX_LABEL_LENGTH,
    MAX_PATTERN_LENGTH,
    MAX_TAG_KEY_LENGTH,
    MAX_TAG_VALUE_LENGTH,
    MAX_TAGS,
    MAX_VALUE_BYTES,
    Parameter,
    ParameterType,
    Sealed,
)
from services.config.path import parse_name
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
_LABEL = re.compile(r"(?!aws|ssm)[a-z._-][a-z0-9._-]*", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterUpdate:
    """What a put asks for. None keeps what the parameter has; an empty `allowed_pattern` removes it.

    `expected_version` is the version that must be current, 0 for "must not exist", None for whatever is there. Tags are
    added to those the parameter has.
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


def check_update(update: ParameterUpdate, *, now: float, found: Sequence[FieldViolation] = ()) -> str:
    """The name in its one form, when the update keeps every rule that does not depend on what is stored.

    `found` are violations that are known already: of the pattern, which only `pattern` may compile.

    Raises:
        InvalidArgumentError: with all violations.
    """
    violations: list[FieldViolation] = []
    name = ""
    try:
        name = parse_name(update.name)
    except InvalidArgumentError as error:
        violations.extend(error.violations)
    violations.extend(FieldViolation(field=name, description=text) for name, text in _faults(update, now))
    violations.extend(found)
    if violations:
        raise _invalid(update.name, violations)
    return name


def next_version(
    update: ParameterUpdate, current: Parameter | None, *, name: str, revision: int, now: float, seal: Seal
) -> Parameter:
    """The version that the update makes of the current one.

    Raises:
        AlreadyExistsError, AbortedError: the expected version is not the current one.
        FailedPreconditionError: the type would change.
        InvalidArgumentError: the value does not have the parameter's data type, or there are too many tags.
    """
    check_expected_version(name, update.expected_version, current)
    kind = update.type or (current.type if current else ParameterType.STRING)
    if current and kind is not current.type:
        raise FailedPreconditionError(
            f"{name} is a {current.type} and cannot become a {kind}: delete it first, or use another name",
            reason="ERROR_REASON_PARAMETER_TYPE_MISMATCH",
            metadata={"name": name, "type": current.type},
        )
    data_type = update.data_type or (current.data_type if current else DEFAULT_DATA_TYPE)
    tags = MappingProxyType({**(current.tags if current else {}), **update.tags})
    violations = [
        FieldViolation(field=name, description=text)
        for name, text in _combined_faults(update.value, kind, data_type, tags)
    ]
    if violations:
        raise _invalid(name, violations)
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
        expires_at=update.expires_at if update.expires_at is not None else (current.expires_at if current else None),
        tags=tags,
    )


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


def not_found(shown: str) -> NotFoundError:
    """The error for a name, `name:version` or `name:label` under which nothing is stored."""
    return NotFoundError(
        f"no parameter {shown}: `penstock params ls` lists what there is",
        reason="ERROR_REASON_PARAMETER_NOT_FOUND",
        metadata={"name": shown},
    )


def _kept(new: str | None, old: str) -> str:
    return old if new is None else new


def _faults(update: ParameterUpdate, now: float) -> Iterator[tuple[str, str]]:
    size = len(update.value.encode())
    if not update.value:
        yield "value", "empty: a value has at least one character"
    if size > MAX_VALUE_BYTES:
        yield "value", f"has {size} bytes, at most {MAX_VALUE_BYTES} are allowed"
    opening = update.value.find("{{")
    if opening >= 0 and update.value.find("}}", opening) >= 0:
        yield "value", "contains `{{...}}`, which is reserved for references to parameters"
    if update.expected_version is not None and update.expected_version < 0:
        yield "expected_version", f"{update.expected_version} is negative; 0 means that the parameter must not exist"
    if len(update.description or "") > MAX_DESCRIPTION_LENGTH:
        yield "description", _too_long(update.description or "", MAX_DESCRIPTION_LENGTH)
    if len(update.allowed_pattern or "") > MAX_PATTERN_LENGTH:
        yield "allowed_pattern", _too_long(update.allowed_pattern or "", MAX_PATTERN_LENGTH)
    if update.data_type is not None and update.data_type not in DATA_TYPES:
        yield "data_type", f"{update.data_type[:128]!r} is not one of {', '.join(DATA_TYPES)}"
    if update.expires_at is not None and not now < update.expires_at < _END_OF_TIME:
        yield "expires_at", "lies in the past" if update.expires_at <= now else "lies beyond the year 9999"
    yield from _tags_faults(update.tags)


def _tags_faults(tags: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if len(tags) > MAX_TAGS:  # not looked at one by one: there may be a million
        yield "tags", f"has {len(tags)} tags, at most {MAX_TAGS} are allowed"
        return
    for key, value in tags.items():
        yield from _tag_faults(key, value)


def _tag_faults(key: str, value: str) -> Iterator[tuple[str, str]]:
    field_name = f"tags[{key[:MAX_TAG_KEY_LENGTH]!r}]"
    if not 1 <= len(key) <= MAX_TAG_KEY_LENGTH:
        yield field_name, f"the key has {len(key)} characters, 1 to {MAX_TAG_KEY_LENGTH} are allowed"
    if len(value) > MAX_TAG_VALUE_LENGTH:
        yield field_name, _too_long(value, MAX_TAG_VALUE_LENGTH)
    if not all(character.isalnum() or character in " _.:/=+-@" for character in key + value):
        yield field_name, "only letters, digits, blanks and `_.:/=+-@` are allowed in a tag"


def _combined_faults(
    value: str, kind: ParameterType, data_type: str, tags: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    if kind is ParameterType.STRING_LIST and data_type != DEFAULT_DATA_TYPE:
        yield "data_type", f"a {kind} has the data type {DEFAULT_DATA_TYPE}, not {data_type}"
    elif not DATA_TYPES[data_type](value):
        shown = "the value" if kind is ParameterType.SECURE_STRING else repr(value[:80])
        yield "value", f"{shown} is not of the parameter's data type {data_type}"
    if len(tags) > MAX_TAGS:
        yield "tags", f"the parameter would have {len(tags)} tags, at most {MAX_TAGS} are allowed"


def _too_long(text: str, limit: int) -> str:
    return f"has {len(text)} characters, at most {limit} are allowed"


def _invalid(name: str, violations: list[FieldViolation]) -> InvalidArgumentError:
    faults = "; ".join(f"{violation.field}: {violation.description}" for violation in violations)
    return InvalidArgumentError(f"parameter {name[:80]!r} is refused: {faults}", violations=violations)
