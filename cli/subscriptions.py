"""`penstock subscriptions`: who wants the messages of a topic, through the filtering service."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.connection import target_option, tls_ca_option, usage_error, with_channel
from cli.output import print_json, print_rows

if TYPE_CHECKING:
    import grpc
    from penstock.filtering.v1 import filtering_service_pb2_grpc, subscription_pb2

PORT = 50052
_PAGE = 1000

_PUT_EXAMPLES = """Examples:

penstock subscriptions put orders.json

penstock subscriptions put '{"topic": "Orders", "name": "large", "target": {"queue": {"destination": "large"}},
"filter_policy": "{\\"total\\": [{\\"numeric\\": [\\">\\", 1000]}]}"}'

penstock subscriptions get Orders large | jq '.description = "large orders"' | penstock subscriptions put -
"""
_LIST_EXAMPLES = """Examples:

penstock subscriptions list

penstock subscriptions list Orders --json | jq --raw-output '.[].name'
"""
_GET_EXAMPLE = "Example: penstock subscriptions get Orders large > large.json"
_DELETE_EXAMPLE = "Example: penstock subscriptions delete Orders large"

subscriptions = typer.Typer(help="Who wants the messages of a topic.", no_args_is_help=True)

TopicArgument = Annotated[str, typer.Argument(help="Topic.")]
NameArgument = Annotated[str, typer.Argument(help="Name of the subscription within the topic.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Add `penstock subscriptions` to the command."""
    app.add_typer(subscriptions, name="subscriptions")


@subscriptions.command("put", epilog=_PUT_EXAMPLES)
def put(
    source: Annotated[
        str,
        typer.Argument(help="penstock.filtering.v1.Subscription as JSON, or an array of them: a file, -, or text."),
    ],
    expected_version: Annotated[
        int | None,
        typer.Option(min=0, help="Write only if this version is current; 0: only if there is none."),
    ] = None,
    as_json: JsonOption = False,
    target: str = target_option("filtering", PORT),
    tls_ca: Path | None = tls_ca_option(),
) -> None:
    """Create or replace subscriptions; each is durable and effective when its line is printed.

    The first that is refused ends it with exit code 1: those printed before are stored. With --json each line is an
    object with topic, name and version.
    """
    from penstock.filtering.v1 import filtering_service_pb2 as pb  # noqa: PLC0415 - see the package

    documents = _read(source)
    if expected_version is not None and len(documents) != 1:
        usage_error(f"--expected-version is for one subscription; these are {len(documents)}")

    async def operation(channel: "grpc.aio.Channel") -> None:
        stub = _stub(channel)
        for document in documents:
            request = pb.PutSubscriptionRequest(subscription=document, expected_version=expected_version)
            stored = (await stub.PutSubscription(request)).subscription
            if as_json:
                row = {"topic": stored.topic, "name": stored.name, "version": stored.version}
                print(json.dumps(row, ensure_ascii=False), flush=True)
            else:
                print(f"{stored.topic}/{stored.name}\tversion {stored.version}", flush=True)

    with_channel(target, operation, tls_ca=tls_ca)


@subscriptions.command("list", epilog=_LIST_EXAMPLES)
def list_all(
    topic: Annotated[str, typer.Argument(help="Topic; all topics when left out.")] = "",
    as_json: JsonOption = False,
    target: str = target_option("filtering", PORT),
    tls_ca: Path | None = tls_ca_option(),
) -> None:
    """List subscriptions by topic and name; with --json as they are stored, in the form that `put` takes."""
    from penstock.filtering.v1 import filtering_service_pb2 as pb  # noqa: PLC0415 - see the package

    async def operation(channel: "grpc.aio.Channel") -> "list[subscription_pb2.Subscription]":
        found: list[subscription_pb2.Subscription] = []
        stub, token = _stub(channel), ""
        while True:
            page = await stub.ListSubscriptions(
                pb.ListSubscriptionsRequest(topic=topic, page_size=_PAGE, page_token=token)
            )
            found += page.subscriptions
            token = page.next_page_token
            if not token:
                return found

    found = with_channel(target, operation, tls_ca=tls_ca)
    if as_json:
        print_json([_plain(document) for document in found])
        return
    rows = [
        {
            "topic": document.topic,
            "name": document.name,
            "version": document.version,
            "target": _target_text(document),
            "filter_policy": document.filter_policy or "{}",
        }
        for document in found
    ]
    empty = f"topic {topic} has no subscriptions" if topic else "there are no subscriptions"
    print_rows(rows, ("topic", "name", "version", "target", "filter_policy"), as_json=False, empty=empty)


