"""Money that came by hand: cash, a cheque, a transfer that somebody saw. It is put where it is said to belong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Literal

from libs.common.errors import InputError, InvalidInput
from libs.common.ids import new_id
from libs.common.money import CurrencyMismatch, Money
from libs.common.periods import local_date
from services.billing.application.add_payment_method import CustomerNotFound
from services.billing.application.move_balance import move_balance
from services.billing.application.ports import UnitOfWork
from services.billing.application.receive_payment import (
    ReceivePayment,
    Share,
    give_to_balance,
    pay_invoice,
    receive_payment,
    tell_received,
)
from services.billing.application.reverse_payment import take_off_invoice
from services.billing.domain.agreement import CustomerDetails
from services.billing.domain.customer_balance import BalanceMovement
from services.billing.domain.invoice import Invoice
from services.billing.domain.invoice_standing import PAYABLE
from services.billing.domain.payment_received import (
    AllocationNotFound,
    AllocationNotReversible,
    Payment,
    PaymentAllocation,
    PaymentTooSmall,
    PaymentWay,
    is_beyond,
    least,
    standing,
    take_back,
)
from services.billing.domain.postings_of_payments import postings_for_allocation, settled_by

Rest = Literal["balance", "unapplied"]


@dataclass(frozen=True, slots=True)
class WantedShare:
    """`amount` of None is as much as is due, and left."""

    invoice_id: str
    amount: Money | None = None


@dataclass(frozen=True, slots=True)
class EnterPayment:
    """`oldest_first`: what the customer owes in the currency is paid by its due date. `received_on` of None is today."""

    customer_id: str
    way: PaymentWay
    amount: Money
    shares: Sequence[WantedShare] = ()
    oldest_first: bool = False
    rest: Rest = "balance"
    received_on: date | None = None
    reference: str | None = None
    payer: str | None = None
    note: str | None = None


async def enter_payment(
    command: EnterPayment, *, customer: CustomerDetails, now: datetime, uow: UnitOfWork
) -> Payment:
    """Nothing is put on an invoice beyond what is due of it; what is named and does not fit is refused, and nothing done.

    Emits: what receiving a payment does.
    Raises: InvoiceNotFound, AllocationsRefused, PaymentTooSmall, CurrencyMismatch.
    """
    wanted = command.shares
    if command.oldest_first:
        owed = await uow.payments.owed_by(command.customer_id, command.amount.currency)
        wanted = [WantedShare(id) for id in owed]
    shares = await checked_shares(
        wanted,
        command.amount,
        customer_id=command.customer_id,
        is_strict=not command.oldest_first,
        uow=uow,
    )
    return await receive_payment(
        ReceivePayment(
            id=new_id("pmt"),
            way=command.way,
            amount=command.amount,
            received_on=command.received_on or local_date(now, customer.zone or "UTC"),
            now=now,
            to=shares,
            rest=command.rest,
            customer_id=command.customer_id,
            reference=command.reference,
            payer=command.payer,
            note=command.note,
            clock_id=customer.clock_id,
        ),
        uow=uow,
    )


async def checked_shares(
    wanted: Sequence[WantedShare],
    held: Money,
    *,
    customer_id: str | None,
    is_strict: bool,
    uow: UnitOfWork,
) -> list[Share]:
    """What each invoice gets, all of them locked in id order; everything that does not fit is told at once.

    Raises: InvoiceNotFound, AllocationsRefused, PaymentTooSmall, CurrencyMismatch.
    """
    await uow.invoices.load_for_update(share.invoice_id for share in wanted)
    shares: list[Share] = []
    faults: list[InputError] = []
    left = held
    for index, share in enumerate(wanted):
        pointer = f"/allocations/{index}"
        invoice = await uow.invoices.get_for_update(share.invoice_id)
        fault = _fault(invoice, share, held, customer_id) if is_strict else None
        if fault is not None:
            faults.append({"pointer": f"{pointer}/{fault[0]}", "detail": fault[1]})
            continue
        due = invoice.due if invoice.status in PAYABLE else Money.zero(invoice.currency)
        amount = least(due, left) if share.amount is None else share.amount
        left -= amount
        if amount.amount_minor:
            shares.append(Share(invoice.id, amount))
    if faults:
        raise AllocationsRefused("the payment cannot be allocated as it is told", errors=faults)
    if left.amount_minor < 0:
        raise PaymentTooSmall(
            "the parts are more than the payment",
            pointer="/allocations",
            held=held,
            asked=held - left,
            remedy="Let them come to no more than the payment.",
        )
    return shares


class AllocationsRefused(InvalidInput):
    """What is named does not fit the invoices: nothing was done."""

    code = "allocations_refused"
    title = "The allocations do not fit"


def _fault(
    invoice: Invoice, share: WantedShare, held: Money, customer_id: str | None
) -> tuple[str, str] | None:
    if invoice.currency != held.currency:
        return "invoice_id", f"the invoice is in {invoice.currency}, the payment in {held.currency}"
    if invoice.status not in PAYABLE:
        return "invoice_id", f"the invoice is {invoice.status}: nothing of it is due"
    if customer_id is not None and invoice.customer_id != customer_id:
        return "invoice_id", "the invoice is another customer's"
    if share.amount is not None and is_beyond(share.amount, invoice.due):
        return "amount", f"{invoice.due.to_decimal()} {invoice.currency} is due, and no more"
    return None


@dataclass(frozen=True, slots=True)
class AllocatePayment:
    """Put unapplied money of a payment on invoices, or give all that is left of it to the balance."""

    payment_id: str
    shares: Sequence[WantedShare]
    now: datetime
    customer_id: str | None = None
    rest: Rest = "unapplied"


async def allocate_payment(command: AllocatePayment, *, uow: UnitOfWork) -> Payment:
    """Whose payment it is, the first allocation says where nobody knew.

    Emits: InvoicePaid, CustomerBalanceChanged; PaymentReceived where nobody knew whose it is.
    Raises: PaymentNotFound, CustomerNotFound, InvoiceNotFound, AllocationsRefused, PaymentTooSmall, PaymentOfNobody.
    """
    known = await uow.payments.get(command.payment_id)
    if command.customer_id is not None and await uow.customers.find(command.customer_id) is None:
        raise CustomerNotFound("no customer has this id", pointer="/customer_id")
    customer_id = known.customer_id or command.customer_id
    await uow.invoices.load_for_update(share.invoice_id for share in command.shares)
    payment = await uow.payments.get_for_update(command.payment_id)
    was_nobodys = payment.customer_id is None
    shares = await checked_shares(
        command.shares, payment.unapplied, customer_id=customer_id, is_strict=True, uow=uow
    )
    if was_nobodys and customer_id is not None:
        payment = of_customer(payment, customer_id)
    made: list[PaymentAllocation] = []
    for share in shares:
        payment, allocation = await pay_invoice(payment, share, now=command.now, uow=uow)
        made += [allocation] if allocation else []
    if command.rest == "balance" and payment.unapplied.amount_minor:
        payment, given = give_to_balance(payment, payment.unapplied, now=command.now, uow=uow)
        made.append(given)
    uow.payments.save(payment)
    uow.record("payment.allocated", payment.id, payment.version)
    if was_nobodys:
        tell_received(payment, made, now=command.now, uow=uow)
    return payment


def of_customer(payment: Payment, customer_id: str | None) -> Payment:
    """Or nobody's again, once all of it is unapplied."""
    return replace(payment, customer_id=customer_id)


