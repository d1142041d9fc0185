"""What part of a window's total is estimated, and which earlier estimates it puts right: of meters that take readings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.persistence.base import raw
from services.metering.adapters.row_mapping import true_up_from
from services.metering.domain.exactly import EXACT
from services.metering.domain.true_up import TrueUp

_OF_SPANS = """
    WITH wanted AS (
        SELECT * FROM unnest($1::int[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[])
            AS w(n, item_id, meter, starts, ends)
    )
    SELECT w.n, c.is_estimated, c.quantity, c.true_up
    FROM wanted w
    JOIN subject_binding b ON b.item_id = w.item_id AND b.meter = w.meter
        AND b.bound_from < w.ends AND (b.bound_until IS NULL OR b.bound_until > w.starts)
    JOIN reading_consumption c ON c.meter = w.meter AND c.subject = b.subject AND c.voided_at IS NULL
        AND c.counts_at >= greatest(w.starts, b.bound_from) AND c.counts_at < least(w.ends, b.bound_until)
    WHERE c.is_estimated OR c.true_up IS NOT NULL
    ORDER BY w.n, c.counts_at, c.id
"""


class OfReadings(NamedTuple):
    estimated_quantity: Decimal
    true_ups: tuple[TrueUp, ...]


NO_READINGS = OfReadings(Decimal(0), ())


async def sum_readings(
    connection: AsyncConnection, spans: Sequence[tuple[int, str, str, datetime, datetime]]
) -> Mapping[int, OfReadings]:
    """By the number of a span's item. Spans: number, item, code of a meter, start, end."""
    if not spans:
        return {}
    driver = await raw(connection)
    found: dict[int, OfReadings] = {}
    for row in await driver.fetch(_OF_SPANS, *(list(column) for column in zip(*spans, strict=True))):
        known = found.get(row["n"], NO_READINGS)
        estimated, true_ups = known
        if row["is_estimated"]:
            estimated = EXACT.add(estimated, row["quantity"])
        if row["true_up"] is not None:
            true_ups = (*true_ups, true_up_from(row["true_up"]))
        found[row["n"]] = OfReadings(estimated, true_ups)
    return found
