"""Who pays for a customer, as things stand now, and who may."""

from __future__ import annotations

from services.subscriptions.application.pointing import pointing_at
from services.subscriptions.application.ports import UnitOfWork
from services.subscriptions.domain.customer import Customer, check_parent, payer_of


async def find_payer(customer: Customer, *, uow: UnitOfWork) -> Customer | None:
    """The first of those above it for whom nobody pays; None if it pays itself. `customers.load` has them at hand."""
    if customer.parent_id is None:
        return None
    return payer_of(await uow.customers.ancestors_of(customer.parent_id))


async def refuse_parent(customer: Customer, *, uow: UnitOfWork) -> None:
    """Whether its parent may pay for it. Families of a tenant change one at a time, so that no two make a circle.

    Raises: CustomerNotFound, CustomerErased, PayerInCircle, FamilyTooDeep.
    """
    if customer.parent_id is None:
        return
    await uow.customers.hold_families()
    with pointing_at("/parent_id"):
        ancestors = await uow.customers.ancestors_of(customer.parent_id)
    levels_below = await uow.customers.count_levels_below(customer.id)
    check_parent(customer.id, ancestors, levels_below=levels_below)
