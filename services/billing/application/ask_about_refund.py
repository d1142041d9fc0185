"""A gateway let us know that something happened to a refund: it is asked about what."""

from __future__ import annotations

from datetime import datetime

from services.billing.application.ports import UnitOfWork
from services.billing.domain.refund import asked_sooner, refund_id_of


async def ask_about_refund(refund_id: str, *, now: datetime, uow: UnitOfWork) -> None:
    """Make the refund due now, so that its job asks. `now` is the wall's. What is not known to us changes nothing.

    `refund_id` may be that of one of its tries.
    """
    refund = await uow.refunds.find_for_update(refund_id_of(refund_id))
    if refund is None:
        return
    clock = await uow.test_clock(refund.clock_id)
    sooner = asked_sooner(refund, now=now if clock is None else clock.now)
    if sooner is not refund:
        uow.refunds.save(sooner)
