"""The catalog's tables: columns, keys and constraints. Amounts are in major units of the row's currency."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import UUID

from libs.common.persistence.base import (
    currency_column,
    decimal_column,
    id_column,
    instant,
    json_column,
    new_metadata,
    tenant_column,
    version_column,
)
from libs.common.persistence.machinery import machinery

metadata = new_metadata()
shared = machinery(metadata)

# The selling businesses themselves. Machinery: no tenant policy, and no route reaches it but the operators'.
tenant = Table(
    "tenant",
    metadata,
    Column("id", UUID(as_uuid=False), primary_key=True),
    Column("name", Text, nullable=False),
    Column("mode", Text, nullable=False),
    version_column(),
    instant("created_at"),
    instant("changed_at"),
    Index("ix_tenant_created_at_id", "created_at", "id"),
    CheckConstraint("mode IN ('live', 'sandbox')", name="mode"),
)

product = Table(
    "product",
    metadata,
    tenant_column(),
    id_column(),
    Column("code", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("unit", Text),
    Column("description", Text, nullable=False),
    Column("external_id", Text),
    json_column("metadata"),
    version_column(),
    instant("created_at"),
    instant("archived_at", nullable=True),
    UniqueConstraint("tenant", "code"),
    Index("ix_product_tenant_created_at_id", "tenant", "created_at", "id"),
    Index(
        "ix_product_tenant_external_id",
        "tenant",
        "external_id",
        postgresql_where=text("external_id IS NOT NULL"),
    ),
    CheckConstraint("kind IN ('goods', 'service', 'digital')", name="kind"),
)

# `draft` is what would be published next: name, currency, interval and prices.
plan = Table(
    "plan",
    metadata,
    tenant_column(),
    id_column(),
    Column("code", Text, nullable=False),
    Column("external_id", Text),
    json_column("metadata"),
    Column("status", Text, nullable=False),
    json_column("draft"),
    Column("published_number", Integer, nullable=False),
    version_column(),
    instant("created_at"),
    instant("retired_at", nullable=True),
    UniqueConstraint("tenant", "code"),
    Index("ix_plan_tenant_created_at_id", "tenant", "created_at", "id"),
    Index(
        "ix_plan_tenant_external_id",
        "tenant",
        "external_id",
        postgresql_where=text("external_id IS NOT NULL"),
    ),
    CheckConstraint("status IN ('draft', 'published', 'retired')", name="status"),
    CheckConstraint("(status = 'retired') = (retired_at IS NOT NULL)", name="retired_at"),
)

# Published versions and their prices: the app may insert and read them, and a trigger refuses any change.
plan_version = Table(
    "plan_version",
    metadata,
    tenant_column(),
    id_column(),
    Column("plan_id", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("code", Text, nullable=False),
    Column("name", Text, nullable=False),
    currency_column(),
    Column("interval_unit", Text, nullable=False),
    Column("interval_count", Integer, nullable=False),
    instant("published_at"),
    Column("digest", Text, nullable=False),
    UniqueConstraint("tenant", "plan_id", "number"),
    ForeignKeyConstraint(["plan_id"], ["plan.id"]),
    Index("ix_plan_version_plan_id_published_at_id", "plan_id", "published_at", "id"),
    CheckConstraint("number > 0", name="number"),
    CheckConstraint("interval_unit IN ('day', 'week', 'month', 'year')", name="interval_unit"),
    CheckConstraint("interval_count > 0", name="interval_count"),
)

price = Table(
    "price",
    metadata,
    tenant_column(),
    id_column(),
    Column("plan_version_id", Text, nullable=False),
    Column("position", Integer, nullable=False),
    Column("code", Text, nullable=False),
    Column("product_id", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("timing", Text, nullable=False),
    Column("model", Text, nullable=False),
    decimal_column("unit_amount", nullable=True),
    json_column("tiers"),
    decimal_column("package_size", nullable=True),
    decimal_column("included_quantity"),
    Column("meter", Text),
    Column("unit", Text),
    Column("proration", Text, nullable=False),
    UniqueConstraint("tenant", "plan_version_id", "code"),
    UniqueConstraint("tenant", "plan_version_id", "position"),
    ForeignKeyConstraint(["plan_version_id"], ["plan_version.id"]),
    ForeignKeyConstraint(["product_id"], ["product.id"]),
    CheckConstraint("unit_amount >= 0", name="unit_amount"),
    CheckConstraint("included_quantity >= 0", name="included_quantity"),
    CheckConstraint("(kind = 'usage') = (meter IS NOT NULL)", name="meter"),
)

# Meters as metering told of them, so that usage prices can name them.
known_meter = Table(
    "known_meter",
    metadata,
    Column("tenant", UUID(as_uuid=False), primary_key=True),
    Column("code", Text, primary_key=True),
    Column("meter_id", Text, nullable=False),
    Column("aggregation", Text, nullable=False),
    Column("unit", Text),
    version_column(),
)
