"""`penstock params watch`: changes as they happen, a table that stays up to date on a terminal, lines elsewhere."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.connection import target_option, tls_ca_option, token_file_option, with_channel
from cli.output import print_line
from cli.parameter_rows import Row, change_row

if TYPE_CHECKING:
    import grpc
    from rich.console import Console
    from rich.table import Table

_EXAMPLES = """Examples:

penstock params watch /prod/app

penstock params watch / --since 1200 --json | jq --unbuffered .name
"""
_COLUMNS = ("name", "version", "revision", "what", "value")
_MAX_GONE = 200  # deleted names that are still shown; more than a terminal has lines
_HIDDEN = "(SecureString, --decrypt shows it)"

Show = Callable[[Row], None]


def register(params: typer.Typer) -> None:
    """Add the command."""
    params.command("watch", epilog=_EXAMPLES)(watch)


def watch(
    path: Annotated[str, typer.Argument(help="Path below which changes are shown.")] = "/",
    since: Annotated[int, typer.Option(min=0, help="Revision after which to begin; 0 shows what exists first.")] = 0,
    decrypt: bool = typer.Option(False, "--decrypt", help="Show the values of secrets."),
    target: str = target_option("config", 50051),
    tls_ca: Path | None = tls_ca_option(),
    token_file: Path | None = token_file_option(),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Show every change below a path as it happens, until Ctrl-C.

    A terminal shows the newest of each parameter, changed ones on top; elsewhere every change is a line.
    """
    from penstock.config.v1 import config_service_pb2, config_service_pb2_grpc  # noqa: PLC0415 - see the package

    request = config_service_pb2.WatchParametersRequest(path=path, from_revision=since, with_decryption=decrypt)

    async def operation(channel: "grpc.aio.Channel") -> None:
        with _shown(path, as_json=as_json) as show:
            async for response in config_service_pb2_grpc.ConfigServiceStub(channel).WatchParameters(request):
                show(change_row(response))

    with_channel(target, operation, tls_ca=tls_ca, token_file=token_file)


class LiveTable:
    """The newest of each parameter, those that changed last on top, as many as the terminal has lines."""

    def __init__(self, path: str, console: "Console") -> None:
        self._path = path
        self._console = console
        self._rows: dict[str, Row] = {}
        self._gone: dict[str, None] = {}  # the deleted ones among them, oldest first
        self._revision = 0
        self._caught_up = False

    def take(self, row: Row) -> None:
        """Takes in what is to be shown."""
        self._revision = max(self._revision, row["revision"])
        if row["event"] == "bookmark":
            self._caught_up = True
            return
        before = self._rows.pop(row["name"], {})
        kept = row if row["event"] == "put" else {**before, **row}
        self._rows[row["name"]] = {**kept, "what": self._what(row)}
        self._gone.pop(row["name"], None)
        if row["event"] == "delete":
            self._gone[row["name"]] = None
            if len(self._gone) > _MAX_GONE:
                oldest = next(iter(self._gone))
                del self._gone[oldest], self._rows[oldest]

    def __rich__(self) -> "Table":
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        room = max(self._console.height - 4, 1)
        following = "following" if self._caught_up else "reading"
        count = len(self._rows) - len(self._gone)
        title = f"{self._path}: {count} parameters, {following}, revision {self._revision}. Ctrl-C ends."
        table = Table(box=None, header_style="bold", pad_edge=False, title=title, title_justify="left", expand=True)
        for column in _COLUMNS:
            is_last = column == _COLUMNS[-1]
            table.add_column(column, no_wrap=True, overflow="ellipsis", ratio=1 if is_last else None)
        for row in islice(reversed(self._rows.values()), room):
            style = {"put": "", "deleted": "red", "now": "green"}.get(row["what"], "yellow")
            table.add_row(*(Text(_text(row, column), style=style) for column in _COLUMNS))
        return table

    def _what(self, row: Row) -> str:
        if row["event"] == "put":
            return "now" if self._caught_up else "put"
        return "deleted" if row["event"] == "delete" else str(row["event"])


@contextmanager
def _shown(path: str, *, as_json: bool) -> Iterator[Show]:
    if as_json:
        yield lambda row: print(json.dumps(row, ensure_ascii=False), flush=True)
    elif not sys.stdout.isatty():
        yield _print
    else:
        from rich.console import Console  # noqa: PLC0415
        from rich.live import Live  # noqa: PLC0415

        console = Console()
        table = LiveTable(path, console)
        with Live(table, console=console, refresh_per_second=8):
            yield table.take


def _print(row: Row) -> None:
    """A line per change; bookmarks are for programs, as JSON."""
    if row["event"] != "bookmark":
        print_line(row, ("revision", "event", "name", "version", "value"))


def _text(row: Row, column: str) -> str:
    value = row.get(column)
    if column == "value" and value is None:
        return _HIDDEN if row.get("type") == "SecureString" else ""
    return "" if value is None else str(value).replace("\n", "\\n")
