"""Filters of listings, in the words of Parameter Store's `ParameterFilters`."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from services.config.parameter import Parameter
from services.config.path import below, is_child
from services.runtime.errors import InvalidArgumentError, invalid_field

MAX_FILTERS = 50
MAX_VALUES = 50
MAX_VALUE_LENGTH = 1024
EQUALS, BEGINS_WITH, CONTAINS = "Equals", "BeginsWith", "Contains"
ONE_LEVEL, RECURSIVE = "OneLevel", "Recursive"
LABEL, PATH = "Label", "Path"
_TAG = "tag:"

_OPTIONS: MappingProxyType[str, Callable[[str, str], bool]] = MappingProxyType(
    {
        EQUALS: lambda found, wanted: found == wanted,
        BEGINS_WITH: lambda found, wanted: found.startswith(wanted),
        CONTAINS: lambda found, wanted: wanted in found,
    }
)
_FIELDS: MappingProxyType[str, Callable[[Parameter], str]] = MappingProxyType(
    {
        "Name": lambda parameter: parameter.name,
        "Type": lambda parameter: parameter.type.value,
        "KeyId": lambda parameter: parameter.key_id,
        "DataType": lambda parameter: parameter.data_type,
        "Tier": lambda parameter: parameter.tier.value,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Holds for a parameter when its `key` compares by `option` with one of `values`."""

    key: str
    option: str = EQUALS
    values: tuple[str, ...] = ()


def checked_filters(filters: Sequence[Filter], *, keys: Sequence[str] | None = None) -> Sequence[Filter]:
    """The filters, when they are well formed; `keys` are those allowed, all by default.

    Raises:
        InvalidArgumentError: naming the filter; `ssm_error` is InvalidFilterKey, InvalidFilterOption or
            InvalidFilterValue.
    """
    if len(filters) > MAX_FILTERS:
        raise _refused(f"{len(filters)} filters are given, at most {MAX_FILTERS} are allowed", "InvalidFilterKey")
    for index, one in enumerate(filters):
        known = one.key in (*_FIELDS, LABEL, PATH) or (one.key.startswith(_TAG) and len(one.key) > len(_TAG))
        if not known or (keys is not None and one.key not in keys):
            raise _refused(f"filters[{index}].key: {one.key[:132]!r} cannot be filtered by", "InvalidFilterKey")
        if one.option not in _options_for(one.key):
            raise _refused(
                f"filters[{index}].option: {one.option[:40]!r} does not fit {one.key}", "InvalidFilterOption"
            )
        if not (one.values or one.key.startswith(_TAG)) or len(one.values) > MAX_VALUES:
            fault = f"filters[{index}].values: {len(one.values)} are given, 1 to {MAX_VALUES} are allowed"
            raise _refused(fault, "InvalidFilterValue")
        if not all(1 <= len(value) <= MAX_VALUE_LENGTH for value in one.values):
            fault = f"filters[{index}].values: 1 to {MAX_VALUE_LENGTH} characters are allowed"
            raise _refused(fault, "InvalidFilterValue")
    return filters


def _options_for(key: str) -> Collection[str]:
    if key == PATH:
        return (ONE_LEVEL, RECURSIVE)
    return (EQUALS,) if key == LABEL else _OPTIONS


def holds(one: Filter, parameter: Parameter) -> bool:
    """Whether a parameter passes a filter; one on labels always does, see `labels_in`."""
    if one.key == LABEL:
        return True
    if one.key == PATH:
        return any(_lies_below(path, parameter.name, recursive=one.option == RECURSIVE) for path in one.values)
    if one.key.startswith(_TAG):
        value = parameter.tags.get(one.key.removeprefix(_TAG))
        return value is not None and (not one.values or _compares(one, value))
    found = _FIELDS[one.key](parameter)
    # `X` and `/X` are one parameter.
    return _compares(one, found) or (one.key == "Name" and found.count("/") == 1 and _compares(one, found[1:]))


def labels_in(filters: Sequence[Filter]) -> list[tuple[str, ...]]:
    """The labels asked for: a version is found when it carries one of each tuple."""
    return [one.values for one in filters if one.key == LABEL]


def _lies_below(path: str, name: str, *, recursive: bool) -> bool:
    wanted = below(path)
    return wanted.first <= name < wanted.last and (recursive or is_child(path, name))


def _compares(one: Filter, found: str) -> bool:
    return any(_OPTIONS[one.option](found, value) for value in one.values)


def _refused(fault: str, ssm_error: str) -> InvalidArgumentError:
    error = invalid_field("filters", fault)
    return InvalidArgumentError(error.message, violations=error.violations, metadata={"ssm_error": ssm_error})
