"""Which documents an entry of a bank statement pays: said by itself only where it is certain."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from libs.common.money import Money
from services.billing.domain.bank_statement import BankStatementEntry, MatchedBy
from services.billing.domain.remittance import (
    REFERENCE_LENGTH_MAX,
    creditor_reference,
    letters_and_digits,
    number_key,
    quoted_reference,
)

NUMBER_LENGTH_MIN: Final = 4
PIECES_MAX: Final = 8
TEXT_PIECES_MAX: Final = 120
PROPOSALS_MAX: Final = 10

_PIECE: Final = re.compile(r"[0-9A-Za-z]+")

Why = Literal["reference", "number", "account", "name"]


@dataclass(frozen=True, slots=True)
class OpenInvoice:
    """As much of an issued document as matching needs. `due` is nothing where it is not payable."""

    id: str
    number: str
    customer_id: str
    customer_name: str
    status: str
    due: Money
    clock_id: str | None = None

    @property
    def is_payable(self) -> bool:
        return self.due.amount_minor > 0

    @property
    def reference(self) -> str:
        return creditor_reference(self.number, self.id)


@dataclass(frozen=True, slots=True)
class Quoted:
    """What the payer wrote that may name a document: references of ours, and runs of letters and digits."""

    references: frozenset[str]
    runs: frozenset[str]
    keys: frozenset[str]


@dataclass(frozen=True, slots=True)
class Known:
    """What the books know that may concern a batch of entries: documents by the key of their number, customers by the
    account they paid from before and, for a person's eyes, by their name, and what those customers owe.
    """

    by_number_key: Mapping[str, Sequence[OpenInvoice]] = field(default_factory=dict)
    customers_by_account: Mapping[str, Collection[str]] = field(default_factory=dict)
    customers_by_name: Mapping[str, Collection[str]] = field(default_factory=dict)
    owed_by: Mapping[str, Sequence[OpenInvoice]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Match:
    """What an entry certainly pays, and whose it is; what is left is the customer's."""

    shares: tuple[tuple[OpenInvoice, Money], ...]
    customer_id: str
    by: MatchedBy


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a person may look at first."""

    invoice: OpenInvoice
    why: Why
    is_exact: bool


def quoted_in(entry: BankStatementEntry) -> Quoted:
    """Numbers and references are found through blanks, hyphens and slashes: up to eight pieces are read as one."""
    references: set[str] = set()
    runs: set[str] = set()
    keys: set[str] = set()
    texts = (entry.told.creditor_reference, entry.told.end_to_end_id, entry.told.text)
    for text in texts:
        for run in _runs(text or ""):
            found = quoted_reference(run) if run.startswith("RF") else None
            if found is not None:
                references.add(found.reference)
                keys.add(found.number_key)
            elif len(run) >= NUMBER_LENGTH_MIN:
                runs.add(run)
                keys.add(number_key(run))
    return Quoted(frozenset(references), frozenset(runs), frozenset(keys))


def name_key(name: str) -> str:
    """By which names are compared: letters and digits of any alphabet."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def decide_match(entry: BankStatementEntry, quoted: Quoted, known: Known) -> Match | None:
    """None where it is not certain: the entry then waits for a person.

    A reference of ours says whose money it is, whatever its amount. A number that stands in the text does so only where
    the amount is exactly what is due; so does the account of a customer who owes exactly that, once.
    """
    amount = entry.told.amount
    named = [one for one in _by_reference(quoted, known) if one.due.currency == amount.currency]
    if named:
        return _match_by_reference(amount, named)
    numbered = [one for one in _by_number(quoted, known) if one.due.currency == amount.currency]
    if numbered:
        return _match_by_number(amount, numbered)
    customers = known.customers_by_account.get(entry.told.payer_account or "", ())
    if len(customers) != 1:
        return None
    (customer_id,) = customers
    exact = [one for one in known.owed_by.get(customer_id, ()) if one.due == amount]
    return Match(((exact[0], amount),), customer_id, "account") if len(exact) == 1 else None


def propose(entry: BankStatementEntry, quoted: Quoted, known: Known) -> list[Proposal]:
    """What may be meant, the likeliest first: what is named before what its payer owes, exact amounts before others."""
    found: dict[str, Proposal] = {}
    ways: list[tuple[Why, Iterable[OpenInvoice]]] = [
        ("reference", _by_reference(quoted, known)),
        ("number", _by_number(quoted, known)),
    ]
    accounts = known.customers_by_account.get(entry.told.payer_account or "", ())
    names = known.customers_by_name.get(name_key(entry.told.payer_name or ""), ())
    for why, customers in (("account", accounts), ("name", names)):
        for customer_id in sorted(customers):
            ways.append(("account" if why == "account" else "name", known.owed_by.get(customer_id, ())))
    for way, invoices in ways:
        for invoice in invoices:
            if invoice.id not in found:
                found[invoice.id] = Proposal(invoice, way, invoice.due == entry.told.amount)
    order: dict[Why, int] = {"reference": 0, "number": 1, "account": 2, "name": 3}
    ranked = sorted(found.values(), key=lambda one: (order[one.why] // 2, not one.is_exact, order[one.why]))
    return ranked[:PROPOSALS_MAX]


def _match_by_reference(amount: Money, named: Sequence[OpenInvoice]) -> Match | None:
    first = named[0]
    if len(named) == 1:
        if not first.is_payable and first.status != "paid":
            return None  # it was voided: what came in its place, a person knows
        return Match(((first, amount),), first.customer_id, "reference")
    return _match_all(amount, named, "reference")


def _match_by_number(amount: Money, numbered: Sequence[OpenInvoice]) -> Match | None:
    if len({letters_and_digits(one.number) for one in numbered}) < len(numbered):
        return None  # two sellers have the number
    return _match_all(amount, numbered, "number")


def _match_all(amount: Money, invoices: Sequence[OpenInvoice], by: MatchedBy) -> Match | None:
    """Several at once: they are of one customer, and come to exactly the amount."""
    is_exact = sum(one.due.amount_minor for one in invoices) == amount.amount_minor
    customers = {one.customer_id for one in invoices}
    if not is_exact or len(customers) > 1 or not all(one.is_payable for one in invoices):
        return None
    return Match(tuple((one, one.due) for one in invoices), customers.pop(), by)


def _by_reference(quoted: Quoted, known: Known) -> list[OpenInvoice]:
    return [one for one in _candidates(quoted, known) if one.reference in quoted.references]


def _by_number(quoted: Quoted, known: Known) -> list[OpenInvoice]:
    return [
        one
        for one in _candidates(quoted, known)
        if letters_and_digits(one.number) in quoted.runs
        and len(letters_and_digits(one.number)) >= NUMBER_LENGTH_MIN
    ]


def _candidates(quoted: Quoted, known: Known) -> list[OpenInvoice]:
    found = {one.id: one for key in quoted.keys for one in known.by_number_key.get(key, ())}
    return sorted(found.values(), key=lambda one: one.number)


def _runs(text: str) -> Iterable[str]:
    pieces = [piece.upper() for piece in _PIECE.findall(text)][:TEXT_PIECES_MAX]
    for start in range(len(pieces)):
        run = ""
        for piece in pieces[start : start + PIECES_MAX]:
            run += piece
            if len(run) > max(REFERENCE_LENGTH_MAX, 40):
                break
            yield run
