"""What a person says of an entry of a bank statement: what it pays, that it is no customer's, or that this was wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from services.billing.application.enter_payment import (
    AllocatePayment,
    Rest,
    TakeAllocationBack,
    WantedShare,
    allocate_payment,
    of_customer,
    take_allocation_back,
)
from services.billing.application.match_statement_entries import business_now, receipt_of, take_back
from services.billing.application.ports import UnitOfWork
from services.billing.application.receive_payment import receive_payment
from services.billing.application.reverse_payment import ReversePayment, restore_payment, reverse_payment
from services.billing.domain.bank_statement import (
    BankStatementEntry,
    BankStatementEntryStateWrong,
    check_state,
    ignored,
    matched,
    next_payment_id,
    unmatched,
)
from services.billing.domain.payment_received import standing


@dataclass(frozen=True, slots=True)
class MatchEntry:
    """Of money that came: what it pays, and whose it is. Of money that was taken back: the payment `payment_id`."""

    entry_id: str
    now: datetime
    shares: Sequence[WantedShare] = ()
    customer_id: str | None = None
    rest: Rest = "balance"
    payment_id: str | None = None


async def match_entry(command: MatchEntry, *, uow: UnitOfWork) -> BankStatementEntry:
    """From which account the customer pays is learned from it.

    Emits: what receiving and reversing payments does.
    Raises: BankStatementEntryNotFound, BankStatementEntryStateWrong, and what allocating raises.
    """
    entry = await uow.bank_statement_entries.get_for_update(command.entry_id)
    check_state(entry, "unmatched")
    if entry.payment_id is None:
        if command.payment_id is None:
            raise BankStatementEntryStateWrong(
                "the entry is money that was taken back",
                pointer="/payment_id",
                remedy="Name the payment that it takes back: payment_id.",
            )
        return await take_back(entry, command.payment_id, by="person", now=command.now, uow=uow)
    if command.payment_id is not None:
        raise BankStatementEntryStateWrong(
            "the entry is money that came", pointer="/payment_id", remedy="Name invoices, or a customer."
        )
    payment = await allocate_payment(
        AllocatePayment(
            payment_id=entry.payment_id,
            shares=command.shares,
            now=await _now_for(command, uow=uow),
            customer_id=command.customer_id,
            rest=command.rest,
        ),
        uow=uow,
    )
    after = matched(entry, payment.id, "person")
    uow.bank_statement_entries.save(after)
    uow.record("bank_statement_entry.matched", after.id, after.version)
    if entry.told.payer_account is not None and payment.customer_id is not None:
        uow.bank_statement_entries.learn(entry.told.payer_account, payment.customer_id, at=command.now)
    return after


async def _now_for(command: MatchEntry, *, uow: UnitOfWork) -> datetime:
    if command.shares:
        first = await uow.invoices.get(command.shares[0].invoice_id)
        return await business_now(first.clock_id, now=command.now, uow=uow)
    customer = await uow.customers.find(command.customer_id) if command.customer_id else None
    return await business_now(customer.clock_id if customer else None, now=command.now, uow=uow)


async def ignore_entry(entry_id: str, *, reason: str, now: datetime, uow: UnitOfWork) -> BankStatementEntry:
    """It is no customer's: interest, a transfer of our own. The money is no business of these books any more.

    Raises: BankStatementEntryNotFound, BankStatementEntryStateWrong, PaymentNotReversible.
    """
    entry = await uow.bank_statement_entries.get_for_update(entry_id)
    check_state(entry, "unmatched")
    if entry.payment_id is not None:
        command = ReversePayment(entry.payment_id, None, cause="mistake", reason=reason, now=now)
        await reverse_payment(command, uow=uow)
    after = ignored(entry, reason)
    uow.bank_statement_entries.save(after)
    uow.record("bank_statement_entry.ignored", after.id, after.version)
    return after


async def unmatch_entry(entry_id: str, *, reason: str, now: datetime, uow: UnitOfWork) -> BankStatementEntry:
    """Take back what was said of it, by whomever: what it paid is due again, and the money is nobody's.

    What was ignored is money that came once more. A payment that a debit took back is there again.
    Raises: BankStatementEntryNotFound, BankStatementEntryStateWrong, AllocationNotReversible, BalanceTooSmall.
    """
    entry = await uow.bank_statement_entries.get_for_update(entry_id)
    check_state(entry, "matched", "ignored")
    if entry.told.direction == "debit":
        if entry.payment_id is not None:
            payment = await uow.payments.get(entry.payment_id)
            at = await business_now(payment.clock_id, now=now, uow=uow)
            await restore_payment(entry.payment_id, entry.told.amount, now=at, uow=uow)
        after = unmatched(entry, None)
    elif entry.state == "ignored":
        payment_id = next_payment_id(entry)
        await receive_payment(receipt_of(entry, payment_id, now=now), uow=uow)
        after = unmatched(entry, payment_id)
    else:
        assert entry.payment_id is not None, "what is matched has a payment"
        await _take_all_back(entry.payment_id, reason=reason, now=now, uow=uow)
        if entry.told.payer_account is not None:
            await uow.bank_statement_entries.forget(entry.told.payer_account)
        after = unmatched(entry, entry.payment_id)
    uow.bank_statement_entries.save(after)
    uow.record("bank_statement_entry.unmatched", after.id, after.version)
    return after


async def _take_all_back(payment_id: str, *, reason: str, now: datetime, uow: UnitOfWork) -> None:
    allocations = await uow.payments.allocations_of(payment_id)
    await uow.invoices.load_for_update(one.invoice_id for one in allocations if one.invoice_id is not None)
    payment = await uow.payments.get_for_update(payment_id)
    at = await business_now(payment.clock_id, now=now, uow=uow)
    for part in standing(await uow.payments.allocations_of(payment_id)):
        command = TakeAllocationBack(payment_id, part.allocation.id, reason, at)
        payment = await take_allocation_back(command, uow=uow)
    uow.payments.save(of_customer(payment, None))
