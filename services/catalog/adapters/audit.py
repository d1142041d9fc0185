"""What must hold in the catalog, looked at once more: what was published is what is stored, and was told; what is
counted of coupons was redeemed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from sqlalchemy import RowMapping, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.catalog import PlanOverlaidV1, PlanOverlayWithdrawnV1, PlanPublishedV1
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
from services.catalog.adapters.plan_overlays import overlay_from_row
from services.catalog.adapters.plan_versions import load_versions
from services.catalog.adapters.rows import plan_overlay, plan_version
from services.catalog.domain.plan_overlay import overlay_faults
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
_SALES_OF_NOTHING = """
    SELECT plan.id AS plan_id, plan.published_number, stopped.number, stopped.state
    FROM plan CROSS JOIN LATERAL jsonb_each_text(plan.off_sale) AS stopped (number, state)
    WHERE stopped.number::int NOT BETWEEN 1 AND plan.published_number
        OR stopped.state NOT IN ('withdrawn', 'archived')
"""
_OVERLAY_UNTOLD = f"""
    SELECT id AS overlay_id, customer_id, created_at, withdrawn_at FROM plan_overlay AS overlay
    CROSS JOIN LATERAL (VALUES
        (overlay.created_at, '{PlanOverlaidV1.TYPE}'), (overlay.withdrawn_at, '{PlanOverlayWithdrawnV1.TYPE}')
    ) AS told (at, type)
    WHERE told.at > clock_timestamp() - interval '6 days' AND NOT EXISTS (
        SELECT FROM outbox WHERE outbox.tenant = overlay.tenant AND outbox.aggregate_id = overlay.id
        AND outbox.type = told.type
    )
"""
_TENANT_UNHEARD = """
    SELECT tenant.id AS tenant_id, tenant.version, known.version AS heard_version
    FROM tenant LEFT JOIN known_tenant AS known ON known.tenant = tenant.id
    WHERE tenant.changed_at < clock_timestamp() - interval '60 s'
        AND known.version IS DISTINCT FROM tenant.version
"""
# What is counted at a coupon, and at each of its customers, is what stands: neither more nor fewer redemptions.
_REDEMPTIONS_MISCOUNTED = """
    WITH standing AS (
        SELECT coupon_id, customer_id, count(*) AS redemption_count
        FROM coupon_redemption WHERE withdrawn_at IS NULL GROUP BY coupon_id, customer_id
    ), overall AS (
        SELECT coupon_id, sum(redemption_count) AS redemption_count FROM standing GROUP BY coupon_id
    )
    SELECT coupon.id AS coupon_id, NULL AS customer_id, coupon.redeemed_count,
        coalesce(overall.redemption_count, 0) AS redemption_count
    FROM coupon LEFT JOIN overall ON overall.coupon_id = coupon.id
    WHERE coupon.redeemed_count <> coalesce(overall.redemption_count, 0)
    UNION ALL
    SELECT coupon_id, customer_id, coalesce(counted.redeemed_count, 0), coalesce(standing.redemption_count, 0)
    FROM coupon_customer AS counted FULL JOIN standing USING (coupon_id, customer_id)
    WHERE coalesce(counted.redeemed_count, 0) <> coalesce(standing.redemption_count, 0)
"""
_FACTS = {
    "tenant_count": "SELECT count(*) FROM tenant",
    "product_count": "SELECT count(*) FROM product",
    "plan_count": "SELECT count(*) FROM plan",
    "plan_version_count": "SELECT count(*) FROM plan_version",
    "price_count": "SELECT count(*) FROM price",
    "plan_overlay_count": "SELECT count(*) FROM plan_overlay WHERE withdrawn_at IS NULL",
    "feature_count": "SELECT count(*) FROM feature",
    "coupon_count": "SELECT count(*) FROM coupon",
    "coupon_redemption_count": "SELECT count(*) FROM coupon_redemption WHERE withdrawn_at IS NULL",
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
            await run_check(
                connection, "coupon_redemptions", _REDEMPTIONS_MISCOUNTED, "SELECT count(*) FROM coupon"
            ),
            await run_check(connection, "plan_version_sales", _SALES_OF_NOTHING, "SELECT count(*) FROM plan"),
            await _check_overlays(connection),
            await run_check(
                connection, "plan_overlay_told", _OVERLAY_UNTOLD, "SELECT count(*) FROM plan_overlay"
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


async def _check_overlays(connection: AsyncConnection) -> AuditCheck:
    """Each still fits the version that it is laid over: it names prices that are there, and says nothing impossible."""
    checked_count = 0
    problems = []
    async for found in _batches(connection, plan_overlay):
        overlays = [overlay_from_row(row) for row in found]
        ids = {overlay.plan_version_id for overlay in overlays}
        laid_over = select(plan_version).where(plan_version.c.id.in_(ids))
        rows = (await connection.execute(laid_over)).mappings().all()
        versions = {version.id: version for version in await load_versions(connection, rows)}
        checked_count += len(overlays)
        for overlay in overlays:
            content = versions[overlay.plan_version_id].content
            problems += [
                f"overlay_id={overlay.id}, pointer={fault['pointer']}, detail={fault['detail']}"
                for fault in overlay_faults(overlay.overrides, overlay.term, content)
            ]
    return check_of("plan_overlay_fits", checked_count=checked_count, problems=problems)


async def _all_versions(connection: AsyncConnection) -> AsyncIterator[PlanVersion]:
    async for found in _batches(connection, plan_version):
        for version in await load_versions(connection, found):
            yield version


async def _batches(connection: AsyncConnection, table: Table) -> AsyncIterator[Sequence[RowMapping]]:
    """All rows, some at a time, by id."""
    last = ""
    while True:
        batch = select(table).where(table.c.id > last).order_by(table.c.id).limit(BATCH_MAX)
        found = (await connection.execute(batch)).mappings().all()
        yield found
        if len(found) < BATCH_MAX:
            return
        last = found[-1]["id"]
