"""The product's documents in the words of a lifecycle case. What they come to is never touched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import groupby
from typing import Any

from libs.common.periods import Interval, boundary, index_on
from tests.cases.case_files import Case
from tests.cases.comparison import AnyOf, AnyOrder
from tests.cases.driver import Document, DocumentLine
from tests.cases.offers import ADD_ON, FEE
from tests.cases.periods import anchor_of_day

Thing = dict[str, Any]

ZERO = Decimal(0)
MONTH = Interval("month")
FEE_WORDS = AnyOf(("subscription", "recurring"))
ONWARD = "onward"
PARTIAL = ("only", "not pinned", "left out")


@dataclass(frozen=True, slots=True)
class BillDayChange:
    """Asked for on `on`, with effect from the end of the period: `day` is the day from then on."""

    on: date
    day: int


def told_as(
    case: Case,
    documents: Iterable[Document],
    trials: Iterable[date] = (),
    bill_day_changes: Sequence[BillDayChange] = (),
) -> AnyOf:
    """One by one, or all documents of a day as one: some sources gather a customer's subscriptions.

    `trials` are the dates on which something was agreed on in a trial: here, that makes no document. Nor does an end at
    which nothing is owed; where what is given back is told as credit notes, it is told of as well.
    """
    wanted = case.expect["invoices"]
    told = list(_in_turn(case, documents, bill_day_changes))
    if any(line["type"] == "trial" for invoice in wanted for line in invoice["lines"]):
        told += [_in_trial(on) for on in sorted(set(trials))]
    told = [invoice for invoice in told if invoice["lines"] and str(invoice["on"]) <= wanted[-1]["on"]]
    told.sort(key=lambda invoice: str(invoice["on"]))
    if ONWARD in case.notes:  # only invoices from some event onward are listed
        told = [invoice for invoice in told if str(invoice["on"]) >= wanted[0]["on"]]
    by_day = [_sum(list(of_day)) for _, of_day in groupby(told, key=lambda invoice: invoice["on"])]
    return AnyOf([[*_pinned(case, view)] for view in (told, by_day)])


def credit_notes(documents: Iterable[Document]) -> list[Thing]:
    """What goes to the balance here stands on a credit note there."""
    return [{"on": document.on, "amount": -document.total} for document in documents if document.gives_back]


def _in_turn(
    case: Case, documents: Iterable[Document], bill_day_changes: Sequence[BillDayChange]
) -> Iterator[Thing]:
    """That of an end follows the others of its subscription."""
    documents = list(documents)
    ends = [d for d in documents if d.gives_back and not any(_is_beside(d, other) for other in documents)]
    issued = [document for document in documents if not document.gives_back]
    for place, document in enumerate(issued):
        yield _told(case, document, bill_day_changes)
        mine = document.subscription_id
        if any(other.subscription_id == mine for other in issued[place + 1 :]):
            continue
        for end in ends:
            if end.subscription_id == mine:
                line = {"type": FEE_WORDS, "amount": ZERO}
                yield {"on": end.on, "lines": [line], "total": ZERO, "due": ZERO}


def _is_beside(document: Document, other: Document) -> bool:
    same = (document.subscription_id, document.boundary_at) == (other.subscription_id, other.boundary_at)
    return same and not other.gives_back


def _told(case: Case, document: Document, bill_day_changes: Sequence[BillDayChange]) -> Thing:
    lines = [line for line in _lines(case, document) if line["amount"]]
    total = document.total
    if "credit_notes" in case.expect:
        total -= document.balance_applied
    if "repair" in case.convention:  # what meets the customer's balance are lines there
        total -= document.balance_applied
        if document.balance_applied:
            word = "credit" if document.balance_applied < 0 else "credit_used"
            lines.append({"type": word, "amount": -document.balance_applied})
    return {
        "on": _invoiced_on(document.on, bill_day_changes),
        "lines": lines,
        "total": total,
        "total_before_credit": document.total,
        "credit_applied": document.balance_applied,
        "tax": document.tax,
        "due": max(ZERO, document.total - document.balance_applied),
    }


def _lines(case: Case, document: Document) -> Iterator[Thing]:
    """A source that repairs has what is given back as a line of that type; others net it with what is charged."""
    if "repair" in case.convention:
        for line in document.lines:
            yield _line(line) if line.amount > 0 else {**_line(line), "type": "repair"}
        return
    for name in dict.fromkeys(line.name for line in document.lines):
        same = [line for line in document.lines if line.name == name]
        yield {
            **_line(same[0]),
            "amount": sum((line.amount for line in same), ZERO),
            "from": min(line.start_on for line in same),
            "to": max(line.end_on for line in same),
        }


def _line(line: DocumentLine) -> Thing:
    word, _, key = line.name.partition(":")[0].partition(" ")
    told: Thing = {"type": word, "amount": line.amount, "from": line.start_on, "to": line.end_on}
    if word == FEE:
        told |= {"type": FEE_WORDS, "plan": key}
    elif word == ADD_ON:
        told["key"] = key
    return told


def _invoiced_on(on: date, bill_day_changes: Sequence[BillDayChange]) -> date:
    """What a change of the bill day leaves over is invoiced there on the first new bill day, here when it begins."""
    for change in bill_day_changes:
        anchor_on = anchor_of_day(change.on, change.day, MONTH)
        first = boundary(anchor_on, MONTH, index_on(anchor_on, MONTH, change.on) + 1)
        if change.on < first < on < boundary(first, MONTH, 1):
            return first
    return on


def _pinned(case: Case, told: Sequence[Thing]) -> Iterator[Thing]:
    """Where the notes say that not all is listed, lines of the types that are listed for the day; where a total is
    pinned instead of lines, no lines."""
    is_partial = ONWARD not in case.notes and any(words in case.notes.lower() for words in PARTIAL)
    listed: dict[str, set[str]] = {}
    total_alone = {i["on"] for i in case.expect["invoices"] if "total" in i and not i["lines"]}
    for invoice in case.expect["invoices"]:
        listed.setdefault(invoice["on"], set()).update(line["type"] for line in invoice["lines"])
    for invoice in told:
        types = listed.get(str(invoice["on"]))
        lines = invoice["lines"]
        if is_partial or str(invoice["on"]) in total_alone:
            lines = [line for line in lines if _words(line["type"]) & (types or set())]
        if lines or types is not None or not is_partial:
            yield {**invoice, "lines": AnyOrder(lines)}


def _words(type: Any) -> set[str]:
    return set(type.views) if isinstance(type, AnyOf) else {type}


def _in_trial(on: date) -> Thing:
    return {"on": on, "lines": [{"type": "trial", "amount": ZERO}], "total": ZERO, "due": ZERO}


def _sum(invoices: Sequence[Thing]) -> Thing:
    summed = {name: sum((invoice[name] for invoice in invoices), ZERO) for name in ("total", "due")}
    return {**invoices[0], **summed, "lines": [line for invoice in invoices for line in invoice["lines"]]}
