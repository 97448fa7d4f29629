"""What commands print: tables on a terminal, plain lines elsewhere, JSON where asked for."""

import json
import sys
from collections.abc import Mapping, Sequence


def print_rows(rows: Sequence[Mapping[str, object]], columns: Sequence[str], *, as_json: bool, empty: str) -> None:
    """Print `rows` with the named columns.

    JSON is one array of the whole rows. A terminal gets a table, or the sentence `empty` when there is nothing.
    Elsewhere it is a line per row, cells separated by tabs, no heading, so that `cut`, `sort` and `while read` work.
    """
    if as_json:
        print_json(list(rows))
    elif not sys.stdout.isatty():
        for row in rows:
            print_line(row, columns)
    elif rows:
        _print_table(rows, columns)
    else:
        print(empty)


def print_line(row: Mapping[str, object], columns: Sequence[str]) -> None:
    """Print a row as one line, cells separated by tabs, at once: for what comes bit by bit."""
    print("\t".join(_cell(row.get(column)).replace("\t", " ").replace("\n", "\\n") for column in columns), flush=True)


def print_json(value: object) -> None:
    """Print a value as JSON, indented on a terminal."""
    print(json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))


def _print_table(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> None:
    from rich.console import Console  # noqa: PLC0415 - see the package
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        # The last column is the long one: it folds before the others are cut.
        table.add_column(column.replace("_", " "), overflow="fold", no_wrap=column != columns[-1])
    for row in rows:
        table.add_row(*(Text(_cell(row.get(column))) for column in columns))
    Console().print(table)


def _cell(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
