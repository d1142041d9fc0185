"""What is due in subscriptions: starts, renewals and ends, many in one transaction, each a trace of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from libs.common.clock import Clock
from libs.common.messaging.due import DueJob, DueRow, Job
from libs.common.persistence.unit_of_work import UnitsOfWork
from libs.common.telemetry import TraceBudget, root_span
from services.subscriptions.adapters import rows
from services.subscriptions.adapters.revenue_rows import revenue_fill
from services.subscriptions.adapters.unit_of_work import SubscriptionsUnitOfWork
from services.subscriptions.application.move_plan import carry_on_plan_move
from services.subscriptions.application.note_revenue import fill_revenue
from services.subscriptions.application.renew_subscription import (
    RenewSubscription,
    load_for_renewal,
    renew_subscription,
)

# Of many renewals at once the first leave their traces; the ring could not keep all of them.
_traces = TraceBudget(per_s=20, burst=500)


async def renew_due(due: Sequence[DueRow], uow: SubscriptionsUnitOfWork) -> None:
    """Each renewal's trace is linked to the tick that found it, and stored with the events that tell of it."""
    commands = [RenewSubscription(subscription_id=row.id, now=row.now) for row in due]
    await load_for_renewal(commands, uow=uow)
    for command in commands:
        with root_span(
            "renew subscription",
            attributes={
                "perennial.subscription.id": command.subscription_id,
                "perennial.tenant": uow.tenant,
            },
            recorded=_traces.take(),
        ):
            await renew_subscription(command, uow=uow)


async def fill_revenues(due: Sequence[DueRow], uow: SubscriptionsUnitOfWork) -> None:
    """The movements of what began before there were any."""
    now = due[0].now
    await fill_revenue([row.id for row in due], now=now, uow=uow)


def move_plans(clock: Clock) -> Callable[[Sequence[DueRow], SubscriptionsUnitOfWork], Awaitable[None]]:
    """A part of each plan move that is under way; the rest of it is due at once."""

    async def work(due: Sequence[DueRow], uow: SubscriptionsUnitOfWork) -> None:
        for row in due:
            await carry_on_plan_move(row.id, uow=uow, clock=clock)

    return work


def jobs(units: UnitsOfWork[SubscriptionsUnitOfWork], clock: Clock) -> list[Job]:
    return [
        DueJob(
            "renew_subscriptions",
            service="subscriptions",
            table=rows.subscription,
            units=units,
            clock=clock,
            work=renew_due,
        ),
        DueJob(
            "move_plans",
            service="subscriptions",
            table=rows.plan_move,
            units=units,
            clock=clock,
            work=move_plans(clock),
            batch_max=1,
        ),
        DueJob(
            "fill_revenue_movements",
            service="subscriptions",
            table=revenue_fill,
            units=units,
            clock=clock,
            work=fill_revenues,
        ),
    ]
