"""JSON node -> condition. The fault texts are those of Amazon SNS and event-ruler, whose compilers are the same."""

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from services.filtering.conditions import (
    Absent,
    AnythingBut,
    Cidr,
    Condition,
    EqualsIgnoreCase,
    Exact,
    Prefix,
    Present,
    Suffix,
    Wildcard,
    fold,
)
from services.filtering.dialect import Dialect
from services.filtering.document import Array, Member, Node, Object, Scalar
from services.filtering.faults import RefusedError, member_path
from services.filtering.numeric import fitting_number, read_numeric
from services.filtering.values import Constant, Value

RESERVED_NAMES = frozenset(
    {"exact", "prefix", "suffix", "equals-ignore-case", "wildcard", "anything-but", "numeric", "exists", "cidr"}
    | {"anything-but-prefix", "anything-but-suffix", "anything-but-ignore-case", "anything-but-wildcard"}
)
"""Names that no field of a `$or` branch may have: such an array is read as conditions instead."""


def read_condition(node: Node, path: str, dialect: Dialect) -> Condition:
    """The condition that an element of a key's array states.

    Raises:
        RefusedError: it states none.
    """
    if isinstance(node, Scalar):
        return Exact(value=_literal(node, path, dialect))
    if isinstance(node, Array):
        raise RefusedError("Match value must be String, number, true, false, or null", path, node.start)
    member = _only_member(node, path)
    read = _OPERATORS.get(member.name)
    if read is None:
        raise RefusedError(f"Unrecognized match type {member.name}", path, member.start)
    return read(member.node, member_path(path, member.name), dialect)


def _literal(node: Scalar, path: str, dialect: Dialect) -> Value:
    return fitting_number(node, path, dialect) if isinstance(node.value, Decimal) else node.value


def _only_member(node: Object, path: str, what: str = "Match") -> Member:
    if not node.members:
        raise RefusedError(f"{what} expression name not found", path, node.start)
    if len(node.members) > 1:
        raise RefusedError("Only one key allowed in match expression", path, node.members[1].start)
    return node.members[0]


def _text(node: Node, path: str, operator: str) -> str:
    if isinstance(node, Scalar) and isinstance(node.value, str):
        return node.value
    raise RefusedError(f"{operator} match pattern must be a string", path, node.start)


def _affix(node: Node, path: str, operator: str) -> tuple[str, bool]:
    """The text of a prefix or suffix, and whether case does not count."""
    if not isinstance(node, Object):
        return _text(node, path, operator), False
    member = _only_member(node, path, operator.capitalize())
    if member.name != "equals-ignore-case":
        raise RefusedError(f"Unsupported {operator} pattern: {member.name}", path, member.start)
    return fold(_text(member.node, member_path(path, member.name), member.name)), True


def _prefix(node: Node, path: str, _dialect: Dialect) -> Condition:
    text, ignore_case = _affix(node, path, "prefix")
    return Prefix(text=text, ignore_case=ignore_case)


def _suffix(node: Node, path: str, _dialect: Dialect) -> Condition:
    text, ignore_case = _affix(node, path, "suffix")
    return Suffix(text=text, ignore_case=ignore_case)


def _equals_ignore_case(node: Node, path: str, _dialect: Dialect) -> Condition:
    return EqualsIgnoreCase(text=fold(_text(node, path, "equals-ignore-case")))


def _wildcard(node: Node, path: str, _dialect: Dialect) -> Condition:
    text = _text(node, path, "wildcard")
    segments = [""]
    characters = iter(enumerate(text))
    for position, character in characters:
        if character == "\\":
            _, escaped = next(characters, (0, ""))
            if escaped not in ("*", "\\"):
                raise RefusedError(f"Invalid escape character at pos {_octets(text, position)}", path, node.start)
            segments[-1] += escaped
        elif character != "*":
            segments[-1] += character
        elif text.startswith("**", position):
            raise RefusedError(f"Consecutive wildcard characters at pos {_octets(text, position)}", path, node.start)
        else:
            segments.append("")
    return Wildcard(segments=tuple(segments))


