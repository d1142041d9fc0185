"""Wallets that are due: something in them expires, or more is to be bought."""

from __future__ import annotations

from collections.abc import Sequence

from libs.common.clock import Clock
from libs.common.messaging.due import DueJob, DueRow
from libs.common.persistence.unit_of_work import UnitsOfWork
from libs.common.telemetry import span
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.adapters.wallet_rows import wallet
from services.billing.application.keep_wallets import KeepWallet, keep_wallet


def wallet_job(units: UnitsOfWork[BillingUnitOfWork], clock: Clock) -> DueJob[BillingUnitOfWork]:
    return DueJob(
        "keep_wallets", service="billing", table=wallet, units=units, clock=clock, work=keep_due_wallets
    )


async def keep_due_wallets(due: Sequence[DueRow], uow: BillingUnitOfWork) -> None:
    await uow.wallets.load_by_id_for_update(row.id for row in due)
    for row in sorted(due, key=lambda row: row.id):
        with span("keep wallet", parent=None, attributes={"perennial.wallet.id": row.id}):
            await keep_wallet(KeepWallet(row.id, row.now), uow=uow)
