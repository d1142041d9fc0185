"""What becomes of a deposit: captured, given back, kept against a document, or expired."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from libs.common.ids import new_id
from libs.common.money import Money
from libs.common.telemetry import current_traceparent
from services.billing.application import events
from services.billing.application.issue_credit_note import lessen_attempt
from services.billing.application.ports import UnitOfWork
from services.billing.application.request_refund import request_refund
from services.billing.application.void_invoice import refuse_while_calling
from services.billing.application.when_paid import tell, when_paid
from services.billing.domain.deposit import Deposit, applied_to, canceled, captured, given_back
from services.billing.domain.invoice_standing import settled
from services.billing.domain.postings_of_deposits import (
    postings_for_deposit_captured,
    postings_for_deposit_released,
    postings_for_deposit_set_off,
)
from services.billing.domain.refund import Refund

CheckVersion = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class ReleaseDeposit:
    """`amount` of None is all that remains. `now` is the deposit's business now, here and below."""

    deposit_id: str
    reason: str
    now: datetime
    amount: Money | None = None


@dataclass(frozen=True, slots=True)
class SetOffDeposit:
    """`amount` of None is as much as is due, and remains."""

    deposit_id: str
    invoice_id: str
    now: datetime
    amount: Money | None = None


@dataclass(frozen=True, slots=True)
class CaptureDeposit:
    """`amount` of None is all that is held."""

    deposit_id: str
    now: datetime
    amount: Money | None = None


async def capture_deposit(
    command: CaptureDeposit, *, uow: UnitOfWork, check_version: CheckVersion
) -> Deposit:
    """Write down that what was held has been taken; of a part, the rest of the authorisation ends.

    Emits: DepositChanged.
    Raises: DepositNotFound, DepositStateWrong, DepositTooSmall, and what `check_version` raises.
    """
    deposit = await uow.deposits.get_for_update(command.deposit_id)
    check_version(deposit.version)
    taken = captured(deposit, command.amount, now=command.now)
    tell(taken, "deposit.captured", now=command.now, uow=uow)
    uow.ledger.post(postings_for_deposit_captured(taken.id, taken.collected, at=command.now, zone=None))
    return taken


async def release_deposit(
    command: ReleaseDeposit, *, uow: UnitOfWork, check_version: CheckVersion
) -> Deposit:
    """Ask for the money to be given back, or end an authorisation.

    Emits: DepositChanged, RefundRequested.
    Raises: DepositNotFound, DepositStateWrong, DepositTooSmall, and what `check_version` raises.
    """
    deposit, now = await uow.deposits.get_for_update(command.deposit_id), command.now
    check_version(deposit.version)
    after, amount = given_back(deposit, command.amount)
    tell(after, "deposit.released", now=now, uow=uow)
    if amount.amount_minor:
        await request_refund(
            Refund(
                id=new_id("rfd"),
                customer_id=after.customer_id,
                amount=amount,
                state="pending",
                reason=command.reason,
                created_at=now,
                deposit_id=after.id,
                clock_id=after.clock_id,
            ),
            uow=uow,
        )
        uow.ledger.post(
            postings_for_deposit_released(after.id, amount, ordinal=after.version, at=now, zone=None)
        )
    return after


async def set_off_deposit(command: SetOffDeposit, *, uow: UnitOfWork, check_version: CheckVersion) -> Deposit:
    """Keep a part of a deposit against a document, which is paid when nothing of it is due any more.

    Emits: DepositChanged, InvoicePaid.
    Raises: InvoiceNotFound, DepositNotFound, DepositStateWrong, DepositTooSmall, SetOffNotAllowed, PaymentUnderWay, and
    what `check_version` raises.
    """
    invoice, now = await uow.invoices.get_for_update(command.invoice_id), command.now
    deposit = await uow.deposits.get_for_update(command.deposit_id)
    check_version(deposit.version)
    after, amount = applied_to(deposit, invoice, command.amount)
    await refuse_while_calling(invoice, uow=uow)
    tell(after, "deposit.set_off", now=now, uow=uow)
    lessened = replace(invoice, paid=invoice.paid + amount, version=invoice.version + 1)
    paid = settled(lessened, now=now)
    uow.invoices.save(paid)
    uow.record("invoice.set_off", paid.id, paid.version)
    await lessen_attempt(paid, reason="set_off", now=now, uow=uow)
    uow.ledger.post(
        postings_for_deposit_set_off(
            after.id, invoice.id, amount, ordinal=after.version, at=now, zone=invoice.zone
        )
    )
    if paid.status != invoice.status:
        told = events.invoice_paid(paid, tenant=uow.tenant)
        uow.outbox.append(told, key=paid.id, traceparent=current_traceparent())
        uow.record("invoice.paid", paid.id, paid.version)
        await when_paid(paid, now=now, uow=uow)
    return after


async def expire_deposit(deposit_id: str, *, now: datetime, uow: UnitOfWork) -> Deposit:
    """An authorisation whose time is over holds nothing. One that was captured or given up meanwhile stays as it is.

    Emits: DepositChanged.
    """
    deposit = await uow.deposits.get_for_update(deposit_id)
    if deposit.state != "held" or deposit.expires_at is None or deposit.expires_at > now:
        return deposit
    over = canceled(deposit)
    tell(over, "deposit.expired", now=now, uow=uow)
    return over
