"""Published versions and their prices ↔ rows. They are only ever inserted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.paging import PageRequest, Slice
from libs.common.persistence.base import bulk_insert, missing_from
from libs.common.persistence.paging import fetch_page
from libs.common.persistence.unit_of_work import UnitOfWork
from services.catalog.adapters import rows
from services.catalog.adapters.plan_json import (
    PRICE_COLUMNS,
    VERSION_COLUMNS,
    draft_from_json,
    price_terms,
    version_terms,
)
from services.catalog.adapters.published_versions import PublishedVersions
from services.catalog.domain.plan_version import PlanVersion, plan_version_id
from services.catalog.domain.price import price_id
from services.catalog.domain.sale import Validity


class PlanVersionRepository:
    """What was read once is at hand for all later units of work that share `published`."""

    def __init__(self, uow: UnitOfWork, published: PublishedVersions) -> None:
        self._uow = uow
        self._published = published
        self._added: list[PlanVersion] = []
        self._uncommitted: set[str] = set()

    def reset(self) -> None:
        """What is at hand is so for every tenant by itself."""

    def add(self, version: PlanVersion) -> None:
        self._added.append(version)
        self._uncommitted.add(version.id)

    async def find(self, plan_id: str, number: int) -> PlanVersion | None:
        id = plan_version_id(plan_id, number)
        return (await self.find_by_ids([id])).get(id)

    async def find_by_ids(self, ids: Collection[str]) -> Mapping[str, PlanVersion]:
        """A version that this unit of work has added is not kept at hand: it may yet be rolled back."""
        tenant = self._uow.tenant
        known = {id: kept for id in ids if (kept := self._published.find(tenant, id)) is not None}
        missing = sorted(missing_from(ids, known))
        if not missing:
            return known
        wanted = select(rows.plan_version).where(rows.plan_version.c.id.in_(missing))
        found = (await self._uow.connection.execute(wanted)).mappings().all()
        for version in await load_versions(self._uow.connection, found):
            known[version.id] = version
            if version.id not in self._uncommitted:
                self._published.put(tenant, version)
        return known

    async def list_page(self, plan_id: str, page: PageRequest) -> Slice[PlanVersion]:
        """In the order in which they were published."""
        table = rows.plan_version
        found: Slice[RowMapping] = await fetch_page(
            self._uow.connection,
            select(table).where(table.c.plan_id == plan_id),
            created_at=table.c.published_at,
            id=table.c.id,
            page=page,
            to_view=lambda row: row,
        )
        return Slice(tuple(await load_versions(self._uow.connection, found.items)), found.next)

    async def flush(self) -> None:
        added, self._added = self._added, []
        tenant = self._uow.tenant
        versions = [{"tenant": tenant, **_version_to_row(version)} for version in added]
        prices = [
            {"tenant": tenant, **_price_to_row(version, position)}
            for version in added
            for position in range(len(version.content.prices))
        ]
        await bulk_insert(self._uow.connection, rows.plan_version, versions)
        await bulk_insert(self._uow.connection, rows.price, prices)


async def load_versions(connection: AsyncConnection, version_rows: Iterable[RowMapping]) -> list[PlanVersion]:
    """The versions of these rows, in their order, their prices loaded in one statement."""
    listed = list(version_rows)
    if not listed:
        return []
    table = rows.price
    ids = [row["id"] for row in listed]
    wanted = select(table).where(table.c.plan_version_id.in_(ids)).order_by(table.c.position)
    prices: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in (await connection.execute(wanted)).mappings():
        stored = {**row["terms"], **{name: row[name] for name in PRICE_COLUMNS}}
        prices[row["plan_version_id"]].append(stored)
    return [_version_from_row(row, prices[row["id"]]) for row in listed]


def _version_to_row(version: PlanVersion) -> dict[str, Any]:
    content = version.content
    return {
        "id": version.id,
        "plan_id": version.plan_id,
        "number": version.number,
        "code": version.code,
        **{name: getattr(content, name) for name in VERSION_COLUMNS},
        "interval_unit": content.interval.unit,
        "interval_count": content.interval.count,
        "terms": version_terms(content),
        "valid_from": version.validity.valid_from,
        "valid_until": version.validity.valid_until,
        "published_at": version.published_at,
        "digest": version.digest,
    }


def _version_from_row(row: RowMapping, prices: Sequence[Mapping[str, Any]]) -> PlanVersion:
    content = {
        **row["terms"],
        **{name: row[name] for name in VERSION_COLUMNS},
        "interval": {"unit": row["interval_unit"], "count": row["interval_count"]},
        "prices": prices,
    }
    return PlanVersion(
        id=row["id"],
        plan_id=row["plan_id"],
        number=row["number"],
        code=row["code"],
        content=draft_from_json(content),
        validity=Validity(row["valid_from"], row["valid_until"]),
        published_at=row["published_at"],
        digest=row["digest"],
    )


def _price_to_row(version: PlanVersion, position: int) -> dict[str, Any]:
    price = version.content.prices[position]
    return {
        "id": price_id(version.id, price, currency=version.content.currency),
        "plan_version_id": version.id,
        "position": position,
        **{name: getattr(price, name) for name in PRICE_COLUMNS},
        "terms": price_terms(price),
    }
