"""Ad tracking: clicks come by HTTP, gRPC and JMS, are checked against their program, and become one row each."""

import asyncio
import time
import urllib.error
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from google.protobuf import json_format
from penstock.bridge.v1 import route_pb2
from penstock.delivery.v1 import target_pb2
from penstock.persistence.v1 import persistence_service_pb2 as persistence_pb
from penstock.tracking.v1 import program_pb2
from penstock.tracking.v1 import tracking_event_pb2 as event_pb
from penstock.tracking.v1 import tracking_service_pb2 as tracking_pb
from penstock.tracking.v1.tracking_service_pb2_grpc import TrackingServiceStub

from deploy.local.demo.expectation import Expectation, StoryResult
from deploy.local.demo.session import WITHOUT_PROXY, Session, eventually
from deploy.local.jms import JmsMessage
from services.runtime.channel import open_channel

QUEUE = "clicks"
SWITCH_OFF_MILLISECONDS = 1000


@dataclass(slots=True)
class Clicks:
    """One telling: programs of its own, so that a repetition on the same data starts from nothing."""

    run: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    accepted: set[str] = field(default_factory=set)

    @property
    def programs(self) -> Sequence[program_pb2.Program]:
        """Two programs that run and one that ended in 2020."""
        ended = program_pb2.Program(program_id=f"ended-{self.run}", name="Ended", customer_id=3, enabled=True)
        ended.valid_until.FromJsonString("2020-01-01T00:00:00Z")
        return (
            program_pb2.Program(program_id=f"spring-{self.run}", name="Spring sale", customer_id=1, enabled=True),
            program_pb2.Program(program_id=f"summer-{self.run}", name="Summer sale", customer_id=2, enabled=True),
            ended,
        )

    def click(self, program: str, number: int) -> event_pb.TrackingEvent:
        """A click on a program, e.g. `spring`; its message id tells both."""
        return event_pb.TrackingEvent(
            program_id=f"{program}-{self.run}", message_id=f"{self.run}-{program}-{number}", user_agent="demo"
        )


async def tell(session: Session, second_intake: str) -> StoryResult:
    """Track clicks on every way in, then switch a program off; `second_intake` is another intake's gRPC address."""
    clicks = Clicks()
    for program in clicks.programs:
        await session.tracking.PutProgram(tracking_pb.PutProgramRequest(program=program))
    expectations = [
        *await _by_http(session, clicks),
        *await _by_grpc(session, clicks),
        *await _by_jms(session, clicks),
        await _one_row_each(session, clicks),
    ]
    switched_off, milliseconds = await _switched_off(session, clicks, second_intake)
    return StoryResult(
        title="Ad tracking: HTTP, gRPC and JMS into one row per message id",
        expectations=[*expectations, switched_off],
        measurements=[f"program switched off -> refused by a second, warm intake: {milliseconds:.1f} ms"],
    )


async def _by_http(session: Session, clicks: Clicks) -> Sequence[Expectation]:
    statuses = []
    for program in ("spring", "nosuch", "ended"):
        click = clicks.click(program, 1)
        url = f"http://{session.ports.address('tracking_http')}/event/{click.program_id}?message_id={click.message_id}"
        statuses.append(str(await asyncio.to_thread(_http_status, url)))
    clicks.accepted.add(clicks.click("spring", 1).message_id)
    return [
        Expectation(
            what="HTTP GET /event/{valid, unknown, expired}", expected="200, 404, 410", received=", ".join(statuses)
        )
    ]


