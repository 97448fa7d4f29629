"""`penstock params audit`: the hash-chained log of what was done with parameters."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cli import params
from cli.connection import EXIT_REFUSED
from cli.output import print_json, print_rows

app = typer.Typer(no_args_is_help=True, help="The audit log of the config service, read where it lies.")

_EPILOG = """Examples:

penstock params audit verify .penstock/data/config/audit.log

penstock params audit verify audit.log --head 5e884898da28047151d0e56f8dc62927

penstock params audit ls audit.log --name /prod/db --last 20
"""

FILE = typer.Argument(exists=True, dir_okay=False, help="The file, PENSTOCK_CONFIG_AUDIT_LOG of the service.")
AS_JSON = typer.Option(False, "--json", help="Print JSON.")


def register(_parent: typer.Typer) -> None:
    """Add the commands, below those of parameters."""
    params.app.add_typer(app, name="audit")


@app.command(epilog=_EPILOG)
def verify(
    file: Annotated[Path, FILE],
    head: Annotated[
        str, typer.Option(help="Hash noted before, or its beginning: the log must still hold its record.")
    ] = "",
    as_json: bool = AS_JSON,
) -> None:
    """Check that no record was changed, removed, inserted or moved; exit code 1 when one was.

    Print the number of records and the hash of the last. What was cut off at the end shows only against a hash that was
    noted elsewhere: give it with --head.
    """
    from services.config import audit  # noqa: PLC0415 - see the package

    verdict = audit.verify(file)
    fault = verdict.fault
    if not fault and head and not any(record["hash"].startswith(head) for record in audit.records_of(file)):
        fault = f"the record with the hash {head} is gone: the log was cut or replaced"
    if as_json:
        print_json({"records": verdict.records, "head": verdict.head, "fault": fault})
    elif fault:
        print(
            f"NOT INTACT: {fault}\n{verdict.records} records before it are good, the last has the hash {verdict.head}"
        )
    else:
        print(f"intact: {verdict.records} records, head {verdict.head}")
    if fault:
        raise typer.Exit(EXIT_REFUSED)


@app.command("ls", epilog=_EPILOG)
def list_records(
    file: Annotated[Path, FILE],
    name: Annotated[str, typer.Option(help="Only of names that begin so.")] = "",
    principal: Annotated[str, typer.Option(help="Only of this principal.")] = "",
    last: Annotated[int, typer.Option(min=0, help="Only so many of the newest; 0 is all.")] = 0,
    as_json: bool = AS_JSON,
) -> None:
    """List records, oldest first."""
    from services.config.audit import records_of  # noqa: PLC0415 - see the package

    rows: list[dict[str, Any]] = [
        record
        for record in records_of(file)
        if record["name"].startswith(name) and principal in ("", record["principal"])
    ]
    columns = ("seq", "at", "principal", "action", "result", "version", "revision", "name")
    print_rows(rows[-last:] if last else rows, columns, as_json=as_json, empty="no such records")
