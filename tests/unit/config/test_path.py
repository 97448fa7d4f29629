"""Names, selectors and paths, every rule at its edge."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.config.path import (
    MAX_NAME_LENGTH,
    Selector,
    below,
    concerns,
    is_child,
    parse_name,
    parse_path,
    parse_selector,
)
from services.runtime.errors import InvalidArgumentError

LEVEL = st.text("abcXYZ019_.-", min_size=1, max_size=5).filter(lambda level: level[:3].lower() not in ("aws", "ssm"))
NAME = st.lists(LEVEL, min_size=1, max_size=5).map(lambda levels: "/" + "/".join(levels))
PATH = st.one_of(st.just("/"), NAME)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("/prod/app/appConfig", "/prod/app/appConfig"),
        ("one", "/one"),
        ("  /a/b\n", "/a/b"),
        ("/A.b_c-1", "/A.b_c-1"),
        ("/" + "/".join("a" * 15), "/" + "/".join("a" * 15)),
        ("/" + "a" * MAX_NAME_LENGTH, "/" + "a" * MAX_NAME_LENGTH),
        ("/myaws", "/myaws"),
        ("/prod/aws", "/prod/aws"),
    ],
    ids=[
        "hierarchy",
        "one level",
        "blanks around",
        "all characters",
        "15 levels",
        "longest",
        "aws inside",
        "aws below",
    ],
)
def test_names_have_one_form(text: str, name: str) -> None:
    """The first slash is there, blanks around are not."""
    assert parse_name(text) == name


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "a level is empty"),
        ("/", "a level is empty"),
        ("/a/", "a level is empty"),
        ("/a//b", "a level is empty"),
        ("a/b", "starts with `/`"),
        ("/a b", "only letters, digits"),
        ("/a!", "only letters, digits"),
        ("/ä", "only letters, digits"),
        ("/a:1", "only letters, digits"),
        ("/" + "/".join("a" * 16), "16 levels, at most 15"),
        ("/" + "a" * (MAX_NAME_LENGTH + 1), f"at most {MAX_NAME_LENGTH}"),
        ("/aws/x", "`aws` are reserved"),
        ("SSMthing", "`ssm` are reserved"),
        ("Aws", "`aws` are reserved"),
    ],
)
def test_malformed_names_are_refused_with_the_rule(text: str, fault: str) -> None:
    """The error names the field and the rule."""
    with pytest.raises(InvalidArgumentError, match=fault) as caught:
        parse_name(text, field="names[3]")
    assert [violation.field for violation in caught.value.violations] == ["names[3]"]


@pytest.mark.parametrize(
    ("text", "selector"),
    [
        ("/a", Selector(name="/a")),
        ("a:3", Selector(name="/a", version=3)),
        ("/a:stable", Selector(name="/a", label="stable")),
        ("/a:" + "9" * 30, Selector(name="/a", version=10**18)),
        ("/a:3a", Selector(name="/a", label="3a")),
    ],
    ids=["newest", "version", "label", "no such version", "no label, found nowhere"],
)
def test_selectors_name_a_version_or_label(text: str, selector: Selector) -> None:
    """A number is a version, anything else a label."""
    assert parse_selector(text) == selector


@pytest.mark.parametrize("text", ["/a:", "/a:1:2", ":1", "/a b:1"])
def test_malformed_selectors_are_refused(text: str) -> None:
    """Two colons, an empty half, a bad name."""
    with pytest.raises(InvalidArgumentError):
        parse_selector(text)


@pytest.mark.parametrize(("text", "path"), [("/", "/"), ("/a/b/", "/a/b"), (" /a ", "/a"), ("/aws", "/aws")])
def test_paths_have_one_form(text: str, path: str) -> None:
    """The slash at the end may be there."""
    assert parse_path(text) == path


@pytest.mark.parametrize("text", ["", "a", "//", "/a//", "/a*"])
def test_malformed_paths_are_refused(text: str) -> None:
    """The error names the field."""
    with pytest.raises(InvalidArgumentError) as caught:
        parse_path(text)
    assert [violation.field for violation in caught.value.violations] == ["path"]


@given(path=PATH, name=NAME)
def test_the_range_below_a_path_holds_what_begins_with_it(path: str, name: str) -> None:
    """The range of an index and the plain definition agree, also on neighbours such as `/a-b` of `/a`."""
    inside = below(path).first <= name < below(path).last
    assert inside == name.startswith("/" if path == "/" else f"{path}/")
    assert concerns(path, name) == (inside or name == path)


@given(path=PATH, levels=st.lists(LEVEL, min_size=1, max_size=3))
def test_a_child_is_one_level_below(path: str, levels: list[str]) -> None:
    """Grandchildren are not children."""
    name = f"{path.rstrip('/')}/{'/'.join(levels)}"
    assert is_child(path, name) == (len(levels) == 1)


@given(NAME)
def test_the_form_of_a_name_is_stable(name: str) -> None:
    """Parsing what was parsed changes nothing."""
    assert parse_name(name) == name
