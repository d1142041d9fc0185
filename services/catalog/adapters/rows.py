"""The catalog's tables: columns, keys and constraints. Amounts are in major units of the row's currency."""

from __future__ import annotations

from sqlalchemy import (
    CHAR,
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
    minor,
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
    Column("tax_category", Text),
    Column("gtin", Text),
    Column("external_id", Text),
    json_column("metadata"),
    version_column(),
    instant("created_at"),
    instant("archived_at", nullable=True),
    UniqueConstraint("tenant", "code"),
    Index("ix_product_tenant_created_at_id", "tenant", "created_at", "id"),
    Index("ix_product_tenant_gtin", "tenant", "gtin", postgresql_where=text("gtin IS NOT NULL")),
    Index(
        "ix_product_tenant_external_id",
        "tenant",
        "external_id",
        postgresql_where=text("external_id IS NOT NULL"),
    ),
    CheckConstraint("kind IN ('goods', 'service', 'digital')", name="kind"),
)

# `draft` is what would be published next, whole; `off_sale` says of published versions, by number, which of them
# somebody withdrew or archived.
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
    json_column("off_sale"),
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

# Published versions and their prices: the app may insert and read them, and a trigger refuses any change. `terms` is
# what is not looked for by itself, as one document.
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
    json_column("terms"),
    instant("valid_from", nullable=True),
    instant("valid_until", nullable=True),
    instant("published_at"),
    Column("digest", Text, nullable=False),
    UniqueConstraint("tenant", "plan_id", "number"),
    ForeignKeyConstraint(["plan_id"], ["plan.id"]),
    Index("ix_plan_version_plan_id_published_at_id", "plan_id", "published_at", "id"),
    CheckConstraint("number > 0", name="number"),
    CheckConstraint("interval_unit IN ('day', 'week', 'month', 'year')", name="interval_unit"),
    CheckConstraint("interval_count > 0", name="interval_count"),
    CheckConstraint("valid_until > valid_from", name="validity"),
)