def _octets(text: str, position: int) -> int:
    """Where the character after a position stands, as event-ruler counts: in bytes of UTF-8."""
    return len(text[:position].encode(errors="surrogatepass")) + 1


def _exists(node: Node, path: str, dialect: Dialect) -> Condition:
    value = node.value if isinstance(node, Scalar) else None
    if value is Constant.TRUE:
        return Present(strict=dialect.strict_exists)
    if value is Constant.FALSE:
        return Absent()
    raise RefusedError("exists match pattern must be either true or false.", path, node.start)


def _cidr(node: Node, path: str, _dialect: Dialect) -> Condition:
    text = _text(node, path, "prefix")  # AWS names the prefix operator here
    address, slash, bits = text.partition("/")
    if not slash or "/" in bits:
        raise RefusedError("Malformed CIDR, one '/' required", path, node.start)
    if not (bits.isascii() and bits.isdigit()):
        raise RefusedError("Malformed CIDR, mask bits must be an integer", path, node.start)
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        raise RefusedError(f"Nonstandard IP address: {address}", path, node.start) from None
    if "%" in address:  # an IPv6 zone means something on one machine only
        raise RefusedError(f"Nonstandard IP address: {address}", path, node.start)
    if int(bits[:4]) > parsed.max_prefixlen:
        text = f"IPv{parsed.version} mask bits must be <= {parsed.max_prefixlen}"
        raise RefusedError(text, path, node.start)
    return Cidr(network=ipaddress.ip_network((parsed, int(bits)), strict=False))


def _anything_but(node: Node, path: str, dialect: Dialect) -> Condition:
    if isinstance(node, Object):
        return _anything_but_pattern(node, path, dialect)
    if isinstance(node, Scalar) and isinstance(node.value, Constant):
        text = "Value of anything-but must be an array or single string/number value."
        raise RefusedError(text, path, node.start)
    items = _items(node, path)
    values = [_listed(item, path, dialect) for item in items]
    if len({type(value) for value in values}) > 1:
        text = "Inside anything but list, either all values are number or string, mixed type is not supported"
        raise RefusedError(text, path, node.start)
    return AnythingBut(values=frozenset(values), every=dialect.every_element)


def _items(node: Node, path: str) -> Sequence[Node]:
    """The elements of a list, or the one operand that stands in its place."""
    items = node.items if isinstance(node, Array) else (node,)
    if not items:
        raise RefusedError("Empty arrays are not allowed", path, node.start)
    return items


def _listed(node: Node, path: str, dialect: Dialect) -> Value:
    if isinstance(node, Scalar) and not isinstance(node.value, Constant):
        return _literal(node, path, dialect)
    raise RefusedError("Inside anything but list, start|null|boolean is not supported.", path, node.start)


def _anything_but_pattern(node: Object, path: str, dialect: Dialect) -> Condition:
    member = _only_member(node, path, "Anything-But")
    read = _PATTERNS.get(member.name)
    if read is None:
        raise RefusedError(f"Unsupported anything-but pattern: {member.name}", path, member.start)
    path = member_path(path, member.name)
    items = _items(member.node, path)
    for item in items:
        # An object would bring equals-ignore-case inside prefix, which anything-but does not take.
        text = _text(item, path, "prefix/suffix" if member.name in ("prefix", "suffix") else member.name)
        if not text and member.name in ("prefix", "suffix"):
            raise RefusedError("Null prefix/suffix not allowed", path, item.start)
    return AnythingBut(patterns=tuple(read(item, path, dialect) for item in items), every=dialect.every_element)


_Read = Callable[[Node, str, Dialect], Condition]
_PATTERNS: Mapping[str, _Read] = {
    "prefix": _prefix,
    "suffix": _suffix,
    "equals-ignore-case": _equals_ignore_case,
    "wildcard": _wildcard,
}
_OPERATORS: Mapping[str, _Read] = {
    **_PATTERNS,
    "anything-but": _anything_but,
    "numeric": read_numeric,
    "exists": _exists,
    "cidr": _cidr,
}
