"""Look at entries of bank statements that are pending: what certainly pays something does; the rest waits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from services.billing.application.ports import UnitOfWork
from services.billing.application.receive_payment import ReceivePayment, Share, receive_payment
from services.billing.application.reverse_payment import ReversePayment, reverse_payment
from services.billing.domain.bank_statement import (
    BankStatementEntry,
    ignored,
    matched,
    next_payment_id,
    unmatched,
)
from services.billing.domain.payment_received import PaymentNotReversible
from services.billing.domain.statement_matching import Known, Match, decide_match, quoted_in

OUTGOING, CAME_BACK = "outgoing", "outgoing_came_back"


async def match_statement_entries(ids: Sequence[str], *, now: datetime, uow: UnitOfWork) -> None:
    """A batch, whose entries are claimed. `now` is the wall's; what is of a test clock is paid by that.

    An entry that pays nothing for certain becomes money of nobody (`unapplied_payments`). What was paid out is ignored,
    unless it takes back what came before.
    Emits: what receiving and reversing payments does.
    """
    await uow.bank_statement_entries.load_for_update(ids)
    entries = [await uow.bank_statement_entries.get_for_update(id) for id in ids]
    pending = [entry for entry in entries if entry.state == "pending"]
    incoming = [(entry, quoted_in(entry)) for entry in pending if entry.is_incoming]
    known = await uow.bank_statement_entries.known_for(incoming) if incoming else Known()
    found = [(entry, decide_match(entry, quoted, known)) for entry, quoted in incoming]
    await uow.invoices.load_for_update(
        invoice.id for _, match in found if match is not None for invoice, _ in match.shares
    )
    for entry, match in found:
        await _receive(entry, match, now=now, uow=uow)
    for entry in pending:
        if not entry.is_incoming:
            await _look_at_other(entry, now=now, uow=uow)


async def _receive(entry: BankStatementEntry, match: Match | None, *, now: datetime, uow: UnitOfWork) -> None:
    if match is not None and not await _still_holds(match, uow):
        match = None
    payment_id = next_payment_id(entry)
    if match is None:
        await receive_payment(receipt_of(entry, payment_id, now=now), uow=uow)
        uow.bank_statement_entries.save(unmatched(entry, payment_id))
        return
    clock_id = match.shares[0][0].clock_id
    command = receipt_of(
        entry,
        payment_id,
        now=await business_now(clock_id, now=now, uow=uow),
        to=[Share(invoice.id, amount) for invoice, amount in match.shares],
        customer_id=match.customer_id,
        clock_id=clock_id,
    )
    await receive_payment(command, uow=uow)
    uow.bank_statement_entries.save(matched(entry, payment_id, match.by))
    if entry.told.payer_account is not None:
        uow.bank_statement_entries.learn(entry.told.payer_account, match.customer_id, at=now)


async def _still_holds(match: Match, uow: UnitOfWork) -> bool:
    """What was read before the lock may have been paid since. Whose it is, a reference still says."""
    if match.by == "reference" and len(match.shares) == 1:
        return True
    for invoice, amount in match.shares:
        locked = await uow.invoices.get_for_update(invoice.id)
        if locked.status not in ("finalized", "uncollectible") or locked.due != amount:
            return False
    return True


def receipt_of(
    entry: BankStatementEntry,
    payment_id: str,
    *,
    now: datetime,
    to: Sequence[Share] = (),
    customer_id: str | None = None,
    clock_id: str | None = None,
) -> ReceivePayment:
    """What is known to be somebody's and pays no more goes to his balance."""
    told = entry.told
    return ReceivePayment(
        id=payment_id,
        way="bank_transfer",
        amount=told.amount,
        received_on=told.value_on or told.booked_on,
        now=now,
        to=to,
        rest="unapplied" if customer_id is None else "balance",
        customer_id=customer_id,
        entry_id=entry.id,
        reference=told.creditor_reference or told.end_to_end_id,
        payer=told.payer_name,
        clock_id=clock_id,
    )


async def business_now(clock_id: str | None, *, now: datetime, uow: UnitOfWork) -> datetime:
    clock = await uow.test_clock(clock_id)
    return now if clock is None else clock.now


async def _look_at_other(entry: BankStatementEntry, *, now: datetime, uow: UnitOfWork) -> None:
    if entry.told.direction == "credit":
        uow.bank_statement_entries.save(ignored(entry, CAME_BACK))
        return
    if not entry.takes_back:
        uow.bank_statement_entries.save(ignored(entry, OUTGOING))
        return
    originals = await uow.bank_statement_entries.originals_of(entry)
    if len(originals) != 1 or originals[0].payment_id is None:
        uow.bank_statement_entries.save(unmatched(entry, None))
        return
    await take_back(entry, originals[0].payment_id, by="original", now=now, uow=uow)


async def take_back(
    entry: BankStatementEntry, payment_id: str, *, by: str, now: datetime, uow: UnitOfWork
) -> BankStatementEntry:
    """The bank took a payment back: it is reversed, and what it paid is due again.

    Raises: PaymentNotFound, PaymentNotReversible.
    """
    payment = await uow.payments.get(payment_id)
    command = ReversePayment(
        payment_id=payment_id,
        amount=entry.told.amount,
        cause="returned",
        reason=entry.told.text[:200] or "returned",
        now=await business_now(payment.clock_id, now=now, uow=uow),
    )
    try:
        await reverse_payment(command, uow=uow)
    except PaymentNotReversible:
        if by == "person":
            raise
        after = unmatched(entry, None)
    else:
        after = matched(entry, payment_id, "person" if by == "person" else "original")
    uow.bank_statement_entries.save(after)
    return after
