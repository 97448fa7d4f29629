"""Names, selectors and paths of parameters: the rules of Parameter Store, and which names lie below a path.

A name is kept in one form, with its first slash: `/prod/app/appConfig`. Names sort by code point.
"""

import re
from dataclasses import dataclass

from services.runtime.errors import FieldViolation, InvalidArgumentError

MAX_LEVELS = 15
MAX_NAME_LENGTH = 966
"""Characters without the first slash. AWS allows 1011 for the whole ARN, whose prefix takes 45."""

ROOT = "/"

_LEVEL = re.compile(r"[a-zA-Z0-9_.-]+")
_RESERVED = ("aws", "ssm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Which version of a parameter is wanted: the newest, a version, or the one that carries a label."""

    name: str
    version: int | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NameRange:
    """Names from `first`, included, to `last`, excluded: what lies below a path is one such range."""

    first: str
    last: str


def parse_name(text: str, *, field: str = "name") -> str:
    """The name in its one form. Blanks around it are dropped, the first slash may be missing on a one-level name.

    Raises:
        InvalidArgumentError: naming `field` and the rule that is broken.
    """
    name = text.strip()
    if "/" not in name:
        name = f"/{name}"
    fault = _fault(name) or (_reserved(name))
    if fault:
        levels = name.count("/")
        error = "HierarchyLevelLimitExceededException" if name.startswith("/") and levels > MAX_LEVELS else ""
        raise _invalid(field, f"{_shown(text)} is not a parameter name: {fault}", ssm_error=error)
    return name


def parse_selector(text: str, *, field: str = "name") -> Selector:
    """`name`, `name:version` or `name:label`.

    Raises:
        InvalidArgumentError: naming `field` and the rule that is broken.
    """
    name, colon, wanted = text.strip().partition(":")
    parsed = parse_name(name, field=field)
    if not colon:
        return Selector(name=parsed)
    if not wanted or ":" in wanted:
        raise _invalid(field, f"{_shown(text)} is not `name`, `name:version` or `name:label`")
    if wanted.isascii() and wanted.isdigit():
        # Beyond 18 digits no version exists and SQLite has no such integer.
        return Selector(name=parsed, version=min(int(wanted), 10**18))
    return Selector(name=parsed, label=wanted)


def parse_path(text: str, *, field: str = "path") -> str:
    """A path in its one form: `/` or `/prod/app`, without a slash at its end.

    Raises:
        InvalidArgumentError: naming `field` and the rule that is broken.
    """
    path = text.strip()
    if path == ROOT:
        return path
    path = path.removesuffix("/")
    if fault := _fault(path):
        raise _invalid(field, f"{_shown(text)} is not a path: {fault}")
    return path


def below(path: str) -> NameRange:
    """The names below a path, all levels; the path itself is not among them."""
    prefix = path.rstrip("/")
    return NameRange(first=f"{prefix}/", last=f"{prefix}0")  # "0" is the character after "/"


def is_child(path: str, name: str) -> bool:
    """Whether a name that lies below a path is directly below it."""
    return "/" not in name[len(path.rstrip("/")) + 1 :]


def concerns(path: str, name: str) -> bool:
    """Whether a watcher of a path hears of a name: the name itself, and everything below the path."""
    return name == path or name.startswith(f"{path.rstrip('/')}/")


def _fault(name: str) -> str | None:
    """The rule that a name or path with its first slash breaks; None when it breaks none."""
    levels = name.split("/")[1:]
    if not name.startswith("/"):
        return "a hierarchy starts with `/`"
    if not all(levels):
        return "a level is empty"
    if not all(_LEVEL.fullmatch(level) for level in levels):
        return "only letters, digits and `_.-` are allowed, levels separated by `/`"
    if len(levels) > MAX_LEVELS:
        return f"it has {len(levels)} levels, at most {MAX_LEVELS} are allowed"
    if len(name) - 1 > MAX_NAME_LENGTH:
        return f"it has {len(name) - 1} characters without the first slash, at most {MAX_NAME_LENGTH} are allowed"
    return None


def _reserved(name: str) -> str | None:
    start = name[1:4].lower()
    return f"names starting with `{start}` are reserved" if start in _RESERVED else None


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:80]}…")  # noqa: PLR2004 - enough to recognise it


def _invalid(field: str, fault: str, *, ssm_error: str = "") -> InvalidArgumentError:
    violations = [FieldViolation(field=field, description=fault)]
    return InvalidArgumentError(fault, violations=violations, metadata={"ssm_error": ssm_error} if ssm_error else {})
