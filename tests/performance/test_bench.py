"""The harness itself: what it says is what it measured, in the promised shape; sizes are tiny, figures mean nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest
from rich.console import Console

from tests.performance import __main__ as bench
from tests.performance import results, screen
from tests.performance.events import Stream, batch_bodies
from tests.performance.results import Measured, alone, compared
from tests.performance.targets import TARGETS


class Case(NamedTuple):
    name: str
    target: str
    found: float
    verdict: str


CASES = [
    Case("more_is_better_goal", "P1", 0.60, "goal"),
    Case("more_is_better_just_below_the_goal", "P1", 0.59, "floor"),
    Case("more_is_better_floor", "P1", 0.35, "floor"),
    Case("more_is_better_below", "P1", 0.34, "below the floor"),
    Case("less_is_better_goal", "P9", 0.02, "goal"),
    Case("less_is_better_floor", "P9", 0.10, "floor"),
    Case("less_is_better_below", "P9", 0.11, "below the floor"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_verdict_of_a_ratio(case: Case) -> None:
    assert compared(case.target, [(case.found, 1.0)], "x").verdict == case.verdict


def test_verdict_of_a_figure() -> None:
    assert alone("P12 accepting", [2.0, 11.0, 3.0], "s").verdict == "goal"
    assert alone("P12 accepting", [3.1], "s").verdict == "floor"
    assert alone("P12 accepting", [10.1], "s").verdict == "below the floor"


def test_ratio_is_the_median_of_pairs_and_not_the_ratio_of_medians() -> None:
    row = compared("P1", [(1.0, 2.0), (8.0, 10.0), (9.0, 90.0)], "events/s")
    assert row.ratio == pytest.approx(0.5)
    assert row.spread == (pytest.approx(0.1), pytest.approx(0.8))
    assert (row.figure, row.comparator) == (8.0, 10.0)


def test_too_few_cores_are_only_reported() -> None:
    slower = [(0.9, 1.0)]
    assert compared("P8", slower, "events/s", only_reported=True).verdict == "reported"
    assert compared("P8", slower, "events/s").verdict == "below the floor"


def test_file_says_what_the_table_says(tmp_path: Path) -> None:
    rows = [
        compared("P1", [(3.0, 4.0)], "events/s", note="a note"),
        alone("P11 idle", [180.0], "MB"),
        alone("P11 load", [200.0], "MB"),
    ]
    path = tmp_path / "bench.json"
    results.save("a machine", rows, path)
    told = json.loads(path.read_text(encoding="utf-8"))
    assert told["machine"] == "a machine"
    assert [row["id"] for row in told["rows"]] == ["P1", "P11", "P11"]
    first = told["rows"][0]
    assert (first["figure"], first["comparator"], first["ratio"]) == (3.0, 4.0, 0.75)
    assert (first["spread"], first["unit"], first["floor"], first["goal"]) == (
        [0.75, 0.75],
        "events/s",
        0.35,
        0.6,
    )
    assert results.load(path) == ("a machine", rows)
    table = screen.markdown(*results.load(path))
    assert "| P1 |" in table
    assert "a machine" in table
    assert "share the cores" in table
    document = tmp_path / "performance.md"
    document.write_text(
        "before\n<!-- the table begins -->\nold\n<!-- the table ends -->\nafter\n", encoding="utf-8"
    )
    for _ in range(2):
        screen.write_into(document, table)
    written = document.read_text(encoding="utf-8")
    assert written.startswith("before\n")
    assert written.endswith("after\n")
    assert written.count(table) == 1
    assert "old" not in written


def test_batches_cut_the_stream_into_100_to_1000_events() -> None:
    stream = Stream("t", 3, 5_432)
    batches = list(stream.batches())
    assert [n for batch in batches for n in batch] == list(range(5_432))
    assert all(100 <= len(batch) <= 1_000 for batch in batches[:-1])
    events = [event for body in batch_bodies(stream) for event in json.loads(body)]
    assert len({event["id"] for event in events}) == 5_432
    assert len({(event["subject"], event["time"]) for event in events}) == 5_432


async def test_small_run_measures_and_checks_what_it_stored(tmp_path: Path) -> None:
    rows = await bench.measure(["P1", "P4"], runs=1, scale=0.02, console=Console(quiet=True), folder=tmp_path)
    assert [row.target for row in rows] == ["P1", "P4"]
    for row in rows:
        _check(row)


@pytest.mark.long
async def test_small_billing_run_is_measured_to_its_end(tmp_path: Path) -> None:
    rows = await bench.measure(["run"], runs=1, scale=0.002, console=Console(quiet=True), folder=tmp_path)
    assert [row.target for row in rows] == ["run invoices", "run memory"]
    assert all(row.figure > 0 and row.note for row in rows)


def _check(row: Measured) -> None:
    assert row.target in TARGETS
    assert row.figure > 0
    assert row.comparator is not None
    assert row.comparator > 0
    assert row.ratio == pytest.approx(row.figure / row.comparator)
    assert row.spread[0] <= row.ratio <= row.spread[1]
