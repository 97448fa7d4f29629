"""What the HTTP intake takes from a browser and gives to it: address, cookie, and leave to read an answer (CORS)."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Literal

from services.tracking.event import MAX_TEXT, MAX_USER_AGENT, TrackingEvent
from services.tracking.privacy import objects_to_tracking, visitor_address

SameSite = Literal["Lax", "Strict", "None"]

_COOKIE_VALUE = re.compile(r"[A-Za-z0-9._~-]+")
_PREFLIGHT_SECONDS = "86400"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrowserRules:
    """What the operator allows; without any of it no cookie is set and no page may read an answer.

    Args:
        cors_origins: origins whose pages may call and read answers; `*` stands for all, then without cookies.
        redirect_hosts: see `redirects`.
        cookie_name: of the cookie that recognises visitors; empty for none.
        cookie_seconds: how long browsers keep it.
        cookie_same_site: whether other sites' pages send it; `None` needs HTTPS.
        secure: whether browsers reach the intake by HTTPS.
        respect_do_not_track: visitors who object get no cookie, and neither their cookie nor address is kept.
        proxies: how many proxies of ours stand before the intake.
    """

    cors_origins: frozenset[str] = frozenset()
    redirect_hosts: frozenset[str] = frozenset()
    cookie_name: str = ""
    cookie_seconds: int = 365 * 86_400
    cookie_same_site: SameSite = "Lax"
    secure: bool = False
    respect_do_not_track: bool = True
    proxies: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Who sent a request, as far as it may be known; `set_cookie` is a header of the answer, or empty."""

    user_agent: str
    address: str = ""
    cookie_id: str = ""
    set_cookie: str = ""
    objects: bool = False

    def describe(self, event: TrackingEvent) -> None:
        """Completes an event; what a visitor who objects would be recognised by is taken away."""
        # A missing User-Agent is normal, and a long one no reason to lose the click.
        event.user_agent = event.user_agent or self.user_agent[:MAX_USER_AGENT]
        if self.objects:
            event.cookie_id = event.ip_address = ""
            return
        event.cookie_id = event.cookie_id or self.cookie_id
        event.ip_address = self.address


def visitor_of(headers: Mapping[str, str], peer: str, rules: BrowserRules, new_id: Callable[[], str]) -> Visitor:
    """The visitor behind a request from the address `peer`."""
    user_agent = headers.get("user-agent", "")
    if rules.respect_do_not_track and objects_to_tracking(headers):
        return Visitor(user_agent=user_agent, objects=True)
    address = visitor_address(peer, headers.get("x-forwarded-for", ""), rules.proxies)
    if not rules.cookie_name:
        return Visitor(user_agent=user_agent, address=address)
    known = _cookie(headers.get("cookie", ""), rules.cookie_name)
    cookie_id = known or new_id()
    return Visitor(
        user_agent=user_agent,
        address=address,
        cookie_id=cookie_id,
        set_cookie="" if known else _set_cookie(cookie_id, rules),
    )


def cors_headers(headers: Mapping[str, str], rules: BrowserRules) -> Mapping[str, str]:
    """The headers that let the page of the request's origin read the answer; none where it may not."""
    origin = headers.get("origin", "")
    if not origin or not rules.cors_origins:
        return {}
    if origin in rules.cors_origins:
        credentials = {"access-control-allow-credentials": "true"} if rules.cookie_name else {}
        return {"access-control-allow-origin": origin, "vary": "origin", **credentials}
    return {"access-control-allow-origin": "*"} if "*" in rules.cors_origins else {"vary": "origin"}


def preflight_headers(headers: Mapping[str, str], rules: BrowserRules) -> Mapping[str, str]:
    """The answer to a browser that asks before it sends."""
    allowed = cors_headers(headers, rules)
    if "access-control-allow-origin" not in allowed:
        return allowed
    return {
        **allowed,
        "access-control-allow-methods": "GET, POST",
        "access-control-allow-headers": "content-type, content-encoding",
        "access-control-max-age": _PREFLIGHT_SECONDS,
    }


def _cookie(header: str, name: str) -> str:
    """The value of a cookie that we may have set; anything else in it is no id."""
    try:
        morsel = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    value = morsel.value if morsel else ""
    return value if len(value) <= MAX_TEXT and _COOKIE_VALUE.fullmatch(value) else ""


def _set_cookie(cookie_id: str, rules: BrowserRules) -> str:
    secure = "; Secure" if rules.secure else ""
    return (
        f"{rules.cookie_name}={cookie_id}; Max-Age={rules.cookie_seconds}; Path=/; HttpOnly; "
        f"SameSite={rules.cookie_same_site}{secure}"
    )
