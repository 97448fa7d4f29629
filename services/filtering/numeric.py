"""Numbers of a policy: `{"numeric": [">", 0, "<=", 100]}`, and the limits Amazon SNS sets for them."""

from decimal import Decimal

from services.filtering.conditions import Condition, Exact, Numeric
from services.filtering.dialect import Dialect
from services.filtering.document import Array, Node, Object, Scalar
from services.filtering.faults import RefusedError

_LOWER = {">": False, ">=": True}
_UPPER = {"<": False, "<=": True}
_COMPARISON = 2  # an operator and its operand
_RANGE = 4


def read_numeric(node: Node, path: str, dialect: Dialect) -> Condition:
    """The condition of a `numeric` operator: a comparison, or a lower and an upper bound.

    Raises:
        RefusedError: it is neither.
    """
    if not isinstance(node, Array):
        raise RefusedError("Value of numeric must be an array.", path, node.start)
    operator = _operator(node, path)
    value = _operand(node, 1, operator, path, dialect)
    if operator in _LOWER and len(node.items) > _COMPARISON:
        return _range(node, _LOWER[operator], value, path, dialect)
    if len(node.items) > _COMPARISON:
        raise RefusedError("Too many elements in numeric expression", path, node.items[_COMPARISON].start)
    if operator == "=":
        return Exact(value=value)
    if operator in _LOWER:
        return Numeric(lower=value, lower_inclusive=_LOWER[operator])
    return Numeric(upper=value, upper_inclusive=_UPPER[operator])


def _operator(node: Array, path: str) -> str:
    first = node.items[0] if node.items else None
    if not (isinstance(first, Scalar) and isinstance(first.value, str)):
        raise RefusedError(f"Invalid member in numeric match: {_shown(first)}", path, (first or node).start)
    if first.value not in ("=", *_LOWER, *_UPPER):
        raise RefusedError(f"Unrecognized numeric range operator: {first.value}", path, first.start)
    return first.value


def _range(node: Array, lower_inclusive: bool, lower: Decimal, path: str, dialect: Dialect) -> Condition:  # noqa: FBT001
    operator = node.items[_COMPARISON]
    if not (isinstance(operator, Scalar) and isinstance(operator.value, str)):
        raise RefusedError(f"Bad value in numeric range: {_shown(operator)}", path, operator.start)
    if operator.value not in _UPPER:
        raise RefusedError(f"Bad numeric range operator: {operator.value}", path, operator.start)
    upper = _operand(node, _COMPARISON + 1, operator.value, path, dialect)
    if len(node.items) > _RANGE:
        raise RefusedError("Too many terms in numeric range expression", path, node.items[_RANGE].start)
    if lower >= upper:
        raise RefusedError("Bottom must be less than top", path, node.items[_COMPARISON + 1].start)
    return Numeric(lower=lower, lower_inclusive=lower_inclusive, upper=upper, upper_inclusive=_UPPER[operator.value])


def _operand(node: Array, position: int, operator: str, path: str, dialect: Dialect) -> Decimal:
    operand = node.items[position] if position < len(node.items) else node
    if not isinstance(operand, Scalar) or not isinstance(operand.value, Decimal):
        raise RefusedError(f"Value of {'equals' if operator == '=' else operator} must be numeric", path, operand.start)
    return fitting_number(operand, path, dialect)


def fitting_number(node: Scalar, path: str, dialect: Dialect) -> Decimal:
    """The number of a node.

    Raises:
        RefusedError: it is beyond the limits of the dialect.
    """
    number, limit, digits = node.value, dialect.max_number, dialect.max_decimals
    assert isinstance(number, Decimal)
    if limit is not None and not -limit <= number <= limit:
        raise RefusedError(f"Number must be between -{limit} and {limit}", path, node.start)
    if digits is not None and _decimals(number) > digits:
        raise RefusedError(f"Number must not have more than {digits} digits after the point", path, node.start)
    return number


def _decimals(number: Decimal) -> int:
    """Digits after the point without trailing zeros; `normalize` would round to the precision of the context."""
    _, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    if not any(digits) or exponent >= 0:
        return 0
    zeros = len(digits) - len("".join(map(str, digits)).rstrip("0"))
    return max(0, -exponent - zeros)


def _shown(node: Node | None) -> str:
    """A value as AWS names it in its messages: a container by its opening bracket, a missing one by the closing one."""
    if node is None:
        return "]"
    if isinstance(node, Scalar):
        return str(getattr(node.value, "value", node.value))
    return "{" if isinstance(node, Object) else "["
