"""What it takes to finalize a batch of drafts, locked and loaded in a few statements."""

from __future__ import annotations

from collections.abc import Iterable

from services.billing.adapters.unit_of_work import BillingUnitOfWork


async def load_drafts(ids: Iterable[str], uow: BillingUnitOfWork) -> None:
    """Whoever finalizes drafts calls this first, so that a batch takes no more statements than one."""
    ids = list(ids)
    await uow.invoices.load_for_update(ids)
    drafts = [invoice for id in ids if (invoice := await uow.invoices.find_for_update(id)) is not None]
    await uow.wallets.load_for_update(draft.customer_id for draft in drafts)
    await uow.coupon_redemptions.load_for_update(
        (draft.customer_id for draft in drafts),
        subscription_ids=(id for draft in drafts for id in draft.about),
    )
    await uow.customer_balances.load_for_update((draft.customer_id, draft.currency) for draft in drafts)
    await uow.billing_profiles.load(draft.customer_id for draft in drafts)
    await uow.charges.load_of_invoices(ids)
    await uow.manual_lines.load_of_invoices(ids)
