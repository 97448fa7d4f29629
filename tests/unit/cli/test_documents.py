"""Documents of parameters: what is written is read back, what is none is told without being quoted."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.documents import DocumentError, Format, Item, Kind, format_of, read_document, write_document

TREES = [Format.JSON, Format.YAML, Format.TOML]

texts = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=12) | st.sampled_from(
    [
        "no",
        "1.10",
        "12:30",
        "null",
        "~",
        "true",
        " padded ",
        "two\nlines",
        "#",
        "'",
        '"',
        "\\n",
        "{a: 1}",
        "- x",
        "$HOME",
    ]
)
levels = st.from_regex(r"[A-Za-z0-9.-]{1,6}", fullmatch=True)
names = st.lists(levels, min_size=1, max_size=4).map("/".join)
items = st.one_of(
    st.builds(Item, value=texts, kind=st.none()),
    st.builds(Item, value=texts, kind=st.just(Kind.SECURE_STRING)),
    st.builds(
        Item,
        value=st.lists(texts.map(lambda text: text.replace(",", ".")), min_size=1, max_size=3).map(",".join),
        kind=st.just(Kind.STRING_LIST),
    ),
)


@given(st.sampled_from(TREES), st.dictionaries(names, items, max_size=6))
def test_what_is_written_is_read_back(kind: Format, given_items: Mapping[str, Item]) -> None:
    """Every name, type and text, also of parameters that have others below them."""
    assert read_document(write_document(given_items, kind), kind) == given_items


@given(
    st.dictionaries(st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,5}(/[A-Za-z][A-Za-z0-9]{0,5}){0,2}", fullmatch=True), texts)
)
def test_variables_are_read_back(given_values: Mapping[str, str]) -> None:
    """Whatever stands in a value: quotes, backslashes, line breaks, dollar signs."""
    document = write_document({name: Item(value=value) for name, value in given_values.items()}, Format.ENV)
    assert {name: item.value for name, item in read_document(document, Format.ENV).items()} == given_values


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Format.JSON, '{"a": 1.10, "b": true, "big": 1152921504606846977, "c": {"d": ["x", 2]}}'),
        (Format.YAML, "a: 1.10\nb: true\nbig: 1152921504606846977\nc:\n  d: [x, 2]\n"),
        (Format.TOML, 'a = 1.10\nb = true\nbig = 1152921504606846977\n[c]\nd = ["x", 2]\n'),
    ],
)
def test_numbers_and_booleans_are_the_text_that_stands_there(kind: Format, text: str) -> None:
    """1.10 is a version, not 1.1."""
    assert read_document(text, kind) == {
        "a": Item(value="1.10"),
        "b": Item(value="true"),
        "big": Item(value="1152921504606846977"),
        "c/d": Item(value="x,2", kind=Kind.STRING_LIST),
    }


def test_env_files_are_read_as_people_write_them() -> None:
    """export, quotes, comments; nothing is expanded."""
    text = "# of prod\nexport DB__HOST=db.example\nPASSWORD='a b' # old\nURL=\"x\\ny\"\nREF=${HOME}\n"
    assert {name: item.value for name, item in read_document(text, Format.ENV).items()} == {
        "DB/HOST": "db.example",
        "PASSWORD": "a b",
        "URL": "x\ny",
        "REF": "${HOME}",
    }


@pytest.mark.parametrize(
    ("kind", "text", "told"),
    [
        (Format.JSON, '{"a": s3cret}', "not JSON: line 1, column 7"),
        (Format.JSON, '{"a": NaN}', "NaN"),
        (Format.JSON, "[]", "a mapping of names"),
        (Format.JSON, '{"a": null}', "a: a NoneType is no value"),
        (Format.JSON, '{"a": {"b": ""}}', "a/b: the value is empty"),
        (Format.JSON, '{"a": []}', "a: a StringList has at least one"),
        (Format.JSON, '{"a": ["s3cret,x"]}', "a: a StringList has at least one"),
        (Format.JSON, '{"a": {"$secret": 1, "b": "s3cret"}}', "a: a SecureString is"),
        (Format.JSON, '{"a": {"x/y": "s3cret"}}', "a: 'x/y' is no level"),
        (Format.JSON, '{"$value": "s3cret"}', "the top: '\\$value' is no level"),
        (Format.YAML, "a: [s3cret", "not YAML: line 1, column"),
        (Format.TOML, "a = s3cret", "not TOML: line 1, column 5"),
        (Format.TOML, "a = 1979-05-27", "a: a date is no value"),
        (Format.ENV, "A=1\ns3cret value", "line 2 of the .env"),
        (Format.ENV, "A=", "line 1 of the .env"),
    ],
)
def test_what_is_no_parameter_is_told_by_place_and_never_quoted(kind: Format, text: str, told: str) -> None:
    """The text may be a secret that somebody pasted wrongly."""
    with pytest.raises(DocumentError, match=told) as caught:
        read_document(text, kind)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("name", ["a-b", "a.b", "a__b", "_/a", "1"])
def test_names_that_no_variable_can_have_are_refused(name: str) -> None:
    """Read back they would be others."""
    with pytest.raises(DocumentError, match="choose another format"):
        write_document({name: Item(value="x")}, Format.ENV)


@pytest.mark.parametrize(
    ("file_name", "kind"),
    [
        ("a.json", Format.JSON),
        ("a.yml", Format.YAML),
        ("a.YAML", Format.YAML),
        (".env", Format.ENV),
        ("prod.env", Format.ENV),
    ],
)
def test_a_file_name_tells_its_format(file_name: str, kind: Format) -> None:
    assert format_of(file_name) is kind
    assert format_of(f"{file_name}.bak") is None
