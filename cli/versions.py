"""`penstock params tree`, `label`, `diff` and `rollback`: where parameters lie, and their versions side by side."""

import difflib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.connection import EXIT_REFUSED, refuse, target_option, tls_ca_option, token_file_option, with_channel
from cli.output import print_json
from cli.plan import HIDDEN

if TYPE_CHECKING:
    import grpc
    from penstock.config.v1 import config_service_pb2, parameter_pb2
    from penstock.config.v1.config_service_pb2_grpc import ConfigServiceAsyncStub

_DIFF_EXAMPLES = """Examples:

penstock params diff /prod/app/appConfig

penstock params diff /prod/app/appConfig:stable /prod/app/appConfig

penstock params diff /prod/app/appConfig /test/app/appConfig
"""
_ROLLBACK_EXAMPLES = """Examples:

penstock params rollback /prod/app/appConfig

penstock params rollback /prod/app/appConfig --to stable
"""

NAME = typer.Argument(help="Name of the parameter, e.g. /prod/app/appConfig.")
TARGET = target_option("config", 50051)
TLS_CA = tls_ca_option()
TOKEN_FILE = token_file_option()
AS_JSON = typer.Option(False, "--json", help="Print JSON.")
DECRYPT = typer.Option(False, "--decrypt", help="Show the values of secrets.")


def register(params: typer.Typer) -> None:
    """Add the commands."""
    params.command("tree")(tree)
    params.command("label")(label)
    params.command("diff", epilog=_DIFF_EXAMPLES)(diff)
    params.command("rollback", epilog=_ROLLBACK_EXAMPLES)(rollback)


def tree(
    path: Annotated[str, typer.Argument(help="Path whose parameters are shown.")] = "/",
    target: str = TARGET,
    tls_ca: Path | None = TLS_CA,
    token_file: Path | None = TOKEN_FILE,
) -> None:
    """Show the hierarchy below a path: names, types and versions, no values."""

    async def operation(channel: "grpc.aio.Channel") -> "list[parameter_pb2.Parameter]":
        from penstock.client import ParameterClient  # noqa: PLC0415 - see the package

        return [message async for message in ParameterClient(channel).messages(path)]

    found = with_channel(target, operation, tls_ca=tls_ca, token_file=token_file)
    if not sys.stdout.isatty():
        print("\n".join([path, *_indented(path, [parameter.name for parameter in found])]))
        return
    _print_tree(path, found)


def label(
    name: Annotated[str, NAME],
    labels: Annotated[list[str], typer.Argument(metavar="LABEL...", help="Labels to attach, e.g. stable.")],
    version: Annotated[int, typer.Option(min=0, help="The version to label; by default the newest.")] = 0,
    target: str = TARGET,
    tls_ca: Path | None = TLS_CA,
    token_file: Path | None = TOKEN_FILE,
) -> None:
    """Move labels to a version, from where they were before."""
    from penstock.config.v1 import config_service_pb2 as api  # noqa: PLC0415

    request = api.LabelParameterVersionRequest(name=name, labels=labels, version=version)

    async def operation(channel: "grpc.aio.Channel") -> "config_service_pb2.LabelParameterVersionResponse":
        return await _stub(channel).LabelParameterVersion(request)

    labelled = with_channel(target, operation, tls_ca=tls_ca, token_file=token_file)
    if labelled.invalid_labels:
        refuse(
            f"not attached: {', '.join(labelled.invalid_labels)}; a label has letters, digits and `.-_`, and starts "
            "neither with a digit nor with aws or ssm"
        )
    print(f"version {labelled.version} is {', '.join(labels)}")


def diff(
    name: Annotated[str, typer.Argument(help="Name, name:version or name:label.")],
    other: Annotated[
        str | None, typer.Argument(help="What to compare it with; by default the version before it with it.")
    ] = None,
    decrypt: bool = DECRYPT,
    target: str = TARGET,
    tls_ca: Path | None = TLS_CA,
    token_file: Path | None = TOKEN_FILE,
    as_json: bool = AS_JSON,
) -> None:
    """Compare two versions or parameters line by line; exit code 0 when their values are the same, 1 when not."""

    async def operation(channel: "grpc.aio.Channel") -> "tuple[parameter_pb2.Parameter, parameter_pb2.Parameter]":
        stub = _stub(channel)
        first = await _get(stub, name)
        if other is not None:
            return first, await _get(stub, other)
        return await _get(stub, f"{first.name}:{first.version - 1}"), first

    before, after = with_channel(target, operation, tls_ca=tls_ca, token_file=token_file)
    same = before.value == after.value
    shown = [value if decrypt or not _is_secret(one) else HIDDEN for one in (before, after) for value in (one.value,)]
    titles = [f"{one.name}:{one.version}" for one in (before, after)]
    if as_json:
        print_json({"before": titles[0], "after": titles[1], "same": same, "lines": _lines(titles, shown)})
    elif shown[0] == shown[1] and not same:
        print(f"{titles[0]} and {titles[1]} differ; --decrypt shows how")
    else:
        _print_diff(_lines(titles, shown))
    if not same:
        raise typer.Exit(EXIT_REFUSED)


