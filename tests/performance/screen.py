"""The table of results, for people: on a terminal, and as Markdown for the documentation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.performance.results import Measured
from tests.performance.targets import TARGETS, Target

COLUMNS = ("", "what", "figure", "compared with", "ratio", "spread", "floor", "goal", "verdict")
SHARED_CORES = (
    "Ratios are medians of runs in which ours and its comparator take turns; the spread is the least and the "
    "greatest. Load generators are counted on neither side of a ratio, but share the cores with what they load."
)
_BEGIN, _END = "<!-- the table begins -->", "<!-- the table ends -->"
_COLOURS = {"goal": "green", "floor": "yellow", "reported": "yellow", "below the floor": "red"}


def show(machine: str, rows: Sequence[Measured], console: Console) -> None:
    table = Table(*COLUMNS, title="How fast, how big", show_lines=False)
    for row in rows:
        cells = _cells(row)
        colour = _COLOURS[row.verdict]
        table.add_row(*cells[:-1], f"[{colour}]{cells[-1]}[/]")
    console.print(table)
    for row in rows:
        if row.note:
            console.print(f"{row.target}: {row.note}", highlight=False)
    console.print(machine, highlight=False)
    console.print(SHARED_CORES, highlight=False)


def markdown(machine: str, rows: Sequence[Measured]) -> str:
    lines = [
        f"| {' | '.join(COLUMNS)} |",
        f"|{'---|' * len(COLUMNS)}",
        *(f"| {' | '.join(_cells(row))} |" for row in rows),
        "",
        *(f"- {row.target}: {row.note}" for row in rows if row.note),
        "",
        f"Machine: {machine}. {SHARED_CORES}",
    ]
    return "\n".join(lines) + "\n"


def write_into(document: Path, table: str) -> None:
    """Put the table where the document says that it belongs."""
    before, _, rest = document.read_text(encoding="utf-8").partition(_BEGIN)
    _, marker, after = rest.partition(_END)
    assert marker, f"{document} has a place for the table, between {_BEGIN} and {_END}"
    document.write_text(f"{before}{_BEGIN}\n\n{table}\n{_END}{after}", encoding="utf-8")


def _cells(row: Measured) -> list[str]:
    target = TARGETS[row.target]
    compared = f"{_number(row.comparator)} {row.unit}: " if row.comparator is not None else ""
    return [
        row.target,
        target.what,
        f"{_number(row.figure)} {row.unit}",
        compared + target.compared_with,
        "" if row.ratio is None else _number(row.ratio),
        f"{_number(row.spread[0])}–{_number(row.spread[1])}",
        _bound(target.floor, target),
        _bound(target.goal, target),
        row.verdict,
    ]


def _bound(value: float, target: Target) -> str:
    return f"{'≥' if target.more_is_better else '≤'} {value:g}"


def _number(value: float) -> str:
    if value >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.3g}"
