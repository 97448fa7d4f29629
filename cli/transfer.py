"""`penstock params import` and `export`: between the config service and files or AWS SSM, shown before it is done."""

import fnmatch
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from cli.connection import (
    EXIT_UNREACHABLE,
    refuse,
    target_option,
    tls_ca_option,
    token_file_option,
    usage_error,
    with_channel,
)
from cli.documents import DocumentError, Format, Item, Items, Kind, format_of, read_document, write_document
from cli.output import print_json, print_rows
from cli.plan import Action, Change, Current, Plan, plan_of
from cli.ssm import PREFIX, Ssm, SsmError

if TYPE_CHECKING:
    import grpc

_IMPORT_EXAMPLES = """Examples:

penstock params import prod.yaml --path /prod/app --dry-run

penstock params import .env --path /prod/app --secret '*PASSWORD*'

penstock params import ssm:/prod/app --prune
"""
_EXPORT_EXAMPLES = """Examples:

penstock params export /prod/app

penstock params export /prod/app backup.json --decrypt

penstock params export /prod/app ssm:/prod/app --decrypt --dry-run
"""
_COLUMNS = ("change", "name", "type", "before", "after")

TARGET = target_option("config", 50051)
TLS_CA = tls_ca_option()
TOKEN_FILE = token_file_option()
AS_JSON = typer.Option(False, "--json", help="Print JSON.")
DRY_RUN = typer.Option(False, "--dry-run", help="Show what would change, and change nothing.")
PRUNE = typer.Option(False, "--prune", help="Also delete what the source does not have.")
FORMAT = typer.Option("--format", help="Format of the document; by default what the file name tells.")


def register(params: typer.Typer) -> None:
    """Add the commands."""
    params.command("import", epilog=_IMPORT_EXAMPLES)(import_parameters)
    params.command("export", epilog=_EXPORT_EXAMPLES)(export_parameters)


def import_parameters(
    source: Annotated[str, typer.Argument(help="A file, - for standard input, or ssm:/path for AWS.")],
    path: Annotated[str | None, typer.Option(help="Path to write below; needed for files.")] = None,
    document: Annotated[Format | None, FORMAT] = None,
    secrets: Annotated[
        list[str] | None, typer.Option("--secret", metavar="GLOB", help="New names that are secrets; repeatable.")
    ] = None,
    decrypt: Annotated[bool, typer.Option("--decrypt", help="Show the values of secrets.")] = False,
    dry_run: bool = DRY_RUN,
    prune: bool = PRUNE,
    target: str = TARGET,
    tls_ca: Path | None = TLS_CA,
    token_file: Path | None = TOKEN_FILE,
    as_json: bool = AS_JSON,
) -> None:
    """Write parameters from a file or from AWS SSM, showing every change.

    A parameter that another writer changes meanwhile is not overwritten: the import ends with exit code 1 and can be
    repeated. SecureStrings are shown only with --decrypt.
    """
    wanted, below = _source(source, path, document)
    wanted = {name: _as_secret(item, name, secrets or ()) for name, item in wanted.items()}

    async def operation(channel: "grpc.aio.Channel") -> Plan:
        current = await _stored(channel, below, decrypt=any(item.secret for item in wanted.values()))
        hidden = any(found.item.secret and not found.item.value for name, found in current.items() if name in wanted)
        if hidden:  # the document does not say that they are secrets, the service does
            current = await _stored(channel, below, decrypt=True)
        plan = plan_of(wanted, current, prune=prune)
        _show(plan, show_secrets=decrypt, as_json=as_json, dry_run=dry_run)
        if not (dry_run or plan.conflicts):
            for change in plan.changes:
                await _write(channel, below, change)
        return plan

    plan = with_channel(target, operation, tls_ca=tls_ca, token_file=token_file)
    _end(plan, dry_run=dry_run, where=below)


def export_parameters(
    path: Annotated[str, typer.Argument(help="Path whose parameters are exported.")],
    destination: Annotated[
        str | None, typer.Argument(metavar="[TARGET]", help="A file, or ssm:/path for AWS; without it standard output.")
    ] = None,
    document: Annotated[Format | None, FORMAT] = None,
    decrypt: Annotated[
        bool, typer.Option("--decrypt", help="Export secrets too; they are left out otherwise.")
    ] = False,
    dry_run: bool = DRY_RUN,
    prune: Annotated[bool, typer.Option("--prune", help="Also delete at AWS what is not below the path.")] = False,
    target: str = TARGET,
    tls_ca: Path | None = TLS_CA,
    token_file: Path | None = TOKEN_FILE,
    as_json: bool = AS_JSON,
) -> None:
    """Write parameters to standard output (YAML by default), a file or AWS SSM.

    Changes of a file or of AWS are shown, secrets among them as dots.
    """

    async def operation(channel: "grpc.aio.Channel") -> Mapping[str, Current]:
        return await _stored(channel, path, decrypt=decrypt)

    stored = with_channel(target, operation, tls_ca=tls_ca, token_file=token_file)
    items = {name: found.item for name, found in stored.items() if decrypt or not found.item.secret}
    if len(items) < len(stored):
        print(f"{len(stored) - len(items)} secrets are left out: --decrypt exports them", file=sys.stderr)
    if destination is None:
        print(_document(items, document or Format.YAML), end="")
    elif destination.startswith(PREFIX):
        _to_ssm(Ssm(_ssm_path(destination)), items, dry_run=dry_run, prune=prune, as_json=as_json)
    else:
        _to_file(Path(destination), items, document, dry_run=dry_run, as_json=as_json)


