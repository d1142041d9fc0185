"""What is told of wallets."""

from __future__ import annotations

from datetime import datetime

from libs.common.contracts.billing import WalletChangedV1, WalletTopUpRequestedV1
from services.billing.domain.wallet import Movement, Wallet


def wallet_changed(movement: Movement, *, tenant: str) -> WalletChangedV1:
    wallet = movement.wallet
    return WalletChangedV1(
        tenant=tenant,
        version=wallet.version,
        occurred_at=movement.entries[-1].occurred_at,
        test_clock=wallet.clock_id,
        wallet_id=wallet.id,
        customer_id=wallet.customer_id,
        balance=wallet.balance,
        currency=wallet.currency,
        unit=wallet.unit,
        cause=movement.kind,
    )


def top_up_requested(
    wallet: Wallet, invoice_id: str, *, occurred_at: datetime, tenant: str
) -> WalletTopUpRequestedV1:
    return WalletTopUpRequestedV1(
        tenant=tenant,
        version=wallet.version,
        occurred_at=occurred_at,
        test_clock=wallet.clock_id,
        wallet_id=wallet.id,
        customer_id=wallet.customer_id,
        invoice_id=invoice_id,
    )
