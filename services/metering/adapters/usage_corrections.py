"""What was voided and amended: how identities stand, and the steps that led there, which are only ever added to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from asyncpg.pgproto.pgproto import UUID

from libs.common.persistence.base import bulk_insert, raw
from libs.common.persistence.unit_of_work import UnitOfWork
from services.metering.adapters import row_mapping, rows
from services.metering.domain.usage_correction import Place, RawEvent, StandingEvent, UsageCorrection

# The digest is that of the raw event in `place`; its payload is missing where it is no longer kept.
_STANDING = """
    WITH standing AS MATERIALIZED (
        SELECT g.key AS identity, coalesce(c.revision, 0) AS revision, c.kind IS DISTINCT FROM 'void' AS is_counted,
               CASE c.kind WHEN 'amendment' THEN c.replacement_key WHEN 'void' THEN c.key ELSE g.key END AS key,
               CASE c.kind WHEN 'amendment' THEN c.replacement_occurred_at WHEN 'void' THEN c.occurred_at
                   ELSE k.occurred_at END AS occurred_at
        FROM unnest($1::uuid[]) AS g(key)
        CROSS JOIN LATERAL (SELECT occurred_at FROM usage_key WHERE usage_key.key = g.key OFFSET 0) k
        LEFT JOIN LATERAL (
            SELECT * FROM usage_correction WHERE identity = g.key ORDER BY revision DESC LIMIT 1
        ) c ON true
    )
    SELECT s.*, k.digest, e.type, e.subject, e.data::text AS data_json
    FROM standing s
    CROSS JOIN LATERAL (SELECT digest FROM usage_key WHERE usage_key.key = s.key OFFSET 0) k
    LEFT JOIN LATERAL (
        SELECT type, subject, data FROM usage_event
        WHERE usage_event.occurred_at = s.occurred_at AND usage_event.key = s.key
          AND (s.occurred_at >= usage_kept_from()) IS NOT FALSE OFFSET 0
    ) e ON true
"""


class UsageCorrections:
    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    async def find_standing(self, identities: Sequence[bytes]) -> Mapping[bytes, StandingEvent]:
        if not identities:
            return {}
        driver = await raw(self._uow.connection)
        found = await driver.fetch(_STANDING, [UUID(identity) for identity in identities])
        return {row["identity"].bytes: _standing_from(row) for row in found}

    async def keep(self, corrections: Sequence[UsageCorrection]) -> None:
        """Raises: AlreadyExists, if others have corrected the same event: whoever stopped the writers never sees it."""
        told = [
            {**row_mapping.correction_row(correction), "tenant": self._uow.tenant}
            for correction in corrections
        ]
        await bulk_insert(self._uow.connection, rows.usage_correction, told)


def _standing_from(row: Any) -> StandingEvent:
    raw_event = None
    if row["type"] is not None:
        data = None if row["data_json"] is None else json.loads(row["data_json"], parse_float=Decimal)
        raw_event = RawEvent(row["type"], row["subject"], row["occurred_at"], data)
    return StandingEvent(
        identity=row["identity"].bytes,
        revision=row["revision"],
        is_counted=row["is_counted"],
        place=Place(row["key"].bytes, row["occurred_at"]),
        digest=row["digest"].bytes,
        raw=raw_event,
    )
