"""`penstock track` and `penstock programs`: events into the intake, and the programs they are checked against."""

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.connection import EXIT_REFUSED, target_option, tls_ca_option, usage_error, with_channel
from cli.output import print_json, print_rows

if TYPE_CHECKING:
    import grpc
    from penstock.tracking.v1.program_pb2 import Program
    from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent
    from penstock.tracking.v1.tracking_service_pb2 import BatchTrackEventsResponse

_STORED = {"ACCEPTED", "DUPLICATE", "UNVERIFIED"}
_BATCH = 500
_INT32 = 2**31
_RESULT_COLUMNS = ("outcome", "message_id", "reason")
_PROGRAM_COLUMNS = ("program_id", "name", "enabled", "valid_from", "valid_until", "customer_name", "version")

ProgramId = Annotated[str, typer.Argument(help="Id of the program.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


_TRACK_EXAMPLES = """Examples:

penstock track spring-sale --message-id click-1 -a utm=newsletter

penstock track --file events.jsonl --json

penstock log bad-events --events | penstock track --file -
"""
_PUT_EXAMPLES = """Examples:

penstock programs put spring-sale --name 'Spring sale' --valid-until 2027-06-01

penstock programs put spring-sale --no-enabled --json
"""


def register(app: typer.Typer) -> None:
    """Add the command and the group."""
    app.command("track", epilog=_TRACK_EXAMPLES)(track)
    programs = typer.Typer(no_args_is_help=True, help="The programs that events are checked against.")
    programs.command("put", epilog=_PUT_EXAMPLES)(put_program)
    programs.command("list", epilog="Example: penstock programs list --json")(list_programs)
    programs.command("get", epilog="Example: penstock programs get spring-sale")(get_program)
    programs.command("off", epilog="Example: penstock programs off spring-sale")(switch_off)
    programs.command("delete", epilog="Example: penstock programs delete spring-sale")(delete_program)
    app.add_typer(programs, name="programs")


def track(
    program_id: Annotated[str, typer.Argument(help="Program of the event.")] = "",
    file: Annotated[
        str,
        typer.Option("--file", "-f", help="Read events from this file instead, one JSON object a line; - is stdin."),
    ] = "",
    message_id: Annotated[str, typer.Option(help="Idempotency key; the intake makes one when there is none.")] = "",
    event_type: Annotated[str, typer.Option("--type", help="click, impression or transaction.")] = "click",
    checksum: Annotated[str, typer.Option(help="Checksum of the program.")] = "",
    cookie_id: Annotated[str, typer.Option(help="Cookie of the visitor.")] = "",
    attributes: Annotated[
        list[str] | None, typer.Option("--attribute", "-a", metavar="NAME=VALUE", help="Anything else worth keeping.")
    ] = None,
    as_json: AsJson = False,
    target: str = target_option("tracking", 50053),
    tls_ca: Path | None = tls_ca_option(),
) -> None:
    """Send events to the intake and print what became of them; exit code 1 when one was not stored."""
    if bool(program_id) == bool(file):
        usage_error("give either a program id or --file")
    if file:
        events = _read(file)
    else:
        fields = {"message_id": message_id, "checksum": checksum, "cookie_id": cookie_id}
        events = [
            _event(
                {
                    "program_id": program_id,
                    "event_type": f"EVENT_TYPE_{event_type.upper()}",
                    "attributes": dict(_attribute(text) for text in attributes or []),
                    **fields,
                },
                "the event",
            )
        ]
    rows: list[Mapping[str, str]] = []
    try:
        with_channel(target, lambda channel: _track(channel, events, rows), tls_ca=tls_ca)
    except typer.Exit:
        if rows:  # those of the batches before the one that failed: they are stored
            print_rows(rows, _RESULT_COLUMNS, as_json=as_json, empty="")
        raise
    print_rows(rows, _RESULT_COLUMNS, as_json=as_json, empty="no events")
    if any(row["outcome"] not in _STORED for row in rows):
        raise typer.Exit(EXIT_REFUSED)


def put_program(
    program_id: ProgramId,
    name: Annotated[str, typer.Option(help="Name.")] = "",
    checksum: Annotated[str, typer.Option(help="Checksum that events may carry; without it any is taken.")] = "",
    customer_id: Annotated[int, typer.Option(min=-_INT32, max=_INT32 - 1, help="Customer.")] = 0,
    customer_name: Annotated[str, typer.Option(help="Name of the customer.")] = "",
    enabled: Annotated[bool, typer.Option(help="Whether events are accepted.")] = True,
    valid_from: Annotated[str, typer.Option(help="Events are valid from then on, ISO 8601 (UTC if no zone).")] = "",
    valid_until: Annotated[str, typer.Option(help="Events are valid until then, exclusive.")] = "",
    as_json: AsJson = False,
    target: str = target_option("tracking", 50053),
    tls_ca: Path | None = tls_ca_option(),
) -> None:
    """Create or replace a program; every intake knows it at once."""
    from penstock.tracking.v1.program_pb2 import Program  # noqa: PLC0415 - see the package

    program = Program(
        program_id=program_id,
        name=name,
        checksum=checksum,
        customer_id=customer_id,
        customer_name=customer_name,
        enabled=enabled,
    )
    for field, text in (("valid_from", valid_from), ("valid_until", valid_until)):
        if text:
            getattr(program, field).FromDatetime(_moment(text))
    _print_put(with_channel(target, lambda channel: _put(channel, program), tls_ca=tls_ca), as_json=as_json)


def list_programs(
    as_json: AsJson = False,
    target: str = target_option("tracking", 50053),
    tls_ca: Path | None = tls_ca_option(),
) -> None:
    """List all programs by id."""

    async def read(channel: "grpc.aio.Channel") -> list["Program"]:
        from penstock.tracking.v1.tracking_service_pb2 import ListProgramsRequest  # noqa: PLC0415
        from penstock.tracking.v1.tracking_service_pb2_grpc import TrackingServiceStub  # noqa: PLC0415

        stub, token = TrackingServiceStub(channel), ""
        found: list[Program] = []
        while True:
            page = await stub.ListPrograms(ListProgramsRequest(page_size=1000, page_token=token))
            found += page.programs
            token = page.next_page_token
            if not token:
                return found

    rows = [_row(program) for program in with_channel(target, read, tls_ca=tls_ca)]
    print_rows(rows, _PROGRAM_COLUMNS, as_json=as_json, empty="no programs")


def get_program(
    program_id: ProgramId,
    target: str = target_option("tracking", 50053),
    tls_ca: Path | None = tls_ca_option(),
) -> None:
    """Print one program as JSON."""
    print_json(_row(with_channel(target, lambda channel: _get(channel, program_id), tls_ca=tls_ca)))


def switch_off(
    program_id: ProgramId,
    as_json: AsJson = False,
    target: str = target_option("tracking", 50053),
    tls_ca: Path | None = tls_ca_option(),
) -> None:
    """Refuse events of a program from now on, in every intake."""

    async def put_disabled(channel: "grpc.aio.Channel") -> "Program":
        program = await _get(channel, program_id)
        program.enabled = False
        return await _put(channel, program)

    _print_put(with_channel(target, put_disabled, tls_ca=tls_ca), as_json=as_json)


def delete_program(
    program_id: ProgramId,
    target: str = target_option("tracking", 50053),
    tls_ca: Path | None = tls_ca_option(),
) -> None:
    """Delete a program."""

    async def delete(channel: "grpc.aio.Channel") -> None:
        from penstock.tracking.v1.tracking_service_pb2 import DeleteProgramRequest  # noqa: PLC0415
        from penstock.tracking.v1.tracking_service_pb2_grpc import TrackingServiceStub  # noqa: PLC0415

        await TrackingServiceStub(channel).DeleteProgram(DeleteProgramRequest(program_id=program_id))

    with_channel(target, delete, tls_ca=tls_ca)
    print(f"deleted {program_id}")


async def _track(channel: "grpc.aio.Channel", events: list["TrackingEvent"], rows: list[Mapping[str, str]]) -> None:
    from penstock.tracking.v1.tracking_event_pb2 import TrackOutcome  # noqa: PLC0415
    from penstock.tracking.v1.tracking_service_pb2 import BatchTrackEventsRequest  # noqa: PLC0415
    from penstock.tracking.v1.tracking_service_pb2_grpc import TrackingServiceStub  # noqa: PLC0415

    stub = TrackingServiceStub(channel)
    for start in range(0, len(events), _BATCH):
        request = BatchTrackEventsRequest(events=events[start : start + _BATCH])
        response: BatchTrackEventsResponse = await stub.BatchTrackEvents(request)
        for result in response.results:
            outcome = TrackOutcome.Name(result.outcome).removeprefix("TRACK_OUTCOME_")
            rows.append({"outcome": outcome, "message_id": result.message_id, "reason": result.reason})


async def _put(channel: "grpc.aio.Channel", program: "Program") -> "Program":
    from penstock.tracking.v1.tracking_service_pb2 import PutProgramRequest  # noqa: PLC0415
    from penstock.tracking.v1.tracking_service_pb2_grpc import TrackingServiceStub  # noqa: PLC0415

    return (await TrackingServiceStub(channel).PutProgram(PutProgramRequest(program=program))).program


async def _get(channel: "grpc.aio.Channel", program_id: str) -> "Program":
    from penstock.tracking.v1.tracking_service_pb2 import GetProgramRequest  # noqa: PLC0415
    from penstock.tracking.v1.tracking_service_pb2_grpc import TrackingServiceStub  # noqa: PLC0415

    return (await TrackingServiceStub(channel).GetProgram(GetProgramRequest(program_id=program_id))).program


def _print_put(program: "Program", *, as_json: bool) -> None:
    if as_json:
        print_json(_row(program))
        return
    state = "accepts events" if program.enabled else "refuses events"
    print(f"program {program.program_id} version {program.version} {state}")


def _row(program: "Program") -> Mapping[str, object]:
    from google.protobuf.json_format import MessageToDict  # noqa: PLC0415

    row: Mapping[str, object] = MessageToDict(program, preserving_proto_field_name=True)
    return {"enabled": False, **row}


def _read(file: str) -> list["TrackingEvent"]:
    import json  # noqa: PLC0415

    try:
        lines = sys.stdin.readlines() if file == "-" else Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        usage_error(f"cannot read {file}: {error}")
    events = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            usage_error(f"line {number} of {file} is not JSON: {error}")
        events.append(_event(value, f"line {number} of {file}"))
    return events


def _event(value: object, where: str) -> "TrackingEvent":
    from google.protobuf.json_format import ParseDict, ParseError  # noqa: PLC0415
    from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent  # noqa: PLC0415

    if not isinstance(value, dict):
        usage_error(f"{where} is not a JSON object")
    try:
        return ParseDict(value, TrackingEvent())
    except ParseError as error:
        usage_error(f"{where} is not a tracking event: {error}")


def _attribute(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        usage_error(f"--attribute {text!r}: write NAME=VALUE")
    return name, value


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        usage_error(f"{text!r} is not a time in ISO 8601, e.g. 2027-01-31T12:00:00Z")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
