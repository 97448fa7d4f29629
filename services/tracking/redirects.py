"""Where a click may be sent on to: only to hosts of an allow-list, or the intake would lend its name to any phisher."""

import re
from collections.abc import Collection
from urllib.parse import SplitResult, urlsplit

from services.runtime.errors import InvalidArgumentError

_HOST = re.compile(r"(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*(:[0-9]{1,5})?")
# What a browser strips or reads as something else than urlsplit does: controls, spaces, backslashes, beyond ASCII.
_UNSAFE = re.compile(r"[^\x21-\x7e]|\\")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def is_host_pattern(text: str) -> bool:
    """Whether a text is an entry of the list: `shop.example`, `shop.example:8443`, or `*.example` for all below it."""
    return _HOST.fullmatch(text) is not None


def require_allowed(url: str, hosts: Collection[str]) -> None:
    """Returns when a browser may be sent to `url`.

    Raises:
        InvalidArgumentError: with what is wrong with the URL, or that its host is not on the list.
    """
    if _UNSAFE.search(url):
        raise InvalidArgumentError("url has characters that do not belong into a URL: percent-encode them")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidArgumentError(f"url is malformed: {error}") from error
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise InvalidArgumentError("url must begin with https:// or http:// and a host")
    if parts.username is not None or parts.password is not None:
        raise InvalidArgumentError("url has a user name before its host")
    if not _is_listed(parts, port, hosts):
        raise InvalidArgumentError(f"url leads to {parts.netloc[:100]}, which is not an allowed host")


def _is_listed(parts: SplitResult, port: int | None, hosts: Collection[str]) -> bool:
    host = parts.hostname or ""
    suffix = "" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}"
    labels = host.split(".")
    wildcards = (f"*.{'.'.join(labels[begin:])}{suffix}" for begin in range(1, len(labels)))
    return host + suffix in hosts or any(wildcard in hosts for wildcard in wildcards)
