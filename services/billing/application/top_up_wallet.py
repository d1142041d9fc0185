"""Sell more credits for a wallet, on a document of its own; and grant them, once, when that is issued or paid."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from libs.common.errors import RuleViolation
from libs.common.ids import derived_id
from libs.common.money import Money
from libs.common.telemetry import current_traceparent
from services.billing.application.ports import UnitOfWork
from services.billing.domain.agreement import CustomerDetails
from services.billing.domain.invoice import Invoice, open_document
from services.billing.domain.wallet import Wallet
from services.billing.domain.wallet_top_up import (
    TopUp,
    TopUpCause,
    grant_of_top_up,
    line_of_top_up,
    price_of,
)


class TopUpFree(RuleViolation):
    """What nobody pays for is granted, and not sold."""

    code = "top_up_free"
    title = "A top-up that costs nothing"


@dataclass(frozen=True, slots=True)
class TopUpWallet:
    """`amount` more, for `price` without tax, or for what the wallet says. `id` is the top-up's."""

    id: str
    amount: Decimal
    price: Money | None = None
    cause: TopUpCause = "manual"


async def top_up_wallet(
    command: TopUpWallet, wallet: Wallet, *, payer: CustomerDetails, now: datetime, uow: UnitOfWork
) -> tuple[TopUp, Invoice]:
    """Open the document that sells the credits. Whoever calls finalizes it; the wallet is locked.

    Raises: TopUpPriceMissing, TopUpFree.
    """
    price = price_of(wallet, command.amount, command.price)
    if price.amount_minor <= 0:
        raise TopUpFree(
            "the top-up costs nothing",
            pointer="/price",
            remedy="Grant the credits instead, with a reason (POST /v1/wallets/{id}/grants).",
        )
    document = open_document(
        command.id,
        payer,
        boundary_at=now,
        currency=wallet.currency,
        zone=wallet.zone,
        clock_id=wallet.clock_id,
        traceparent=current_traceparent(),
        now=now,
        document_kind="top_up",
    )
    top_up = TopUp(
        id=command.id,
        wallet_id=wallet.id,
        invoice_id=document.id,
        cause=command.cause,
        amount=command.amount,
        price=price,
        priority=wallet.top_up_priority,
        days=wallet.top_up_days,
        requested_at=now,
    )
    uow.invoices.add(document)
    uow.record("invoice.opened", document.id)
    uow.manual_lines.add(line_of_top_up(wallet, top_up, now=now))
    uow.wallets.add_top_up(top_up)
    uow.record("wallet.top_up_requested", wallet.id, wallet.version)
    return top_up, document


def automatic_top_up_id(wallet: Wallet) -> str:
    """Derived from how often the wallet has moved: what was decided for one state of it is made once."""
    return derived_id("tup", wallet.id, str(wallet.entry_count), str(wallet.version))


async def credit_top_up(invoice: Invoice, *, now: datetime, uow: UnitOfWork) -> None:
    """Grant what the document sells, if it is time: when it is issued, or when it is paid, as the wallet says.

    Called whenever a document is issued or paid; a repeat finds it granted.
    Emits: WalletChanged.
    """
    if invoice.document_kind != "top_up":
        return
    known = await uow.wallets.find_top_up(invoice.id)
    if known is None:
        return
    wallet = await uow.wallets.get_for_update(known.wallet_id)
    top_up = await uow.wallets.find_top_up(invoice.id)
    assert top_up is not None, "it was there a moment ago"
    if top_up.state != "open" or (wallet.grants_on == "payment" and invoice.status != "paid"):
        return
    granted, movement = grant_of_top_up(wallet, top_up, cost=invoice.net, now=now, actor=uow.actor)
    uow.wallets.save_top_up(granted)
    uow.wallets.move(movement, traceparent=current_traceparent() or invoice.traceparent)
    uow.record("wallet.granted", wallet.id, movement.wallet.version)
