"""Give a customer a wallet, and change how it is filled."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from services.billing.application.add_payment_method import CustomerNotFound
from services.billing.application.ports import UnitOfWork
from services.billing.domain.wallet import GrantsOn, TopUpRule, Wallet, watched
from services.billing.domain.wallet_top_up import price_of


@dataclass(frozen=True, slots=True)
class WalletSettings:
    """How a wallet is filled; what it holds is no setting."""

    name: str
    unit_amount: Decimal | None = None
    tax_category: str | None = None
    zone: str = "UTC"
    grants_on: GrantsOn = "payment"
    top_up: TopUpRule | None = None
    top_up_priority: int = 0
    top_up_days: int | None = None


@dataclass(frozen=True, slots=True)
class OpenWallet:
    """`unit` is None for a wallet of money."""

    id: str
    customer_id: str
    currency: str
    unit: str | None
    settings: WalletSettings


async def open_wallet(command: OpenWallet, *, clock_id: str | None, now: datetime, uow: UnitOfWork) -> Wallet:
    """An empty wallet. Where it is filled by a rule, the scheduler buys the first credits.

    Raises: CustomerNotFound, TopUpPriceMissing.
    """
    if await uow.customers.find(command.customer_id) is None:
        raise CustomerNotFound("no customer has this id", pointer="/customer_id")
    wallet = Wallet(
        id=command.id,
        customer_id=command.customer_id,
        name=command.settings.name,
        currency=command.currency,
        created_at=now,
        unit=command.unit,
        clock_id=clock_id,
    )
    made = replace(_with(wallet, command.settings, now=now), version=1)
    uow.wallets.add(made)
    uow.record("wallet.opened", made.id)
    return made


def change_wallet(wallet: Wallet, settings: WalletSettings, *, now: datetime, uow: UnitOfWork) -> Wallet:
    """The same settings again change nothing. Raises: TopUpPriceMissing."""
    changed = _with(wallet, settings, now=now)
    if replace(changed, version=wallet.version) == wallet:
        return wallet
    uow.wallets.save(changed)
    uow.record("wallet.changed", changed.id, changed.version)
    return changed


def settings_of(wallet: Wallet) -> WalletSettings:
    return WalletSettings(**{name: getattr(wallet, name) for name in WalletSettings.__slots__})


def _with(wallet: Wallet, settings: WalletSettings, *, now: datetime) -> Wallet:
    named = {name: getattr(settings, name) for name in WalletSettings.__slots__}
    changed = replace(wallet, **named, version=wallet.version + 1)
    if changed.top_up is not None:
        price_of(changed, changed.top_up.amount)  # a rule that could buy nothing is refused at once
    return watched(changed, now=now)
