"""The coupons that customers have, and what of them was used on which document."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Index, Integer, Table, Text, UniqueConstraint, text

from libs.common.persistence.base import (
    currency_column,
    id_column,
    instant,
    json_column,
    minor,
    tenant_column,
)
from services.billing.adapters.rows import metadata

# Locked before a document uses it. One that was withdrawn before it was heard of has no coupon.
coupon_redemption = Table(
    "coupon_redemption",
    metadata,
    tenant_column(),
    id_column(),
    Column("customer_id", Text, nullable=False),
    Column("subscription_id", Text),
    json_column("coupon", nullable=True),
    instant("redeemed_at", nullable=True),
    instant("withdrawn_at", nullable=True),
    Column("clock_id", Text),
    Column("used_count", Integer, nullable=False),
    minor("used_minor"),
    json_column("periods"),
    CheckConstraint("used_count >= 0 AND used_minor >= 0", name="used_not_below_zero"),
    CheckConstraint("coupon IS NOT NULL OR withdrawn_at IS NOT NULL", name="known_or_withdrawn"),
    Index("ix_coupon_redemption_customer", "tenant", "customer_id"),
)

# Written once: a voided document gives back what it used.
coupon_use = Table(
    "coupon_use",
    metadata,
    tenant_column(),
    id_column(),
    Column("redemption_id", Text, nullable=False),
    Column("invoice_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    minor("amount_minor"),
    currency_column(),
    json_column("parts"),
    instant("occurred_at"),
    instant("recorded_at", server_default=text("clock_timestamp()")),
    UniqueConstraint("tenant", "redemption_id", "invoice_id", "kind", name="uq_coupon_use_document"),
    Index("ix_coupon_use_invoice", "tenant", "invoice_id"),
)
