"""`penstock log`: the disk log of an intake, read from its folder."""

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.connection import EXIT_REFUSED, refuse
from cli.output import print_json, print_line, print_rows

if TYPE_CHECKING:
    from services.tracking.inspection import SegmentReport

_SEGMENT_COLUMNS = ("segment", "bytes", "frames", "events", "waiting", "state", "detail")
_BAD_EVENT_COLUMNS = ("set_aside_at", "program_id", "message_id", "reason")
_REPAIR_COLUMNS = ("segment", "events", "lost_bytes", "kept_as")
_EVENT_COLUMNS = ("received_at", "program_id", "event_type", "verdict", "message_id")


_BAD_EVENTS_EXAMPLES = """Examples:

penstock log bad-events .penstock/data/tracking

penstock log bad-events .penstock/data/tracking --events | penstock track --file -
"""


def register(app: typer.Typer) -> None:
    """Add the group."""
    log = typer.Typer(no_args_is_help=True, help="The accepted events that an intake keeps on its disk.")
    log.command("inspect", epilog="Example: penstock log inspect .penstock/data/tracking --events --waiting")(
        inspect_log
    )
    log.command("bad-events", epilog=_BAD_EVENTS_EXAMPLES)(list_bad_events)
    log.command("repair", epilog="Example: penstock log repair .penstock/data/tracking --json")(repair_log)
    app.add_typer(log, name="log")


def inspect_log(
    data_directory: Annotated[
        Path | None, typer.Argument(help="DATA_DIRECTORY of an intake; by default that of the embedded stack.")
    ] = None,
    events: Annotated[bool, typer.Option("--events", help="List events instead of segments.")] = False,
    waiting: Annotated[bool, typer.Option("--waiting", help="Only events that are not shipped yet.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; with --events an object per line.")] = False,
) -> None:
    """Show the segments of the log, or its events; exit code 1 when there is damage or no log.

    Nothing is locked or changed, so the intake may be running; a write in progress shows as an unfinished end.
    """
    from services.tracking.inspection import SegmentState, inspect  # noqa: PLC0415 - see the package

    place = data_directory or _default_directory()
    try:
        reports = inspect(place)
        if events or waiting:
            _print_events(place, waiting_only=waiting, as_json=as_json)
        else:
            print_rows([_row(report) for report in reports], _SEGMENT_COLUMNS, as_json=as_json, empty="no segments")
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(EXIT_REFUSED) from error
    damaged = [report for report in reports if report.state is SegmentState.DAMAGED]
    for report in damaged:
        print(
            f"segment {report.number} is damaged: restore the file, or let `penstock log repair {place}` keep what is "
            "intact; until then the intake does not start",
            file=sys.stderr,
        )
    if damaged:
        raise typer.Exit(EXIT_REFUSED)


def list_bad_events(
    data_directory: Annotated[
        Path | None, typer.Argument(help="DATA_DIRECTORY of an intake; by default that of the embedded stack.")
    ] = None,
    events: Annotated[bool, typer.Option("--events", help="Print the events alone, a JSON object per line.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the accepted events that the store refused for good, and why; what --events prints can be sent again.

    An event that cannot be decoded is listed by its reason alone.
    """
    from google.protobuf.json_format import MessageToDict  # noqa: PLC0415 - see the package

    from services.tracking.inspection import bad_events  # noqa: PLC0415

    rows = []
    for bad in bad_events(data_directory or _default_directory()):
        event = {} if bad.event is None else MessageToDict(bad.event, preserving_proto_field_name=True)
        if events:
            if event:
                print(json.dumps(event, ensure_ascii=False))
            continue
        set_aside_at = datetime.fromtimestamp(bad.time, UTC).isoformat(timespec="seconds")
        names = {name: event.get(name, "") for name in ("program_id", "message_id")}
        rows.append({"set_aside_at": set_aside_at, **names, "reason": bad.reason, "event": event})
    if not events:
        print_rows(rows, _BAD_EVENT_COLUMNS, as_json=as_json, empty="no event was set aside")


def repair_log(
    data_directory: Annotated[
        Path | None, typer.Argument(help="DATA_DIRECTORY of an intake; by default that of the embedded stack.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Keep the intact events of damaged segments, and set the files as they were aside.

    The intake must not be running. What a repaired segment holds is shipped again, which changes nothing in the store.
    """
    from services.runtime.errors import PenstockError  # noqa: PLC0415 - see the package
    from services.tracking.repair import repair  # noqa: PLC0415

    try:
        repaired = repair(data_directory or _default_directory())
    except OSError as error:  # no log there, or no room for the repaired one
        refuse(str(error))
    except PenstockError as error:
        refuse(error.message)
    rows = [
        {"segment": one.number, "events": one.events, "lost_bytes": one.lost_bytes, "kept_as": str(one.kept_as)}
        for one in repaired
    ]
    print_rows(rows, _REPAIR_COLUMNS, as_json=as_json, empty="no segment is damaged")


def _print_events(place: Path, *, waiting_only: bool, as_json: bool) -> None:
    from google.protobuf.json_format import MessageToDict  # noqa: PLC0415

    from services.tracking.inspection import logged_events  # noqa: PLC0415

    for event in logged_events(place, waiting_only=waiting_only):
        row: Mapping[str, object] = MessageToDict(event, preserving_proto_field_name=True)
        if as_json:
            print_json(row)
        else:
            print_line(row, _EVENT_COLUMNS)


def _row(report: "SegmentReport") -> Mapping[str, object]:
    return {
        "segment": report.number,
        "bytes": report.size,
        "frames": report.frames,
        "events": report.events,
        "waiting": report.waiting,
        "state": str(report.state),
        "detail": report.detail,
    }


def _default_directory() -> Path:
    import os  # noqa: PLC0415

    from deploy.local.home import Home, default_home  # noqa: PLC0415

    return Home(default_home(os.environ)).data("tracking")