@dataclass(frozen=True, slots=True)
class TakeAllocationBack:
    """`amount` of None is all that is left of it."""

    payment_id: str
    allocation_id: str
    reason: str
    now: datetime
    amount: Money | None = None


async def take_allocation_back(command: TakeAllocationBack, *, uow: UnitOfWork) -> Payment:
    """The money stays, and is unapplied; the invoice is due again by as much.

    Emits: InvoiceReopened, CustomerBalanceChanged.
    Raises: PaymentNotFound, AllocationNotFound, AllocationNotReversible, BalanceTooSmall.
    """
    await uow.payments.get(command.payment_id)
    named = {one.id: one for one in await uow.payments.allocations_of(command.payment_id)}
    allocation = named.get(command.allocation_id)
    if allocation is None or allocation.takes_back_id is not None:
        raise AllocationNotFound("the payment has no allocation with this id", id=command.allocation_id)
    if allocation.invoice_id is not None:
        await uow.invoices.get_for_update(allocation.invoice_id)
    payment = await uow.payments.get_for_update(command.payment_id)
    parts = standing(await uow.payments.allocations_of(payment.id))
    part = next((one for one in parts if one.allocation.id == allocation.id), None)
    if part is None:
        raise AllocationNotReversible("all of it was taken back already", remedy="Read the payment again.")
    amount = part.left if command.amount is None else command.amount
    payment, taken = take_back(payment, part, amount, now=command.now, actor=uow.actor)
    uow.payments.allocate(taken)
    if taken.invoice_id is None:
        await _take_from_balance(payment, taken, command, uow=uow)
    else:
        invoice = await uow.invoices.get_for_update(taken.invoice_id)
        after = await take_off_invoice(
            invoice, amount, payment_id=payment.id, reason=command.reason, now=command.now, uow=uow
        )
        uow.ledger.post(postings_for_allocation(taken, settles=settled_by(after), zone=after.zone))
    uow.payments.save(payment)
    uow.record("payment.allocation_taken_back", payment.id, payment.version)
    return payment


async def _take_from_balance(
    payment: Payment, taken: PaymentAllocation, command: TakeAllocationBack, *, uow: UnitOfWork
) -> None:
    currency = taken.amount.currency
    await uow.customer_balances.open_for_update(taken.customer_id, currency, now=command.now)
    move_balance(
        BalanceMovement(
            customer_id=taken.customer_id,
            amount=taken.amount,
            kind="payment_taken_back",
            occurred_at=command.now,
            actor=uow.actor,
            reason=command.reason,
            clock_id=payment.clock_id,
            allocation_id=taken.id,
        ),
        uow=uow,
    )
    uow.ledger.post(postings_for_allocation(taken, settles="customer_credit", zone=None))


def check_currency(amount: Money | None, payment: Payment) -> None:
    """Raises: CurrencyMismatch."""
    if amount is not None and amount.currency != payment.amount.currency:
        raise CurrencyMismatch(
            "the payment is in another currency",
            pointer="/amount/currency",
            one=payment.amount.currency,
            other=amount.currency,
        )