def _source(source: str, path: str | None, document: Format | None) -> tuple[Items, str]:
    """The items to import, and the path they are written below."""
    if source.startswith(PREFIX):
        from_path = _ssm_path(source)
        try:
            found = Ssm(from_path).read(decrypt=True)
        except SsmError as error:
            _fail(error)
        return {name: one.item for name, one in found.items()}, path or from_path
    if path is None:
        usage_error("--path tells below which path the parameters are written")
    kind = document or format_of(source)
    if kind is None:
        usage_error(f"--format tells what {source} is: {', '.join(Format)}")
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
        return read_document(text, kind), path
    except OSError as error:
        usage_error(f"{source} cannot be read: {error.strerror}")
    except (DocumentError, UnicodeDecodeError) as error:
        usage_error(f"{source}: {error if isinstance(error, DocumentError) else 'not UTF-8 text'}")


def _ssm_path(place: str) -> str:
    path = place.removeprefix(PREFIX)
    if not path.startswith("/"):
        usage_error(f"{place}: write ssm:/path, such as ssm:/prod/app")
    return path


def _as_secret(item: Item, name: str, globs: Sequence[str]) -> Item:
    is_secret = item.kind is None and any(fnmatch.fnmatchcase(name, glob) for glob in globs)
    return replace(item, kind=Kind.SECURE_STRING) if is_secret else item


async def _stored(channel: "grpc.aio.Channel", path: str, *, decrypt: bool) -> Mapping[str, Current]:
    """What the service has below a path, by the names below it."""
    from penstock.client import ParameterClient  # noqa: PLC0415 - see the package
    from penstock.config.v1 import parameter_pb2 as types  # noqa: PLC0415

    kinds = {
        types.PARAMETER_TYPE_STRING: Kind.STRING,
        types.PARAMETER_TYPE_STRING_LIST: Kind.STRING_LIST,
        types.PARAMETER_TYPE_SECURE_STRING: Kind.SECURE_STRING,
    }
    prefix = f"{path.rstrip('/')}/"
    return {
        message.name.removeprefix(prefix): Current(
            item=Item(value=message.value, kind=kinds.get(message.type)), version=message.version
        )
        async for message in ParameterClient(channel).messages(path, decrypt=decrypt)
    }


async def _write(channel: "grpc.aio.Channel", path: str, change: Change) -> None:
    from penstock.config.v1 import config_service_pb2 as api  # noqa: PLC0415 - see the package
    from penstock.config.v1.config_service_pb2_grpc import ConfigServiceStub  # noqa: PLC0415

    name, stub = f"{path.rstrip('/')}/{change.name}", ConfigServiceStub(channel)
    if change.action is Action.DELETE:
        await stub.DeleteParameter(api.DeleteParameterRequest(name=name, expected_version=change.version))
    else:
        kind = f"PARAMETER_TYPE_{change.kind.name}" if change.action is Action.ADD else None
        request = api.PutParameterRequest(
            name=name, value=change.after or "", type=kind, expected_version=change.version
        )
        await stub.PutParameter(request)


def _to_ssm(ssm: Ssm, items: Items, *, dry_run: bool, prune: bool, as_json: bool) -> None:
    try:
        current = ssm.read(decrypt=any(item.secret for item in items.values()))
        plan = plan_of(items, current, prune=prune)
        _show(plan, show_secrets=False, as_json=as_json, dry_run=dry_run)
        if not (dry_run or plan.conflicts):
            for change in plan.changes:
                ssm.apply(change)
    except SsmError as error:
        _fail(error)
    _end(plan, dry_run=dry_run, where=f"{PREFIX}{ssm.path}")


def _to_file(file: Path, items: Items, document: Format | None, *, dry_run: bool, as_json: bool) -> None:
    kind = document or format_of(file.name)
    if kind is None:
        usage_error(f"--format tells what {file} shall be: {', '.join(Format)}")
    text = _document(items, kind)
    try:
        there = read_document(file.read_text(encoding="utf-8"), kind) if file.exists() else {}
        plan = plan_of(items, {name: Current(item=item) for name, item in there.items()}, prune=True)
        _show(plan, show_secrets=False, as_json=as_json, dry_run=dry_run)
        if not dry_run:
            _replace(file, text)
    except OSError as error:
        usage_error(f"{file} cannot be written: {error.strerror}")
    except (DocumentError, UnicodeDecodeError):
        usage_error(f"{file} exists and is no {kind.upper()} document: remove it, or choose another name")
    _end(replace(plan, conflicts=()), dry_run=dry_run, where=str(file))


def _replace(file: Path, text: str) -> None:
    """The file as a whole or not at all, readable by its owner alone, as it may hold secrets."""
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as written:
        written.write(text)
    partial.replace(file)


def _document(items: Items, kind: Format) -> str:
    try:
        return write_document(items, kind)
    except DocumentError as error:
        usage_error(str(error))


def _show(plan: Plan, *, show_secrets: bool, as_json: bool, dry_run: bool) -> None:
    rows = [change.row(show_secrets=show_secrets) for change in plan.changes]
    if as_json:
        print_json({"changes": rows, "conflicts": list(plan.conflicts), "dry_run": dry_run})
    else:
        print_rows(rows, _COLUMNS, as_json=False, empty="nothing to change")


def _end(plan: Plan, *, dry_run: bool, where: str) -> None:
    if plan.conflicts:
        refuse("\n".join(["nothing was written:", *(f"  {conflict}" for conflict in plan.conflicts)]))
    word = "would be" if dry_run else "are"
    print(f"{len(plan.changes)} changes {word} written to {where}", file=sys.stderr)


def _fail(error: SsmError) -> NoReturn:
    if error.unreachable:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(EXIT_UNREACHABLE)
    refuse(str(error))
