"""What the product issued in the words of a case: nothing that a case pins is passed over."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from tests.cases.case_files import Case
from tests.cases.comparison import is_same
from tests.cases.documents_told import BillDayChange, credit_notes, told_as
from tests.cases.driver import Document, DocumentLine

REPAIR = {"repair": "the net negative becomes account credit"}
NETTED = {"addons": "charged at the new price less the unused part of the old price"}


def a_line(name: str, amount: str, start: str = "2024-01-16", end: str = "2024-02-01") -> DocumentLine:
    return DocumentLine(name, Decimal(amount), date.fromisoformat(start), date.fromisoformat(end))


def a_document(on: str, *lines: DocumentLine, balance_applied: str = "0") -> Document:
    total = sum((line.amount for line in lines), Decimal(0))
    return Document(date.fromisoformat(on), lines, total, Decimal(balance_applied))


def a_case(*invoices: Any, convention: dict[str, str] | None = None, notes: str = "") -> Case:
    return Case("made", "lifecycle", "scenario", {}, {"invoices": list(invoices)}, convention or {}, notes)


CHANGE = a_document(
    "2024-01-16", a_line("fee new", "8.02"), a_line("fee old", "-483.83"), balance_applied="-475.81"
)
REPAIRED = {
    "on": "2024-01-16",
    "lines": [
        {"type": "recurring", "amount": "8.02", "from": "2024-01-16", "to": "2024-02-01"},
        {"type": "repair", "amount": "-483.83"},
        {"type": "credit", "amount": "475.81"},
    ],
    "total": "0.00",
}
EXCHANGED = a_document("2024-01-16", a_line("addon b", "35.48"), a_line("addon b", "-5.32"))


class Told(NamedTuple):
    name: str
    case: Case
    documents: list[Document]
    same: bool


ONE_FEE = {"on": "2024-01-01", "lines": [{"type": "subscription", "amount": "10.00"}]}
FEE = a_document("2024-01-01", a_line("fee p", "10.00"))
USAGE = a_document("2024-01-01", a_line("usage", "3.00"))
ONLY_FEES = "Only fees are listed."

CASES = [
    Told("as_it_is", a_case(ONE_FEE), [FEE], True),
    Told("another_amount", a_case(ONE_FEE), [a_document("2024-01-01", a_line("fee p", "10.01"))], False),
    Told("another_day", a_case(ONE_FEE), [a_document("2023-12-31", a_line("fee p", "10.00"))], False),
    Told("one_is_missing", a_case(ONE_FEE), [], False),
    Told("one_too_many", a_case(ONE_FEE), [USAGE, FEE], False),
    Told(
        "one_too_many_before", a_case(ONE_FEE), [a_document("2023-12-01", a_line("fee p", "1")), FEE], False
    ),
    Told("after_the_last", a_case(ONE_FEE), [FEE, a_document("2024-02-01", a_line("fee p", "10"))], True),
    Told("not_listed", a_case(ONE_FEE, notes=ONLY_FEES), [USAGE, FEE], True),
    Told("listed_and_missing", a_case(ONE_FEE, notes=ONLY_FEES), [USAGE], False),
    Told(
        "a_line_of_nothing",
        a_case(ONE_FEE),
        [a_document("2024-01-01", *FEE.lines, a_line("usage", "0"))],
        True,
    ),
    Told("total_alone", a_case({"on": "2024-01-01", "lines": [], "total": "10"}), [FEE], True),
    Told("nothing_pinned_is_nothing", a_case({"on": "2024-01-01", "lines": []}), [FEE], False),
    Told("another_total", a_case({"on": "2024-01-01", "lines": [], "total": "11"}), [FEE], False),
    Told("two_of_a_day_gathered", a_case({**ONE_FEE, "total": "13"}, notes=ONLY_FEES), [USAGE, FEE], True),
    Told("repaired", a_case(REPAIRED, convention=REPAIR), [CHANGE], True),
    Told("not_repaired", a_case(REPAIRED), [CHANGE], False),
    Told(
        "netted",
        a_case({"on": "2024-01-16", "lines": [{"type": "addon", "key": "b", "amount": "30.16"}]}),
        [EXCHANGED],
        True,
    ),
    Told(
        "of_another_key",
        a_case({"on": "2024-01-16", "lines": [{"type": "addon", "key": "a", "amount": "30.16"}]}),
        [EXCHANGED],
        False,
    ),
]


@pytest.mark.parametrize("told", CASES, ids=lambda told: told.name)
def test_documents_are_told_as_the_source_tells_them(told: Told) -> None:
    assert is_same(told.case.expect["invoices"], told_as(told.case, told.documents)) is told.same


def test_a_balance_that_is_drawn_on_is_a_line_where_credits_are() -> None:
    case = a_case(
        {
            "on": "2024-01-01",
            "lines": [{"type": "recurring", "amount": "10"}, {"type": "credit_used", "amount": "-4"}],
            "total": "6",
            "due": "6",
        },
        convention=REPAIR,
    )
    document = a_document("2024-01-01", a_line("fee p", "10"), balance_applied="4")
    assert is_same(case.expect["invoices"], told_as(case, [document]))


@pytest.mark.parametrize(("trials", "same"), [(["2024-01-01"], True), ([], False)])
def test_a_trial_is_a_line_of_nothing_there_and_no_document_here(trials: list[str], same: bool) -> None:
    case = a_case({"on": "2024-01-01", "lines": [{"type": "trial", "amount": "0.00"}]})
    assert is_same(case.expect["invoices"], told_as(case, [], map(date.fromisoformat, trials))) is same


BILL_DAYS = [
    # asked    day  begins        invoiced there on
    ("05-01",  15,  "06-01",      "05-15"),
    ("06-15",  10,  "07-15",      "07-10"),
    ("05-01",  15,  "06-15",      "06-15"),
    ("05-01",  15,  "05-01",      "05-01"),
    ("05-20",  1,   "06-01",      "06-01"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "day", "begins", "invoiced"), BILL_DAYS)
def test_what_a_new_bill_day_leaves_over_is_invoiced_before_it_begins_there(
    asked: str, day: int, begins: str, invoiced: str
) -> None:
    case = a_case({"on": f"2016-{invoiced}", "lines": [{"type": "recurring", "amount": "1"}]})
    document = a_document(f"2016-{begins}", a_line("fee p", "1"))
    change = BillDayChange(date.fromisoformat(f"2016-{asked}"), day)
    assert is_same(case.expect["invoices"], told_as(case, [document], bill_day_changes=[change]))


def test_what_goes_to_the_balance_is_told_as_a_credit_note_and_an_end_at_which_nothing_is_owed_as_an_invoice() -> (
    None
):
    fee = replace(FEE, subscription_id="sub", boundary_at="2024-01-01T00:00:00Z")
    given_back = replace(
        a_document("2024-01-01", a_line("fee p", "-9.68"), balance_applied="-9.68"),
        gives_back=True,
        subscription_id="sub",
        boundary_at="2024-01-01T18:00:00Z",
    )
    nothing = {"on": "2024-01-01", "lines": [{"type": "subscription", "amount": "0.00"}], "total": "0.00"}
    case = replace(a_case(ONE_FEE, nothing), expect={"invoices": [ONE_FEE, nothing], "credit_notes": []})
    assert is_same([ONE_FEE, nothing], told_as(case, [fee, given_back]))
    beside = replace(USAGE, subscription_id="sub", boundary_at=given_back.boundary_at)
    assert not is_same([ONE_FEE, nothing], told_as(case, [fee, given_back, beside]))
    assert is_same([{"on": "2024-01-01", "amount": "9.68"}], credit_notes([fee, given_back, beside]))
