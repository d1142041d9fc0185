"""What must hold in the catalog, looked at once more: what was published is what is stored, and was told."""

from __future__ import annotations

from collections.abc import AsyncIterator

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.catalog import PlanPublishedV1
from libs.common.persistence.audit import (
    AuditCheck,
    AuditReport,
    check_of,
    common_checks,
    count_facts,
    open_audit,
    run_check,
)
from libs.common.persistence.session import Database
from services.catalog.adapters.plan_versions import load_versions
from services.catalog.adapters.rows import plan_version
from services.catalog.domain.plan_version import PlanVersion, digest_of

BATCH_MAX = 500

# Published outbox rows are kept for seven days; what is older can no longer be proved from here.
_TOLD_WITHIN = "published_at > clock_timestamp() - interval '6 days'"
_VERSION_UNTOLD = f"""
    SELECT id AS plan_version_id, published_at FROM plan_version AS version WHERE {_TOLD_WITHIN}
    AND NOT EXISTS (
        SELECT FROM outbox WHERE outbox.tenant = version.tenant AND outbox.aggregate_id = version.plan_id
        AND outbox.type = '{PlanPublishedV1.TYPE}'
        AND convert_from(outbox.data, 'UTF8')::jsonb #>> '{{plan,plan_version_id}}' = version.id
    )
"""
_NUMBERS_WRONG = """
    SELECT plan.id AS plan_id, plan.published_number, count(version.id) AS version_count
    FROM plan LEFT JOIN plan_version AS version ON version.plan_id = plan.id
    GROUP BY plan.id, plan.published_number
    HAVING count(version.id) <> plan.published_number
        OR coalesce(max(version.number), 0) <> plan.published_number
"""
_TENANT_UNHEARD = """
    SELECT tenant.id AS tenant_id, tenant.version, known.version AS heard_version
    FROM tenant LEFT JOIN known_tenant AS known ON known.tenant = tenant.id
    WHERE tenant.changed_at < clock_timestamp() - interval '60 s'
        AND known.version IS DISTINCT FROM tenant.version
"""
_FACTS = {
    "tenant_count": "SELECT count(*) FROM tenant",
    "product_count": "SELECT count(*) FROM product",
    "plan_count": "SELECT count(*) FROM plan",
    "plan_version_count": "SELECT count(*) FROM plan_version",
    "price_count": "SELECT count(*) FROM price",
}


async def audit_catalog(database: Database) -> AuditReport:
    """All tenants, in one snapshot. `database` logs in as the audit role."""
    async with open_audit(database) as connection:
        checks = (
            await _check_digests(connection),
            await run_check(connection, "plan_version_numbers", _NUMBERS_WRONG, "SELECT count(*) FROM plan"),
            await run_check(
                connection,
                "plan_version_told",
                _VERSION_UNTOLD,
                f"SELECT count(*) FROM plan_version WHERE {_TOLD_WITHIN}",
            ),
            await run_check(connection, "tenant_heard", _TENANT_UNHEARD, "SELECT count(*) FROM tenant"),
            *await common_checks(connection),
        )
        return AuditReport(service="catalog", checks=checks, facts=await count_facts(connection, _FACTS))


async def _check_digests(connection: AsyncConnection) -> AuditCheck:
    """Prices are immutable: each version's digest, computed again, is the one taken when it was published."""
    checked_count = 0
    problems = []
    async for version in _all_versions(connection):
        checked_count += 1
        if digest_of(version) != version.digest:
            problems.append(f"plan_version_id={version.id}, number={version.number}, digest={version.digest}")
    return check_of("plan_version_digest", checked_count=checked_count, problems=problems)


async def _all_versions(connection: AsyncConnection) -> AsyncIterator[PlanVersion]:
    last = ""
    while True:
        batch = (
            select(plan_version).where(plan_version.c.id > last).order_by(plan_version.c.id).limit(BATCH_MAX)
        )
        found = (await connection.execute(batch)).mappings().all()
        for version in await load_versions(connection, found):
            yield version
        if len(found) < BATCH_MAX:
            return
        last = found[-1]["id"]