@subscriptions.command("get", epilog=_GET_EXAMPLE)
def get(
    topic: TopicArgument,
    name: NameArgument,
    target: str = target_option("filtering", PORT),
    tls_ca: Path | None = tls_ca_option(),
) -> None:
    """Print one subscription as the JSON that `put` takes."""
    from penstock.filtering.v1 import filtering_service_pb2 as pb  # noqa: PLC0415 - see the package

    async def operation(channel: "grpc.aio.Channel") -> "subscription_pb2.Subscription":
        return (await _stub(channel).GetSubscription(pb.GetSubscriptionRequest(topic=topic, name=name))).subscription

    print_json(_plain(with_channel(target, operation, tls_ca=tls_ca)))


@subscriptions.command("delete", epilog=_DELETE_EXAMPLE)
def delete(
    topic: TopicArgument,
    name: NameArgument,
    target: str = target_option("filtering", PORT),
    tls_ca: Path | None = tls_ca_option(),
) -> None:
    """Delete a subscription: its messages stop at once."""
    from penstock.filtering.v1 import filtering_service_pb2 as pb  # noqa: PLC0415 - see the package

    async def operation(channel: "grpc.aio.Channel") -> None:
        await _stub(channel).DeleteSubscription(pb.DeleteSubscriptionRequest(topic=topic, name=name))

    with_channel(target, operation, tls_ca=tls_ca)
    print(f"{topic}/{name} is deleted")


def _stub(channel: "grpc.aio.Channel") -> "filtering_service_pb2_grpc.FilteringServiceAsyncStub":
    from penstock.filtering.v1 import filtering_service_pb2_grpc  # noqa: PLC0415 - see the package

    return filtering_service_pb2_grpc.FilteringServiceStub(channel)


def _read(source: str) -> "list[subscription_pb2.Subscription]":
    from google.protobuf import json_format  # noqa: PLC0415 - see the package
    from penstock.filtering.v1 import subscription_pb2  # noqa: PLC0415

    try:
        loaded = json.loads(_text(source))
        documents = loaded if isinstance(loaded, list) else [loaded]
        if not all(isinstance(document, dict) for document in documents):
            usage_error(f"{source[:80]}: a subscription is a JSON object")
        return [json_format.ParseDict(document, subscription_pb2.Subscription()) for document in documents]
    except json_format.ParseError as error:
        usage_error(f"{source[:80]}: no JSON of penstock.filtering.v1.Subscription: {error}")
    except (OSError, ValueError) as error:
        usage_error(f"{source[:80]}: cannot be read as JSON: {error}")


def _text(source: str) -> str:
    if source == "-":
        return sys.stdin.read()
    return source if source.lstrip().startswith(("{", "[")) else Path(source).read_text(encoding="utf-8")


def _plain(document: "subscription_pb2.Subscription") -> dict[str, Any]:
    from google.protobuf import json_format  # noqa: PLC0415 - see the package

    return json_format.MessageToDict(document, preserving_proto_field_name=True)


def _target_text(document: "subscription_pb2.Subscription") -> str:
    kind = document.target.WhichOneof("kind")
    if kind is None:
        return ""
    details = getattr(document.target, kind)
    # The field that names the destination is the first of every kind.
    return f"{kind} {getattr(details, details.DESCRIPTOR.fields[0].name)}"
