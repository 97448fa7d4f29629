"""Which of many policies does a message satisfy? Answered by looking up, not by trying them all.

Each *branch* of a policy, one way through the alternatives of its `$or`s, has a *slot*. Per key a `Column` says which
slots fail with the values a message has; those that fail nowhere are the answer. So the cost hardly depends on how many
policies there are or how much they overlap: it is one mask, mostly remembered, per key of the message. Branches that
ask for an exact value that few others ask for stand in an `AccessTable` instead.

An index never changes: `changed` builds what is touched anew, aside, and shares the rest. The new index then takes the
place of the old one in one step.
"""

# ruff: noqa: SLF001 - an index changes its own copy, before anybody else sees it

import gc
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, Generic

from services.filtering.access import AccessTable, Check, checks_of
from services.filtering.bitset import Bitset, Mask
from services.filtering.branch import Branch, Owner, branches_of
from services.filtering.column import Column
from services.filtering.masks import BITSET
from services.filtering.message import NOTHING, Facets, document_facets
from services.filtering.policy import Policy, Rule, satisfied

MEMO_BYTES = 128 * 1024 * 1024
"""Of masks remembered by the columns of an index together, about and at most."""

_MAX_SHAPES = 1000  # sets of keys for which the branches that want another key are remembered

_Home = int | Rule
"""Where a branch stands: its slot in the columns, or the rule it is filed by in the access table."""


