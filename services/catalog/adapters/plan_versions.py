"""Published versions and their prices ↔ rows. They are only ever inserted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.paging import PageRequest, Slice
from libs.common.periods import Interval
from libs.common.persistence.base import bulk_insert
from libs.common.persistence.paging import fetch_page
from libs.common.persistence.unit_of_work import UnitOfWork
from services.catalog.adapters import rows
from services.catalog.adapters.draft_json import tiers_from_json, tiers_to_json
from services.catalog.domain.plan_version import PlanVersion
from services.catalog.domain.price import Price, price_id


class PlanVersionRepository:
    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._added: list[PlanVersion] = []

    def reset(self) -> None:
        """Nothing is kept at hand."""

    def add(self, version: PlanVersion) -> None:
        self._added.append(version)

    async def find(self, plan_id: str, number: int) -> PlanVersion | None:
        table = rows.plan_version
        wanted = select(table).where(table.c.plan_id == plan_id, table.c.number == number)
        found = (await self._uow.connection.execute(wanted)).mappings().all()
        versions = await load_versions(self._uow.connection, found)
        return versions[0] if versions else None

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
            for position in range(len(version.prices))
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
    prices: dict[str, list[Price]] = defaultdict(list)
    for row in (await connection.execute(wanted)).mappings():
        prices[row["plan_version_id"]].append(_price_from_row(row))
    return [_version_from_row(row, prices[row["id"]]) for row in listed]


def _version_to_row(version: PlanVersion) -> dict[str, Any]:
    return {
        "id": version.id,
        "plan_id": version.plan_id,
        "number": version.number,
        "code": version.code,
        "name": version.name,
        "currency": version.currency,
        "interval_unit": version.interval.unit,
        "interval_count": version.interval.count,
        "published_at": version.published_at,
        "digest": version.digest,
    }


def _version_from_row(row: RowMapping, prices: Sequence[Price]) -> PlanVersion:
    return PlanVersion(
        id=row["id"],
        plan_id=row["plan_id"],
        number=row["number"],
        code=row["code"],
        name=row["name"],
        currency=row["currency"],
        interval=Interval(row["interval_unit"], row["interval_count"]),
        prices=tuple(prices),
        published_at=row["published_at"],
        digest=row["digest"],
    )


def _price_to_row(version: PlanVersion, position: int) -> dict[str, Any]:
    price = version.prices[position]
    return {
        "id": price_id(version.id, price.code),
        "plan_version_id": version.id,
        "position": position,
        "code": price.code,
        "product_id": price.product_id,
        "description": price.description,
        "kind": price.kind,
        "timing": price.timing,
        "model": price.model,
        "unit_amount": price.unit_amount,
        "tiers": tiers_to_json(price.tiers),
        "package_size": price.package_size,
        "included_quantity": price.included_quantity,
        "meter": price.meter,
        "unit": price.unit,
        "proration": price.proration,
    }


def _price_from_row(row: RowMapping) -> Price:
    return Price(
        code=row["code"],
        product_id=row["product_id"],
        description=row["description"],
        kind=row["kind"],
        timing=row["timing"],
        model=row["model"],
        unit_amount=row["unit_amount"],
        tiers=tiers_from_json(row["tiers"]),
        package_size=row["package_size"],
        included_quantity=row["included_quantity"],
        meter=row["meter"],
        unit=row["unit"],
        proration=row["proration"],
    )
