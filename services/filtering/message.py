"""What policies are matched against: the scalars of a message by key.

A message is seen through its attributes or through its JSON body, each flattened once. A key of the body is its names
joined by dots. Where arrays hold objects, each value also remembers the elements it lies in, so that conditions on
several keys can be required of the same element.
"""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from enum import Enum, auto
from itertools import product
from math import prod
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn

from services.filtering.document import MAX_DEPTH
from services.filtering.values import Value, exact_number, scalar

MAX_BODY_BYTES = 256 * 1024
MAX_ATTRIBUTES = 1024
MAX_READINGS = 1000
"""Ways to assign keys to arrays, where names with dots in them make a key lead into several."""

_PAIR = 2
_SHOWN = 80  # characters of a name that an error repeats

Elements = tuple[tuple[int, int], ...]
"""Where a value lies: (number of the array of objects, position in it), outermost first."""


class AttributeType(Enum):
    """The types of Amazon SNS message attributes."""

    STRING = auto()
    STRING_ARRAY = auto()
    NUMBER = auto()
    BINARY = auto()


Attributes = Mapping[str, tuple[AttributeType, str]]
"""Typed attributes by name."""


class MessageError(ValueError):
    """A message cannot be matched; says what is wrong and where."""


class InvalidAttributeError(MessageError):
    """An attribute is not of its type, or there are too many."""


class InvalidBodyError(MessageError):
    """The body is no JSON object."""


class BodyTooLargeError(MessageError):
    """The body exceeds `MAX_BODY_BYTES`."""


class Facets(NamedTuple):
    """One view of a message.

    `values` has every scalar by key, a single one or the elements of arrays. `elements` has, for those keys whose
    values lie in arrays of objects, the values of each element apart. `blank`: there was nothing to look at.
    """

    values: Mapping[str, tuple[Value, ...]]
    elements: Mapping[str, Sequence[tuple[Elements, Sequence[Value]]]] = MappingProxyType({})
    blank: bool = False


NOTHING = Facets(values={}, blank=True)
"""The view of a message without anything to match on."""


def attribute_facets(attributes: Attributes) -> Facets:
    """The view through attributes. Binary ones are as if they were not there.

    Raises:
        InvalidAttributeError: a Number is no number, a String.Array no JSON array of scalars, or there are too many.
    """
    document = attribute_document(attributes)
    return NOTHING if document is None else document_facets(document)


def attribute_document(attributes: Attributes) -> dict[str, Any] | None:
    """The attributes as a JSON object would have them; None when there are none but binary ones.

    Raises:
        InvalidAttributeError: as `attribute_facets`.
    """
    if len(attributes) > MAX_ATTRIBUTES:
        raise InvalidAttributeError(f"{len(attributes)} attributes; at most {MAX_ATTRIBUTES} are allowed")
    document: dict[str, Any] = {}
    for name, (kind, text) in attributes.items():
        if kind is AttributeType.STRING:
            document[name] = text
        elif kind is AttributeType.NUMBER:
            document[name] = _number_attribute(name, text)
        elif kind is AttributeType.STRING_ARRAY:
            document[name] = _array_attribute(name, text)
    return document or None


def _number_attribute(name: str, text: str) -> Decimal:
    try:
        return exact_number(text)
    except ValueError as error:
        raise InvalidAttributeError(f"attribute {name[:_SHOWN]!r} is declared a Number: {error}") from None


def _array_attribute(name: str, text: str) -> list[Any]:
    try:
        array = _load(text)
    except ValueError as error:
        raise InvalidAttributeError(
            f"attribute {name[:_SHOWN]!r} is declared a String.Array and is no JSON: {error}"
        ) from None
    if not isinstance(array, list) or any(isinstance(item, list | dict) for item in array):
        raise InvalidAttributeError(
            f"attribute {name[:_SHOWN]!r} is declared a String.Array: it must be a JSON array of scalars"
        )
    return array


def body_facets(body: bytes) -> Facets:
    """The view through a JSON body.

    Raises:
        InvalidBodyError: not UTF-8, not a JSON object, or nested too deeply.
        BodyTooLargeError: more than `MAX_BODY_BYTES`.
    """
    return document_facets(body_document(body))


