"""What a customer leaves as security: owed back to him, never earned. Collected as money, or held on a card."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from libs.common.errors import Conflict, NotFound, RuleViolation
from libs.common.money import Money
from services.billing.domain.invoice import Invoice

DepositKind = Literal["collected", "held"]
DepositState = Literal["requested", "held", "collected", "released", "canceled"]
SetOff = Literal["compensation", "any"]


class DepositNotFound(NotFound):
    code = "deposit_not_found"
    title = "There is no such deposit"


class DepositStateWrong(Conflict):
    code = "deposit_state_wrong"
    title = "The deposit does not allow this now"


class DepositTooSmall(RuleViolation):
    code = "deposit_too_small"
    title = "The deposit does not hold that much"


class DepositExpiresTooEarly(RuleViolation):
    code = "deposit_expires_too_early"
    title = "The authorisation would be over already"


class SetOffNotAllowed(RuleViolation):
    """A deposit secures compensation, unless the agreement says more (R15)."""

    code = "set_off_not_allowed"
    title = "The deposit may not be set off against this"


@dataclass(frozen=True, slots=True)
class Deposit:
    """`amount` was asked for; `collected` is what was received of it, `applied` what was kept against documents,
    `released` what is given back. What remains is owed to the customer.

    A `collected` one is asked for with a document of its own, `invoice_id`. A `held` one is an authorisation that ends at
    `expires_at`, when it is due to be looked at; it becomes money only when it is captured.
    """

    id: str
    customer_id: str
    kind: DepositKind
    state: DepositState
    amount: Money
    collected: Money
    applied: Money
    released: Money
    set_off: SetOff
    description: str
    created_at: datetime
    subscription_id: str | None = None
    invoice_id: str | None = None
    expires_at: datetime | None = None
    due_at: datetime | None = None
    clock_id: str | None = None
    traceparent: str | None = None
    version: int = 1

    @property
    def remaining(self) -> Money:
        """What is still owed back."""
        return self.collected - self.applied - self.released


def received(deposit: Deposit) -> Deposit:
    """Its document is paid: all of it is owed back from now on."""
    assert deposit.state == "requested", "a deposit is paid once"
    return replace(deposit, state="collected", collected=deposit.amount, version=deposit.version + 1)


def asked_for_again(deposit: Deposit) -> Deposit:
    """What was received is gone again, before any of it was used."""
    assert deposit.remaining == deposit.collected, "what was used cannot be gone"
    zero = Money.zero(deposit.amount.currency)
    return replace(deposit, state="requested", collected=zero, version=deposit.version + 1)


def captured(deposit: Deposit, amount: Money | None, *, now: datetime) -> Deposit:
    """What was held is taken, in full or in part; the rest of the authorisation ends.

    Raises: DepositStateWrong, DepositTooSmall.
    """
    if deposit.state != "held" or (deposit.expires_at is not None and deposit.expires_at <= now):
        raise DepositStateWrong(
            f"the deposit is {deposit.state}",
            remedy="Only what is held, and has not expired, can be captured.",
        )
    taken = _within(deposit.amount if amount is None else amount, deposit.amount)
    return replace(deposit, state="collected", collected=taken, due_at=None, version=deposit.version + 1)


def given_back(deposit: Deposit, amount: Money | None) -> tuple[Deposit, Money]:
    """The deposit with less of it, and what is given back. Of one that is held, or asked for, there is nothing to give.

    Raises: DepositStateWrong, DepositTooSmall.
    """
    if deposit.state == "held":
        return canceled(deposit), Money.zero(deposit.amount.currency)
    if deposit.state != "collected":
        raise DepositStateWrong(
            f"the deposit is {deposit.state}",
            remedy="A deposit that is asked for ends when its document is voided."
            if deposit.state == "requested"
            else "Nothing of it is left.",
        )
    taken = _within(deposit.remaining if amount is None else amount, deposit.remaining)
    return _with_less(replace(deposit, released=deposit.released + taken)), taken


def applied_to(deposit: Deposit, invoice: Invoice, amount: Money | None) -> tuple[Deposit, Money]:
    """The deposit with less of it, and what is kept against the document: as much as is due, unless less is asked for.

    Raises: DepositStateWrong, DepositTooSmall, SetOffNotAllowed.
    Source: R15.
    """
    if deposit.state != "collected":
        raise DepositStateWrong(
            f"the deposit is {deposit.state}", remedy="Only what was collected can be kept."
        )
    if invoice.customer_id != deposit.customer_id or invoice.currency != deposit.amount.currency:
        raise SetOffNotAllowed(
            "the document is another customer's, or in another currency",
            pointer="/invoice_id",
            remedy="Name a document of who left the deposit, in its currency.",
        )
    if deposit.set_off != "any" and invoice.document_kind != "compensation":
        raise SetOffNotAllowed(
            "the deposit is for compensation only",
            pointer="/invoice_id",
            remedy="Set it off against a compensation note, or agree on a deposit that says set_off: any.",
        )
    if invoice.status != "finalized" or invoice.document_kind == "deposit":
        raise SetOffNotAllowed(
            f"nothing is due on a {invoice.document_kind} that is {invoice.status}",
            pointer="/invoice_id",
            remedy="Name a document that is issued and not paid.",
        )
    most = min(deposit.remaining, invoice.due, key=lambda money: money.amount_minor)
    taken = _within(most if amount is None else amount, most)
    return _with_less(replace(deposit, applied=deposit.applied + taken)), taken


def canceled(deposit: Deposit) -> Deposit:
    """Never received: the request was voided, or the authorisation expired or was given up."""
    assert deposit.state in ("requested", "held"), "what was collected is given back"
    return replace(deposit, state="canceled", due_at=None, version=deposit.version + 1)


def _with_less(deposit: Deposit) -> Deposit:
    state: DepositState = "collected" if deposit.remaining.amount_minor else "released"
    return replace(deposit, state=state, version=deposit.version + 1)


def _within(amount: Money, most: Money) -> Money:
    if (amount - most).amount_minor > 0:
        raise DepositTooSmall(
            "more than there is",
            pointer="/amount",
            most=most,
            remedy=f"Ask for no more than {most.to_decimal()} {most.currency}.",
        )
    return amount
