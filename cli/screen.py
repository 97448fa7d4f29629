"""What `penstock up`, `down` and `status` show: one document per happening, as text or as a line of JSON."""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

Document = Mapping[str, Any]


class Screen(Protocol):
    """Shows documents; `event` is "step", "process", "log", "ready", "stopping" or "stopped" and tells the rest."""

    def show(self, document: Document) -> None: ...


class JsonScreen:
    """One JSON object per line."""

    def show(self, document: Document) -> None:
        """Print the document as it is."""
        print(json.dumps(document, ensure_ascii=False), flush=True)


class TextScreen:
    """Lines for people, coloured on a terminal."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - only when something is shown

        terminal = sys.stdout.isatty()
        self._console = Console(highlight=False, soft_wrap=not terminal)

    def show(self, document: Document) -> None:
        """Print the lines that a document is worth, if any."""
        match document["event"]:
            case "step":
                self._line("", document["text"], "dim")
            case "process":
                self._process(document)
            case "log":
                self._line(document["process"], document["line"], "dim")
            case "ready":
                self._banner(document["stack"])
            case "stopping":
                self._line("", f"{document['reason']}: stopping; once more to kill at once", "yellow")
            case "stopped":
                self._line("", "everything has ended", "green")

    def _line(self, name: str, text: str, style: str) -> None:
        self._console.print(f"{name:<16} {text}" if name else text, style=style, markup=False)

    def _process(self, document: Document) -> None:
        styles = {"ready": "green", "restarting": "red"}
        if document["state"] in {"ready", "restarting", "stopped"}:
            detail = f" ({document['detail'].splitlines()[0]})" if document["detail"] else ""
            self._line(document["name"], document["state"] + detail, styles.get(document["state"], ""))

    def _banner(self, stack: Document) -> None:
        self._console.print()
        self._console.print(f"Penstock {stack['state']} (pid {stack['pid']})", style="bold", markup=False)
        if self._console.is_terminal:
            self._table(stack["processes"])
        else:
            for process in stack["processes"]:
                print("  ".join(_cells(process, between=", ")))
        for line in _notes(stack):
            self._console.print(line, markup=False, soft_wrap=True)

    def _table(self, processes: Sequence[Document]) -> None:
        from rich.table import Table  # noqa: PLC0415 - only on a terminal
        from rich.text import Text  # noqa: PLC0415

        table = Table(box=None, header_style="bold", pad_edge=False)
        for heading in ("process", "state", "where", "kind", "what"):
            table.add_column(heading, overflow="fold", no_wrap=heading in {"process", "kind"})
        for process in processes:
            table.add_row(*(Text(cell) for cell in _cells(process, between="\n")))
        self._console.print(table)


def _cells(process: Document, *, between: str) -> Sequence[str]:
    where = between.join(f"{name} {address}" for name, address in process["addresses"].items())
    restarts = f", {process['restarts']} restarts" if process["restarts"] else ""
    kind = "real" if process["is_real"] else "double"
    return process["name"], f"{process['state']}{restarts}", where, kind, process["version"]


def _notes(stack: Document) -> Sequence[str]:
    addresses = {process["name"]: process["addresses"] for process in stack["processes"]}
    lines = [
        "",
        f"data   {stack['home']}/data   logs   {stack['home']}/logs",
        f"wipe   rm -r {stack['home']}   (when it is down)",
        "end    Ctrl-C here, or penstock down",
    ]
    commands = _commands(addresses)
    if not commands:
        return lines
    where = "" if shutil.which("penstock") else f"   (penstock is {Path(sys.executable).with_name('penstock')})"
    return [*lines, "", f"try{where}", *(f"  {command}" for command in commands)]


def _commands(addresses: Mapping[str, Mapping[str, str]]) -> Sequence[str]:
    """Three things to try, the way of a JMS message into a row; none when a process on it does not run."""
    if not {"config", "activemq", "bridge", "persistence"} <= addresses.keys():
        return ()
    config = _unless_default("--target", addresses["config"]["grpc"], "127.0.0.1:50051")
    broker = _unless_default("--broker", addresses["activemq"]["openwire"], "127.0.0.1:61616")
    persistence = addresses["persistence"]["grpc"]
    route = f'{{"source": "queue://first-steps", "targets": [{{"grpc": {{"address": "{persistence}"}}}}]}}'
    event = '{"program_id": "spring-sale"}'
    return (
        f"penstock params put /penstock/routes/first-steps '{route}'{config}",
        f"penstock send first-steps '{event}'{broker}",
        f"penstock events list{_unless_default('--target', persistence, '127.0.0.1:50054')}",
    )


def _unless_default(option: str, address: str, default: str) -> str:
    return "" if address == default else f" {option} {address}"
