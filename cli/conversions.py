"""`penstock events match` and `conversions`: which click or impression led to a transaction."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.arguments import duration, moment
from cli.connection import target_option, tls_ca_option, with_channel
from cli.output import print_json, print_rows

if TYPE_CHECKING:
    import grpc
    from penstock.persistence.v1.conversion_pb2 import Conversion
    from penstock.persistence.v1.persistence_service_pb2 import MatchEventsResponse

_COLUMNS = ("occurred_at", "program_id", "outcome", "transaction_id", "touch_message_id", "message_id")
_PAGE_SIZE = 1000
_MATCH_SECONDS = 3600.0

Program = Annotated[str, typer.Option("--program", "-p", help="Only those of this program.")]
Since = Annotated[str, typer.Option("--from", help="Earliest time, ISO 8601 (UTC if no zone) or an age: 7d.")]
Until = Annotated[str, typer.Option("--until", help="End of the time range, exclusive.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(events: typer.Typer) -> None:
    """Add the commands to the group."""
    events.command("match")(match_events)
    events.command("conversions")(list_conversions)


def match_events(
    program: Program = "",
    since: Since = "",
    until: Until = "",
    click_window: Annotated[str, typer.Option(help="How long before a transaction a click counts.")] = "30d",
    impression_window: Annotated[str, typer.Option(help="How long before one an impression counts.")] = "1d",
    as_json: AsJson = False,
    target: str = target_option("persistence", 50054),
    tls_ca: Path | None = tls_ca_option(),
) -> None:
    """Match the transactions of a time range to their last click or impression, and keep what is found.

    May be repeated: `penstock events match --from 2d` every day takes in what was stored late.
    """
    start, end = moment(since), moment(until)
    windows = duration(click_window), duration(impression_window)

    async def match(channel: "grpc.aio.Channel") -> "MatchEventsResponse":
        from penstock.persistence.v1.persistence_service_pb2 import MatchEventsRequest  # noqa: PLC0415
        from penstock.persistence.v1.persistence_service_pb2_grpc import PersistenceServiceStub  # noqa: PLC0415

        request = MatchEventsRequest(program_id=program)
        if start is not None:
            request.from_time.FromDatetime(start)
        if end is not None:
            request.until_time.FromDatetime(end)
        request.click_window.FromTimedelta(windows[0])
        request.impression_window.FromTimedelta(windows[1])
        return await PersistenceServiceStub(channel).MatchEvents(request)

    found = with_channel(target, match, tls_ca=tls_ca, call_timeout=_MATCH_SECONDS)
    counts = {name: getattr(found, name) for name in ("transactions", "clicks", "impressions", "duplicates")}
    if as_json:
        print_json(counts)
    else:
        print(", ".join(f"{count} {name}" for name, count in counts.items()))


def list_conversions(
    program: Program = "",
    since: Since = "",
    until: Until = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most this many.")] = 100,
    as_json: AsJson = False,
    target: str = target_option("persistence", 50054),
    tls_ca: Path | None = tls_ca_option(),
) -> None:
    """List what matching found, by the time of the transaction, oldest first."""
    start, end = moment(since), moment(until)

    async def read(channel: "grpc.aio.Channel") -> list["Conversion"]:
        from penstock.persistence.v1.persistence_service_pb2 import ListConversionsRequest  # noqa: PLC0415
        from penstock.persistence.v1.persistence_service_pb2_grpc import PersistenceServiceStub  # noqa: PLC0415

        request = ListConversionsRequest(program_id=program, page_size=min(limit, _PAGE_SIZE))
        if start is not None:
            request.from_time.FromDatetime(start)
        if end is not None:
            request.until_time.FromDatetime(end)
        found: list[Conversion] = []
        while True:
            page = await PersistenceServiceStub(channel).ListConversions(request)
            found += page.conversions
            if len(found) >= limit or not page.next_page_token:
                return found[:limit]
            request.page_token = page.next_page_token

    rows = [_row(conversion) for conversion in with_channel(target, read, tls_ca=tls_ca)]
    print_rows(rows, _COLUMNS, as_json=as_json, empty="no conversions: `penstock events match` finds them")
    if len(rows) == limit and not as_json:
        print(f"the first {limit} conversions; --limit shows more", file=sys.stderr)


def _row(conversion: "Conversion") -> dict[str, Any]:
    from google.protobuf.json_format import MessageToDict  # noqa: PLC0415

    row: dict[str, Any] = MessageToDict(conversion, preserving_proto_field_name=True)
    row["outcome"] = str(row.get("outcome", "")).removeprefix("CONVERSION_OUTCOME_").lower()
    return row
