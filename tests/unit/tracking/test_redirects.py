"""The list of hosts a visitor may be sent on to, and the ways around it."""

import pytest

from services.runtime.errors import InvalidArgumentError
from services.tracking.redirects import is_host_pattern, require_allowed

HOSTS = frozenset({"shop.example", "*.partner.example", "shop.example:8443", "localhost"})


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example",
        "http://shop.example/path?query=https://evil.example#fragment",
        "https://SHOP.example:443/",
        "https://shop.example:8443/",
        "https://a.partner.example/",
        "https://b.a.partner.example/",
    ],
)
def test_listed_hosts_are_allowed(url: str) -> None:
    """By name, by port where the list names one, and below a name."""
    require_allowed(url, HOSTS)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "must begin with"),
        ("/path", "must begin with"),
        ("//shop.example/", "must begin with"),
        ("javascript:alert(1)", "must begin with"),
        ("data:text/html,x", "must begin with"),
        ("https:shop.example", "must begin with"),
        ("https://evil.example/", "evil.example, which is not an allowed host"),
        ("https://shop.example.evil.example/", "not an allowed host"),
        ("https://evilshop.example/", "not an allowed host"),
        ("https://partner.example/", "not an allowed host"),
        ("https://evilpartner.example/", "not an allowed host"),
        ("https://shop.example:444/", "not an allowed host"),
        ("https://shop.example@evil.example/", "user name"),
        ("https://user:secret@shop.example/", "user name"),
        ("https://evil.example\\@shop.example/", "percent-encode"),
        ("https://shop.example/\r\nSet-Cookie: x=1", "percent-encode"),
        (" https://shop.example/", "percent-encode"),
        ("https://shop\t.example/", "percent-encode"),
        ("https://shöp.example/", "percent-encode"),
        ("https://shop.example:port/", "malformed"),
        ("https://[::1/", "malformed"),
        ("https://[::1]/", "not an allowed host"),
    ],
)
def test_anything_else_is_refused_with_its_reason(url: str, reason: str) -> None:
    """What browsers and parsers read differently is refused for its characters."""
    with pytest.raises(InvalidArgumentError) as refusal:
        require_allowed(url, HOSTS)
    assert reason in refusal.value.message
    assert "secret" not in refusal.value.message


def test_without_a_list_nothing_is_allowed() -> None:
    """The default."""
    with pytest.raises(InvalidArgumentError):
        require_allowed("https://shop.example", frozenset())


@pytest.mark.parametrize(
    ("text", "is_pattern"),
    [("shop.example", True), ("*.shop.example", True), ("localhost:8080", True), ("*", False), ("a.*.b", False)],
)
def test_entries_of_the_list_are_hosts(text: str, is_pattern: bool) -> None:  # noqa: FBT001 - a parameter of the table
    """Neither URLs nor other wildcards."""
    assert is_host_pattern(text) is is_pattern
    assert not is_host_pattern(f"https://{text}/")
