"""The audit finds nothing after a busy day, and finds each thing that was tampered with."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from libs.common.messaging.embedded_bus import EmbeddedBus
from services.metering.adapters.audit import audit_metering
from services.metering.bootstrap import build
from tests.integration.metering.harness import Metering, Story, flight
from tests.support.postgres import PostgresForTests
from tests.support.service_under_test import new_tenant, service_under_test


@pytest_asyncio.fixture
async def busy(
    postgres: PostgresForTests, usage_bus: EmbeddedBus, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """A database of its own, since it is tampered with."""
    folder = tmp_path_factory.mktemp("metering-audit")
    async with service_under_test(postgres, "metering", build, folder=folder, bus=usage_bus) as service:
        metering = Metering(service, new_tenant())
        async with metering.client:
            await metering.send(flight("early", "2025-01-03T00:00:00Z", "1.5"))
            for kind in ("sum", "max", "count"):
                await metering.define(
                    f"by-{kind}", aggregation=kind, group_by=["kind"], filter={"/free": ["no"]}
                )
            await metering.send(
                *(
                    flight(
                        str(n),
                        f"2025-01-{n + 1:02}T00:07:00Z",
                        data={"minutes": n / 8, "free": "no", "kind": n % 3},
                    )
                    for n in range(28)
                ),
                flight("free", "2025-01-05T00:00:00Z", data={"free": "yes"}),
                flight("bad", "2025-01-05T00:00:00Z", data={"free": "no"}),
                flight("1", "2025-01-06T00:00:00Z", 7),
            )
            for kind in ("sum", "max", "count"):
                story = Story(metering.tenant, meter=f"by-{kind}")
                await metering.hear(story.started(), story.bound(end="2025-01-20T00:00:30"), story.renewed(1))
            await metering.tick()
            await metering.send(flight("late", "2025-01-04T00:00:00Z", data={"minutes": 5, "free": "no"}))
            await metering.tick()
            async with metering.admin() as admin:
                await admin.execute("UPDATE outbox SET published_at = clock_timestamp()")
            yield metering


async def failing(metering: Metering) -> list[str]:
    report = await audit_metering(metering.service.parts.audit_database)
    return [check.name for check in report.checks if not check.ok]


async def test_all_is_well_after_a_busy_day(busy: Metering) -> None:
    report = await audit_metering(busy.service.parts.audit_database)
    assert [(check.name, check.problems) for check in report.checks if not check.ok] == []
    assert all(
        check.checked_count for check in report.checks if check.name in ("running_sums", "window_totals")
    )
    assert report.facts["tenants"] == {busy.tenant: {"usage_keys": 31, "usage_rejects": 1}}
    assert report.facts["usage_event_count"] == 31


@pytest.mark.parametrize(
    ("tampering", "check"),
    [
        ("UPDATE usage_bucket SET total = total + 1 WHERE total > 2", "running_sums"),
        ("DELETE FROM usage_bucket WHERE ctid = (SELECT min(ctid) FROM usage_bucket)", "running_sums"),
        ("UPDATE usage_bucket SET maximum = 99", "running_sums"),
        ("DELETE FROM usage_key WHERE key = (SELECT min(key::text)::uuid FROM usage_key)", "keys_and_events"),
        (
            """UPDATE usage_window SET totals = jsonb_set(totals, '{0,quantity}', '"7"') WHERE state = 'closed'""",
            "window_totals",
        ),
        (
            """UPDATE usage_window SET due_at = clock_timestamp() - interval '2 minutes' WHERE state = 'open'""",
            "windows_overdue",
        ),
        (
            """INSERT INTO late_usage (id, tenant, window_id, noted_at)
               SELECT 'late_x', tenant, id, clock_timestamp() - interval '2 minutes' FROM usage_window LIMIT 1""",
            "corrections_stuck",
        ),
        (
            """INSERT INTO subject_binding SELECT (jsonb_populate_record(b, '{"id": "sbd_x"}')).*
               FROM subject_binding b LIMIT 1""",
            "bindings_overlap",
        ),
    ],
)
async def test_what_was_tampered_with_is_found(busy: Metering, tampering: str, check: str) -> None:
    async with busy.admin() as admin:
        await admin.execute(tampering)
    assert check in await failing(busy)


async def test_operators_may_ask_for_it(busy: Metering) -> None:
    async with busy.service.client(None, "operate") as client:
        answer = await client.get("/v1/metering-operations/audit")
    assert answer.status_code == 200, answer.text
    assert (answer.json()["service"], answer.json()["ok"]) == ("metering", True)
