"""What follows from a gateway's word: attempts in process are asked about, methods follow what is known of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from services.billing.application.ports import UnitOfWork
from services.billing.application.remove_payment_method import RemovePaymentMethod, remove_payment_method
from services.billing.domain.payment import MethodDetails, PaymentMethod, asked_sooner


async def ask_about_attempts(attempts: Mapping[str, datetime], *, uow: UnitOfWork) -> None:
    """Attempts by their id, each with its business now: those in process are due at once. A repeat changes nothing.

    Whoever holds a claim hears the outcome himself, or leaves it to the next one, who asks; of what has ended there is
    no news.
    """
    for id, now in sorted(attempts.items()):
        attempt = await uow.payment_attempts.find_for_update(id)
        if attempt is not None and attempt.state == "processing":
            uow.payment_attempts.save(asked_sooner(attempt, now=now))


async def follow_method(
    method: PaymentMethod,
    details: MethodDetails | None,
    *,
    now: datetime,
    business_now: datetime,
    uow: UnitOfWork,
) -> None:
    """What the gateway knows of a method by now; None: it is gone there, and so it is here. A repeat changes nothing.

    Emits: PaymentMethodChanged, when the customer's last one is gone.
    """
    customer = await uow.customers.find_for_update(method.customer_id)
    known = await uow.payment_methods.get_for_update(method.id)
    if known.removed_at is not None or customer is None or known.details == details:
        return
    if details is None:
        gone = RemovePaymentMethod(known, customer, now, business_now)
        await remove_payment_method(gone, uow=uow)
        return
    uow.payment_methods.save(replace(known, details=details, version=known.version + 1))
    uow.record("payment_method.updated", known.id, known.version + 1)
