"""Parameters as a document: JSON, YAML, TOML and .env, read and written without loss.

In JSON, YAML and TOML the levels of a name are nested mappings, a text is a String, a list a StringList. A SecureString
is `{"$secret": "..."}`; a parameter that has others below it is `{"$value": ..., "below": ...}`. In .env files the
levels of a name are joined by `__`. Numbers and booleans become the text that stands in the file.
"""

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NoReturn

_SECRET, _VALUE = "$secret", "$value"
_LEVELS = "__"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Kind(StrEnum):
    """Types of a parameter by the words of Parameter Store."""

    STRING = "String"
    STRING_LIST = "StringList"
    SECURE_STRING = "SecureString"


class Format(StrEnum):
    """How a document is written."""

    JSON = "json"
    YAML = "yaml"
    TOML = "toml"
    ENV = "env"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """The value of a parameter in a document. A list is its texts joined by commas, as the service keeps it.

    `kind` is None where the document does not tell it, and then whatever the parameter is; String if it is new.
    """

    value: str = field(repr=False)
    kind: Kind | None = None

    @property
    def secret(self) -> bool:
        return self.kind is Kind.SECURE_STRING


Items = Mapping[str, Item]
"""Items by their names below the path that is read or written, such as `db/host`, without a slash at the start."""


class DocumentError(Exception):
    """A document that cannot be read or written; the message names the place and what to do, and no value."""


def format_of(file_name: str) -> Format | None:
    """The format that a file name tells: `.json`, `.yaml`, `.yml`, `.toml`, and names such as `.env` or `prod.env`."""
    suffix = file_name.rpartition(".")[2].lower()
    return {"yml": Format.YAML}.get(suffix) or next((known for known in Format if known == suffix), None)


def read_document(text: str, kind: Format) -> Items:
    """The items of a document.

    Raises:
        DocumentError: it is not of this format, or holds what is no parameter.
    """
    if kind is Format.ENV:
        return {name: Item(value=value) for name, value in _variables(text)}
    try:
        tree = _PARSERS[kind](text)
    except DocumentError:
        raise
    except Exception as error:  # noqa: BLE001 - each parser has errors of its own, which may quote the text
        raise DocumentError(f"not {kind.upper()}: {_place(error)}") from None
    if not isinstance(tree, dict):
        raise DocumentError(f"a {kind.upper()} document of parameters is a mapping of names")
    return dict(_items(tree, ()))


def write_document(items: Items, kind: Format) -> str:
    """The document of items, ordered by name.

    Raises:
        DocumentError: a name has no form in this format.
    """
    if kind is Format.ENV:
        return "".join(f"{_variable(name)}={_quoted(item.value)}\n" for name, item in sorted(items.items()))
    tree: dict[str, Any] = {}
    for name, item in sorted(items.items()):
        *above, last = name.split("/")
        node = tree
        for level in above:
            below = node.setdefault(level, {})
            if not isinstance(below, dict) or _SECRET in below:
                below = node[level] = {_VALUE: below}
            node = below
        node[last] = _leaf(item)
    return _WRITERS[kind](tree)


def _items(node: Any, levels: tuple[str, ...]) -> Iterator[tuple[str, Item]]:
    name = "/".join(levels)
    if isinstance(node, dict) and _SECRET not in node:
        for key, below in node.items():
            if key == _VALUE and levels and (not isinstance(below, dict) or _SECRET in below):
                yield from _items(below, levels)
            elif not isinstance(key, str) or "/" in key or not key or key.startswith("$"):
                raise DocumentError(f"{name or 'the top'}: {key!r} is no level of a name")
            else:
                yield from _items(below, (*levels, key))
        return
    yield name, _item(node, name)


