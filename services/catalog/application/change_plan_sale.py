"""A tenant stops selling a version of a plan, sells it again, or puts it away for good."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from libs.common.clock import Clock
from services.catalog.application import events
from services.catalog.application.offered_version import OfferedVersion, get_version, offered
from services.catalog.application.ports import UnitOfWork
from services.catalog.domain.plan import change_sale
from services.catalog.domain.sale import SaleState

_DONE: dict[SaleState, str] = {
    "published": "plan.version_reinstated",
    "withdrawn": "plan.version_withdrawn",
    "archived": "plan.version_archived",
}


@dataclass(frozen=True, slots=True)
class ChangePlanSale:
    plan_id: str
    number: int
    state: SaleState


async def change_plan_sale(
    command: ChangePlanSale,
    *,
    uow: UnitOfWork,
    clock: Clock,
    check: Callable[[OfferedVersion], None],
) -> OfferedVersion:
    """Withdraw it, put it on sale again within its bounds, or archive it; subscriptions on it go on.

    The same again changes nothing. `check` may refuse the version as it was found.
    Emits: PlanVersionSalesChanged.
    Raises: PlanNotFound, PlanVersionNotFound, PlanVersionArchived, PlanRetired, and what `check` raises.
    """
    plan = await uow.plans.get_for_update(command.plan_id)
    version, now = await get_version(plan, command.number, uow=uow), clock.system_now()
    check(offered(plan, version, now))
    changed = change_sale(plan, command.number, command.state)
    if changed is not plan:
        uow.plans.save(changed)
        uow.record(_DONE[command.state], changed.id, changed.version)
        event = events.plan_version_sales_changed(changed, version, tenant=uow.tenant, now=now)
        uow.outbox.append(event, key=changed.id)
    return offered(changed, version, now)
