"""What it takes to finalize a batch of drafts, locked and loaded in a few statements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.domain.invoice import Invoice


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
    await uow.dunnings.load_terms(await _not_collected(drafts, uow))
    await uow.charges.load_of_invoices(ids)
    await uow.manual_lines.load_of_invoices(ids)


async def _not_collected(drafts: Sequence[Invoice], uow: BillingUnitOfWork) -> set[str]:
    """The subscriptions on the documents of those who pay by transfer: these are dunned from the day of their issue."""
    found: set[str] = set()
    for draft in drafts:
        profile = await uow.billing_profiles.find(draft.customer_id)
        if profile is not None and profile.pays_by == "bank_transfer":
            found.update(draft.about)
    return found
