"""What gateways told us, each event once."""

from __future__ import annotations

from typing import Any

from sqlalchemy import RowMapping, select

from libs.common.errors import NotFound
from libs.common.paging import PageRequest, Slice
from libs.common.persistence.repository import Repository
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters.gateway_rows import gateway_event
from services.billing.domain.gateway_event import GatewayEvent


class GatewayEventRepository(Repository[GatewayEvent]):
    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            gateway_event,
            to_row=_to_row,
            from_row=_from_row,
            not_found=lambda id: NotFound("no gateway event has this id", id=id),
            insert_tail="ON CONFLICT DO NOTHING",  # the same event again
        )

    async def is_known(self, id: str) -> bool:
        known = select(gateway_event.c.id).where(gateway_event.c.id == id)
        return (await self.uow.connection.execute(known)).first() is not None

    async def list(self, page: PageRequest, *, is_done: bool | None) -> Slice[GatewayEvent]:
        done = gateway_event.c.done_at
        wanted = [] if is_done is None else [done.is_not(None) if is_done else done.is_(None)]
        return await self.page_of(page, *wanted)


def _to_row(event: GatewayEvent) -> dict[str, Any]:
    return {name: getattr(event, name) for name in GatewayEvent.__slots__}


def _from_row(row: RowMapping) -> GatewayEvent:
    return GatewayEvent(**{name: row[name] for name in GatewayEvent.__slots__})