class Index(Generic[Owner]):
    """Whose policies accept a message. Nothing ever changes but what is remembered of values seen before."""

    def __init__(self, policies: Iterable[tuple[Owner, Policy]] = (), bits: Bitset = BITSET) -> None:
        self._bits = bits
        self._catch_all: dict[Owner, None] = {}
        self._homes: dict[Owner, tuple[tuple[Branch[Owner], _Home], ...]] = {}
        self._access = AccessTable[Owner]()
        self._columns: dict[str, Column] = {}
        self._branches: list[Branch[Owner] | None] = []
        self._owners: list[Owner | None] = []
        self._free: list[int] = []
        self._alive: Mask = bits.EMPTY
        self._doubtful: dict[int, tuple[Check, ...]] = {}
        self._repeating = 0
        self._total = 0
        with _no_garbage():
            self._build([branch for owner, policy in policies for branch in branches_of(owner, policy)])
            self._seal()

    def __len__(self) -> int:
        return len(self._catch_all) + len(self._homes)

    @property
    def needs_message(self) -> bool:
        """Whether the answer depends on the message at all; otherwise `match(NOTHING)` is it."""
        return bool(self._homes)

    def match(self, facets: Facets) -> list[Owner]:
        """The owners of the policies that accept a message, each once, in no particular order."""
        found = list(self._catch_all)
        if facets.blank or not self._homes:
            return found
        if self._access:
            found += self._access.match(facets)
        if self._columns:
            found += self._sift(facets)
        if self._repeating:
            return list(dict.fromkeys(found))
        return found

    def match_document(self, document: dict[str, Any] | None) -> list[Owner]:
        """The same for a JSON object that is parsed already, its numbers as Decimal; None is nothing to look at.

        Nobody may change the document meanwhile, another thread neither: the compiled match does not check for it.

        Raises:
            InvalidBodyError: nested too deeply.
        """
        if document is None:
            return self.match(NOTHING)
        found: list[Owner] | None = self._bits.match(self._plan, document)
        return self.match(document_facets(document)) if found is None else found

    def _sift(self, facets: Facets) -> list[Owner]:
        if not facets.elements and not self._doubtful:
            return self._bits.pick(self._alive, self._failing(facets.values), self._owners)
        # Several values of a key in one element count together; what several keys ask of one element is verified.
        apart = {key: tuple(tuple(group) for _, group in groups) for key, groups in facets.elements.items()}
        branches = self._bits.pick(self._alive, self._failing({**facets.values, **apart}), self._branches)
        return [
            branch.owner
            for branch in branches
            if not _must_be_verified(branch, facets) or satisfied(branch.rules, facets)
        ]

    def _failing(self, values: Mapping[str, Any]) -> list[Mask]:
        """The slots that fail, key by key, and for want of a key."""
        known = [(key, self._columns[key]) for key in values if key in self._columns]
        numbers = array("I", sorted(self._numbers[key] for key, _ in known))
        shape = self._bits.flipped(self._bits.EMPTY, numbers)
        return [self._wanting.failing(shape), *(column.failing(values[key]) for key, column in known)]

    def changed(self, put: Mapping[Owner, Policy], deleted: Iterable[Owner] = ()) -> "Index[Owner]":
        """An index in which owners are new or have another policy, and others are gone; unknown ones never were."""
        gone = [owner for owner in {*put, *deleted} if owner in self._homes or owner in self._catch_all]
        new = [branch for owner, policy in put.items() for branch in branches_of(owner, policy)]
        old = [branch for owner in gone for branch, _ in self._homes.get(owner, ())]
        index = self._copy({rule.key for branch in chain(new, old) for rule in branch.rules})
        for owner in gone:
            index._remove(owner)
        for branch in new:
            index._add(branch)
        index._seal()
        return index

    def _copy(self, keys: Collection[str]) -> "Index[Owner]":
        """The same, to be changed under these keys without changing this one."""
        index = Index[Owner](bits=self._bits)
        index._catch_all, index._homes = self._catch_all.copy(), self._homes.copy()
        index._access = self._access.copy(keys)
        index._columns = self._columns | {key: self._columns[key].copy() for key in keys if key in self._columns}
        index._branches, index._owners, index._free = self._branches.copy(), self._owners.copy(), self._free.copy()
        index._alive, index._doubtful = self._alive, self._doubtful.copy()
        index._repeating, index._total = self._repeating, self._total
        return index

    def _build(self, branches: Sequence[Branch[Owner]]) -> None:
        """Files many branches in an empty index, faster than one by one."""
        for branch in branches:
            self._access.count(branch, 1)
        self._total = len(branches)
        rules: dict[str, list[tuple[Rule, int]]] = {}
        for branch in branches:
            slot = self._place(branch)
            if slot is not None:
                for rule in branch.rules:
                    rules.setdefault(rule.key, []).append((rule, slot))
        for key, filed in rules.items():
            self._columns[key] = Column(self._bits)
            self._columns[key].fill(filed)
        self._alive = self._bits.flipped(self._bits.EMPTY, array("I", range(len(self._owners))))

    def _add(self, branch: Branch[Owner]) -> None:
        self._total += 1
        self._access.count(branch, 1)
        slot = self._place(branch)
        if slot is not None:
            self._alive = self._bits.flipped(self._alive, array("I", (slot,)))
            for rule in branch.rules:
                self._columns.setdefault(rule.key, Column(self._bits)).flip(rule, slot, add=True)

    def _place(self, branch: Branch[Owner]) -> int | None:
        """Gives a branch its home; its slot, if that is in the columns."""
        if not branch.rules:
            self._catch_all[branch.owner] = None
            return None
        rule = self._access.rule_for(branch, self._total)
        homes = self._homes.get(branch.owner, ())
        self._repeating += len(homes) == 1
        if rule is not None:
            self._access.add(branch, rule)
            self._homes[branch.owner] = (*homes, (branch, rule))
            return None
        slot = self._free.pop() if self._free else len(self._owners)
        if slot == len(self._owners):
            self._owners.append(branch.owner)
            self._branches.append(branch)
        else:
            self._owners[slot], self._branches[slot] = branch.owner, branch
        self._homes[branch.owner] = (*homes, (branch, slot))
        if branch.doubtful:
            self._doubtful[slot] = checks_of(branch.rules)
        return slot

    def _remove(self, owner: Owner) -> None:
        self._total -= 1 if owner in self._catch_all else len(self._homes[owner])
        self._catch_all.pop(owner, None)
        homes = self._homes.pop(owner, ())
        self._repeating -= len(homes) > 1
        for branch, home in homes:
            self._access.count(branch, -1)
            if isinstance(home, Rule):
                self._access.remove(branch, home)
            else:
                self._clear(branch, home)

    def _clear(self, branch: Branch[Owner], slot: int) -> None:
        self._doubtful.pop(slot, None)
        self._alive = self._bits.flipped(self._alive, array("I", (slot,)))
        self._owners[slot] = self._branches[slot] = None
        self._free.append(slot)
        for rule in branch.rules:
            column = self._columns[rule.key]
            column.flip(rule, slot, add=False)
            if not column:
                del self._columns[rule.key]

    def _seal(self) -> None:
        """The index is complete: what matching reads of the columns."""
        self._numbers = {key: number for number, key in enumerate(self._columns)}
        self._wanting = _Wanting(self._bits, list(self._columns.values()))
        for column in self._columns.values():
            column.memo_limit = MEMO_BYTES // len(self._columns)
        fields = {}
        for key in self._columns.keys() | self._access.filed.keys():
            plan = self._columns[key].plan() if key in self._columns else None
            fields[key] = self._access.filed.get(key), self._numbers.get(key, -1), plan
        # What `compiled/match.c` looks at, in the order of its `struct plan`.
        self._plan = (
            fields, tuple(self._catch_all), self._alive, self._owners, self._doubtful, self._wanting.known,
            self._wanting.failing, len(self._columns), self._repeating > 0,
        )  # fmt: skip


class _Wanting:
    """Which slots fail because a message has no value for a key? Remembered by the columns it has values for."""

    def __init__(self, bits: Bitset, columns: Sequence[Column]) -> None:
        self._bits = bits
        self._columns = columns
        self._every = bits.flipped(bits.EMPTY, array("I", range(len(columns))))
        self.known: dict[Mask, Mask] = {}

    def failing(self, shape: Mask) -> Mask:
        """The slots that fail because a message has values for the columns in `shape` only."""
        mask = self.known.get(shape)
        if mask is None:
            others = self._bits.pick(self._every, [shape], list(self._columns))
            wanting = [column.required for column in others if column.required]
            mask = self._bits.paint(self._bits.EMPTY, wanting, (), self._bits.EMPTY)
            if len(self.known) >= _MAX_SHAPES:
                self.known.clear()
            self.known[shape] = mask
        return mask


@contextmanager
def _no_garbage() -> Iterator[None]:
    """Nothing made meanwhile is garbage: looking for some, again and again, would take a quarter of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _must_be_verified(branch: Branch[Owner], facets: Facets) -> bool:
    """Whether a branch that fails in no column may yet not be satisfied."""
    return branch.doubtful or sum(rule.key in facets.elements for rule in branch.rules) > 1
