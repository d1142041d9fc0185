"""The coupons that take something off a document, and what credits on it take back of what was taken off before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from libs.common.money import Money
from services.billing.application.ports import UnitOfWork
from services.billing.domain.charge import Charge
from services.billing.domain.coupon_redemption import BilledOf, coupons_on, used
from services.billing.domain.discount import Coupon
from services.billing.domain.invoice import Invoice
from services.billing.domain.invoice_line import InvoiceLine
from services.billing.domain.taking_back import Billed, BilledKey, TakenBack, gives_back, key_of, taken_back

NOTHING_TAKEN_BACK = TakenBack({}, {})


async def coupons_for(
    draft: Invoice, lines: Sequence[InvoiceLine], *, now: datetime, uow: UnitOfWork
) -> tuple[Coupon, ...]:
    """Those that the customers hold for what is on it, with what was used of them before.

    Their rows stay locked until the transaction is over, so that no two documents use one amount.
    """
    users = _subscriptions_on(draft, lines)
    await uow.coupon_redemptions.load_for_update([draft.customer_id], subscription_ids=users)
    gives = any(line.amount.amount_minor < 0 for line in lines)
    if not uow.coupon_redemptions.has_any and not (gives and await uow.credit_notes.any_issued()):
        return ()
    charges = await uow.charges.of_invoice(draft.id)
    billed = [await _billed(draft, id, charges, uow=uow) for id in users]
    if not billed:
        billed = [BilledOf(None, draft.customer_id, draft.period_index)]
    held = uow.coupon_redemptions.of_customers([draft.customer_id, *(each.customer_id for each in billed)])
    if not held and not gives:
        return ()
    found = coupons_on(held, billed, document_kind=draft.document_kind, clock_id=draft.clock_id, now=now)
    found = tuple(c for c in found if c.amount is None or c.amount.currency == draft.currency)
    back = (await taken_back_on(draft, lines, uow=uow)).as_coupon
    if back is None or not (found or any(minor for _, minor in back.taken_back)):
        return found
    return (back, *found)


async def use_coupons(invoice: Invoice, *, now: datetime, uow: UnitOfWork) -> None:
    """Write down what the issued invoice took of each."""
    taken: dict[str, list[tuple[Coupon, Money]]] = defaultdict(list)
    for discount in invoice.discounts:
        if discount.coupon.redemption_id is not None and discount.amount.amount_minor:
            taken[discount.coupon.redemption_id].append((discount.coupon, discount.amount))
    for id in sorted(taken):
        known = uow.coupon_redemptions.held(id)
        redemption, use = used(known, taken[id], invoice_id=invoice.id, now=now)
        uow.coupon_redemptions.use(redemption, use)


async def taken_back_on(draft: Invoice, lines: Sequence[InvoiceLine], *, uow: UnitOfWork) -> TakenBack:
    """What the credits on it take back of discounts, and of what units covered. Nothing is read where there are none."""
    charges = {charge.id: charge for charge in await uow.charges.of_invoice(draft.id)}
    credits = [
        charge
        for charge in charges.values()
        if gives_back(charge) and any(line.charge_id == charge.id for line in lines)
    ]
    if not credits:
        return NOTHING_TAKEN_BACK
    return taken_back(lines, charges, await _billed_before(credits, draft, uow=uow))


async def _billed_before(
    credits: Sequence[Charge], draft: Invoice, *, uow: UnitOfWork
) -> dict[BilledKey, Billed]:
    wanted = {key_of(credit) for credit in credits}
    periods = sorted({(credit.subscription_id, credit.period_index) for credit in credits})
    charges: dict[str, Charge] = {}
    for subscription_id, index in periods:
        for charge in await uow.charges.of_period(subscription_id, index):
            if key_of(charge) in wanted and charge.kind != "commitment" and charge.invoice_id != draft.id:
                charges[charge.id] = charge
    zero = Money.zero(draft.currency)
    billed = dict.fromkeys(wanted, Billed(zero, zero, zero))
    for line in await uow.billed_lines.of(list(charges.values())):
        if line.amount.currency != draft.currency:
            continue
        key = key_of(charges[line.charge_id or ""])
        before = billed[key]
        billed[key] = Billed(
            before.amount + line.amount, before.discount + line.discount, before.prepaid + line.prepaid
        )
    return billed


def _subscriptions_on(draft: Invoice, lines: Sequence[InvoiceLine]) -> list[str]:
    named = {line.subscription_id for line in lines} | {draft.subscription_id}
    return sorted(id for id in named if id is not None)


async def _billed(
    draft: Invoice, subscription_id: str, charges: Sequence[Charge], *, uow: UnitOfWork
) -> BilledOf:
    """A document bills a subscription in the period that begins at its boundary, which is behind what it bills later."""
    agreement = await uow.agreements.find(subscription_id)
    customer_id = draft.customer_id if agreement is None else agreement.customer.id
    if draft.subscription_id == subscription_id:
        return BilledOf(subscription_id, customer_id, draft.period_index)
    mine = (charge for charge in charges if charge.subscription_id == subscription_id)
    index = max(
        (charge.period_index + (charge.kind not in ("advance", "once")) for charge in mine),
        default=draft.period_index,
    )
    return BilledOf(subscription_id, customer_id, index)
