"""Rows ↔ plan overlays."""

from __future__ import annotations

from typing import Any

from sqlalchemy import RowMapping

from libs.common.paging import PageRequest, Slice
from libs.common.persistence.repository import Repository
from libs.common.persistence.unit_of_work import UnitOfWork
from services.catalog.adapters import rows
from services.catalog.adapters.plan_json import override_from_json, term_from_json
from services.catalog.adapters.repositories import equal, is_set
from services.catalog.application.ports import PlanOverlayFilter
from services.catalog.domain.document import document_of
from services.catalog.domain.plan_overlay import PlanOverlay, PlanOverlayNotFound


class PlanOverlayRepository(Repository[PlanOverlay]):
    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            rows.plan_overlay,
            to_row=_to_row,
            from_row=overlay_from_row,
            not_found=lambda id: PlanOverlayNotFound("there is no such plan overlay", overlay_id=id),
        )

    async def list_page(self, wanted: PlanOverlayFilter, page: PageRequest) -> Slice[PlanOverlay]:
        table = rows.plan_overlay
        return await self.page_of(
            page,
            *equal(table, customer_id=wanted.customer_id, plan_id=wanted.plan_id),
            *is_set(table.c.withdrawn_at, wanted.withdrawn),
        )


def _to_row(overlay: PlanOverlay) -> dict[str, Any]:
    row = {name: getattr(overlay, name) for name in PlanOverlay.__slots__}
    documents = {"overrides": document_of(overlay.overrides), "term": document_of(overlay.term)}
    return {**row, **documents}


def overlay_from_row(row: RowMapping) -> PlanOverlay:
    read = {name: row[name] for name in PlanOverlay.__slots__}
    return PlanOverlay(
        **{
            **read,
            "overrides": tuple(override_from_json(stored) for stored in row["overrides"]),
            "term": term_from_json(row["term"]),
        }
    )
