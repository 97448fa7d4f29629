"""Every example of docs/filter-policies.md does what the page says."""

import re
from pathlib import Path

import pytest

from services.filtering.dialect import DIALECTS
from services.filtering.document import Object, Scalar, parse_document
from services.filtering.faults import PolicyError
from services.filtering.message import AttributeType, Facets, attribute_facets, body_facets
from services.filtering.policy import parse_policy

PAGE = Path(__file__).parents[3] / "docs" / "filter-policies.md"
_BLOCK = re.compile(r"^```(invalid )?([a-z-]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_BLOCKS = [(bool(invalid), name, text.splitlines()) for invalid, name, text in _BLOCK.findall(PAGE.read_text())]
ANSWERS = [
    pytest.param(name, lines[0], line.partition(": ")[2], line.startswith("match"), id=f"{name} {lines[0]} {line}")
    for invalid, name, lines in _BLOCKS
    if not invalid
    for line in lines[1:]
]
FAULTS = [pytest.param(name, lines[0], lines[1:], id=lines[0]) for invalid, name, lines in _BLOCKS if invalid]


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
    assert {name for _, name, _ in _BLOCKS} == set(DIALECTS)
    assert len(ANSWERS) > 70
    assert len(FAULTS) >= 5


@pytest.mark.parametrize(("dialect", "policy", "message", "expected"), ANSWERS)
def test_example_gives_the_answer_of_the_page(dialect: str, policy: str, message: str, *, expected: bool) -> None:
    """Policy and message are matched as documented."""
    assert parse_policy(policy, DIALECTS[dialect]).accepts(facets_of(message, dialect)) is expected


@pytest.mark.parametrize(("dialect", "policy", "faults"), FAULTS)
def test_invalid_example_has_the_faults_of_the_page(dialect: str, policy: str, faults: list[str]) -> None:
    """All faults with message, path, line and column."""
    with pytest.raises(PolicyError) as caught:
        parse_policy(policy, DIALECTS[dialect])
    found = [f"{f.message} ({f.path}, line {f.line}, column {f.column})" for f in caught.value.faults]
    assert found == faults


def test_every_heading_of_an_operator_has_an_example() -> None:
    """The operators of the language and the headings of the page are the same."""
    sections = dict(
        re.findall(r"^## (\S+)(?: and suffix)?\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    )
    for operator in ("prefix", "equals-ignore-case", "wildcard", "anything-but", "numeric", "exists", "cidr", "$or"):
        assert "```" in sections[operator]
