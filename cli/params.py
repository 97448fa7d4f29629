"""`penstock params`: parameters of the config service, subscriptions and routes among them."""

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import rollout, transfer, versions, watching
from cli.connection import EXIT_REFUSED, target_option, tls_ca_option, token_file_option, usage_error, with_channel
from cli.documents import Kind
from cli.output import print_json, print_rows
from cli.parameter_rows import parameter_row

if TYPE_CHECKING:
    import grpc
    from penstock.config.v1 import config_service_pb2, parameter_pb2
    from penstock.config.v1.config_service_pb2_grpc import ConfigServiceAsyncStub

app = typer.Typer(no_args_is_help=True, help="Parameters: read, change and follow them.")

_EPILOG = """Examples:

penstock params put /prod/app/appConfig '{"colour": "blue"}' --data-type json

penstock params put /penstock/routes/orders --file orders.json

printf %s "$PASSWORD" | penstock params put /prod/app/password - --secure
"""
_PAGE = 1000

NAME = typer.Argument(help="Name of the parameter, e.g. /prod/app/appConfig.")
TARGET = target_option("config", 50051)
TLS_CA = tls_ca_option()
TOKEN_FILE = token_file_option()
AS_JSON = typer.Option(False, "--json", help="Print JSON.")
DECRYPT = typer.Option(False, "--decrypt", help="Show the values of secrets.")


def register(parent: typer.Typer) -> None:
    """Add the commands."""
    for group in (versions, rollout, transfer, watching):
        group.register(app)
    parent.add_typer(app, name="params")


@app.command(epilog=_EPILOG)
def put(
    name: Annotated[str, NAME],
    value: Annotated[str | None, typer.Argument(help="The value; - reads standard input.")] = None,
    file: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Read the value from a file.")] = None,
    kind: Annotated[Kind | None, typer.Option("--type", help="Type; by default what it is, String if new.")] = None,
    secure: Annotated[bool, typer.Option("--secure", help="The same as --type SecureString.")] = False,
    if_version: Annotated[
        int | None, typer.Option(min=0, help="Write only if this version is current; 0: only if there is none.")
    ] = None,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    pattern: Annotated[str | None, typer.Option(help="Regular expression every value must match; '' for none.")] = None,
    data_type: Annotated[str | None, typer.Option(help="text, integer, float, boolean, json or url.")] = None,
    expires: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%dT%H:%M:%S%z"], help="When it deletes itself, with time zone.")
    ] = None,
    tags: Annotated[list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="A tag; repeatable.")] = None,
    target: str = TARGET,
    tls_ca: Path | None = TLS_CA,
    token_file: Path | None = TOKEN_FILE,
    as_json: bool = AS_JSON,
) -> None:
    """Write a new version of a parameter and print version and revision, once it is durable."""
    from penstock.config.v1 import config_service_pb2  # noqa: PLC0415 - see the package

    if secure and kind not in (None, Kind.SECURE_STRING):
        usage_error(f"--secure contradicts --type {kind}")
    kind = Kind.SECURE_STRING if secure else kind
    request = config_service_pb2.PutParameterRequest(
        name=name,
        value=_value(value, file),
        type=f"PARAMETER_TYPE_{kind.name}" if kind else None,
        expected_version=if_version,
        description=description,
        allowed_pattern=pattern,
        data_type=data_type,
        tags=dict(_tag(tag) for tag in tags or ()),
    )
    if expires is not None:
        request.expires_at.FromDatetime(expires)

    async def operation(channel: "grpc.aio.Channel") -> "config_service_pb2.PutParameterResponse":
        return await _stub(channel).PutParameter(request)

    written = with_channel(target, operation, tls_ca=tls_ca, token_file=token_file)
    if as_json:
        print_json({"name": name, "version": written.version, "revision": written.revision})
    else:
        print(f"version {written.version} revision {written.revision}")


@app.command()
def get(
    name: Annotated[str, typer.Argument(help="Name, name:version or name:label.")],
    decrypt: bool = DECRYPT,
    target: str = TARGET,
    tls_ca: Path | None = TLS_CA,
    token_file: Path | None = TOKEN_FILE,
    as_json: bool = AS_JSON,
) -> None:
    """Print the value of a parameter; --json prints everything about it."""
    from penstock.config.v1 import config_service_pb2  # noqa: PLC0415

    request = config_service_pb2.GetParameterRequest(name=name, with_decryption=decrypt)

    async def operation(channel: "grpc.aio.Channel") -> "parameter_pb2.Parameter":
        return (await _stub(channel).GetParameter(request)).parameter

    found = with_channel(target, operation, tls_ca=tls_ca, token_file=token_file)
    row = parameter_row(found)
    if as_json:
        print_json(row)
    elif row["type"] == Kind.SECURE_STRING and not decrypt:
        print(f"error: {found.name} is a SecureString: --decrypt shows its value", file=sys.stderr)
        raise typer.Exit(EXIT_REFUSED)
    else:
        print(found.value)


