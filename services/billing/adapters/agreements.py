"""Agreements as last told, locked whether they are known or not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import select

from libs.common.errors import NotFound
from libs.common.persistence.base import is_among, missing_from, raw
from libs.common.persistence.repository import Repository
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import mapping, rows
from services.billing.domain.agreement import Agreement

_LOCK_UNKNOWN = """
    SELECT pg_advisory_xact_lock(hashtextextended(id, 0))
    FROM (SELECT id FROM unnest($1::text[]) AS id ORDER BY id) AS given
"""


class AgreementRepository(Repository[Agreement]):
    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            rows.agreement,
            to_row=mapping.agreement_to_row,
            from_row=mapping.agreement_from_row,
            not_found=lambda id: NotFound("no agreement has this id", id=id),
        )

    async def load_for_update(self, ids: Iterable[str]) -> None:
        """Lock the agreements, also those that are not known yet.

        A row that is not there cannot be locked; without the advisory lock, the first lifecycle event and the
        first closed window of a subscription could miss each other's effect and leave its draft waiting. All
        advisory locks come before all rows, each in id order: nobody waits for one who waits for him.
        """
        wanted = sorted(missing_from(ids, self._locked))
        if not wanted:
            return
        known = select(self.table.c.id).where(is_among(self.table.c.id, wanted))
        unknown = set(wanted) - set((await self.uow.connection.execute(known)).scalars())
        if unknown:
            await (await raw(self.uow.connection)).execute(_LOCK_UNKNOWN, sorted(unknown))
        await super().load_for_update(wanted)  # somebody may have made them while we waited

    def at_hand(self, id: str) -> Agreement | None:
        """One that is held in this unit of work, as it stands there; nobody is asked."""
        return self._locked.get(id)

    async def load_of_customers_for_update(self, customer_ids: Sequence[str], *, also: Iterable[str]) -> None:
        """Lock all agreements under which these customers use or pay, and others with them, in id order."""
        ids = set(also)
        if customer_ids:
            ids.update(await self._ids_of_customers(customer_ids))
        await self.load_for_update(ids)

    async def _ids_of_customers(self, customer_ids: Sequence[str]) -> list[str]:
        table = self.table
        payer_id = table.c.snapshot["payer"]["id"].astext
        theirs = is_among(table.c.customer_id, customer_ids) | is_among(payer_id, customer_ids)
        found = await self.uow.connection.execute(select(table.c.id).where(theirs))
        return list(found.scalars())

    async def of_customer_for_update(self, customer_id: str) -> list[Agreement]:
        """Those that were only told of in this unit of work included."""
        await self.load_for_update(await self._ids_of_customers([customer_id]))
        known = (agreement for _, agreement in sorted(self._locked.items()) if agreement is not None)
        return [agreement for agreement in known if customer_id in [party.id for party in agreement.parties]]
