"""Load for the stack while it is being broken: events by gRPC and HTTP, JMS messages by a Java producer.

Clients repeat what `docs/operations.md` tells them to: UNAVAILABLE, DEADLINE_EXCEEDED and RESOURCE_EXHAUSTED, a refused
or lost connection and 503, with the same message id, for up to a minute. What fails beyond that is in `failed`.
"""

import asyncio
import time
import urllib.error
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
from penstock.bridge.v1 import route_pb2
from penstock.config.v1 import config_service_pb2 as config_pb
from penstock.delivery.v1 import target_pb2
from penstock.persistence.v1 import persistence_service_pb2 as persistence_pb
from penstock.tracking.v1 import program_pb2
from penstock.tracking.v1 import tracking_event_pb2 as event_pb
from penstock.tracking.v1 import tracking_service_pb2 as tracking_pb

from deploy.local.demo.session import WITHOUT_PROXY, Session, eventually
from deploy.local.jms import JmsError, JmsMessage

PATIENCE_SECONDS = 60.0
_REPEATED = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}
_ACCEPTED = {
    event_pb.TRACK_OUTCOME_ACCEPTED,
    event_pb.TRACK_OUTCOME_DUPLICATE,
    event_pb.TRACK_OUTCOME_UNVERIFIED,
}
_BATCH = 20


@dataclass(slots=True)
class Load:
    """What was sent under one program.

    `confirmed` are the message ids that somebody promised to keep, `missing` those of them that no row was found for in
    the end.
    """

    session: Session
    program: str
    confirmed: set[str] = field(default_factory=set)
    failed: list[str] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)
    _number: int = 0

    def _events(self, way: str, count: int) -> list[event_pb.TrackingEvent]:
        self._number += count
        numbers = range(self._number - count, self._number)
        return [
            event_pb.TrackingEvent(program_id=self.program, message_id=f"{self.program}-{way}-{number}")
            for number in numbers
        ]

    async def by_grpc(self) -> None:
        """One batch."""
        events = self._events("grpc", _BATCH)
        request = tracking_pb.BatchTrackEventsRequest(events=events)

        async def call() -> None:
            answer = await self.session.tracking.BatchTrackEvents(request, timeout=5)
            refused = [result for result in answer.results if result.outcome not in _ACCEPTED]
            if refused:
                self.failed.append(f"gRPC refused {refused[0]}")

        await self._repeat("gRPC", call, {event.message_id for event in events})

    async def by_http(self) -> None:
        """One event."""
        (event,) = self._events("http", 1)
        address = self.session.ports.address("tracking_http")
        url = f"http://{address}/event/{event.program_id}?message_id={event.message_id}"

        async def call() -> None:
            await asyncio.to_thread(_get, url)

        await self._repeat("HTTP", call, {event.message_id})

    async def by_jms(self) -> None:
        """One run of the Java producer."""
        events = self._events("jms", _BATCH)
        messages = [JmsMessage(data=event.SerializeToString()) for event in events]

        async def call() -> None:
            await asyncio.to_thread(self.session.jms.send, self.program, messages)

        await self._repeat("JMS", call, {event.message_id for event in events})

    async def _repeat(self, what: str, call: Callable[[], Awaitable[None]], message_ids: set[str]) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                await call()
            except (grpc.aio.AioRpcError, OSError, JmsError) as error:
                if not _may_repeat(error) or time.monotonic() > end:
                    self.failed.append(f"{what}: {error}")
                    return
                await asyncio.sleep(0.2)
            else:
                self.confirmed |= message_ids
                return

    async def settle(self) -> None:
        """Give everything time to arrive, then look what is missing."""

        async def everything() -> bool:
            return self.confirmed <= set(await self.stored())

        try:
            await eventually(everything, "every confirmed event to be stored", patience=90, pause=0.5)
        except TimeoutError:
            self.missing = self.confirmed - set(await self.stored())

    async def stored(self) -> list[str]:
        """The message ids of all rows."""
        rows: list[str] = []
        request = persistence_pb.ListEventsRequest(program_id=self.program, page_size=1000)
        while True:
            answer = await self.session.persistence.ListEvents(request)
            rows += [event.message_id for event in answer.events]
            if not answer.next_page_token:
                return rows
            request.page_token = answer.next_page_token


def _may_repeat(error: Exception) -> bool:
    if isinstance(error, grpc.aio.AioRpcError):
        return error.code() in _REPEATED
    return not isinstance(error, urllib.error.HTTPError) or error.code == 503


def _get(url: str) -> None:
    with WITHOUT_PROXY.open(url, timeout=5) as response:
        response.read()


@asynccontextmanager
async def under_load(session: Session, program: str) -> AsyncIterator[Load]:
    """Publish in all three ways until the block is left; then what is in progress is finished, and looked for."""
    load = Load(session=session, program=program)
    await session.tracking.PutProgram(
        tracking_pb.PutProgramRequest(program=program_pb2.Program(program_id=program, enabled=True))
    )
    target = target_pb2.Target(grpc=target_pb2.GrpcTarget(address=session.inside.address("persistence")))
    retry = route_pb2.RetrySettings(max_attempts=100)
    await session.put_route(program, route_pb2.Route(source=f"queue://{program}", targets=[target], retry=retry))
    stop = asyncio.Event()

    async def keep_on(once: Callable[[], Awaitable[None]], pause: float) -> None:
        while not stop.is_set():
            await once()
            try:
                await asyncio.wait_for(stop.wait(), pause)
            except TimeoutError:
                continue

    try:
        async with asyncio.TaskGroup() as tasks:
            for once, pause in ((load.by_grpc, 0.2), (load.by_http, 0.2), (load.by_jms, 2.0)):
                tasks.create_task(keep_on(once, pause))
            try:
                yield load
            finally:
                stop.set()
        await load.settle()
    finally:
        await session.config.DeleteParameter(config_pb.DeleteParameterRequest(name=f"/penstock/routes/{program}"))