def rollback(
    name: Annotated[str, NAME],
    to: Annotated[
        str | None, typer.Option(help="Version or label to go back to; by default the version before.")
    ] = None,
    target: str = TARGET,
    tls_ca: Path | None = TLS_CA,
    token_file: Path | None = TOKEN_FILE,
    as_json: bool = AS_JSON,
) -> None:
    """Write the value of an earlier version again, as a new version, unless somebody writes meanwhile."""
    from penstock.config.v1 import config_service_pb2 as api  # noqa: PLC0415

    async def operation(
        channel: "grpc.aio.Channel",
    ) -> "tuple[parameter_pb2.Parameter, config_service_pb2.PutParameterResponse]":
        stub = _stub(channel)
        current = await _get(stub, name)
        wanted = await _get(stub, f"{current.name}:{to or current.version - 1}")
        request = api.PutParameterRequest(name=current.name, value=wanted.value, expected_version=current.version)
        return wanted, await stub.PutParameter(request)

    wanted, written = with_channel(target, operation, tls_ca=tls_ca, token_file=token_file)
    if as_json:
        row = {
            "name": wanted.name,
            "restored": wanted.version,
            "version": written.version,
            "revision": written.revision,
        }
        print_json(row)
    else:
        print(f"version {written.version} revision {written.revision}: the value of version {wanted.version}")


def _lines(titles: Sequence[str], values: Sequence[str]) -> list[str]:
    before, after = (value.splitlines() for value in values)
    return list(difflib.unified_diff(before, after, titles[0], titles[1], lineterm=""))


def _print_diff(lines: Sequence[str]) -> None:
    if not sys.stdout.isatty():
        print("\n".join(lines), end="\n" if lines else "")
        return
    from rich.console import Console  # noqa: PLC0415 - see the package
    from rich.text import Text  # noqa: PLC0415

    styles = {"+": "green", "-": "red", "@": "cyan"}
    for line in lines:
        Console().print(Text(line, style=styles.get(line[:1], "")))


def _indented(path: str, names: Sequence[str]) -> Iterator[str]:
    """A line per level, two blanks deeper each; names are in order."""
    shown: tuple[str, ...] = ()
    for name in names:
        levels = tuple(name.removeprefix(path).strip("/").split("/"))
        for depth in range(len(levels)):
            if shown[: depth + 1] != levels[: depth + 1]:
                yield f"{'  ' * (depth + 1)}{levels[depth]}"
        shown = levels


def _print_tree(path: str, found: "Sequence[parameter_pb2.Parameter]") -> None:
    from penstock.config.v1 import parameter_pb2  # noqa: PLC0415 - see the package
    from rich.console import Console  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415
    from rich.tree import Tree  # noqa: PLC0415

    root = Tree(Text(path, style="bold"))
    nodes: dict[tuple[str, ...], Tree] = {(): root}
    for parameter in found:
        levels = tuple(parameter.name.removeprefix(path).strip("/").split("/"))
        for depth in range(1, len(levels) + 1):
            if levels[:depth] not in nodes:
                nodes[levels[:depth]] = nodes[levels[: depth - 1]].add(Text(levels[depth - 1]))
        kind = parameter_pb2.ParameterType.Name(parameter.type).removeprefix("PARAMETER_TYPE_").lower()
        nodes[levels].label = Text.assemble(levels[-1], (f"  {kind} v{parameter.version}", "dim"))
    Console().print(root)


def _is_secret(parameter: "parameter_pb2.Parameter") -> bool:
    from penstock.config.v1 import parameter_pb2  # noqa: PLC0415 - see the package

    return parameter.type == parameter_pb2.PARAMETER_TYPE_SECURE_STRING


async def _get(stub: "ConfigServiceAsyncStub", selector: str) -> "parameter_pb2.Parameter":
    from penstock.config.v1 import config_service_pb2 as api  # noqa: PLC0415 - see the package

    return (await stub.GetParameter(api.GetParameterRequest(name=selector, with_decryption=True))).parameter


def _stub(channel: "grpc.aio.Channel") -> "ConfigServiceAsyncStub":
    from penstock.config.v1 import config_service_pb2_grpc  # noqa: PLC0415 - see the package

    return config_service_pb2_grpc.ConfigServiceStub(channel)