def _http_status(url: str) -> int:
    try:
        with WITHOUT_PROXY.open(url, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


async def _by_grpc(session: Session, clicks: Clicks) -> Sequence[Expectation]:
    events = [
        clicks.click("spring", 2),
        clicks.click("summer", 1),
        clicks.click("nosuch", 2),
        clicks.click("ended", 2),
        clicks.click("spring", 2),
    ]
    response = await session.tracking.BatchTrackEvents(tracking_pb.BatchTrackEventsRequest(events=events))
    clicks.accepted |= {events[0].message_id, events[1].message_id}
    return [
        Expectation(
            what="BatchTrackEvents: valid, valid, unknown, expired, repeated",
            expected="ACCEPTED, ACCEPTED, UNKNOWN_PROGRAM, EXPIRED_PROGRAM, DUPLICATE",
            received=", ".join(_outcome(result) for result in response.results),
        )
    ]


async def _by_jms(session: Session, clicks: Clicks) -> Sequence[Expectation]:
    await session.put_route(
        "clicks",
        route_pb2.Route(
            source=f"queue://{QUEUE}",
            targets=[target_pb2.Target(grpc=target_pb2.GrpcTarget(address=session.inside.address("tracking")))],
        ),
    )
    settled = (await session.settled("clicks", 0)).settled
    text, data, unknown = clicks.click("spring", 3), clicks.click("summer", 2), clicks.click("nosuch", 3)
    messages = [
        JmsMessage(text=json_format.MessageToJson(text, preserving_proto_field_name=True)),
        JmsMessage(data=data.SerializeToString()),
        JmsMessage(data=data.SerializeToString()),
        JmsMessage(text=json_format.MessageToJson(unknown, preserving_proto_field_name=True)),
    ]
    message_ids = await asyncio.to_thread(session.jms.send, QUEUE, messages)
    clicks.accepted |= {text.message_id, data.message_id}
    await session.settled("clicks", settled + len(messages))
    letters = [
        letter for letter in await session.dead_letters(f"queue://{QUEUE}") if letter.original_message_id in message_ids
    ]
    return [
        Expectation(
            what="JMS text, bytes, the same bytes again, unknown program: dead letters",
            expected="UNKNOWN_PROGRAM",
            received=", ".join(_outcome_in(letter.reason) for letter in letters) or "none",
        )
    ]


async def _one_row_each(session: Session, clicks: Clicks) -> Expectation:
    async def all_stored() -> bool:
        return len(await _stored(session, clicks)) >= len(clicks.accepted)

    await eventually(all_stored, f"{len(clicks.accepted)} rows in persistence")
    stored = await _stored(session, clicks)
    return Expectation(
        what="rows in persistence, one per accepted event",
        expected=", ".join(sorted(clicks.accepted)),
        received=", ".join(sorted(stored)),
    )


async def _stored(session: Session, clicks: Clicks) -> Sequence[str]:
    rows: list[str] = []
    for program in ("spring", "summer", "ended", "nosuch"):
        request = persistence_pb.ListEventsRequest(program_id=f"{program}-{clicks.run}", page_size=1000)
        response = await session.persistence.ListEvents(request)
        rows += [event.message_id for event in response.events]
    return rows


async def _switched_off(session: Session, clicks: Clicks, second_intake: str) -> tuple[Expectation, float]:
    async with open_channel(second_intake) as channel:
        intake = TrackingServiceStub(channel)
        warm = _outcome((await intake.TrackEvent(_track(clicks, 10))).result)
        program = program_pb2.Program()
        program.CopyFrom(clicks.programs[0])
        program.enabled = False
        await session.tracking.PutProgram(tracking_pb.PutProgramRequest(program=program))
        started = time.perf_counter()
        number = 10

        async def refused() -> float | None:
            nonlocal number
            number += 1
            outcome = (await intake.TrackEvent(_track(clicks, number))).result.outcome
            milliseconds = 1000 * (time.perf_counter() - started)
            return milliseconds if outcome == event_pb.TRACK_OUTCOME_EXPIRED_PROGRAM else None

        milliseconds: float = await eventually(refused, "the second intake to refuse the program")
    when = "within" if milliseconds < SWITCH_OFF_MILLISECONDS else "after more than"
    received = f"{warm}, then EXPIRED_PROGRAM {when} a second"
    return (
        Expectation(
            what="program switched off, seen by a second intake",
            expected="ACCEPTED, then EXPIRED_PROGRAM within a second",
            received=received,
        ),
        milliseconds,
    )


def _track(clicks: Clicks, number: int) -> tracking_pb.TrackEventRequest:
    return tracking_pb.TrackEventRequest(event=clicks.click("spring", number))


def _outcome_in(reason: str) -> str:
    """The outcome that a dead letter's reason names; the whole reason when it names none."""
    names = (name.removeprefix("TRACK_OUTCOME_") for name in event_pb.TrackOutcome.keys())  # noqa: SIM118 - no mapping
    return next((name for name in names if f"{name}:" in reason), reason)


def _outcome(result: tracking_pb.TrackResult) -> str:
    return event_pb.TrackOutcome.Name(result.outcome).removeprefix("TRACK_OUTCOME_")
