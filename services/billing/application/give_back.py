"""A document holds no longer: what it took of coupons and of prepaid credits can be used again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from libs.common.money import Money
from services.billing.application.ports import UnitOfWork
from services.billing.domain.coupon_redemption import given_back as use_given_back
from services.billing.domain.invoice import Invoice
from services.billing.domain.postings_of_wallets import postings_for_money_used, postings_for_units_used
from services.billing.domain.wallet import Draw, Grant, WalletEntry, given_back, grant_voided
from services.billing.domain.wallet_top_up import TopUpUsed, top_up_voided

VOIDED = "the document that sold it was voided"
WAS_VOIDED = "it had been taken back before"


async def give_back(invoice: Invoice, *, now: datetime, uow: UnitOfWork) -> None:
    """Give back what a voided document used of coupons, units and money; and take back what it sold.

    What expired meanwhile expires again. A repeat finds nothing to give back.
    Emits: WalletChanged. Raises: TopUpUsed, and then nothing has changed.
    """
    await _take_back_what_was_sold(invoice, now=now, uow=uow)
    by_wallet: dict[str, list[WalletEntry]] = defaultdict(list)
    for entry in await uow.wallets.drawn_by(invoice.id):
        by_wallet[entry.wallet_id].append(entry)
    for id in sorted(by_wallet):
        await _give_back_to(id, by_wallet[id], invoice, now=now, uow=uow)
    for redemption, use in await uow.coupon_redemptions.uses_of(invoice.id):
        uow.coupon_redemptions.use(*use_given_back(redemption, use, now=now))


async def _give_back_to(
    wallet_id: str, entries: Sequence[WalletEntry], invoice: Invoice, *, now: datetime, uow: UnitOfWork
) -> None:
    wallet = await uow.wallets.get_for_update(wallet_id)
    standing = _standing(entries)
    grants = await uow.wallets.grants(sorted({draw.grant_id for draw in standing}))
    pairs: list[tuple[Grant, Draw]] = [(grants[draw.grant_id], draw) for draw in standing]
    if not pairs:
        return
    movement = given_back(wallet, pairs, invoice_id=invoice.id, now=now, actor=uow.actor)
    uow.wallets.move(movement, traceparent=invoice.traceparent)
    uow.record("wallet.given_back", wallet.id, movement.wallet.version)
    if wallet.is_money:
        paid = Money(-sum(draw.paid.amount_minor for draw in standing), wallet.currency)
        posted = postings_for_money_used(
            invoice.id, paid, -movement.cost, at=now, zone=invoice.zone, fact=f"given_back:{wallet.id}"
        )
    else:
        posted = postings_for_units_used(
            invoice.id, -movement.cost, at=now, zone=invoice.zone, fact=f"units_given_back:{wallet.id}"
        )
    uow.ledger.post(posted)
    for grant in movement.grants:
        if grant.voided_at is not None and grant.remaining:
            again = grant_voided(
                movement.wallet, grant.id, now=now, actor=uow.actor, reason=WAS_VOIDED, with_its_invoice=True
            )
            uow.wallets.move(again, traceparent=invoice.traceparent)


def _standing(entries: Sequence[WalletEntry]) -> list[Draw]:
    """What was drawn and has not come back, by grant and line; what a credit gave back is left as it is."""
    sums: dict[tuple[str, str | None], Draw] = {}
    for entry in entries:
        assert entry.paid is not None, "what a document moved paid something"
        key = entry.grant_id, entry.line_id
        before = sums.get(key)
        if before is None:
            sums[key] = Draw(entry.grant_id, -entry.amount, entry.paid, entry.line_id, entry.charge_id)
        else:
            sums[key] = Draw(
                entry.grant_id,
                before.amount - entry.amount,
                before.paid + entry.paid,
                entry.line_id,
                entry.charge_id,
            )
    return [draw for draw in sums.values() if draw.amount > 0]


async def _take_back_what_was_sold(invoice: Invoice, *, now: datetime, uow: UnitOfWork) -> None:
    if invoice.document_kind != "top_up":
        return
    known = await uow.wallets.find_top_up(invoice.id)
    if known is None or known.state == "void":
        return
    wallet = await uow.wallets.get_for_update(known.wallet_id)
    if known.state == "granted":
        grant = next((grant for grant in wallet.grants if grant.top_up_id == known.id), None)
        if grant is None or grant.remaining != grant.amount:
            raise TopUpUsed(
                "credits that the document sold were used or have expired",
                remedy="Give back what is left with a credit on the customer's balance instead.",
            )
        movement = grant_voided(
            wallet, grant.id, now=now, actor=uow.actor, reason=VOIDED, with_its_invoice=True
        )
        uow.wallets.move(movement, traceparent=invoice.traceparent)
        uow.record("wallet.grant_voided", wallet.id, movement.wallet.version)
        wallet = movement.wallet
    wallet, top_up = top_up_voided(wallet, known, now=now)
    uow.wallets.save(wallet)
    uow.wallets.save_top_up(top_up)