@app.command("ls")
def list_parameters(
    path: Annotated[str, typer.Argument(help="Path whose parameters are listed.")] = "/",
    shallow: Annotated[bool, typer.Option("--shallow", help="Only those directly below the path.")] = False,
    decrypt: bool = DECRYPT,
    target: str = TARGET,
    tls_ca: Path | None = TLS_CA,
    token_file: Path | None = TOKEN_FILE,
    as_json: bool = AS_JSON,
) -> None:
    """List the parameters below a path, with their values."""
    from penstock.config.v1 import config_service_pb2  # noqa: PLC0415

    async def operation(channel: "grpc.aio.Channel") -> "list[parameter_pb2.Parameter]":
        found: list[parameter_pb2.Parameter] = []
        token = ""
        while True:
            request = config_service_pb2.ListParametersRequest(
                path=path, recursive=not shallow, page_size=_PAGE, page_token=token, with_decryption=decrypt
            )
            page = await _stub(channel).ListParameters(request)
            found += page.parameters
            token = page.next_page_token
            if not token:
                return found

    found = with_channel(target, operation, tls_ca=tls_ca, token_file=token_file)
    rows = [parameter_row(parameter) for parameter in found]
    print_rows(rows, ("name", "type", "version", "value"), as_json=as_json, empty=f"no parameters below {path}")


@app.command()
def history(
    name: Annotated[str, NAME],
    decrypt: bool = DECRYPT,
    target: str = TARGET,
    tls_ca: Path | None = TLS_CA,
    token_file: Path | None = TOKEN_FILE,
    as_json: bool = AS_JSON,
) -> None:
    """List the kept versions of a parameter, newest first."""
    from penstock.config.v1 import config_service_pb2  # noqa: PLC0415

    async def operation(channel: "grpc.aio.Channel") -> "list[parameter_pb2.Parameter]":
        # At most 100 versions are kept: one page holds them.
        request = config_service_pb2.ListParameterVersionsRequest(name=name, page_size=100, with_decryption=decrypt)
        return list((await _stub(channel).ListParameterVersions(request)).parameters)

    rows = [
        parameter_row(parameter) for parameter in with_channel(target, operation, tls_ca=tls_ca, token_file=token_file)
    ]
    print_rows(
        rows, ("version", "revision", "modified_at", "labels", "value"), as_json=as_json, empty=f"no versions of {name}"
    )


@app.command()
def delete(
    name: Annotated[str, NAME],
    if_version: Annotated[int | None, typer.Option(min=1, help="Delete only if this version is current.")] = None,
    target: str = TARGET,
    tls_ca: Path | None = TLS_CA,
    token_file: Path | None = TOKEN_FILE,
    as_json: bool = AS_JSON,
) -> None:
    """Delete a parameter with all its versions."""
    from penstock.config.v1 import config_service_pb2  # noqa: PLC0415

    request = config_service_pb2.DeleteParameterRequest(name=name, expected_version=if_version)

    async def operation(channel: "grpc.aio.Channel") -> int:
        return (await _stub(channel).DeleteParameter(request)).revision

    revision = with_channel(target, operation, tls_ca=tls_ca, token_file=token_file)
    if as_json:
        print_json({"name": name, "revision": revision})
    else:
        print(f"deleted revision {revision}")


def _value(value: str | None, file: Path | None) -> str:
    if (value is None) == (file is None):
        usage_error("give the value as an argument, by --file, or on standard input with -")
    if file is not None:
        data = file.read_bytes()
    elif value == "-":
        data = sys.stdin.buffer.read()
    else:
        return value or ""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        usage_error(f"the value is not UTF-8 text: {error.reason} at byte {error.start}")


def _tag(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator:
        usage_error(f"--tag {text!r}: write KEY=VALUE")
    return key, value


def _stub(channel: "grpc.aio.Channel") -> "ConfigServiceAsyncStub":
    from penstock.config.v1 import config_service_pb2_grpc  # noqa: PLC0415

    return config_service_pb2_grpc.ConfigServiceStub(channel)
