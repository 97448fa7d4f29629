"""The port to the parameters at rest, the values it answers with, and the rules that every store keeps.

Every write has a revision, one more than the write before. A store keeps the current version and the newest versions of
each parameter, and the events of its newest revisions, so that a watcher can resume.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.config.parameter import (
    KEPT_VERSIONS,
    MAX_LABELS,
    Deletion,
    Notice,
    Parameter,
    ParameterEvent,
    Sealed,
    Tier,
)
from services.config.path import Selector
from services.config.policies import notices
from services.runtime.errors import (
    AbortedError,
    AlreadyExistsError,
    FailedPreconditionError,
    NotFoundError,
    OutOfRangeError,
)

Decide = Callable[[Parameter | None, int], Parameter]
"""The next version of a parameter from its current one (None when there is none) and the revision it will have."""

Retag = Callable[[Parameter], Mapping[str, str]]
"""The tags that a parameter shall have; it gets the current version."""

Listener = Callable[[Sequence[ParameterEvent]], None]
"""Hears of committed events, once each and in the order of their revisions, on the event loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was read of the store at one revision; None where nothing was found."""

    parameters: Sequence[Parameter | None]
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Current versions in the order of their names, read at one revision; `more` when the limit cut them."""

    parameters: Sequence[Parameter]
    revision: int
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage:
    """Events in the order of their revisions. All up to `revision` are there."""

    events: Sequence[ParameterEvent]
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMove:
    """The version whose labels were asked to change, those that were moved to it or taken from it, and the revision.

    The revision is 0 when nothing changed.
    """

    version: int
    labels: Sequence[str]
    revision: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagged:
    """All tags of a parameter now, and the revision since when; 0 when nothing changed."""

    tags: Mapping[str, str]
    revision: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEnvelope:
    """The sealed value of one version; `replacement` is what shall take its place."""

    revision: int
    name: str
    version: int
    key_id: str
    sealed: Sealed
    replacement: Sealed | None = None


class ParameterStore(Protocol):
    """Parameters at rest. A write has returned when it is durable, and listeners have heard of it by then.

    Every write may raise ResourceExhaustedError (no room to write) and UnavailableError (closing, or failed for good).
    """

    @property
    def revision(self) -> int:
        """The newest committed revision; 0 in an empty store."""

    def on_commit(self, listener: Listener) -> None:
        """Adds a listener. Call it before the first write."""

    async def put(self, name: str, decide: Decide) -> Parameter:
        """Writes what `decide` makes of the current version; what it raises is raised, and nothing written.

        `decide` may run on another thread; no other write comes between it and the commit.

        Raises:
            FailedPreconditionError: the version to drop carries a label.
        """

    async def delete(self, name: str, *, expected_version: int | None = None) -> int:
        """Deletes a parameter with its versions and labels; answers the revision.

        Raises:
            NotFoundError, AbortedError: see `check_expected_version`.
        """

    async def act_on_due(self, now: float) -> int:
        """Deletes every parameter whose `expires_at` has come and writes the notices that are due; answers how many."""

    async def next_due(self) -> float | None:
        """When there is something for `act_on_due` to do; None when there never is."""

    async def label(self, name: str, labels: Sequence[str], *, version: int | None = None) -> LabelMove:
        """Moves well-formed labels to a version, the newest by default.

        It is a revision, as are `unlabel` and `retag`, unless nothing changes by it.

        Raises:
            NotFoundError: no such version.
            FailedPreconditionError: the version would carry more labels than it may.
        """

    async def unlabel(self, name: str, labels: Sequence[str], *, version: int) -> LabelMove:
        """Takes labels from a version; answers those it carried.

        Raises:
            NotFoundError: no such version.
        """

    async def retag(self, name: str, retag: Retag) -> Tagged:
        """Gives a parameter the tags that `retag` decides on, without a new version.

        Raises:
            NotFoundError: no such parameter; and what `retag` raises.
        """

    async def count(self, tier: Tier) -> int:
        """How many parameters of a tier there are."""

    async def envelopes(self, *, after: int, limit: int) -> Sequence[StoredEnvelope]:
        """Sealed values with revisions after `after`, in their order, up to `limit`; history included."""

    async def replace_envelopes(self, envelopes: Sequence[StoredEnvelope]) -> int:
        """Puts replacements in the place of envelopes that are still there; answers how many. It is no revision."""

    async def get(self, selectors: Sequence[Selector]) -> Found:
        """What each selector names, all from one revision."""

    async def list_below(self, path: str, *, recursive: bool, after: str = "", limit: int) -> Listing:
        """Current versions below a path, up to `limit`, whose names come after `after`."""

    async def versions(self, name: str, *, before: int | None = None, limit: int) -> Sequence[Parameter]:
        """Kept versions older than `before`, newest first, up to `limit`; none of an unknown parameter."""

    async def events(self, path: str, *, after: int, limit: int) -> EventPage:
        """Up to `limit` events of a path (the name itself, everything below) with revisions after `after`.

        Raises:
            OutOfRangeError: events after that revision are no longer kept, or the revision does not exist yet.
        """

    async def holds_secrets(self) -> bool:
        """Whether a sealed value is stored."""

    async def failed(self) -> None:
        """Waits for a failure that only opening the store again can mend, and raises it; ends when none can come."""

    async def close(self) -> None:
        """Finishes the writes that wait and refuses others."""


