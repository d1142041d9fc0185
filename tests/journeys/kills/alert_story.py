"""Usage comes to the marks of an alert one after the other: each fires once, and soon, in processes of their own."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import asyncpg

from libs.common.contracts.metering import UsageThresholdReachedV1
from libs.common.persistence.session import asyncpg_dsn
from libs.common.serving.addresses import database_name
from tests.journeys.kills.agreement import METER, agree, prepare
from tests.journeys.kills.senders import EVENT_TYPE, client_of, stubborn, stubborn_list
from tests.journeys.kills.story import Blow
from tests.support.demo import Deployment

Dsn = Callable[[str], str]  # as an administrator, by the name of the database

STEP = 10
FIRES_WITHIN_S = 90.0  # whatever was struck
LOOK_EVERY_S = 0.01
_TOLD = """
    SELECT data FROM outbox
    WHERE type = $1 AND published_at IS NOT NULL AND convert_from(data, 'UTF8')::jsonb ->> 'alert_id' = $2
    ORDER BY position
"""


def come_to_marks(
    deployment: Deployment, dsn: Dsn, marks_count: int, *, strikes: Sequence[Blow] = ()
) -> list[float]:
    """How long after usage was acknowledged the event of its mark was on the bus, for each mark in seconds.

    While usage comes to the first marks, one after the other is struck, which is not measured.
    """
    prepare(deployment)
    tag = f"faults-alert-{time.time_ns():x}"
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    marks = [STEP * (place + 1) for place in range(marks_count)]
    taken: list[float] = []
    with client_of(deployment.base_url, deployment.token) as client:
        agreed = agree(client, tag, starts_at=today, subjects=[tag], with_clock=False)
        body = {"meter": METER, "marks": [{"quantity": str(mark)} for mark in marks]}
        about = {"subscription_id": agreed.subscription_id}
        answer, _ = stubborn(client, "/v1/usage-alerts", about | body, **{"idempotency-key": tag})
        alert_id = answer.json()["id"]
        for place, mark in enumerate(marks):
            event = {"specversion": "1.0", "id": str(mark), "source": f"urn:{tag}", "type": EVENT_TYPE}
            stubborn(client, "/v1/usage-events", [event | {"subject": tag, "data": {"kwh": STEP}}])
            acknowledged = time.monotonic()
            if place < len(strikes):
                strikes[place].strike()
            asyncio.run(_until_told(dsn, alert_id, place + 1))
            if place >= len(strikes):
                taken.append(round(time.monotonic() - acknowledged, 3))
        fired = stubborn_list(client, f"/v1/usage-alerts/{alert_id}/firings")
    told = asyncio.run(_until_told(dsn, alert_id, len(marks)))
    assert [int(event["threshold"]) for event in told] == marks
    assert sorted(int(firing["mark"]["quantity"]) for firing in fired) == marks
    return taken


async def _until_told(dsn: Dsn, alert_id: str, count: int) -> list[dict[str, Any]]:
    """What the bus has of the alert, once it is so much."""
    give_up_at = time.monotonic() + FIRES_WITHIN_S
    while True:
        try:
            connection = await asyncpg.connect(asyncpg_dsn(dsn(database_name("metering"))))
        except (OSError, asyncpg.PostgresError):  # it was struck
            assert time.monotonic() < give_up_at
            await asyncio.sleep(LOOK_EVERY_S)
            continue
        try:
            while True:
                rows = await connection.fetch(_TOLD, UsageThresholdReachedV1.TYPE, alert_id)
                if len(rows) >= count:
                    return [json.loads(row["data"]) for row in rows]
                assert time.monotonic() < give_up_at, f"of {count} marks, {len(rows)} were told"
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            await connection.close()
