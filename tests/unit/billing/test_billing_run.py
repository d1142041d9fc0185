"""When a run goes on, when it stops for a person, and what becomes of it then."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

import pytest

from services.billing.domain.billing_run import (
    BillingRun,
    BillingRunNotAwaitingApproval,
    RunDocument,
    RunSettings,
    RunTotal,
    approved,
    counted,
    finished,
    limits_exceeded,
    outcome,
    rejected,
)

NOW = datetime(2025, 7, 1, 8, tzinfo=UTC)


def a_run(**changes: object) -> BillingRun:
    run = BillingRun("run_1", NOW, is_dry=False, state="counting", requested_by="token:t", created_at=NOW)
    return replace(run, **changes)  # type: ignore[arg-type]


def totals(**by_currency: int) -> tuple[RunTotal, ...]:
    return tuple(RunTotal(currency, minor, 1) for currency, minor in by_currency.items())


class Case(NamedTuple):
    name: str
    multiple: str | None
    last: dict[str, int] | None
    now: dict[str, int]
    exceeded: list[str]


CASES = [
    #    name                             multiple  last              now                  exceeded
    Case("no_limit_was_set", None, {"EUR": 100}, {"EUR": 10_000}, []),
    Case("there_was_no_run_before", "3", None, {"EUR": 10_000}, []),
    Case("just_the_multiple", "3", {"EUR": 100}, {"EUR": 300}, []),
    Case("a_cent_more", "3", {"EUR": 100}, {"EUR": 301}, ["EUR"]),
    Case("a_part_of_a_multiple", "1.005", {"EUR": 1000}, {"EUR": 1006}, ["EUR"]),
    Case("a_multiple_of_less_than_one", "0.5", {"EUR": 100}, {"EUR": 51}, ["EUR"]),
    Case("each_currency_by_itself", "2", {"EUR": 100, "USD": 9}, {"EUR": 200, "USD": 19}, ["USD"]),
    Case("a_currency_that_is_new", "2", {"EUR": 100}, {"USD": 10_000}, []),
    Case("the_last_one_gave_back", "2", {"EUR": -100}, {"EUR": 100}, []),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_limit(case: Case) -> None:
    settings = RunSettings(None if case.multiple is None else Decimal(case.multiple))
    last = None if case.last is None else a_run(id="run_0", totals=totals(**case.last))
    found = limits_exceeded(totals(**case.now), last, settings)
    assert [limit.currency for limit in found] == case.exceeded


def test_within_the_limit_it_goes_on() -> None:
    run = counted(a_run(), totals(EUR=100), last=None, settings=RunSettings(), now=NOW)
    assert (run.state, run.invoice_count, run.finished_at) == ("running", 1, None)
    done = finished(run, totals(EUR=100), now=NOW)
    assert (done.state, done.is_under_way, done.version) == ("finished", False, 3)


def test_beyond_the_limit_it_waits_for_a_person() -> None:
    last = a_run(id="run_0", totals=totals(EUR=10))
    run = counted(a_run(), totals(EUR=100), last=last, settings=RunSettings(Decimal(3)), now=NOW)
    (limit,) = run.exceeded
    assert (run.state, limit.last_run_id, limit.last_minor) == ("awaiting_approval", "run_0", 10)
    going = approved(run, by="token:boss", reason="annual contracts", now=NOW)
    assert (going.state, going.decided_by, going.reason) == ("running", "token:boss", "annual contracts")
    over = rejected(run, by="token:boss", reason=None, now=NOW)
    assert (over.state, over.finished_at, over.is_under_way) == ("rejected", NOW, False)


def test_a_dry_run_is_finished_once_it_is_counted_and_says_what_would_stop_it() -> None:
    last = a_run(id="run_0", totals=totals(EUR=10))
    settings = RunSettings(Decimal(3))
    run = counted(a_run(is_dry=True), totals(EUR=100), last=last, settings=settings, now=NOW)
    assert (run.state, len(run.exceeded), run.finished_at) == ("finished", 1, NOW)


@pytest.mark.parametrize("state", ["counting", "running", "finished", "rejected"])
def test_nobody_decides_on_what_waits_for_nobody(state: str) -> None:
    run = a_run(state=state)
    for decide in (approved, rejected):
        with pytest.raises(BillingRunNotAwaitingApproval):
            decide(run, by="token:t", reason=None, now=NOW)


def test_a_document_keeps_what_it_was_counted_to() -> None:
    document = RunDocument("brd_1", "run_1", "inv_1", "cus_1", "EUR", False, "counting", NOW, due_at=NOW)
    told = outcome(document, "counted", total_minor=100, line_count=3)
    left = outcome(told, "left", reason="void")
    assert (left.total_minor, left.line_count, left.reason, left.due_at) == (100, 3, "void", None)
    assert [replace(document, attempts=tries).has_failed_often for tries in (2, 3)] == [False, True]
