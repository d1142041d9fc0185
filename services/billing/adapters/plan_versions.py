"""Plan versions and overlays as the catalog published them, and the memory of those that were read."""

from __future__ import annotations

from collections import OrderedDict

from sqlalchemy import select

from libs.common.contracts.catalog import PlanOverlayV1, PlanV1
from libs.common.persistence.base import bulk_insert
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import rows
from services.billing.application.snapshots import overlay_from, plan_from
from services.billing.domain.plan_terms import PlanTerms

PLANS_KEPT = 512


class PlanCache:
    """The plans that were read last, of each tenant, in this process. They never change, hence never grow old."""

    def __init__(self, plans_max: int = PLANS_KEPT) -> None:
        self._plans_max = plans_max
        self._kept: OrderedDict[tuple[str, str], PlanTerms] = OrderedDict()

    def find(self, tenant: str, id: str) -> PlanTerms | None:
        """By the id of the plan version or of the overlay."""
        found = self._kept.get((tenant, id))
        if found is not None:
            self._kept.move_to_end((tenant, id))
        return found

    def keep(self, tenant: str, id: str, plan: PlanTerms) -> None:
        self._kept[tenant, id] = plan
        while len(self._kept) > self._plans_max:
            self._kept.popitem(last=False)

    def __len__(self) -> int:
        return len(self._kept)


class PlanVersionRepository:
    """Versions and overlays are added, never changed."""

    def __init__(self, uow: UnitOfWork, cache: PlanCache) -> None:
        self._uow = uow
        self._cache = cache
        self._heard: dict[str, PlanV1] = {}
        self._overlays: dict[str, PlanOverlayV1] = {}

    def reset(self) -> None:
        """Nothing of a tenant is held here: the cache knows whose each plan is."""

    async def find(self, plan_version_id: str) -> PlanTerms | None:
        known = self._cache.find(self._uow.tenant, plan_version_id)
        if known is not None:
            return known
        table = rows.plan_version
        found = await self._uow.connection.execute(select(table.c.plan).where(table.c.id == plan_version_id))
        stored = found.scalar()
        return (
            None if stored is None else self._kept(plan_version_id, plan_from(PlanV1.model_validate(stored)))
        )

    async def find_by_code(self, code: str, number: int | None) -> PlanTerms | None:
        """Which version it is, is asked each time; the version itself is read once."""
        table = rows.plan_version
        wanted = select(table.c.id).where(table.c.tenant == self._uow.tenant, table.c.code == code)
        if number is not None:
            wanted = wanted.where(table.c.number == number)
        newest = wanted.order_by(table.c.number.desc(), table.c.id).limit(1)
        id = (await self._uow.connection.execute(newest)).scalar()
        return None if id is None else await self.find(id)

    async def find_overlay(self, overlay_id: str) -> PlanTerms | None:
        known = self._cache.find(self._uow.tenant, overlay_id)
        if known is not None:
            return known
        table = rows.plan_overlay
        found = await self._uow.connection.execute(select(table.c.overlay).where(table.c.id == overlay_id))
        stored = found.scalar()
        if stored is None:
            return None
        return self._kept(overlay_id, overlay_from(PlanOverlayV1.model_validate(stored)))

    def _kept(self, id: str, plan: PlanTerms) -> PlanTerms:
        self._cache.keep(self._uow.tenant, id, plan)
        return plan

    def keep(self, plan: PlanV1) -> None:
        self._heard[plan.plan_version_id] = plan

    def keep_overlay(self, overlay: PlanOverlayV1) -> None:
        self._overlays[overlay.overlay_id] = overlay

    async def flush(self) -> None:
        heard, self._heard = self._heard, {}
        overlays, self._overlays = self._overlays, {}
        tenant = self._uow.tenant
        await bulk_insert(
            self._uow.connection,
            rows.plan_version,
            [
                {
                    "tenant": tenant,
                    "id": id,
                    "code": heard[id].code,
                    "number": heard[id].plan_version,
                    "plan": heard[id].model_dump(mode="json", exclude_defaults=True),
                }
                for id in sorted(heard)
            ],
            tail="ON CONFLICT (id) DO NOTHING",
        )
        await bulk_insert(
            self._uow.connection,
            rows.plan_overlay,
            [
                {
                    "tenant": tenant,
                    "id": id,
                    "overlay": overlays[id].model_dump(mode="json", exclude_defaults=True),
                }
                for id in sorted(overlays)
            ],
            tail="ON CONFLICT (id) DO NOTHING",
        )
