"""What a benchmark leaves behind: a table on the screen, `results/<name>.json`, and `RESULTS.md` made from them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.measure import Comparison, Measurement, is_reached

_WIDTH = 140  # of the table where the output is no terminal
RESULTS = Path(__file__).with_name("results")
PAGE = Path(__file__).with_name("RESULTS.md")

_INTRODUCTION = """\
# Benchmark results

Made by `make bench` from the files in `results/`; do not edit.

Every row compares ours with a peer that does less or is the usual choice, both driven in the same run on the same
machine, in alternation. The ratio is the median over the rounds of *ours / peer*, with the lowest and the highest round
beside it. Only ratios mean something elsewhere: the rates belong to the machine named above each table and to what else
ran on it.
"""


def publish(
    name: str,
    comparisons: Sequence[Comparison],
    machine: Mapping[str, Any],
    notes: Sequence[str],
    measurements: Sequence[Measurement] = (),
) -> None:
    """Print what was measured, write it to `results/<name>.json`, and make the page anew."""
    figures = {comparison.subject.key: comparison.figures() for comparison in comparisons}
    result = {
        "name": name,
        "ratios": {key: figure["ratio"] for key, figure in figures.items()},
        "figures": figures,
        "values": {measured.limit.key: measured.figures() for measured in measurements},
        "machine": dict(machine),
        "notes": list(notes),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
    _print(result)
    PAGE.write_text(page([json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]))


def page(results: Sequence[Mapping[str, Any]]) -> str:
    """The text of `RESULTS.md`."""
    return "\n".join([_INTRODUCTION, *(line for result in results for line in _section(result))])


def _section(result: Mapping[str, Any]) -> list[str]:
    lines = [f"## {result['name']}", "", machine_line(result["machine"]), ""]
    if result["figures"]:
        lines += ["| key | what | ours | peer | ratio | range | floor | |", "|---|---|---|---|---|---|---|---|"]
    for key, figure in result["figures"].items():
        cells = (f"`{key}`", figure["what"], *_cells(figure))
        lines.append(f"| {' | '.join(cells)} |")
    if values := result.get("values"):
        lines += [
            *[""][: len(result["figures"])],
            "| key | what | value | range | limit | |",
            "|---|---|---|---|---|---|",
        ]
        lines += [
            f"| `{key}` | {figure['what']} | {' | '.join(_value_cells(figure))} |" for key, figure in values.items()
        ]
    lines += ["", *(f"- {note}" for note in result["notes"])]
    return [*lines, ""] if result["notes"] else lines


def machine_line(machine: Mapping[str, Any]) -> str:
    """One sentence about the machine and how busy it was."""
    return (
        f"{machine['measured_at']} on {machine['cpus']} CPUs ({machine['system']}, Python {machine['python']}); load "
        f"{machine['load_before']} before and {machine['load_after']} after; other processes used "
        f"{machine['others_share']:.0%} of the CPU time meanwhile."
    )


def _cells(figure: Mapping[str, Any]) -> tuple[str, ...]:
    floor, of_times = figure["floor"], figure.get("of_times", False)
    missed = "**above the limit**" if of_times else "**below the floor**"
    return (
        _rate(figure["ours"], figure["unit"]),
        _rate(figure["peer"], figure["unit"]),
        f"{figure['ratio']:.2f}",
        f"{figure['ratio_lowest']:.2f} to {figure['ratio_highest']:.2f}",
        "" if floor is None else f"{'≤ ' if of_times else ''}{floor:.2f}",
        "" if floor is None else "reached" if is_reached(figure["ratio"], floor, of_times=of_times) else missed,
    )


def _value_cells(figure: Mapping[str, Any]) -> tuple[str, ...]:
    unit = figure["unit"]
    return (
        f"{figure['value']:,.10g} {unit}",
        f"{figure['lowest']:,.10g} to {figure['highest']:,.10g}",
        *_limit_cells(figure),
    )


def _limit_cells(figure: Mapping[str, Any]) -> tuple[str, str]:
    """What the value should be and whether it is; empty for one that is only shown."""
    unit, floor, ceiling = figure["unit"], figure.get("floor"), figure.get("ceiling")
    if floor is None and ceiling is None:
        return "", ""
    limit = f"at most {ceiling:g} {unit}" if floor is None else f"at least {floor:,.10g} {unit}"
    return limit, "kept" if figure.get("kept", True) else "**missed**"


def _rate(side: Mapping[str, float], unit: str) -> str:
    text = f"{side['median']:,.0f} {unit}"
    return f"{text}, {side['cpu_microseconds']:.0f} µs CPU each" if "cpu_microseconds" in side else text


def _print(result: Mapping[str, Any]) -> None:
    table = Table(title=f"bench {result['name']}", caption=machine_line(result["machine"]), title_justify="left")
    for column in ("key", "ours", "peer", "ratio", "range", "floor", ""):
        table.add_column(column)
    for key, figure in result["figures"].items():
        table.add_row(key, *(cell.replace("**", "") for cell in _cells(figure)))
    for key, figure in result["values"].items():
        value, spread, limit, verdict = (cell.replace("**", "") for cell in _value_cells(figure))
        table.add_row(key, value, "", "", spread, limit, verdict)
    console = Console()
    if not console.is_terminal:
        console.width = _WIDTH
    console.print(table)