price = Table(
    "price",
    metadata,
    tenant_column(),
    id_column(),
    Column("plan_version_id", Text, nullable=False),
    Column("position", Integer, nullable=False),
    Column("code", Text, nullable=False),
    currency_column(),
    Column("product_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("meter", Text),
    json_column("terms"),
    UniqueConstraint("tenant", "plan_version_id", "code", "currency"),
    UniqueConstraint("tenant", "plan_version_id", "position"),
    ForeignKeyConstraint(["plan_version_id"], ["plan_version.id"]),
    ForeignKeyConstraint(["product_id"], ["product.id"]),
    CheckConstraint("(kind = 'usage') = (meter IS NOT NULL)", name="meter"),
)

# What one customer has otherwise than a plan version says: never changed, but withdrawn.
plan_overlay = Table(
    "plan_overlay",
    metadata,
    tenant_column(),
    id_column(),
    Column("customer_id", Text, nullable=False),
    Column("plan_id", Text, nullable=False),
    Column("plan_version_id", Text, nullable=False),
    json_column("overrides"),
    json_column("term", nullable=True),
    Column("description", Text, nullable=False),
    version_column(),
    instant("created_at"),
    instant("withdrawn_at", nullable=True),
    ForeignKeyConstraint(["plan_version_id"], ["plan_version.id"]),
    Index("ix_plan_overlay_tenant_created_at_id", "tenant", "created_at", "id"),
    Index("ix_plan_overlay_tenant_customer_id_created_at_id", "tenant", "customer_id", "created_at", "id"),
    Index(
        "uq_plan_overlay_one_at_a_time",
        "tenant",
        "customer_id",
        "plan_version_id",
        unique=True,
        postgresql_where=text("withdrawn_at IS NULL"),
    ),
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

# What plans let a customer do: one row is one thing that may be on or off, limited, or counted by a meter.
feature = Table(
    "feature",
    metadata,
    tenant_column(),
    id_column(),
    Column("code", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("meter", Text),
    Column("unit", Text),
    Column("description", Text, nullable=False),
    json_column("metadata"),
    version_column(),
    instant("created_at"),
    instant("archived_at", nullable=True),
    UniqueConstraint("tenant", "code"),
    Index("ix_feature_tenant_created_at_id", "tenant", "created_at", "id"),
    CheckConstraint("kind IN ('switch', 'limit', 'metered')", name="kind"),
    CheckConstraint("(kind = 'metered') = (meter IS NOT NULL)", name="meter"),
)

# `redeemed_count` is no part of a coupon's version: it counts the redemptions that were not withdrawn, and the
# limit beside it holds whoever writes.
coupon = Table(
    "coupon",
    metadata,
    tenant_column(),
    id_column(),
    Column("code", Text, nullable=False),
    Column("name", Text, nullable=False),
    decimal_column("percent", nullable=True),
    minor("amount_minor", nullable=True),
    Column("currency", CHAR(3)),
    Column("duration", Text, nullable=False),
    Column("periods", Integer),
    json_column("product_ids"),
    json_column("plan_codes"),
    Column("stacking_order", Integer, nullable=False),
    Column("redemptions_max", Integer),
    Column("redemptions_per_customer_max", Integer),
    instant("valid_from", nullable=True),
    instant("valid_until", nullable=True),
    json_column("metadata"),
    Column("redeemed_count", Integer, nullable=False, server_default=text("0")),
    version_column(),
    instant("created_at"),
    instant("archived_at", nullable=True),
    UniqueConstraint("tenant", "code"),
    Index("ix_coupon_tenant_created_at_id", "tenant", "created_at", "id"),
    CheckConstraint("(percent IS NULL) <> (amount_minor IS NULL)", name="value"),
    CheckConstraint("percent > 0 AND percent <= 100", name="percent"),
    CheckConstraint("amount_minor > 0", name="amount_minor"),
    CheckConstraint("(amount_minor IS NULL) = (currency IS NULL)", name="currency"),
    CheckConstraint("duration IN ('once', 'periods', 'forever')", name="duration"),
    CheckConstraint("(duration = 'periods') = (periods IS NOT NULL) AND periods > 0", name="periods"),
    CheckConstraint("valid_until > valid_from", name="validity"),
    CheckConstraint("redemptions_per_customer_max > 0", name="customer_limit"),
    CheckConstraint("redeemed_count >= 0", name="redeemed_count"),
    CheckConstraint("redemptions_max > 0 AND redeemed_count <= redemptions_max", name="limit"),
)

# How often a customer has a coupon now.
coupon_customer = Table(
    "coupon_customer",
    metadata,
    tenant_column(),
    Column("coupon_id", Text, primary_key=True),
    Column("customer_id", Text, primary_key=True),
    Column("redeemed_count", Integer, nullable=False),
    ForeignKeyConstraint(["coupon_id"], ["coupon.id"]),
    CheckConstraint("redeemed_count >= 0", name="redeemed_count"),
)

coupon_redemption = Table(
    "coupon_redemption",
    metadata,
    tenant_column(),
    id_column(),
    Column("coupon_id", Text, nullable=False),
    Column("coupon_version", Integer, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("subscription_id", Text),
    version_column(),
    instant("redeemed_at"),
    instant("withdrawn_at", nullable=True),
    ForeignKeyConstraint(["coupon_id"], ["coupon.id"]),
    Index("ix_coupon_redemption_tenant_redeemed_at_id", "tenant", "redeemed_at", "id"),
    Index("ix_coupon_redemption_coupon_id_redeemed_at_id", "coupon_id", "redeemed_at", "id"),
    Index(
        "ix_coupon_redemption_tenant_customer_id_redeemed_at_id",
        "tenant",
        "customer_id",
        "redeemed_at",
        "id",
    ),
)

# Who there is, as subscriptions told: customers, and subscriptions that have begun. They are never forgotten.
known_customer = Table(
    "known_customer",
    metadata,
    Column("tenant", UUID(as_uuid=False), primary_key=True),
    Column("id", Text, primary_key=True),
)
known_subscription = Table(
    "known_subscription",
    metadata,
    Column("tenant", UUID(as_uuid=False), primary_key=True),
    Column("id", Text, primary_key=True),
    Column("customer_id", Text, nullable=False),
    Column("clock_id", Text),
)
