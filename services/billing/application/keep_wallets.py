"""What the scheduler does for a wallet that is due: credits whose time is over expire, and more is bought."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from libs.common.telemetry import current_traceparent
from services.billing.application import wallet_events
from services.billing.application.finalize_invoice import finalize_if_complete
from services.billing.application.ports import UnitOfWork
from services.billing.application.top_up_wallet import TopUpWallet, automatic_top_up_id, top_up_wallet
from services.billing.domain.postings_of_wallets import postings_for_expiry
from services.billing.domain.wallet import Wallet, expired, watched
from services.billing.domain.wallet_top_up import NotBefore, decide_top_up, month_of


@dataclass(frozen=True, slots=True)
class KeepWallet:
    """`now` is the wallet's business now."""

    wallet_id: str
    now: datetime


async def keep_wallet(command: KeepWallet, *, uow: UnitOfWork) -> Wallet:
    """Let expire what is over, and top up what is below its threshold. A repeat finds nothing to do.

    Emits: WalletChanged, WalletTopUpRequested, and what issuing a document emits.
    """
    wallet, now = await uow.wallets.get_for_update(command.wallet_id), command.now
    movement = expired(wallet, now=now, actor=uow.actor)
    if movement is not None:
        uow.wallets.move(movement, traceparent=current_traceparent())
        uow.ledger.post(postings_for_expiry(movement, at=now))
        uow.record("wallet.expired", wallet.id, movement.wallet.version)
        wallet = movement.wallet
    if wallet.top_up_after is not None and wallet.top_up_after <= now:
        wallet = await _buy_more(wallet, now=now, uow=uow)
    wallet = watched(wallet, now=now)
    uow.wallets.save(wallet)
    return wallet


async def _buy_more(wallet: Wallet, *, now: datetime, uow: UnitOfWork) -> Wallet:
    """One automatic top-up is under way at most: the next is made when that one is granted or voided."""
    since, until = month_of(now)
    spent = await uow.wallets.spent_automatically(wallet.id, wallet.currency, since=since, until=until)
    price = decide_top_up(wallet, spent=spent, now=now)
    if isinstance(price, NotBefore):
        return replace(wallet, top_up_after=price.at)
    payer = await uow.customers.find(wallet.customer_id)
    if price is None or wallet.top_up is None or payer is None or not price.amount_minor:
        return replace(wallet, top_up_after=None)
    command = TopUpWallet(automatic_top_up_id(wallet), wallet.top_up.amount, price=price, cause="automatic")
    top_up, document = await top_up_wallet(command, wallet, payer=payer, now=now, uow=uow)
    wallet = replace(wallet, open_top_up_id=top_up.id, top_up_after=None, version=wallet.version + 1)
    uow.wallets.save(wallet)
    told = wallet_events.top_up_requested(wallet, document.id, occurred_at=now, tenant=uow.tenant)
    uow.outbox.append(told, key=wallet.id, traceparent=current_traceparent())
    await finalize_if_complete(document, now=now, uow=uow)
    return await uow.wallets.get_for_update(wallet.id)
