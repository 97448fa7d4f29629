"""What has to change so that one set of parameters becomes another, as a plan that can be shown before it is done."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from cli.documents import Item, Items, Kind

HIDDEN = "••••••"
"""Shown in place of a secret; of one length, so that it tells nothing."""


class Action(StrEnum):
    """What happens to a parameter."""

    ADD = "add"
    CHANGE = "change"
    DELETE = "delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Current:
    """A parameter as it is at the target; `version` is None where the target counts none."""

    item: Item
    version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One step of a plan. `before` and `after` are the values, None where there is none; secrets are never shown."""

    action: Action
    name: str
    kind: Kind
    before: str | None = field(repr=False)
    after: str | None = field(repr=False)
    version: int | None = None

    @property
    def secret(self) -> bool:
        return self.kind is Kind.SECURE_STRING

    def row(self, *, show_secrets: bool) -> dict[str, object]:
        """What a person sees of it."""

        def shown(value: str | None) -> str | None:
            return HIDDEN if value is not None and self.secret and not show_secrets else value

        return {
            "change": self.action.value,
            "name": self.name,
            "type": self.kind.value,
            "before": shown(self.before),
            "after": shown(self.after),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The changes, by name, and what stands against them: nothing is done while there is a conflict."""

    changes: Sequence[Change]
    conflicts: Sequence[str]


def plan_of(wanted: Items, current: Mapping[str, Current], *, prune: bool) -> Plan:
    """What makes `current` be `wanted`; with `prune` also deletes what is not wanted."""
    changes: list[Change] = []
    conflicts: list[str] = []
    for name, item in sorted(wanted.items()):
        found = current.get(name)
        if found is None:
            kind = item.kind or Kind.STRING
            changes.append(Change(action=Action.ADD, name=name, kind=kind, before=None, after=item.value, version=0))
            continue
        is_kind = found.item.kind or Kind.STRING
        if item.kind not in (None, is_kind):
            conflicts.append(f"{name} is a {is_kind} and cannot become a {item.kind}: delete it first")
        elif found.item.value != item.value:
            changes.append(_change(Action.CHANGE, name, is_kind, found, item.value))
    if prune:
        changes += _deletions(wanted, current)
    return Plan(changes=sorted(changes, key=lambda change: change.name), conflicts=conflicts)


def _deletions(wanted: Items, current: Mapping[str, Current]) -> Iterator[Change]:
    for name, found in current.items():
        if name not in wanted:
            yield _change(Action.DELETE, name, found.item.kind or Kind.STRING, found, None)


def _change(action: Action, name: str, kind: Kind, found: Current, after: str | None) -> Change:
    return Change(action=action, name=name, kind=kind, before=found.item.value, after=after, version=found.version)
