"""Give credits by hand, and take them back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from libs.common.errors import RuleViolation
from libs.common.money import Money
from services.billing.application.ports import UnitOfWork
from services.billing.domain.customer_balance import BalanceMovement
from services.billing.domain.postings_of_wallets import (
    postings_for_credits_to_balance,
    postings_for_purchase,
    postings_for_purchase_voided,
)
from services.billing.domain.wallet import (
    EVERYTHING,
    Grant,
    GrantNotFound,
    Scope,
    Wallet,
    grant_voided,
    granted,
)


class GrantExpiresAtOnce(RuleViolation):
    code = "wallet_grant_expires_at_once"
    title = "The grant would have expired already"


class GrantCostsTooMuch(RuleViolation):
    """Prepaid money is worth what stands on it: nobody pays more for it."""

    code = "wallet_grant_costs_too_much"
    title = "More was paid than the credits are worth"


@dataclass(frozen=True, slots=True)
class GrantCredits:
    """`cost` is what the customer paid for it elsewhere; nothing for what is given."""

    amount: Decimal
    cost: Money
    priority: int = 0
    expires_at: datetime | None = None
    scope: Scope = EVERYTHING
    reason: str | None = None


def grant_credits(command: GrantCredits, wallet: Wallet, *, now: datetime, uow: UnitOfWork) -> Grant:
    """The wallet is locked. Emits: WalletChanged.

    Raises: GrantExpiresAtOnce, GrantCostsTooMuch, TooManyGrants, WalletTooFull.
    """
    if command.expires_at is not None and command.expires_at <= now:
        raise GrantExpiresAtOnce(
            "expires_at has passed", pointer="/expires_at", remedy="Choose a later instant, or leave it out."
        )
    if wallet.is_money and command.cost.to_decimal() > command.amount:
        raise GrantCostsTooMuch(
            "cost is more than amount", pointer="/cost", remedy="Grant at least what was paid."
        )
    movement = granted(
        wallet,
        amount=command.amount,
        cost=command.cost,
        priority=command.priority,
        now=now,
        actor=uow.actor,
        expires_at=command.expires_at,
        scope=command.scope,
        source="purchase" if command.cost.amount_minor else "manual",
        reason=command.reason,
    )
    uow.wallets.move(movement)
    uow.ledger.post(postings_for_purchase(movement, at=now))
    uow.record("wallet.granted", wallet.id, movement.wallet.version)
    return movement.grants[0]


async def void_grant(wallet_id: str, grant_id: str, *, reason: str, now: datetime, uow: UnitOfWork) -> Grant:
    """Take back what is left. What was paid for it goes back the way that it came.

    What was paid for elsewhere is given back there; what a top-up of money sold, once that is paid, goes to the
    customer's balance. Units that an invoice sold were taxed with it: they stay, or go with the invoice.
    Emits: WalletChanged, CustomerBalanceChanged.
    Raises: WalletNotFound, GrantNotFound, GrantUsedUp, GrantOfTopUp.
    """
    wallet = await uow.wallets.get_for_update(wallet_id)
    known = (await uow.wallets.grants([grant_id])).get(grant_id)
    if known is None or known.wallet_id != wallet.id:
        raise GrantNotFound("the wallet has no grant with this id", id=grant_id)
    sold = wallet.is_money and await _is_paid_for(known, uow=uow)
    movement = grant_voided(wallet, grant_id, now=now, actor=uow.actor, reason=reason, with_its_invoice=sold)
    uow.wallets.move(movement)
    if sold:
        await _to_the_balance(wallet, -movement.cost, reason, now=now, uow=uow)
    else:
        uow.ledger.post(postings_for_purchase_voided(movement, at=now))
    uow.record("wallet.grant_voided", wallet.id, movement.wallet.version)
    return movement.grants[0]


async def _is_paid_for(grant: Grant, *, uow: UnitOfWork) -> bool:
    """Whether an invoice sold it that is paid: before, that invoice can be voided."""
    top_up = await uow.wallets.find_top_up_of_grant(grant)
    if top_up is None:
        return False
    # Not locked, which would be the wrong way round: whoever voids it waits for the wallet, and finds nothing left.
    return (await uow.invoices.get(top_up.invoice_id)).status == "paid"


async def _to_the_balance(
    wallet: Wallet, amount: Money, reason: str, *, now: datetime, uow: UnitOfWork
) -> None:
    if not amount.amount_minor:
        return
    await uow.customer_balances.open_for_update(wallet.customer_id, wallet.currency, now=now)
    entry = uow.customer_balances.move(
        BalanceMovement(
            customer_id=wallet.customer_id,
            amount=amount,
            kind="adjustment",
            occurred_at=now,
            actor=uow.actor,
            reason=reason,
            clock_id=wallet.clock_id,
        )
    )
    uow.record("customer_balance.adjusted", entry.balance_id, entry.ordinal)
    uow.ledger.post(postings_for_credits_to_balance(entry.id, amount, at=now))
