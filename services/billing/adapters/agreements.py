"""Agreements as last told, locked whether they are known or not."""

from __future__ import annotations

from collections.abc import Iterable

from libs.common.errors import NotFound
from libs.common.persistence.base import raw
from libs.common.persistence.repository import Repository
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import mapping, rows
from services.billing.domain.agreement import Agreement


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
        first closed window of a subscription could miss each other's effect and leave its draft waiting.
        """
        wanted = sorted(set(ids) - self._locked.keys())
        await super().load_for_update(wanted)
        unknown = [id for id in wanted if self._locked[id] is None]
        if not unknown:
            return
        await (await raw(self.uow.connection)).execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(id, 0)) "
            "FROM (SELECT id FROM unnest($1::text[]) AS id ORDER BY id) AS given",
            unknown,
        )
        for id in unknown:
            del self._locked[id]
        await super().load_for_update(unknown)  # somebody may have made them while we waited
