"""What must hold of readings: usage says what was made of them, and whoever is kept aside stands in the list."""

from __future__ import annotations

from services.metering.domain.counter import READING_EVENT_TYPE, READING_SOURCE

_IS_KEPT = "{at} >= coalesce(usage_kept_from(tenant), '-infinity')"

# Each consumption that counts is a raw event that counts, and the other way round, as far back as those are kept.
READINGS_WRONG = f"""
    WITH consumed AS (
        SELECT * FROM reading_consumption WHERE voided_at IS NULL AND {_IS_KEPT.format(at="counts_at")}
    ), told AS (
        SELECT * FROM counted_event WHERE source = '{READING_SOURCE}' AND {_IS_KEPT.format(at="occurred_at")}
    )
    SELECT coalesce(c.tenant, t.tenant) AS tenant, coalesce(c.id, t.event_id) AS event_id, c.quantity,
           t.data ->> 'quantity' AS told_quantity
    FROM consumed c FULL JOIN told t ON t.tenant = c.tenant AND t.event_id = c.id AND t.occurred_at = c.counts_at
        AND t.subject = c.subject AND t.type = '{READING_EVENT_TYPE}' || c.meter
    WHERE c.id IS NULL OR t.event_id IS NULL OR c.quantity <> (t.data ->> 'quantity')::numeric
"""
EXCEPTIONS_WRONG = """
    SELECT coalesce(r.tenant, x.tenant) AS tenant, r.id, r.state, x.id AS exception_id
    FROM (SELECT * FROM meter_reading WHERE state = 'held') r
    FULL JOIN (SELECT * FROM reading_exception WHERE state = 'open' AND reading_id IS NOT NULL) x
        ON x.tenant = r.tenant AND x.reading_id = r.id
    WHERE r.id IS NULL OR x.id IS NULL
"""
