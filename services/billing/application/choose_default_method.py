"""Which of his ways to pay a customer is asked by."""

from __future__ import annotations

from dataclasses import replace

from services.billing.application.ports import UnitOfWork
from services.billing.domain.payment import PaymentMethod


async def choose_default_method(method: PaymentMethod, *, uow: UnitOfWork) -> PaymentMethod:
    """`method` is locked, and its customer before it. Payments that are under way go on with the one they began with.

    A repeat changes nothing.
    """
    if method.is_default:
        return method
    earlier = await uow.payment_methods.find_default(method.customer_id)
    if earlier is not None:
        locked = await uow.payment_methods.get_for_update(earlier.id)
        await uow.payment_methods.step_down(replace(locked, is_default=False, version=locked.version + 1))
    chosen = replace(method, is_default=True, version=method.version + 1)
    uow.payment_methods.save(chosen)
    uow.record("payment_method.made_default", chosen.id, chosen.version)
    return chosen
