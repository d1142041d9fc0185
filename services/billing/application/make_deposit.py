"""Ask a customer for a deposit, or write down what is held of him on a card."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from libs.common.ids import new_id
from libs.common.money import Money
from libs.common.telemetry import current_traceparent
from services.billing.application import events
from services.billing.application.finalize_invoice import finalize_if_complete
from services.billing.application.ports import UnitOfWork
from services.billing.domain.agreement import CustomerDetails
from services.billing.domain.deposit import Deposit, DepositExpiresTooEarly, DepositKind, SetOff
from services.billing.domain.invoice import DocumentKind, Invoice, open_document
from services.billing.domain.manual_line import ManualLine

ONE = Decimal(1)
OUTSIDE_SCOPE = "outside_scope"
UTC_ZONE = "UTC"


@dataclass(frozen=True, slots=True)
class MakeDeposit:
    """`zone` says on which local date its document is issued; None: the customer's. `expires_at`: of one that is held."""

    customer_id: str
    kind: DepositKind
    amount: Money
    description: str
    set_off: SetOff
    zone: str | None
    subscription_id: str | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class OutsideScope:
    """One line outside the scope of tax, on a document that has no other (R6)."""

    group_id: str
    document_kind: DocumentKind
    amount: Money
    description: str
    zone: str | None
    subscription_id: str | None


async def make_deposit(
    command: MakeDeposit, *, customer: CustomerDetails, now: datetime, uow: UnitOfWork
) -> Deposit:
    """`now` is the customer's business now. One that is to be collected is asked for with a document, paid as any other.

    Emits: DepositChanged, InvoiceFinalized; InvoicePaid where the balance covers it.
    Raises: AmountTooLarge, DepositExpiresTooEarly.
    """
    zero = Money.zero(command.amount.currency)
    is_held = command.kind == "held"
    if command.expires_at is not None and command.expires_at <= now:
        raise DepositExpiresTooEarly(
            "it is later than that for the customer",
            now=now,
            pointer="/expires_at",
            remedy="Name an instant that lies ahead; a test clock has a time of its own.",
        )
    deposit = Deposit(
        id=new_id("dep"),
        customer_id=customer.id,
        kind=command.kind,
        state="held" if is_held else "requested",
        amount=command.amount,
        collected=zero,
        applied=zero,
        released=zero,
        set_off=command.set_off,
        description=command.description,
        created_at=now,
        subscription_id=command.subscription_id,
        expires_at=command.expires_at,
        due_at=command.expires_at if is_held else None,
        clock_id=customer.clock_id,
        traceparent=current_traceparent(),
    )
    if is_held:
        _open(deposit, now=now, uow=uow)
        return deposit
    document = OutsideScope(
        group_id=deposit.id,
        document_kind="deposit",
        amount=command.amount,
        description=command.description,
        zone=command.zone,
        subscription_id=command.subscription_id,
    )
    draft = put_on_document(document, customer=customer, now=now, uow=uow)
    _open(replace(deposit, invoice_id=draft.id), now=now, uow=uow)
    await finalize_if_complete(draft, now=now, uow=uow)
    return await uow.deposits.get_for_update(deposit.id)


def put_on_document(
    command: OutsideScope, *, customer: CustomerDetails, now: datetime, uow: UnitOfWork
) -> Invoice:
    """A draft of its own, which waits for nothing but a seller."""
    opened = open_document(
        command.group_id,
        customer,
        boundary_at=now,
        currency=command.amount.currency,
        zone=command.zone or customer.zone or UTC_ZONE,
        clock_id=customer.clock_id,
        traceparent=current_traceparent(),
        now=now,
        document_kind=command.document_kind,
        subscription_id=command.subscription_id,
    )
    draft = replace(opened, draft_until=now)
    uow.invoices.add(draft)
    uow.record("invoice.opened", draft.id)
    uow.manual_lines.add(
        ManualLine(
            id=new_id("mln"),
            invoice_id=draft.id,
            description=command.description,
            quantity=ONE,
            unit_amount=command.amount.to_decimal(),
            currency=command.amount.currency,
            created_at=now,
            tax_category=OUTSIDE_SCOPE,
            subscription_id=command.subscription_id,
        )
    )
    return draft


def _open(deposit: Deposit, *, now: datetime, uow: UnitOfWork) -> None:
    uow.deposits.add(deposit)
    told = events.deposit_changed(deposit, occurred_at=now, tenant=uow.tenant)
    uow.outbox.append(told, key=deposit.id, traceparent=deposit.traceparent)
    uow.record("deposit.made", deposit.id)
