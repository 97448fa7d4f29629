"""JMS messages in the form that JmsTool reads and prints: a line each, its fields separated by tabs."""

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Self

from deploy.local.part import PartError

_INT_BITS = 31

JmsType = Literal["string", "boolean", "byte", "short", "int", "long", "float", "double", "bytes"]


class JmsError(PartError):
    """The Java client could not be run, or reported a failure; the message is its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JmsValue:
    """A value with its Java type, where the default (str, bool, int or long, double, bytes) is not the one wanted."""

    type: JmsType
    value: str | bool | int | float | bytes


JmsTyped = str | bool | int | float | bytes | JmsValue


@dataclass(frozen=True, kw_only=True, slots=True)
class JmsMessage:
    """A message to send. At most one body: `text`, `data` (bytes), `entries` (map), `items` (stream) or `object_text`.

    `object_text` becomes an ObjectMessage holding a list of that string. Without a body it is a plain Message, or a
    TextMessage holding null with `null_text`. `headers`: correlation-id, reply-to, type, priority, time-to-live
    (milliseconds), delivery-mode (persistent, the default, or non-persistent).
    """

    text: str | None = None
    data: bytes | None = None
    entries: Mapping[str, JmsTyped] | None = None
    items: Sequence[JmsTyped] | None = None
    object_text: str | None = None
    null_text: bool = False
    properties: Mapping[str, JmsTyped] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def line(self) -> str:
        """The message in the form JmsTool reads."""
        fields = [*self._body_fields()]
        fields += [f"property {_base64(name)} {_typed(value)}" for name, value in self.properties.items()]
        fields += [f"header {_base64(name)} {_base64(value)}" for name, value in self.headers.items()]
        return "\t".join(fields)

    def _body_fields(self) -> Sequence[str]:
        if self.text is not None:
            return ("kind text", f"body {_base64(self.text)}")
        if self.data is not None:
            return ("kind bytes", f"body {b64encode(self.data).decode()}")
        if self.entries is not None:
            return ("kind map", *(f"entry {_base64(name)} {_typed(value)}" for name, value in self.entries.items()))
        if self.items is not None:
            return ("kind stream", *(f"item {_typed(value)}" for value in self.items))
        if self.object_text is not None:
            return ("kind object", f"body {_base64(self.object_text)}")
        return ("kind text",) if self.null_text else ("kind empty",)


@dataclass(frozen=True, kw_only=True, slots=True)
class JmsReceived:
    """A message as a JMS consumer sees it. `body` is bytes for a bytes message, else text, None where there is none."""

    kind: str
    body: str | bytes | None
    entries: Mapping[str, JmsValue]
    properties: Mapping[str, JmsValue]
    headers: Mapping[str, str]

    @classmethod
    def from_line(cls, line: str) -> Self:
        """Read what JmsTool prints."""
        kind, body, entries, properties, headers = "empty", b"", {}, {}, {}
        has_body = False
        for words in (item.split(" ") for item in line.split("\t")):
            match words:
                case ["kind", kind]:
                    pass
                case ["body", encoded]:
                    body, has_body = b64decode(encoded), True
                case ["entry", name, java_type, encoded]:
                    entries[_text(name)] = _value(java_type, encoded)
                case ["property", name, java_type, encoded]:
                    properties[_text(name)] = _value(java_type, encoded)
                case ["header", name, encoded]:
                    headers[_text(name)] = _text(encoded)
                case _:
                    raise JmsError(f"the Java client printed a field nobody knows: {words[0]}")
        content = (body if kind == "bytes" else body.decode()) if has_body else None
        return cls(kind=kind, body=content, entries=entries, properties=properties, headers=headers)


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()


def _text(encoded: str) -> str:
    return b64decode(encoded).decode()


def _typed(value: JmsTyped) -> str:
    typed = value if isinstance(value, JmsValue) else _with_default_type(value)
    match typed.value:
        case bytes() as data:
            encoded = b64encode(data).decode()
        case bool() as flag:
            encoded = _base64(str(flag).lower())
        case other:
            encoded = _base64(str(other))
    return f"{typed.type} {encoded}"


def _with_default_type(value: str | bool | int | float | bytes) -> JmsValue:  # noqa: FBT001, PYI041 - Java knows them apart
    match value:
        case str():
            return JmsValue(type="string", value=value)
        case bool():
            return JmsValue(type="boolean", value=value)
        case int():
            return JmsValue(type="int" if value.bit_length() <= _INT_BITS else "long", value=value)
        case float():
            return JmsValue(type="double", value=value)
        case _:
            return JmsValue(type="bytes", value=value)


def _value(java_type: str, encoded: str) -> JmsValue:
    match java_type:
        case "bytes":
            return JmsValue(type="bytes", value=b64decode(encoded))
        case "string":
            return JmsValue(type="string", value=_text(encoded))
        case "boolean":
            return JmsValue(type="boolean", value=_text(encoded) == "true")
        case "float" | "double":
            return JmsValue(type=java_type, value=float(_text(encoded)))
        case "byte" | "short" | "int" | "long":
            return JmsValue(type=java_type, value=int(_text(encoded)))
        case _:
            raise JmsError(f"the Java client printed a value of unknown type {java_type}")