def body_document(body: bytes) -> dict[str, Any]:
    """The JSON object of a body, its numbers as Decimal.

    Raises:
        InvalidBodyError: not UTF-8, not a JSON object.
        BodyTooLargeError: more than `MAX_BODY_BYTES`.
    """
    if len(body) > MAX_BODY_BYTES:
        raise BodyTooLargeError(f"the body has {len(body)} bytes; at most {MAX_BODY_BYTES} can be matched")
    try:
        document = _load(body.decode())
    except UnicodeDecodeError as error:
        raise InvalidBodyError(f"the body is not UTF-8: {error.reason} at byte {error.start}") from None
    except ValueError as error:
        raise InvalidBodyError(f"the body is not valid JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidBodyError("the body must be a JSON object to be matched")
    return document


def document_facets(document: dict[str, Any]) -> Facets:
    """The view through a JSON object that is parsed already, its numbers as Decimal.

    Raises:
        InvalidBodyError: nested too deeply.
    """
    values = _flat(document)
    return _Flattener().flatten(document) if values is None else Facets(values)


def _flat(document: dict[str, Any]) -> dict[str, tuple[Value, ...]] | None:
    """The values of an object of texts, numbers and arrays of these alone; None of one that holds anything else."""
    values: dict[str, tuple[Value, ...]] = {}
    for name, value in document.items():
        if isinstance(value, str | Decimal):
            values[name] = (value,)
        elif isinstance(value, list) and all(isinstance(item, str | Decimal) for item in value):
            if value:
                values[name] = tuple(value)
        else:
            return None
    return values


def _load(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except InvalidOperation:
        raise ValueError("the exponent of a number is too large") from None
    except RecursionError:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# Made once: `json.loads` would make one for every text.
_DECODER = json.JSONDecoder(parse_int=Decimal, parse_float=Decimal, parse_constant=_refuse_constant)


class _Flattener:
    def __init__(self) -> None:
        self._groups: dict[str, dict[Elements, list[Value]]] = {}
        self._arrays = 0

    def flatten(self, document: dict[str, Any]) -> Facets:
        self._object(document, "", (), 0)
        values: dict[str, tuple[Value, ...]] = {}
        elements: dict[str, Sequence[tuple[Elements, Sequence[Value]]]] = {}
        for path, groups in self._groups.items():
            if groups.keys() == {()}:
                values[path] = tuple(groups[()])
            else:
                values[path] = tuple(value for group in groups.values() for value in group)
                elements[path] = list(groups.items())
        return Facets(values=values, elements=elements)

    def _object(self, document: dict[str, Any], prefix: str, place: Elements, depth: int) -> None:
        for name, value in document.items():
            self._value(value, prefix + name, place, depth)

    def _value(self, value: object, path: str, place: Elements, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise InvalidBodyError(f"the body is nested deeper than {MAX_DEPTH} levels")
        if isinstance(value, dict):
            self._object(value, f"{path}.", place, depth + 1)
        elif not isinstance(value, list):
            self._groups.setdefault(path, {}).setdefault(place, []).append(scalar(value))
        elif any(isinstance(item, dict | list) for item in value):
            number, self._arrays = self._arrays, self._arrays + 1
            for position, item in enumerate(value):
                self._value(item, path, (*place, (number, position)), depth + 1)
        elif value:
            self._groups.setdefault(path, {}).setdefault(place, []).extend(map(scalar, value))


def share_an_element(candidates: Sequence[Sequence[Elements]]) -> bool:
    """Whether one place per key can be chosen so that no two of them lie in different elements of the same array.

    `candidates` has the satisfying places of each key, at least one. The cost grows with the number of places, not with
    the number of their combinations: an element of an outer array is entered once for all keys that look into it.

    Raises:
        InvalidBodyError: names with dots make the keys lead into arrays in more than `MAX_READINGS` ways.
    """
    constrained = [_by_array(places) for places in candidates if () not in places]
    if len(constrained) < _PAIR:
        return True
    # A key leads into one array; into several only where a name with dots in it looks like nested names.
    if prod(map(len, constrained)) > MAX_READINGS:
        raise InvalidBodyError(
            f"names with dots make the body readable in more than {MAX_READINGS} ways: write nested names as objects"
        )
    for choice in product(*constrained):
        together: dict[int, list[dict[int, list[Elements]]]] = {}
        for number, arrays in zip(choice, constrained, strict=True):
            together.setdefault(number, []).append(arrays[number])
        if all(map(_one_element, together.values())):
            return True
    return False


def _by_array(places: Sequence[Elements]) -> dict[int, dict[int, list[Elements]]]:
    """Array -> position in it -> the rests of the places that lie there."""
    arrays: dict[int, dict[int, list[Elements]]] = {}
    for (number, position), *rest in places:
        arrays.setdefault(number, {}).setdefault(position, []).append(tuple(rest))
    return arrays


def _one_element(keys: Sequence[dict[int, list[Elements]]]) -> bool:
    positions = set(keys[0]).intersection(*keys[1:])
    return any(share_an_element([key[position] for key in keys]) for position in positions)
