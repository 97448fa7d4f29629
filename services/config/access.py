"""Who may do what with which parameters. Nothing is allowed that no rule allows, and a rule that denies always wins.

A path of a rule covers the parameter of this name and everything below it; a level `*` stands for any one level. So `/`
covers everything, and `/prod/*/db` covers `/prod/app/db` and `/prod/app/db/password`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

EVERYBODY = "*"
_MAX_REMEMBERED = 100_000


class Action(StrEnum):
    """What can be allowed. Listing and history need READ, the value of a secret DECRYPT as well."""

    READ = "read"
    DECRYPT = "decrypt"
    WRITE = "write"
    DELETE = "delete"
    LABEL = "label"
    WATCH = "watch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Allows or denies principals some actions on some paths."""

    allows: bool
    principals: frozenset[str]
    actions: frozenset[Action]
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKey:
    """The secret of an AWS access key, and whose it is."""

    principal: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Everything that is configured: how callers prove who they are, and the rules.

    `tokens` maps the SHA-256 of a bearer token, `certificates` a name in a client certificate to a principal.
    """

    principals: frozenset[str]
    rules: Sequence[Rule]
    tokens: Mapping[bytes, str] = field(default_factory=dict, repr=False)
    certificates: Mapping[str, str] = field(default_factory=dict)
    access_keys: Mapping[str, AccessKey] = field(default_factory=dict, repr=False)


class Decisions:
    """Answers by the rules of an `Access`, remembering answers."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._remembered: dict[tuple[str, Action, str], bool] = {}

    def allow(self, principal: str, action: Action, name: str) -> bool:
        """Whether a principal may do this with a parameter."""
        key = (principal, action, name)
        known = self._remembered.get(key)
        if known is None:
            if len(self._remembered) >= _MAX_REMEMBERED:
                self._remembered.clear()
            known = self._remembered[key] = self._decided(principal, action, name)
        return known

    def _decided(self, principal: str, action: Action, name: str) -> bool:
        if principal not in self.access.principals:  # removed since it was let in
            return False
        effects = {rule.allows for rule in self.access.rules if _applies(rule, principal, action, name)}
        return effects == {True}


def _applies(rule: Rule, principal: str, action: Action, name: str) -> bool:
    return (
        action in rule.actions
        and (principal in rule.principals or EVERYBODY in rule.principals)
        and any(covers(path, name) for path in rule.paths)
    )


def covers(path: str, name: str) -> bool:
    """Whether a rule's path covers a parameter."""
    wanted, levels = path.strip("/"), name.split("/")[1:]
    if not wanted:
        return True
    parts = wanted.split("/")
    return len(parts) <= len(levels) and all(
        part in (EVERYBODY, level) for part, level in zip(parts, levels, strict=False)
    )
