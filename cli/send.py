"""`penstock send`: put a message on a broker queue, as a legacy JMS producer does."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from cli.connection import EXIT_REFUSED, usage_error
from cli.output import print_json

if TYPE_CHECKING:
    from deploy.local.jms import JmsValue

EPILOG = """Examples:

penstock send orders '{"order_id": "o-1"}' -p order_type=lab-supplies -p order_value:long=415 -p location=US-East

penstock send clicks --file click.bin --binary
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EPILOG)(send)


def send(
    queue: Annotated[str, typer.Argument(help="Queue to send to, e.g. orders.")],
    body: Annotated[str, typer.Argument(help="Text of the message; - reads standard input.")] = "",
    file: Annotated[
        Path | None, typer.Option(help="Read the body from this file.", exists=True, dir_okay=False)
    ] = None,
    binary: Annotated[
        bool, typer.Option("--binary", help="Send a JMS bytes message instead of a text message.")
    ] = False,
    properties: Annotated[
        list[str] | None,
        typer.Option("--property", "-p", metavar="NAME[:TYPE]=VALUE", help="A JMS property, a string unless typed."),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Send it this many times.")] = 1,
    broker: Annotated[
        str, typer.Option(envvar="PENSTOCK_BROKER_OPENWIRE", help="Address of the broker's OpenWire connector.")
    ] = "127.0.0.1:61616",
    user: Annotated[str, typer.Option(envvar="PENSTOCK_BROKER_USER", help="User at the broker.")] = "penstock",
    as_json: Annotated[bool, typer.Option("--json", help="Print the message ids as JSON.")] = False,
) -> None:
    """Send a message with a Java JMS producer and print the ids the broker knows it by.

    The password is read from PENSTOCK_BROKER_PASSWORD; without it the embedded broker's is used.
    """
    from deploy.local.activemq import BROKER_PASSWORD  # noqa: PLC0415 - see the package
    from deploy.local.jms import JmsError, JmsMessage, find_jms_client  # noqa: PLC0415

    data = _body(body, file)
    typed = dict(_property(text) for text in properties or [])
    message = JmsMessage(data=data, properties=typed) if binary else JmsMessage(text=_text(data), properties=typed)
    password = os.environ.get("PENSTOCK_BROKER_PASSWORD", BROKER_PASSWORD)
    try:
        message_ids = find_jms_client(f"tcp://{broker}", user=user, password=password).send(queue, [message] * count)
    except JmsError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(EXIT_REFUSED) from None
    if as_json:
        print_json({"message_ids": message_ids})
    else:
        print("\n".join(message_ids))


def _body(body: str, file: Path | None) -> bytes:
    if file and body:
        usage_error("give the body either as an argument or by --file, not both")
    if file:
        return file.read_bytes()
    return sys.stdin.buffer.read() if body == "-" else body.encode()


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        usage_error(f"the body is not UTF-8 text ({error}): send it with --binary")


def _property(text: str) -> "tuple[str, JmsValue]":
    """A property as written on the command line, e.g. `order_value:long=415`."""
    from deploy.local.jms import JmsType, JmsValue  # noqa: PLC0415 - see the package

    name_and_type, separator, value = text.partition("=")
    name, _, type_name = name_and_type.partition(":")
    if not separator or not name:
        usage_error(f"property {text!r}: write NAME=VALUE or NAME:TYPE=VALUE")
    types: list[JmsType] = [known for known in get_args(JmsType) if known != "bytes"]  # JMS knows no such property
    found = next((known for known in types if known == (type_name or "string")), None)
    if found is None:
        usage_error(f"property {text!r}: {type_name!r} is no JMS type; there are {', '.join(types)}")
    return name, JmsValue(type=found, value=value)
