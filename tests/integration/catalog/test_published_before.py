"""What the first release published and drafted says the same after the migration, down to its digest."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import asyncpg
import pytest_asyncio

from libs.common.access.tenancy import API_LOGIN, APP, AUDIT, MIGRATOR
from libs.common.periods import Interval
from libs.common.persistence.migrate import create_roles_and_databases, migrate
from libs.common.persistence.session import Database, asyncpg_dsn
from libs.common.persistence.unit_of_work import UnitsOfWork
from services.catalog.adapters import rows
from services.catalog.adapters.audit import audit_catalog
from services.catalog.adapters.unit_of_work import CatalogUnitOfWork
from services.catalog.domain.plan_version import digest_of
from services.catalog.domain.price import price_id
from services.catalog.domain.price_tier import PriceTier
from tests.support.catalog import NOW, TIERS, a_draft, a_fee, a_usage_price
from tests.support.postgres import PostgresForTests
from tests.support.schema import schema_differences

TENANT = "0197c7b3-41a2-7d6e-9f00-5a3c8e1b2d47"
PUBLISHED = {
    "power": ("plv_4jvcwsjjqgapsv68dxga8eb293", "pln_power", 1, "USD", "month", 1),
    "odd": ("plv_3wyadzyveabqe8tp5hz69qc7gy", "pln_odd", 3, "EUR", "year", 2),
}
DIGESTS = {  # as the first release computed them
    "power": "54f76ced0f825cf5692e90adac577408cc38ca5711dd8c62d33666781fcb8fc8",
    "odd": "8adfc34b68a09c44ead583d1f3b81f64806c54c3eabf0f2d00edb0fe1006c193",
}
CONTENT = {
    "power": a_draft(),
    "odd": a_draft(
        a_fee(code="tiny", unit_amount=Decimal("0.000000000001")),
        a_fee(code="zeros", unit_amount=Decimal("10.500"), model="flat", proration="full", unit=None),
        a_fee(code="words", description="Flugzeug – 飛行機 ✈", proration="none"),
        a_usage_price(
            code="flown",
            tiers=(
                PriceTier(Decimal("0.5"), Decimal(0), Decimal("9.90")),
                PriceTier(None, Decimal("4.35")),
            ),
            included_quantity=Decimal("10.50"),
        ),
        a_usage_price(
            code="plain",
            model="per_unit",
            tiers=(),
            unit_amount=Decimal("123456789012345678.123456789012"),
            unit=None,
        ),
        currency="EUR",
        interval=Interval("year", 2),
    ),
}
# As the first release wrote them.
FIRST_PRICES = [
    ("aircraft", "Aircraft", "recurring", "advance", "per_unit", "1200.00", "[]", "0", None, "aircraft", "day"),
    (
        "minutes",
        "Flying minutes",
        "usage",
        "arrears",
        "graduated",
        None,
        json.dumps(
            [
                {"up_to": f"{tier.up_to:f}" if tier.up_to else None, "unit_amount": f"{tier.unit_amount:f}",
                 "flat_amount": None}
                for tier in TIERS
            ]
        ),
        "0",
        "flying-minutes",
        "minute",
        "day",
    ),
]  # fmt: skip
ODD_PRICES = [
    ("tiny", "Aircraft", "recurring", "advance", "per_unit", "0.000000000001", "[]", "0", None, "aircraft", "day"),
    ("zeros", "Aircraft", "recurring", "advance", "flat", "10.500", "[]", "0", None, None, "full"),
    ("words", "Flugzeug – 飛行機 ✈", "recurring", "advance", "per_unit", "1200.00", "[]", "0", None, "aircraft",
     "none"),
    ("flown", "Flying minutes", "usage", "arrears", "graduated", None,
     '[{"up_to": "0.5", "unit_amount": "0", "flat_amount": "9.90"},'
     ' {"up_to": null, "unit_amount": "4.35", "flat_amount": null}]',
     "10.50", "flying-minutes", "minute", "day"),
    ("plain", "Flying minutes", "usage", "arrears", "per_unit", "123456789012345678.123456789012", "[]", "0",
     "flying-minutes", None, "day"),
]  # fmt: skip
DRAFT: dict[str, Any] = {
    "name": "Power by the minute",
    "currency": "USD",
    "interval_unit": "month",
    "interval_count": 1,
    "prices": [
        {
            "code": code,
            "product_id": "prd_engine",
            "description": description,
            "kind": kind,
            "timing": timing,
            "model": model,
            "unit_amount": unit_amount,
            "tiers": json.loads(tiers),
            "package_size": None,
            "included_quantity": included,
            "meter": meter,
            "unit": unit,
            "proration": proration,
        }
        for code, description, kind, timing, model, unit_amount, tiers, included, meter, unit, proration in (
            FIRST_PRICES
        )
    ],
}


async def insert_as_the_first_release_did(admin: asyncpg.Connection[Any]) -> None:
    await admin.execute(f"SET ROLE {MIGRATOR}")
    await admin.execute(
        """INSERT INTO product (tenant, id, code, name, kind, description, metadata, created_at)
           VALUES ($1, 'prd_engine', 'engine', 'Engine', 'service', '', '{}', $2)""",
        TENANT,
        NOW,
    )
    for code, prices in (("power", FIRST_PRICES), ("odd", ODD_PRICES)):
        version_id, plan_id, number, currency, unit, count = PUBLISHED[code]
        await admin.execute(
            """INSERT INTO plan (tenant, id, code, metadata, status, draft, published_number, created_at)
               VALUES ($1, $2, $3, '{}', 'published', $4, $5, $6)""",
            TENANT,
            plan_id,
            code,
            json.dumps(DRAFT),
            number,
            NOW,
        )
        await admin.execute(
            """INSERT INTO plan_version (tenant, id, plan_id, number, code, name, currency, interval_unit,
                   interval_count, published_at, digest)
               VALUES ($1, $2, $3, $4, $5, 'Power by the minute', $6, $7, $8, $9, $10)""",
            TENANT,
            version_id,
            plan_id,
            number,
            code,
            currency,
            unit,
            count,
            NOW,
            DIGESTS[code],
        )
        for position, (
            price_code, description, kind, timing, model, amount, tiers, included, meter, counted, proration
        ) in enumerate(prices):  # fmt: skip
            await admin.execute(
                """INSERT INTO price (tenant, id, plan_version_id, position, code, product_id, description, kind,
                       timing, model, unit_amount, tiers, included_quantity, meter, unit, proration)
                   VALUES ($1, $2, $3, $4, $5, 'prd_engine', $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)""",
                TENANT,
                f"prc_{code}_{price_code}",
                version_id,
                position,
                price_code,
                description,
                kind,
                timing,
                model,
                None if amount is None else Decimal(amount),
                tiers,
                Decimal(included),
                meter,
                counted,
                proration,
            )


@pytest_asyncio.fixture(loop_scope="session")
async def migrated(postgres: PostgresForTests) -> AsyncIterator[str]:
    """The name of a database that the first release left, brought to the newest version."""
    name = "catalog_published_before"
    dsn = postgres.server.dsn(name)
    await create_roles_and_databases(postgres.server.dsn(), [name])
    try:
        await migrate("catalog", dsn, revision="0003")
        admin = await asyncpg.connect(asyncpg_dsn(dsn))
        try:
            await insert_as_the_first_release_did(admin)
        finally:
            await admin.close()
        await migrate("catalog", dsn)
        yield name
    finally:
        await postgres.drop_database(name)


async def test_what_was_published_and_drafted_before_says_the_same(
    postgres: PostgresForTests, migrated: str
) -> None:
    api = Database(postgres.server.dsn(migrated, API_LOGIN))
    try:
        async with UnitsOfWork(api, CatalogUnitOfWork).open(TENANT, "token:test") as uow:
            for code, (version_id, plan_id, number, *_) in PUBLISHED.items():
                version = await uow.plan_versions.find(plan_id, number)
                assert version is not None
                assert version.content == CONTENT[code]
                assert (version.id, version.digest) == (version_id, DIGESTS[code])
                assert digest_of(version) == DIGESTS[code]
            plan = await uow.plans.get("pln_power")
        assert plan.draft == CONTENT["power"]
        assert plan.sale_state(1) == "published"
    finally:
        await api.engine.dispose()


async def test_its_audit_is_clean_and_nothing_can_change_it(
    postgres: PostgresForTests, migrated: str
) -> None:
    audit = Database(postgres.server.dsn(migrated, AUDIT))
    try:
        report = await audit_catalog(audit)
    finally:
        await audit.engine.dispose()
    checks = {check.name: check for check in report.checks}
    assert (checks["plan_version_digest"].checked_count, checks["plan_version_digest"].ok) == (2, True)
    assert await schema_differences(postgres.server.dsn(migrated), rows.metadata) == []
    admin = await asyncpg.connect(asyncpg_dsn(postgres.server.dsn(migrated)))
    try:
        for role, refusal in (
            (MIGRATOR, asyncpg.RestrictViolationError),
            (APP, asyncpg.InsufficientPrivilegeError),
        ):
            await admin.execute(f"SET ROLE {role}")
            try:
                await admin.execute("UPDATE price SET terms = '{}'")
            except refusal:
                pass
            else:
                raise AssertionError(f"{role} changed a published price")
            finally:
                await admin.execute("RESET ROLE")
    finally:
        await admin.close()


def test_ids_of_prices_are_what_they_were() -> None:
    """In the plan's own currency, which was the only one."""
    version_id = PUBLISHED["power"][0]
    ids = [price_id(version_id, price, currency="USD") for price in CONTENT["power"].prices]
    assert ids == ["prc_4pbna3waymarbsdpbnhjrrre3b", "prc_1pq7gkf08pacas2m6qn335azwm"]
