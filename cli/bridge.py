"""`penstock routes`, `penstock bridge` and `penstock dlq`: what the bridge does, and what it could not deliver."""

import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar, cast

import typer

from cli.connection import target_option, tls_ca_option, with_channel
from cli.output import print_json, print_rows

if TYPE_CHECKING:
    import grpc
    from penstock.bridge.v1 import bridge_service_pb2
    from penstock.bridge.v1.bridge_service_pb2_grpc import BridgeServiceAsyncStub
    from penstock.delivery.v1 import broker_message_pb2

T = TypeVar("T")

routes = typer.Typer(no_args_is_help=True, help="Routes of the bridge and how they are doing.")
bridge = typer.Typer(no_args_is_help=True, help="The bridge as a whole.")
dlq = typer.Typer(no_args_is_help=True, help="Dead letters: messages the bridge gave up.")

TARGET = target_option("bridge", 50055)
TLS_CA = tls_ca_option()
AS_JSON = typer.Option(False, "--json", help="Print JSON.")
QUEUE = typer.Argument(help="Queue whose dead letters are meant, e.g. orders.")
IDS = typer.Argument(help="Message ids as `penstock dlq list` shows them; none: all.")
_COUNTS = ("received", "delivered", "filtered", "settled", "retried", "dead_lettered", "duplicates", "in_flight")
_RARE_COUNTS = ("replies", "late_replies", "unsent_replies", "rate_limited", "circuits_opened")
# Sending back or deleting thousands takes the broker a while.
_LONG_CALL_SECONDS = 600.0


def register(parent: typer.Typer) -> None:
    """Add the commands."""
    parent.add_typer(routes, name="routes")
    parent.add_typer(bridge, name="bridge")
    parent.add_typer(dlq, name="dlq")


@routes.command("list")
def list_routes(target: str = TARGET, tls_ca: Path | None = TLS_CA, as_json: bool = AS_JSON) -> None:
    """List the routes in force, whether messages flow, and what stands in the way."""
    from penstock.bridge.v1 import bridge_service_pb2  # noqa: PLC0415 - see the package

    async def operation(stub: "BridgeServiceAsyncStub") -> "bridge_service_pb2.ListRoutesResponse":
        return await stub.ListRoutes(bridge_service_pb2.ListRoutesRequest())

    response = _call(target, tls_ca, operation)
    rows = [
        {
            "route": state.route.name,
            "source": state.route.source,
            "to": state.route.filter_topic or f"{len(state.route.targets)} targets",
            "status": bridge_service_pb2.RouteStatus.Name(state.status).removeprefix("ROUTE_STATUS_").lower(),
            "version": state.version,
            "detail": state.detail,
        }
        for state in response.routes
    ]
    empty = "no routes; add one: penstock params put /penstock/routes/NAME --file route.json"
    print_rows(rows, ("route", "source", "to", "status", "version", "detail"), as_json=as_json, empty=empty)