def not_found(shown: str) -> NotFoundError:
    """The error for a name, `name:version` or `name:label` under which nothing is stored."""
    return NotFoundError(
        f"no parameter {shown}: `penstock params ls` lists what there is",
        reason="ERROR_REASON_PARAMETER_NOT_FOUND",
        metadata={"name": shown},
    )


def check_expected_version(name: str, expected: int | None, current: Parameter | None) -> None:
    """Nothing, when compare-and-set holds.

    Raises:
        AlreadyExistsError: 0 was expected and the parameter exists.
        AbortedError: another version is current.
    """
    found = current.version if current else 0
    if expected is None or expected == found:
        return
    if expected == 0:
        raise AlreadyExistsError(
            f"{name} exists already, its version is {found}",
            reason="ERROR_REASON_PARAMETER_ALREADY_EXISTS",
            metadata={"name": name},
        )
    raise AbortedError(
        f"{name} has version {found}, not {expected}: read it again, then repeat",
        reason="ERROR_REASON_VERSION_CONFLICT",
        metadata={"name": name, "expected_version": str(expected), "current_version": str(found)},
    )


def check_room_for_version(name: str, version: int, *, dropped_has_label: bool) -> None:
    """Nothing, when the oldest kept version may be dropped for a new one.

    Raises:
        FailedPreconditionError: it carries a label.
    """
    if dropped_has_label:
        raise FailedPreconditionError(
            f"{name} has {KEPT_VERSIONS} versions and the oldest, {version - KEPT_VERSIONS}, carries a label: "
            "move the label to a newer version first",
            reason="ERROR_REASON_PARAMETER_LIMIT",
            metadata={"name": name, "limit": str(KEPT_VERSIONS), "ssm_error": "ParameterMaxVersionLimitExceeded"},
        )


def check_room_for_labels(name: str, version: int, labels: set[str]) -> None:
    """Nothing, when a version may carry all of `labels`.

    Raises:
        FailedPreconditionError: they are too many.
    """
    if len(labels) > MAX_LABELS:
        raise FailedPreconditionError(
            f"version {version} of {name} would carry {len(labels)} labels, at most {MAX_LABELS} are allowed",
            reason="ERROR_REASON_PARAMETER_LIMIT",
            metadata={"name": name, "limit": str(MAX_LABELS), "ssm_error": "ParameterVersionLabelLimitExceeded"},
        )


def check_resumable(after: int, *, floor: int, revision: int) -> None:
    """Nothing, when all events after a revision are kept.

    Raises:
        OutOfRangeError: they are not, or the revision lies in the future (a store restored from a backup).
    """
    if floor <= after <= revision:
        return
    fault = (
        f"events up to revision {floor} are no longer kept" if after < floor else f"the newest revision is {revision}"
    )
    raise OutOfRangeError(
        f"cannot resume from revision {after}: {fault}; list again and watch from the listed revision",
        reason="ERROR_REASON_COMPACTED",
        metadata={"oldest_revision": str(floor)},
    )


def stored_envelope(parameter: Parameter) -> StoredEnvelope | None:
    """The sealed value of a version; None when it is not sealed."""
    if not isinstance(parameter.value, Sealed):
        return None
    return StoredEnvelope(
        revision=parameter.revision,
        name=parameter.name,
        version=parameter.version,
        key_id=parameter.key_id,
        sealed=parameter.value,
    )


def due_events(
    parameter: Parameter, notice_at: float | None, now: float, revision: int
) -> tuple[list[Notice | Deletion], float | None]:
    """What becomes of a parameter at `now`, from `revision` + 1 on, and when its next notice after that is due.

    `notice_at` is when its first notice that was not given yet is due.
    """
    events: list[Notice | Deletion] = []
    ahead: float | None = None
    for due, kind in notices(parameter) if notice_at is not None else ():
        if due > now:
            ahead = due
            break
        if notice_at is not None and due >= notice_at:
            revision += 1
            events.append(Notice(name=parameter.name, revision=revision, policy_type=kind, due_at=due))
    if parameter.expires_at is not None and parameter.expires_at <= now:
        events.append(Deletion(name=parameter.name, revision=revision + 1))
    return events, ahead
