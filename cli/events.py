"""`penstock events`: the events at rest, read from the persistence service."""

import json
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import conversions
from cli.arguments import moment
from cli.connection import target_option, tls_ca_option, with_channel
from cli.output import print_json, print_line, print_rows

if TYPE_CHECKING:
    import grpc
    from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent

_COLUMNS = ("occurred_at", "program_id", "event_type", "source", "verdict", "message_id")
_PAGE_SIZE = 1000
# `tail` looks back this far for events that are stored later than others which occurred after them.
_LATE = timedelta(seconds=60)

_LIST_EXAMPLES = """Examples:

penstock events list --program spring-sale --from 15m

penstock events list --from 2027-01-31 --until 2027-02-01 --limit 1000 --json
"""

Program = Annotated[str, typer.Option("--program", "-p", help="Only events of this program.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    events = typer.Typer(no_args_is_help=True, help="Read the events at rest, and match them to conversions.")
    events.command("list", epilog=_LIST_EXAMPLES)(list_events)
    events.command("get", epilog="Example: penstock events get click-1")(get_event)
    events.command("tail", epilog="Example: penstock events tail --program spring-sale --json")(tail_events)
    conversions.register(events)
    app.add_typer(events, name="events")


def list_events(
    program: Program = "",
    since: Annotated[str, typer.Option("--from", help="Earliest time, ISO 8601 (UTC if no zone) or an age: 15m.")] = "",
    until: Annotated[str, typer.Option("--until", help="End of the time range, exclusive.")] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most this many events.")] = 100,
    as_json: AsJson = False,
    target: str = target_option("persistence", 50054),
    tls_ca: Path | None = tls_ca_option(),
) -> None:
    """List events by the time they occurred, oldest first."""
    start, end = moment(since), moment(until)

    async def read(channel: "grpc.aio.Channel") -> list["TrackingEvent"]:
        found: list[TrackingEvent] = []
        async for event in _events(channel, program=program, start=start, end=end, page_size=min(limit, _PAGE_SIZE)):
            found.append(event)
            if len(found) == limit:
                break
        return found

    rows = [_row(event) for event in with_channel(target, read, tls_ca=tls_ca)]
    print_rows(rows, _COLUMNS, as_json=as_json, empty="no events")
    if len(rows) == limit and not as_json:
        print(f"the first {limit} events; --limit shows more", file=sys.stderr)


def get_event(
    message_id: Annotated[str, typer.Argument(help="Message id of the event.")],
    target: str = target_option("persistence", 50054),
    tls_ca: Path | None = tls_ca_option(),
) -> None:
    """Print one event as JSON."""

    async def read(channel: "grpc.aio.Channel") -> "TrackingEvent":
        from penstock.persistence.v1.persistence_service_pb2 import GetEventRequest  # noqa: PLC0415
        from penstock.persistence.v1.persistence_service_pb2_grpc import PersistenceServiceStub  # noqa: PLC0415

        return (await PersistenceServiceStub(channel).GetEvent(GetEventRequest(message_id=message_id))).event

    print_json(_row(with_channel(target, read, tls_ca=tls_ca)))


def tail_events(
    program: Program = "",
    interval: Annotated[float, typer.Option(min=0.05, help="Seconds between two looks.")] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object per line.")] = False,
    target: str = target_option("persistence", 50054),
    tls_ca: Path | None = tls_ca_option(),
) -> None:
    """Print events as they are stored, a line each, until Ctrl-C.

    An event that occurred more than a minute before it was stored, or before the command started, is not shown. A
    service that goes away is waited for; only a first look that fails ends the command.
    """

    def show(event: "TrackingEvent") -> None:
        _print_one(_row(event), as_json=as_json)

    with_channel(target, lambda channel: _follow(channel, program, interval, show), tls_ca=tls_ca)


async def _follow(
    channel: "grpc.aio.Channel", program: str, interval: float, show: Callable[["TrackingEvent"], None]
) -> None:
    import asyncio  # noqa: PLC0415 - see the package

    import grpc  # noqa: PLC0415

    started = datetime.now(UTC)
    last_look: datetime | None = None
    is_away = False
    seen: dict[str, float] = {}
    while True:
        begun = datetime.now(UTC)
        start = max(started, (last_look or started) - _LATE)
        try:
            async for event in _events(channel, program=program, start=start, end=None, page_size=_PAGE_SIZE):
                if event.message_id not in seen:
                    show(event)
                seen[event.message_id] = _seconds(event)
        except grpc.aio.AioRpcError as error:
            if last_look is None or error.code() not in (
                grpc.StatusCode.UNAVAILABLE,
                grpc.StatusCode.DEADLINE_EXCEEDED,
            ):
                raise
            if not is_away:
                print("the service is away; waiting for it", file=sys.stderr, flush=True)
            is_away = True
        else:
            is_away, last_look = False, begun
            seen = {message_id: second for message_id, second in seen.items() if second >= start.timestamp()}
        await asyncio.sleep(interval)


def _print_one(row: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(row, ensure_ascii=False), flush=True)
    else:
        print_line(row, _COLUMNS)


async def _events(
    channel: "grpc.aio.Channel", *, program: str, start: datetime | None, end: datetime | None, page_size: int
) -> AsyncIterator["TrackingEvent"]:
    """Every event of the pages that follow each other."""
    from penstock.persistence.v1.persistence_service_pb2 import ListEventsRequest  # noqa: PLC0415
    from penstock.persistence.v1.persistence_service_pb2_grpc import PersistenceServiceStub  # noqa: PLC0415

    stub = PersistenceServiceStub(channel)
    request = ListEventsRequest(program_id=program, page_size=page_size)
    if start is not None:
        request.from_time.FromDatetime(start)
    if end is not None:
        request.until_time.FromDatetime(end)
    while True:
        page = await stub.ListEvents(request)
        for event in page.events:
            yield event
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def _seconds(event: "TrackingEvent") -> float:
    """When the event is listed: see `TrackingEvent.occurred_at`."""
    moment = event.occurred_at if event.HasField("occurred_at") else event.received_at
    return moment.seconds + moment.nanos / 1e9


def _row(event: "TrackingEvent") -> dict[str, Any]:
    """The event as its JSON, enum values without their prefix, the time it is listed under filled in."""
    from google.protobuf.json_format import MessageToDict  # noqa: PLC0415

    row: dict[str, Any] = MessageToDict(event, preserving_proto_field_name=True)
    if "occurred_at" not in row and "received_at" in row:
        row["occurred_at"] = row["received_at"]
    for field, prefix in (("event_type", "EVENT_TYPE_"), ("source", "EVENT_SOURCE_"), ("verdict", "TRACK_OUTCOME_")):
        if field in row:
            row[field] = str(row[field]).removeprefix(prefix).lower()
    return row