@bridge.command()
def stats(target: str = TARGET, tls_ca: Path | None = TLS_CA, as_json: bool = AS_JSON) -> None:
    """Show what happened on each route since the bridge started."""
    from google.protobuf import json_format  # noqa: PLC0415 - see the package
    from penstock.bridge.v1 import bridge_service_pb2  # noqa: PLC0415

    async def operation(stub: "BridgeServiceAsyncStub") -> "bridge_service_pb2.GetStatsResponse":
        return await stub.GetStats(bridge_service_pb2.GetStatsRequest())

    response = _call(target, tls_ca, operation)
    if as_json:
        shown = json_format.MessageToDict(
            response, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        print_json(shown)
        return
    rows = [
        {
            "route": route.route,
            **{name: getattr(route, name) for name in (*_COUNTS, *_RARE_COUNTS)},
            "oldest": f"{route.oldest_in_flight_age.ToMilliseconds() / 1000:.1f} s",
        }
        for route in response.routes
    ]
    # A terminal has no room for columns of zeros; elsewhere every column keeps its place.
    rare = [name for name in _RARE_COUNTS if not sys.stdout.isatty() or any(row[name] for row in rows)]
    print_rows(rows, ("route", *_COUNTS, "oldest", *rare), as_json=False, empty="no routes")
    if not sys.stdout.isatty():
        return
    dedup = "available" if response.dedup_available else "away: this process's memory alone tells duplicates"
    print(f"broker: {response.broker or 'not connected'}; reconnects: {response.reconnects}; dedup: {dedup}")


@dlq.command("list")
def list_dead_letters(
    queue: Annotated[str, QUEUE],
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Dead letters listed at most.")] = 100,
    target: str = TARGET,
    tls_ca: Path | None = TLS_CA,
    as_json: bool = AS_JSON,
) -> None:
    """List dead letters, oldest first, and why they were given up. They stay in the broker."""
    from penstock.bridge.v1 import bridge_service_pb2  # noqa: PLC0415 - see the package

    request = bridge_service_pb2.ListDeadLettersRequest(source=_source(queue), max_messages=limit)

    async def operation(stub: "BridgeServiceAsyncStub") -> "bridge_service_pb2.ListDeadLettersResponse":
        return await stub.ListDeadLetters(request)

    response = _call(target, tls_ca, operation)
    rows = [_row(letter) for letter in response.dead_letters]
    columns = ("message_id", "first_failed", "attempts", "class", "route", "reason", "body")
    print_rows(rows, columns, as_json=as_json, empty=f"no dead letters of {queue}")


@dlq.command()
def show(
    queue: Annotated[str, QUEUE],
    message_id: Annotated[str, typer.Argument(help="Id in the dead letter queue, or the one its producer saw.")],
    target: str = TARGET,
    tls_ca: Path | None = TLS_CA,
    as_json: bool = AS_JSON,
) -> None:
    """Show a dead letter whole: why it was given up, its headers, properties and body. It stays in the broker."""
    from google.protobuf import json_format  # noqa: PLC0415 - see the package
    from penstock.bridge.v1 import bridge_service_pb2  # noqa: PLC0415

    request = bridge_service_pb2.GetDeadLetterRequest(source=_source(queue), message_id=message_id)

    async def operation(stub: "BridgeServiceAsyncStub") -> "bridge_service_pb2.GetDeadLetterResponse":
        return await stub.GetDeadLetter(request)

    letter = _call(target, tls_ca, operation).dead_letter
    if as_json:
        print_json(json_format.MessageToDict(letter, preserving_proto_field_name=True))
        return
    row = _row(letter)
    properties = row.pop("properties")
    del row["body"]
    for name, value in [*row.items(), *_headers(letter.message)]:
        print(f"{name}: {value}")
    for name, value in sorted(cast("dict[str, object]", properties).items()):
        print(f"property {name}: {value}")
    print(f"\n{_body(letter.message)}")


@dlq.command()
def replay(
    queue: Annotated[str, QUEUE],
    ids: Annotated[list[str] | None, IDS] = None,
    target: str = TARGET,
    tls_ca: Path | None = TLS_CA,
    as_json: bool = AS_JSON,
) -> None:
    """Send dead letters back to where they came from; routes take them from there."""
    from penstock.bridge.v1 import bridge_service_pb2  # noqa: PLC0415 - see the package

    request = bridge_service_pb2.ReplayDeadLettersRequest(source=_source(queue), message_ids=ids or ())

    async def operation(stub: "BridgeServiceAsyncStub") -> "bridge_service_pb2.ReplayDeadLettersResponse":
        return await stub.ReplayDeadLetters(request, timeout=_LONG_CALL_SECONDS)

    response = _call(target, tls_ca, operation)
    if as_json:
        print_json({"replayed": response.replayed, "skipped": response.skipped})
        return
    print(f"replayed {response.replayed}")
    if response.skipped:
        print(f"left {response.skipped} where they are: STOMP would lose their body; move them with a JMS tool")


@dlq.command()
def purge(
    queue: Annotated[str, QUEUE],
    ids: Annotated[list[str] | None, IDS] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    target: str = TARGET,
    tls_ca: Path | None = TLS_CA,
    as_json: bool = AS_JSON,
) -> None:
    """Delete dead letters for good."""
    from penstock.bridge.v1 import bridge_service_pb2  # noqa: PLC0415 - see the package

    if not yes:
        typer.confirm(f"Delete {f'{len(ids)} dead letters' if ids else 'all dead letters'} of {queue}?", abort=True)
    request = bridge_service_pb2.PurgeDeadLettersRequest(source=_source(queue), message_ids=ids or ())

    async def operation(stub: "BridgeServiceAsyncStub") -> "bridge_service_pb2.PurgeDeadLettersResponse":
        return await stub.PurgeDeadLetters(request, timeout=_LONG_CALL_SECONDS)

    response = _call(target, tls_ca, operation)
    if as_json:
        print_json({"purged": response.purged})
    else:
        print(f"purged {response.purged}")


def _call(target: str, tls_ca: Path | None, operation: Callable[["BridgeServiceAsyncStub"], Awaitable[T]]) -> T:
    from penstock.bridge.v1.bridge_service_pb2_grpc import BridgeServiceStub  # noqa: PLC0415 - see the package

    async def with_stub(channel: "grpc.aio.Channel") -> T:
        return await operation(BridgeServiceStub(channel))

    return with_channel(target, with_stub, tls_ca=tls_ca)


def _source(queue: str) -> str:
    """`queue://orders` for `orders`."""
    return queue if "://" in queue else f"queue://{queue}"


def _headers(message: "broker_message_pb2.BrokerMessage") -> list[tuple[str, object]]:
    headers = {
        "type": message.type,
        "correlation_id": message.correlation_id,
        "reply_to": message.reply_to,
        "priority": message.priority,
    }
    return [(name, value) for name, value in headers.items() if value not in ("", None)]


def _body(message: "broker_message_pb2.BrokerMessage") -> str:
    """The body as a terminal can show it: text as it is, bytes in hexadecimal."""
    return message.text if message.WhichOneof("body") == "text" else message.data.hex(" ")


def _row(letter: "bridge_service_pb2.DeadLetter") -> dict[str, object]:
    failed = letter.first_failed_at.ToMilliseconds() / 1000 if letter.HasField("first_failed_at") else None
    message = letter.message
    body = message.text if message.WhichOneof("body") == "text" else f"{len(message.data)} bytes"
    return {
        "message_id": message.id,
        "first_failed": datetime.fromtimestamp(failed, UTC).isoformat(timespec="seconds") if failed else "",
        "attempts": letter.attempts,
        "class": letter.error_class,
        "route": letter.route,
        "reason": letter.reason,
        "body": body if len(body) <= 60 else f"{body[:57]}...",  # noqa: PLR2004 - a column of a terminal
        "original_destination": letter.original_destination,
        "original_message_id": letter.original_message_id,
        "dead_letter_queue": letter.dead_letter_queue,
        "properties": {name: value.string_value for name, value in message.properties.items()},
    }