def _item(leaf: Any, name: str) -> Item:
    if isinstance(leaf, dict):
        if set(leaf) != {_SECRET} or not isinstance(leaf[_SECRET], str):
            _refuse(name, f'a SecureString is {{"{_SECRET}": "..."}}, with a text and nothing else')
        return Item(value=leaf[_SECRET], kind=Kind.SECURE_STRING)
    if isinstance(leaf, list):
        texts = [_text(item, name) for item in leaf]
        if not texts or any("," in text for text in texts):
            _refuse(name, "a StringList has at least one text, and none holds a comma")
        return Item(value=",".join(texts), kind=Kind.STRING_LIST)
    return Item(value=_text(leaf, name), kind=None)


def _text(leaf: Any, name: str) -> str:
    if isinstance(leaf, bool):
        return "true" if leaf else "false"
    if isinstance(leaf, int):
        return str(leaf)
    if not isinstance(leaf, str):
        _refuse(name, f"a {type(leaf).__name__} is no value of a parameter: write it as a text")
    if not leaf:
        _refuse(name, "the value is empty; a parameter has at least one character")
    return leaf


def _leaf(item: Item) -> Any:
    if item.secret:
        return {_SECRET: item.value}
    return item.value.split(",") if item.kind is Kind.STRING_LIST else item.value


def _variables(text: str) -> Iterator[tuple[str, str]]:
    from io import StringIO  # noqa: PLC0415 - see the package

    from dotenv.parser import parse_stream  # noqa: PLC0415

    for binding in parse_stream(StringIO(text)):
        if binding.error or (binding.key is not None and not binding.value):
            raise DocumentError(f"line {binding.original.line} of the .env file is no NAME=value")
        if binding.key is not None and binding.value is not None:
            yield binding.key.replace(_LEVELS, "/"), binding.value


def _variable(name: str) -> str:
    variable = name.replace("/", _LEVELS)
    if not _VARIABLE.fullmatch(variable) or variable.replace(_LEVELS, "/") != name:
        raise DocumentError(f"{name} is no name of a variable (letters, digits, single _): choose another format")
    return variable


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return value if re.fullmatch(r"[A-Za-z0-9_./:@%+=,-]+", value) else f"'{escaped}'"


def _json(text: str) -> Any:
    def refuse(word: str) -> NoReturn:
        raise DocumentError(f"not JSON: {word} is no JSON value")

    # Numbers stay as they are written: 1.0 is not 1, and 2**60 keeps its digits.
    return json.loads(text, parse_int=str, parse_float=str, parse_constant=refuse)


def _yaml(text: str) -> Any:
    import yaml  # noqa: PLC0415 - see the package

    # BaseLoader gives every scalar as the text that stands there: `no`, 12:30 and 1.10 are no booleans and numbers.
    return yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - it makes texts, lists and mappings alone


def _to_yaml(tree: Mapping[str, Any]) -> str:
    import yaml  # noqa: PLC0415

    written: str = yaml.safe_dump(dict(tree), allow_unicode=True, default_flow_style=False, sort_keys=False)
    return written


def _to_toml(tree: Mapping[str, Any]) -> str:
    import tomli_w  # noqa: PLC0415

    return tomli_w.dumps(tree)


def _place(error: Exception) -> str:
    """Where a parser stopped, without what it stopped at."""
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return f"line {mark.line + 1}, column {mark.column + 1}"
    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno}, column {error.colno}"
    found = re.search(r"at (line \d+, column \d+|end of document)", str(error))
    return found.group(1) if found else "it cannot be read"


def _refuse(name: str, fault: str) -> NoReturn:
    raise DocumentError(f"{name or 'the top'}: {fault}")


_PARSERS: Mapping[Format, Callable[[str], Any]] = {
    Format.JSON: _json,
    Format.YAML: _yaml,
    Format.TOML: lambda text: tomllib.loads(text, parse_float=str),
}
_WRITERS: Mapping[Format, Callable[[Mapping[str, Any]], str]] = {
    Format.JSON: lambda tree: json.dumps(tree, ensure_ascii=False, indent=2) + "\n",
    Format.YAML: _to_yaml,
    Format.TOML: _to_toml,
}
