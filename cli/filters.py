"""`penstock filter`: try and check filter policies on this machine, without any service."""

import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from cli.connection import usage_error
from cli.output import print_json, print_rows

if TYPE_CHECKING:
    from services.filtering.dialect import Dialect
    from services.filtering.document import Node
    from services.filtering.explain import Explanation
    from services.filtering.faults import Fault
    from services.filtering.message import AttributeType
    from services.filtering.topics import Message

EXIT_NO_MATCH = 1
EXIT_DOUBTFUL = 1
EXIT_INVALID = 2

_TEST_EXAMPLES = """Examples:

penstock filter test '{"price": [{"numeric": [">", 100]}]}' '{"price": 250, "tags": ["new"]}'

penstock filter test policy.json order.json --dialect sns-body && echo wanted

curl --silent https://example.com/event | penstock filter test policy.json - -d eventbridge --json
"""
_EXPLAIN_EXAMPLES = """Examples:

penstock filter explain '{"price": [{"numeric": [">", 100]}], "store": ["a"]}' '{"price": 50, "store": "a"}'

penstock filter explain policy.json event.json --dialect eventbridge --json
"""
_LINT_EXAMPLES = """Examples:

penstock filter lint policy.json --dialect sns-body

penstock filter lint policy.json --strict || exit 1
"""

filters = typer.Typer(
    help="Try and check filter policies; docs/filter-policies.md is their reference.", no_args_is_help=True
)


def register(app: typer.Typer) -> None:
    """Add `penstock filter` to the command."""
    app.add_typer(filters, name="filter")


class DialectName(StrEnum):
    """The policy languages by the names of the reference."""

    SNS_ATTRIBUTES = "sns-attributes"
    SNS_BODY = "sns-body"
    EVENTBRIDGE = "eventbridge"


class ArraysMode(StrEnum):
    """When anything-but accepts an array, by the names of the reference."""

    NONE_LISTED = "none-listed"
    ONE_UNLISTED = "one-unlisted"


