"""Rows ↔ features."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import RowMapping, select

from libs.common.paging import PageRequest, Slice
from libs.common.persistence.repository import Repository
from libs.common.persistence.unit_of_work import UnitOfWork
from services.catalog.adapters import rows
from services.catalog.adapters.repositories import equal, is_set
from services.catalog.application.ports import FeatureFilter
from services.catalog.domain.feature import Feature, FeatureDetails, FeatureNotFound

_DETAILS = FeatureDetails.__slots__


class FeatureRepository(Repository[Feature]):
    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            rows.feature,
            to_row=_to_row,
            from_row=_from_row,
            not_found=lambda id: FeatureNotFound("there is no such feature", feature_id=id),
        )

    async def find_named(self, codes: Collection[str]) -> list[Feature]:
        wanted = select(rows.feature).where(rows.feature.c.code.in_(sorted(codes)))
        return [_from_row(row) for row in (await self.uow.connection.execute(wanted)).mappings()]

    async def list_page(self, wanted: FeatureFilter, page: PageRequest) -> Slice[Feature]:
        table = rows.feature
        return await self.page_of(
            page,
            *equal(table, code=wanted.code, kind=wanted.kind),
            *is_set(table.c.archived_at, wanted.archived),
        )


def _to_row(feature: Feature) -> dict[str, Any]:
    return {
        "id": feature.id,
        "code": feature.code,
        "kind": feature.kind,
        "meter": feature.meter,
        **{name: getattr(feature.details, name) for name in _DETAILS},
        "version": feature.version,
        "created_at": feature.created_at,
        "archived_at": feature.archived_at,
    }


def _from_row(row: RowMapping) -> Feature:
    return Feature(
        id=row["id"],
        code=row["code"],
        kind=row["kind"],
        meter=row["meter"],
        details=FeatureDetails(**{name: row[name] for name in _DETAILS}),
        version=row["version"],
        created_at=row["created_at"],
        archived_at=row["archived_at"],
    )
