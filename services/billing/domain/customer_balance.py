"""What is owed to a customer: given by documents below zero and by hand, drawn on by the invoices that follow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from libs.common.errors import NotFound, RuleViolation
from libs.common.ids import derived_id
from libs.common.money import Money

MovementKind = Literal[
    "credit",
    "applied",
    "adjustment",
    "credit_note",
    "given_back",
    "overpaid",
    "payment",
    "payment_taken_back",
    "refund",
    "refund_canceled",
]


class CustomerBalanceNotFound(NotFound):
    code = "customer_balance_not_found"
    title = "There is no such customer balance"


class BalanceTooSmall(RuleViolation):
    """A balance is what is owed to a customer, and never what a customer owes."""

    code = "balance_too_small"
    title = "The balance does not hold that much"


@dataclass(frozen=True, slots=True)
class CustomerBalance:
    """What is owed to one customer in one currency: the sum of its entries. `version` counts them."""

    id: str
    customer_id: str
    amount: Money
    version: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class BalanceMovement:
    """More (positive) or less (negative) of a balance, at a business instant.

    `credit`: a document below zero gave to it. `applied`: an invoice drew on it. `adjustment`: by hand, for a reason.
    `credit_note`: one gave to it. `given_back`: an invoice that was voided gave back what it drew, or took back what it
    gave. `overpaid`: more came than was due. `payment`: money was put on it; `payment_taken_back`: and taken off again.
    `refund`: it is given back as money; `refund_canceled`: one is not, after all.
    """

    customer_id: str
    amount: Money
    kind: MovementKind
    occurred_at: datetime
    actor: str
    invoice_id: str | None = None
    reason: str | None = None
    clock_id: str | None = None
    traceparent: str | None = None
    credit_note_id: str | None = None
    allocation_id: str | None = None
    refund_id: str | None = None

    @property
    def balance_id(self) -> str:
        return balance_id(self.customer_id, self.amount.currency)


@dataclass(frozen=True, slots=True)
class BalanceEntry:
    """A movement in its place: the `ordinal`-th of its balance, which came to `after` by it. Written once."""

    id: str
    balance_id: str
    ordinal: int
    movement: BalanceMovement
    after: Money


def balance_id(customer_id: str, currency: str) -> str:
    """Derived, so that a customer has one balance in each currency."""
    return derived_id("bal", customer_id, currency)


def empty_balance(customer_id: str, currency: str, *, now: datetime) -> CustomerBalance:
    return CustomerBalance(balance_id(customer_id, currency), customer_id, Money.zero(currency), 0, now)


def balance_applied(total: Money, balance: Money) -> Money:
    """What a balance pays of a document; where the total is below zero, what the document gives, as a negative amount.

    A document below zero gives all of itself; an invoice draws as much as there is, up to its total.
    Raises: CurrencyMismatch.
    """
    return total if total.amount_minor <= 0 else min(total, balance, key=lambda money: money.amount_minor)


def moved(balance: CustomerBalance, movement: BalanceMovement) -> tuple[CustomerBalance, BalanceEntry]:
    """The balance after a movement, and the entry that says so.

    Raises: BalanceTooSmall, CurrencyMismatch, AmountTooLarge.
    """
    after = balance.amount + movement.amount
    if after.amount_minor < 0:
        raise BalanceTooSmall(
            "the balance never goes below zero",
            balance=balance.amount,
            asked=movement.amount,
            pointer="/amount",
            remedy="Take back no more than the balance holds.",
        )
    ordinal = balance.version + 1
    entry = BalanceEntry(derived_id("ben", balance.id, str(ordinal)), balance.id, ordinal, movement, after)
    return replace(balance, amount=after, version=ordinal), entry
