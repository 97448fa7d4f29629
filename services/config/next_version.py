"""The version that a put makes of the current one. Pure decisions."""

from collections.abc import Callable, Collection, Iterator, Mapping
from types import MappingProxyType

from services.config.data_type import DATA_TYPES, DEFAULT_DATA_TYPE
from services.config.parameter import MAX_STANDARD_VALUE_BYTES, MAX_TAGS, Parameter, ParameterType, Sealed, Tier
from services.config.policies import EXPIRATION, expiry_of, parse_policies, policies_text
from services.config.store import check_expected_version
from services.config.tier import tier_after, tier_faults
from services.config.update import Fault, ParameterUpdate, refusal
from services.runtime.errors import FailedPreconditionError

Seal = Callable[[str, str, int], Sealed]
"""Encrypts a value for the name and version it is written under."""


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
        raise refusal(name, faults)
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
