"""An intake on a log in memory that confirms when the test says so."""

import asyncio
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from penstock.persistence.v1.persistence_service_pb2 import PutEventsRequest
from penstock.tracking.v1 import program_pb2
from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent

from services.tracking.core import CORE, Core
from services.tracking.event import uuid7
from services.tracking.group_commit import Confirmation
from services.tracking.intake import Intake
from services.tracking.lookup import Finding, Unknown
from services.tracking.privacy import IpAddresses
from services.tracking.program import Program
from services.tracking.window import DedupWindow

NOW = 1_700_000_000.5


def program(program_id: str, **fields: object) -> Program:
    """An enabled program unless told otherwise."""
    return Program.from_proto(program_pb2.Program(program_id=program_id, **{"enabled": True, **fields}))  # type: ignore[arg-type]


class FixedPrograms:
    """Knows the programs it was given; the id `away` cannot be verified."""

    def __init__(self, *programs: Program) -> None:
        self.known: dict[str, Finding] = {known.program_id: known for known in programs}
        self.known["away"] = Unknown.UNVERIFIED
        self.asked: list[set[str]] = []

    async def find(self, program_ids: AbstractSet[str]) -> Mapping[str, Finding]:
        self.asked.append(set(program_ids))
        return {program_id: self.known.get(program_id, Unknown.ABSENT) for program_id in program_ids}


@dataclass
class HeldLog:
    """A log whose appends are confirmed, or refused, by the test; `automatic` confirms at once."""

    automatic: bool = True
    full: Exception | None = None
    payloads: list[bytes] = field(default_factory=list)
    waiting: list["asyncio.Future[None]"] = field(default_factory=list)

    def append(self, payload: bytes, count: int) -> "asyncio.Future[None]":
        if self.full is not None:
            raise self.full
        assert len(PutEventsRequest.FromString(payload).events) == count
        self.payloads.append(payload)
        confirmed = Confirmation()
        if self.automatic:
            confirmed.set_result(None)
        else:
            self.waiting.append(confirmed)
        return confirmed

    @property
    def events(self) -> list[TrackingEvent]:
        """Everything appended."""
        return list(PutEventsRequest.FromString(b"".join(self.payloads)).events)


def make_intake(
    log: HeldLog,
    *programs: Program,
    now: Callable[[], float] = lambda: NOW,
    ip_addresses: IpAddresses = IpAddresses.ANONYMISED,
    core: Core = CORE,
    new_id: Callable[[], str] = uuid7,
) -> Intake:
    """An intake with the given programs, or with one named `p`."""
    known = FixedPrograms(*(programs or (program("p"),)))
    return Intake(
        programs=known,
        log=log,
        window=DedupWindow(1000),
        ip_addresses=ip_addresses,
        core=core,
        now=now,
        new_id=new_id,
    )