PolicyArgument = Annotated[str, typer.Argument(help="The filter policy: JSON, a file, or - for standard input.")]
MessageArgument = Annotated[
    str,
    typer.Argument(
        help="The message: JSON, a file, or -. For sns-attributes an object of attributes, "
        '`{"price": 5, "tags": ["a"]}` or `{"price": {"Type": "Number", "Value": "5"}}`; otherwise the body.'
    ),
]
DialectOption = Annotated[
    DialectName, typer.Option("--dialect", "-d", help="The language of the policy and what it looks at.")
]
ArraysOption = Annotated[
    ArraysMode | None,
    typer.Option("--arrays", help="How anything-but reads several values of a key; otherwise as the dialect has it."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@filters.command("test", epilog=_TEST_EXAMPLES)
def try_policy(
    policy: PolicyArgument,
    message: MessageArgument,
    dialect: DialectOption = DialectName.SNS_ATTRIBUTES,
    arrays: ArraysOption = None,
    as_json: JsonOption = False,
) -> None:
    """Does a message satisfy a policy? Exit code 0: yes, 1: no, 2: one of them is invalid."""
    matches = _explanation(policy, message, _language(dialect, arrays)).matches
    if as_json:
        print_json({"matches": matches})
    else:
        print("match" if matches else "no match")
    raise typer.Exit(0 if matches else EXIT_NO_MATCH)


@filters.command("explain", epilog=_EXPLAIN_EXAMPLES)
def explain_policy(
    policy: PolicyArgument,
    message: MessageArgument,
    dialect: DialectOption = DialectName.SNS_ATTRIBUTES,
    arrays: ArraysOption = None,
    as_json: JsonOption = False,
) -> None:
    """Which condition of which key decided? Exit code 0: match, 1: no match, 2: invalid."""
    explanation = _explanation(policy, message, _language(dialect, arrays))
    rows = [
        {"key": key.path, "satisfied": key.satisfied, "condition": key.condition, "actual": key.actual}
        for key in explanation.keys
    ]
    if as_json:
        print_json({"matches": explanation.matches, "keys": rows})
    else:
        shown = [{**row, "satisfied": "yes" if row["satisfied"] else "no"} for row in rows]
        columns = ("key", "satisfied", "condition", "actual")
        print_rows(shown, columns, as_json=False, empty="the policy has no keys: it accepts every message")
        print("match" if explanation.matches else f"no match{_hint(explanation)}")
    raise typer.Exit(0 if explanation.matches else EXIT_NO_MATCH)


def _hint(explanation: "Explanation") -> str:
    """What the keys one by one do not tell."""
    if not all(key.satisfied for key in explanation.keys):
        return ""
    return ": the keys are satisfied in different elements of an array, or there is nothing to match on"


@filters.command("lint", epilog=_LINT_EXAMPLES)
def lint_policy(
    policy: PolicyArgument,
    dialect: DialectOption = DialectName.SNS_ATTRIBUTES,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings end with exit code 1.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Every fault of a policy with its place, or what is doubtful about it. Exit code 0: valid, 2: invalid."""
    from services.filtering.faults import PolicyError  # noqa: PLC0415 - see the package
    from services.filtering.lint import warnings  # noqa: PLC0415
    from services.filtering.policy import parse_policy  # noqa: PLC0415

    language, text = _language(dialect), _text(policy, "policy")
    faults: tuple[Fault, ...] = ()
    doubts: tuple[Fault, ...] = ()
    try:
        parsed = parse_policy(text, language)
        complexity, doubts = parsed.complexity, warnings(text, parsed, language)
    except PolicyError as error:
        complexity, faults = error.complexity, error.faults
    findings = [("fault", fault) for fault in faults] + [("warning", doubt) for doubt in doubts]
    if as_json:
        print_json({"valid": not faults, "complexity": complexity, "findings": [_plain(*each) for each in findings]})
    else:
        for kind, each in findings:
            print(f"{each.line}:{each.column}: {kind}: {each.message} ({each.path})")
        limit = f" of at most {language.max_combinations}" if language.max_combinations else ""
        print(f"{'invalid' if faults else 'valid'}; {complexity}{limit} value combinations")
    raise typer.Exit(EXIT_INVALID if faults else EXIT_DOUBTFUL if doubts and strict else 0)


def _plain(kind: str, finding: "Fault") -> dict[str, object]:
    names = ("message", "path", "line", "column")
    return {"kind": kind, **{name: getattr(finding, name) for name in names}}


def _language(dialect: DialectName, arrays: ArraysMode | None = None) -> "Dialect":
    from dataclasses import replace  # noqa: PLC0415 - see the package

    from services.filtering.dialect import DIALECTS  # noqa: PLC0415

    language = DIALECTS[dialect.value]
    return language if arrays is None else replace(language, every_element=arrays is ArraysMode.NONE_LISTED)


def _text(argument: str, what: str) -> str:
    if argument == "-":
        return sys.stdin.read()
    if not argument.strip() or argument.lstrip().startswith(("{", "[")):
        return argument
    try:
        return Path(argument).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        usage_error(f"the {what} {argument!r} is neither a JSON object nor a file that can be read: {error}")


def _explanation(policy: str, message: str, language: "Dialect") -> "Explanation":
    from services.filtering.explain import explain  # noqa: PLC0415 - see the package
    from services.filtering.faults import PolicyError  # noqa: PLC0415
    from services.filtering.message import MessageError  # noqa: PLC0415
    from services.filtering.policy import parse_policy  # noqa: PLC0415

    try:
        parsed = parse_policy(_text(policy, "policy"), language)
        return explain(parsed, language, _message(_text(message, "message"), language))
    except PolicyError as error:
        _invalid(f"the policy is not valid:\n{error}")
    except MessageError as error:
        _invalid(f"the message cannot be matched: {error}")


def _invalid(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    raise typer.Exit(EXIT_INVALID)


def _message(text: str, dialect: "Dialect") -> "Message":
    from services.filtering.topics import Message  # noqa: PLC0415 - see the package

    if dialect.looks_at_body:
        return Message(attributes={}, body=text.encode(errors="surrogateescape"))
    return Message(attributes=_attributes(text))


def _attributes(text: str) -> "Mapping[str, tuple[AttributeType, str]]":
    from services.filtering.document import DocumentError, Object, parse_document  # noqa: PLC0415 - see the package

    try:
        document = parse_document(text)
    except DocumentError as error:
        _invalid(f"the message is not valid JSON: {error} (character {error.offset + 1})")
    if not isinstance(document, Object):
        _invalid("the message must be a JSON object of attributes")
    return {member.name: _attribute(member.name, member.node, text) for member in document.members}


def _attribute(name: str, node: "Node", text: str) -> "tuple[AttributeType, str]":
    """An attribute by the type of its JSON value, or in the form of AWS with `Type` and `Value`."""
    from decimal import Decimal  # noqa: PLC0415 - see the package

    from services.filtering.document import Array, Object, Scalar  # noqa: PLC0415
    from services.filtering.message import AttributeType  # noqa: PLC0415

    if isinstance(node, Scalar) and isinstance(node.value, str):
        return AttributeType.STRING, node.value
    if isinstance(node, Scalar) and isinstance(node.value, Decimal):
        return AttributeType.NUMBER, text[node.start : node.end]
    if isinstance(node, Array):
        return AttributeType.STRING_ARRAY, text[node.start : node.end]
    if isinstance(node, Object):
        parts = {part.name: part.node.value for part in node.members if isinstance(part.node, Scalar)}
        kinds = {
            "String": AttributeType.STRING,
            "String.Array": AttributeType.STRING_ARRAY,
            "Number": AttributeType.NUMBER,
            "Binary": AttributeType.BINARY,
        }
        kind, value = kinds.get(str(parts.get("Type"))), parts.get("Value", parts.get("StringValue"))
        if kind is not None and isinstance(value, str):
            return kind, value
    _invalid(
        f"attribute {name!r} must be a string, a number, an array, "
        'or {"Type": "String"|"Number"|"String.Array"|"Binary", "Value": "..."}'
    )
