"""Copies of what the catalog published."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import exists, func, or_, select
from sqlalchemy.dialects.postgresql import insert

from libs.common.contracts.catalog import PlanOverlayV1, PlanV1
from libs.common.persistence.base import bulk_insert, is_among, missing_from
from libs.common.persistence.unit_of_work import UnitOfWork
from services.subscriptions.adapters import mapping
from services.subscriptions.adapters.rows import (
    known_overlay,
    known_plan,
    plan_sale,
    retired_plan,
    withdrawn_overlay,
)
from services.subscriptions.domain.plan import PlanNotFound, PlanStanding, SaleState


class PlanCopies:
    """Versions never change, so what was read once in a unit of work is read no more."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._read: dict[str, PlanV1] = {}
        self._overlays: dict[str, PlanOverlayV1] = {}

    def reset(self) -> None:
        self._read.clear()
        self._overlays.clear()

    async def flush(self) -> None:
        """Nothing waits: copies are written as they are heard of."""

    async def load(self, plan_version_ids: Iterable[str]) -> None:
        missing = missing_from(plan_version_ids, self._read)
        if missing:
            found = await self._uow.connection.execute(
                select(known_plan.c.id, known_plan.c.plan).where(known_plan.c.id.in_(missing))
            )
            self._read.update({row["id"]: mapping.plan_from_row(row) for row in found.mappings()})

    async def get(self, plan_version_id: str) -> PlanV1:
        await self.load([plan_version_id])
        if plan_version_id not in self._read:
            raise PlanNotFound("there is no published plan version with this id")
        return self._read[plan_version_id]

    async def get_newest(self, code: str, now: datetime) -> PlanV1:
        retired = exists().where(retired_plan.c.id == known_plan.c.plan_id)
        stopped = exists().where(plan_sale.c.id == known_plan.c.id, plan_sale.c.state != "published")
        later = func.coalesce(known_plan.c.valid_from > now, False)
        over = func.coalesce(known_plan.c.valid_until <= now, False)
        newest = (
            select(known_plan.c.id)
            .where(known_plan.c.code == code)
            .order_by(retired, or_(stopped, later, over), known_plan.c.plan_version.desc(), known_plan.c.id)
            .limit(1)
        )
        id = (await self._uow.connection.execute(newest)).scalar()
        if id is None:
            raise PlanNotFound("there is no published plan with this code")
        return await self.get(id)

    async def get_numbered(self, code: str, number: int) -> PlanV1:
        # Of two plans that were called alike one after the other, the later one.
        numbered = (
            select(known_plan.c.id)
            .where(known_plan.c.code == code, known_plan.c.plan_version == number)
            .order_by(exists().where(retired_plan.c.id == known_plan.c.plan_id), known_plan.c.id.desc())
            .limit(1)
        )
        id = (await self._uow.connection.execute(numbered)).scalar()
        if id is None:
            raise PlanNotFound("there is no published version with this number of the plan with this code")
        return await self.get(id)

    async def standing_of(self, plan: PlanV1) -> PlanStanding:
        retired = exists().where(retired_plan.c.id == plan.plan_id)
        state = select(plan_sale.c.state).where(plan_sale.c.id == plan.plan_version_id).scalar_subquery()
        found = (await self._uow.connection.execute(select(retired, state))).one()
        return PlanStanding(found[0], found[1] or "published", plan.valid_from, plan.valid_until)

    async def keep(self, plan: PlanV1) -> None:
        row = {"tenant": self._uow.tenant, **mapping.plan_to_row(plan)}
        await bulk_insert(self._uow.connection, known_plan, [row], tail="ON CONFLICT DO NOTHING")

    async def load_overlays(self, overlay_ids: Iterable[str]) -> None:
        missing = missing_from(overlay_ids, self._overlays)
        if missing:
            found = await self._uow.connection.execute(
                select(known_overlay.c.id, known_overlay.c.overlay).where(
                    is_among(known_overlay.c.id, missing)
                )
            )
            self._overlays.update(
                {row["id"]: PlanOverlayV1.model_validate(row["overlay"]) for row in found.mappings()}
            )

    async def get_overlay(self, overlay_id: str) -> PlanOverlayV1:
        await self.load_overlays([overlay_id])
        if overlay_id not in self._overlays:
            raise PlanNotFound("there is no plan overlay with this id")
        return self._overlays[overlay_id]

    async def keep_overlay(self, overlay: PlanOverlayV1) -> None:
        row = {
            "tenant": self._uow.tenant,
            "id": overlay.overlay_id,
            "customer_id": overlay.customer_id,
            "plan_version_id": overlay.plan_version_id,
            "overlay": overlay.model_dump(mode="json", exclude_defaults=True),
        }
        await bulk_insert(self._uow.connection, known_overlay, [row], tail="ON CONFLICT DO NOTHING")

    async def withdraw_overlay(self, overlay_id: str) -> None:
        row = {"tenant": self._uow.tenant, "id": overlay_id}
        await bulk_insert(self._uow.connection, withdrawn_overlay, [row], tail="ON CONFLICT DO NOTHING")

    async def is_withdrawn(self, overlay_id: str) -> bool:
        withdrawn = select(exists().where(withdrawn_overlay.c.id == overlay_id))
        return bool((await self._uow.connection.execute(withdrawn)).scalar())

    async def retire(self, plan_id: str) -> None:
        row = insert(retired_plan).values(tenant=self._uow.tenant, id=plan_id)
        await self._uow.connection.execute(row.on_conflict_do_nothing())

    async def note_sale(self, plan_version_id: str, state: SaleState, version: int) -> None:
        row = insert(plan_sale).values(
            tenant=self._uow.tenant, id=plan_version_id, state=state, version=version
        )
        newer = row.on_conflict_do_update(
            index_elements=["id"],
            set_={"state": row.excluded.state, "version": row.excluded.version},
            where=plan_sale.c.version < row.excluded.version,
        )
        await self._uow.connection.execute(newer)
