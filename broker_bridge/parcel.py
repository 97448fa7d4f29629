"""A message as its route understands it: text where it is text, properties with their declared types."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from broker_bridge.message import Message
from broker_bridge.property_types import PropertyValue


class AttributeKind(StrEnum):
    """Type of a message attribute, as in Amazon SNS."""

    STRING = "String"
    NUMBER = "Number"
    STRING_ARRAY = "String.Array"
    BINARY = "Binary"


class Attribute(NamedTuple):  # made for every property of every message: a third of the time of a dataclass
    """A JMS property with the type its route declares: text, decimal number or JSON array, always written as text."""

    kind: AttributeKind
    value: str


@dataclass(slots=True, kw_only=True)  # not frozen, as `broker_bridge.message.Message`
class Parcel:
    """A message on its way to a target; nobody changes it.

    `attempt` counts from 1; `text` is None for a body that is not text.
    `values` holds the properties whose JMS type the route declares.
    """

    message: Message
    attempt: int
    attributes: Mapping[str, Attribute]
    text: str | None
    values: Mapping[str, PropertyValue] = field(default_factory=dict)
    group: str = ""
