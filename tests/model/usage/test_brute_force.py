"""The model itself: figures worked out by hand, and nothing of the product in it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.model.usage.brute_force import Meter, Stay, Used, number_of, read, rounded, used
from tests.model.usage.history import Binding, Fact, History
from tests.model.usage.local_windows import windows

OWN = Path(__file__).parent


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def fact(id: str, instant: str, subject: str = "a", **data: Any) -> Fact:
    return Fact("s", id, subject, at(instant), data)


def value(data: Mapping[str, Any]) -> Fraction | None:
    return number_of(data.get("v"))


FACTS = [
    fact("1", "2025-01-01T06:00", v=8, who="x"),
    fact("2", "2025-01-01T12:00", v=-2, who="y"),
    fact("3", "2025-01-01T12:05", v=3, who="x", gone=True),
    fact("4", "2025-01-02T00:00", v=5, who="z"),
]
DAY_ONE = (at("2025-01-01"), at("2025-01-02"))
DAY_TWO = (at("2025-01-02"), at("2025-01-03"))


class Case(NamedTuple):
    name: str
    meter: Meter
    first: Fraction | int
    second: Fraction | int


def names(**changes: Any) -> Meter:
    return Meter("unique", name=lambda d: d["who"], is_in=lambda d: not d.get("gone"), **changes)


def level(**changes: Any) -> Meter:
    return Meter("time_weighted", number=value, **changes)


CASES = [
    Case("count", Meter("count"), 3, 1),
    Case("sum", Meter("sum", number=value), 9, 5),
    Case("min", Meter("min", number=value), -2, 5),
    Case("max", Meter("max", number=value), 8, 5),
    Case("average", Meter("average", number=value), 3, 5),
    Case("latest", Meter("latest", number=value), 3, 5),
    Case("peak", Meter("peak", number=value), 8, 5),
    Case("unique", Meter("unique", name=lambda d: d["who"]), 2, 1),
    Case("names_that_come_and_go", names(), 1, 1),
    Case("names_that_stay", names(keeps=True), 1, 2),
    # 6 h of 8, 5 min of -2, and 3 until midnight, which goes on into the next day only until 00:00
    Case("level_hours", level(), 48 - Fraction(2, 12) + 36 - Fraction(3, 12), 120),
    Case("level_mean", level(per="window"), Fraction(83 * 12 + 7, 12 * 24), 5),
    # 6 h of 8, 5 min of 6, 11:55 of 9; then 14
    Case("changes_hours", level(level="change"), Fraction(6 * 8 * 12 + 6 + 143 * 9, 12), 14 * 24),
    Case("changes_by_day", level(level="change", per="window", by_day=True), 9, 14),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_day_worked_out_by_hand(case: Case) -> None:
    whole = [Stay("a", at("2024-01-01"), at("2026-01-01"))]
    assert used([case.meter], read([case.meter], FACTS), whole, DAY_ONE) == Used(
        rounded(Fraction(case.first)), 3
    )
    assert used([case.meter], read([case.meter], FACTS), whole, DAY_TWO) == Used(
        rounded(Fraction(case.second)), 1
    )


def test_a_peak_is_cut_by_the_bounds() -> None:
    meter = [Meter("peak", number=value, peak_of=timedelta(hours=1))]
    hour = [fact("1", "2025-01-01T10:10", v=4), fact("2", "2025-01-01T10:50", v=4, subject="b")]
    stays = [Stay(subject, at("2025-01-01"), at("2025-01-02")) for subject in "ab"]
    assert (
        used(meter, read(meter, hour), stays, (at("2025-01-01T10:00"), at("2025-01-01T11:00"))).quantity == 8
    )
    assert (
        used(meter, read(meter, hour), stays, (at("2025-01-01T10:30"), at("2025-01-01T11:00"))).quantity == 4
    )


def test_the_first_of_an_id_stays_until_it_is_amended_or_voided() -> None:
    history = History("tenant")
    one, other = fact("1", "2025-01-01T06:00", v=1), fact("1", "2025-01-01T06:00", v=2)
    assert [history.send(f) for f in (one, one, other)] == ["stored", "duplicate", "conflict"]
    assert [f.data["v"] for f in history.facts()] == [1]
    history.amend(fact("1", "2025-01-03T06:00", v=7))
    assert [(f.at, f.data["v"]) for f in history.facts()] == [(at("2025-01-03T06:00"), 7)]
    history.void("s", "1")
    assert history.send(one) == "duplicate"
    assert list(history.facts()) == []


def test_a_stay_ends_with_its_release() -> None:
    history = History("tenant")
    history.bind(Binding("b", "item", "a", at("2025-01-01")))
    history.release("b", at("2025-02-01"))
    assert [binding.end for binding in history.bindings_of("item")] == [at("2025-02-01")]


def test_a_year_without_an_hour_and_a_day_that_never_was() -> None:
    hours = windows(at("2025-03-09T05:00"), at("2025-03-10T04:00"), "hour", "America/New_York")
    assert len(hours) == 23
    days = windows(at("2011-12-29T10:00"), at("2012-01-01T10:00"), "day", "Pacific/Apia")
    assert [start for start, _ in days] == [
        at("2011-12-29T10:00"),
        at("2011-12-30T10:00"),
        at("2011-12-31T10:00"),
    ]
    years = windows(at("2025-06-01"), at("2026-02-01"), "year", "Asia/Kathmandu")
    assert [start for start, _ in years] == [at("2025-06-01"), at("2025-12-31T18:15")]


def test_a_version_reads_what_was_before_it_where_something_is_carried_over() -> None:
    """A level of 8 is one of 80 from the moment on at which a version takes over that reads tenfold."""
    turn = at("2025-01-01T09:00")
    versions = [level(valid_until=turn), level(valid_from=turn)]
    versions[1] = replace(versions[1], number=lambda d: 10 * Fraction(d["v"]))
    seen = read(versions, FACTS[:1])
    hours = used(versions, seen, [Stay("a", *DAY_ONE)], (at("2025-01-01T08:00"), at("2025-01-01T10:00")))
    assert hours == Used(Fraction(88), 0)
    sums = [replace(version, aggregation="sum") for version in versions]
    assert used(sums, read(sums, FACTS), [Stay("a", *DAY_ONE)], DAY_ONE) == Used(Fraction(18), 3)


@pytest.mark.parametrize("module", ["history.py", "local_windows.py", "brute_force.py"])
def test_the_model_shares_nothing_with_the_product(module: str) -> None:
    tree = ast.parse((OWN / module).read_text(encoding="utf-8"))
    named = {
        node.module if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    others = {name for name in named if name is None or name.split(".")[0] not in sys.stdlib_module_names}
    assert others <= {"tests.model.calendar", "tests.model.usage.history", "tests.model.usage.local_windows"}
