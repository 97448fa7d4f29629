"""Every example of docs/filter-policies.md does what the page says."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from services.filtering.dialect import DIALECTS
from services.filtering.document import Object, Scalar, parse_document
from services.filtering.faults import PolicyError
from services.filtering.index import Index
from services.filtering.lint import warnings
from services.filtering.message import AttributeType, Facets, attribute_facets, body_facets
from services.filtering.policy import parse_policy

PAGE = Path(__file__).parents[3] / "docs" / "filter-policies.md"
_BLOCK = re.compile(r"^```(?:(invalid|lint) )?([a-z-]+)(?: ([a-z-]+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_BLOCKS = [(kind, name, mode, text.splitlines()) for kind, name, mode, text in _BLOCK.findall(PAGE.read_text())]
_EVERY_ELEMENT = {"none-listed": True, "one-unlisted": False}
ANSWERS = [
    pytest.param(
        name, mode, lines[0], line.partition(": ")[2], line.startswith("match"), id=f"{name} {mode} {lines[0]} {line}"
    )
    for kind, name, mode, lines in _BLOCKS
    if not kind
    for line in lines[1:]
]
FAULTS = [pytest.param(name, lines[0], lines[1:], id=lines[0]) for kind, name, _, lines in _BLOCKS if kind == "invalid"]
WARNINGS = [pytest.param(name, lines[0], lines[1:], id=lines[0]) for kind, name, _, lines in _BLOCKS if kind == "lint"]


def facets_of(text: str, dialect: str) -> Facets:
    """The view of a message as the page writes it."""
    if DIALECTS[dialect].looks_at_body:
        return body_facets(text.encode())
    document = parse_document(text)
    assert isinstance(document, Object)
    attributes = {}
    for member in document.members:
        source = text[member.node.start : member.node.end]
        if not isinstance(member.node, Scalar):
            attributes[member.name] = (AttributeType.STRING_ARRAY, source)
        elif isinstance(member.node.value, str):
            attributes[member.name] = (AttributeType.STRING, member.node.value)
        else:
            attributes[member.name] = (AttributeType.NUMBER, source)
    return attribute_facets(attributes)


def test_the_page_has_examples_of_every_dialect() -> None:
    """A change of the page's form must not leave its examples unread."""
    assert {name for _, name, _, _ in _BLOCKS} == set(DIALECTS)
    assert {mode for *_, mode, _ in _BLOCKS} == {"", *_EVERY_ELEMENT}
    assert len(ANSWERS) > 80
    assert len(FAULTS) >= 6
    assert len(WARNINGS) >= 2


@pytest.mark.parametrize(("dialect", "mode", "policy", "message", "expected"), ANSWERS)
def test_example_gives_the_answer_of_the_page(
    dialect: str, mode: str, policy: str, message: str, *, expected: bool
) -> None:
    """Policy and message are matched as documented, by the policy itself and by an index of it."""
    language = DIALECTS[dialect]
    if mode:
        language = replace(language, every_element=_EVERY_ELEMENT[mode])
    parsed, facets = parse_policy(policy, language), facets_of(message, dialect)
    assert parsed.accepts(facets) is expected
    assert Index([("s", parsed)]).match(facets) == (["s"] if expected else [])


@pytest.mark.parametrize(("dialect", "policy", "faults"), FAULTS)
def test_invalid_example_has_the_faults_of_the_page(dialect: str, policy: str, faults: list[str]) -> None:
    """All faults with message, path, line and column."""
    with pytest.raises(PolicyError) as caught:
        parse_policy(policy, DIALECTS[dialect])
    found = [f"{f.message} ({f.path}, line {f.line}, column {f.column})" for f in caught.value.faults]
    assert found == faults


@pytest.mark.parametrize(("dialect", "policy", "found"), WARNINGS)
def test_doubtful_example_has_the_warnings_of_the_page(dialect: str, policy: str, found: list[str]) -> None:
    """All of them, with their place."""
    told = warnings(policy, parse_policy(policy, DIALECTS[dialect]), DIALECTS[dialect])
    assert [f"{w.message} ({w.path}, line {w.line}, column {w.column})" for w in told] == found


def test_every_heading_of_an_operator_has_an_example() -> None:
    """The operators of the language and the headings of the page are the same."""
    sections = dict(
        re.findall(r"^## (\S+)(?: and suffix)?\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    )
    for operator in ("prefix", "equals-ignore-case", "wildcard", "anything-but", "numeric", "exists", "cidr", "$or"):
        assert "```" in sections[operator]
