"""Tables of the subscriptions service: columns, keys, constraints."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    column,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ExcludeConstraint

from libs.common.persistence.base import (
    currency_column,
    decimal_column,
    due_columns,
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

customer = Table(
    "customer",
    metadata,
    id_column(),
    tenant_column(),
    version_column(),
    Column("name", Text, nullable=False),
    Column("email", Text),
    Column("external_id", Text),
    Column("country", Text),
    Column("currency", Text),
    Column("zone", Text),
    json_column("metadata"),
    instant("created_at"),
    Index("ix_customer_tenant_created_at_id", "tenant", "created_at", "id"),
    Index("uq_customer_tenant_external_id", "tenant", "external_id", unique=True),
)

# Copies of what the catalog published, by plan version.
known_plan = Table(
    "known_plan",
    metadata,
    id_column(),
    tenant_column(),
    Column("plan_id", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("plan_version", Integer, nullable=False),
    json_column("plan"),
    instant("valid_from", nullable=True),
    instant("valid_until", nullable=True),
    Index("ix_known_plan_tenant_code_plan_version", "tenant", "code", "plan_version"),
)

# On its own, since the news that a plan is retired may come before the plan.
retired_plan = Table("retired_plan", metadata, id_column(), tenant_column())

# So is the news that a version is no longer sold, or is again; by plan version.
plan_sale = Table(
    "plan_sale",
    metadata,
    id_column(),
    tenant_column(),
    version_column(),
    Column("state", Text, nullable=False),
    CheckConstraint("state IN ('published', 'withdrawn', 'archived')", name="state"),
)

subscription = Table(
    "subscription",
    metadata,
    id_column(),
    tenant_column(),
    version_column(),
    Column("customer_id", Text, ForeignKey("customer.id"), nullable=False),
    Column("external_id", Text),
    Column("plan_version_id", Text, nullable=False),
    Column("plan_code", Text, nullable=False),
    Column("plan_name", Text, nullable=False),
    currency_column(),
    Column("zone", Text, nullable=False),
    Column("anchor_on", Date, nullable=False),
    Column("interval_unit", Text, nullable=False),
    Column("interval_count", Integer, nullable=False),
    Column("state", Text, nullable=False),
    instant("starts_at"),
    instant("term_ends_at", nullable=True),
    instant("cancels_at", nullable=True),
    Column("period_index", Integer),
    Column("period_start_on", Date),
    Column("period_end_on", Date),
    instant("period_start", nullable=True),
    instant("period_end", nullable=True),
    instant("ended_at", nullable=True),
    Column("end_reason", Text),
    instant("created_at"),
    *due_columns(),
    CheckConstraint("state IN ('scheduled', 'active', 'past_due', 'ended', 'canceled')", name="state"),
    CheckConstraint(
        "(state IN ('active', 'past_due', 'scheduled')) = (due_at IS NOT NULL)", name="due_while_not_over"
    ),
    CheckConstraint(
        "(state IN ('scheduled', 'canceled')) = (period_index IS NULL)", name="period_once_begun"
    ),
    CheckConstraint("(state IN ('ended', 'canceled')) = (ended_at IS NOT NULL)", name="ended_once_over"),
    Index("ix_subscription_tenant_created_at_id", "tenant", "created_at", "id"),
    Index("ix_subscription_tenant_customer_id_created_at_id", "tenant", "customer_id", "created_at", "id"),
    Index("uq_subscription_tenant_external_id", "tenant", "external_id", unique=True),
)

subscription_item = Table(
    "subscription_item",
    metadata,
    id_column(),
    tenant_column(),
    Column("subscription_id", Text, ForeignKey("subscription.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("price_id", Text, nullable=False),
    Column("price_code", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("meter", Text),
    decimal_column("quantity", nullable=True),
    Index("ix_subscription_item_tenant_subscription_id", "tenant", "subscription_id"),
)

# Append-only: each period as it began. The key is what makes a second renewal into the same period impossible.
billing_period = Table(
    "billing_period",
    metadata,
    tenant_column(),
    Column("subscription_id", Text, ForeignKey("subscription.id"), primary_key=True),
    Column("index", Integer, primary_key=True),
    Column("start_on", Date, nullable=False),
    Column("end_on", Date, nullable=False),
    instant("start_at"),
    instant("end_at"),
    CheckConstraint("start_at <= end_at", name="forward"),
)

subscription_invoice = Table(
    "subscription_invoice",
    metadata,
    tenant_column(),
    Column("subscription_id", Text, ForeignKey("subscription.id"), primary_key=True),
    Column("invoice_id", Text, primary_key=True),
    Column("standing", Text, nullable=False),
    CheckConstraint("standing IN ('overdue', 'paid')", name="standing"),
    Index(
        "ix_subscription_invoice_overdue",
        "tenant",
        "subscription_id",
        postgresql_where=text("standing = 'overdue'"),
    ),
)

subject_binding = Table(
    "subject_binding",
    metadata,
    id_column(),
    tenant_column(),
    version_column(),
    Column("subject", Text, nullable=False),
    Column("meter", Text, nullable=False),
    Column("subscription_id", Text, ForeignKey("subscription.id"), nullable=False),
    Column("item_id", Text, ForeignKey("subscription_item.id"), nullable=False),
    instant("bound_from"),
    instant("bound_until", nullable=True),
    Column("test_clock_id", Text),
    instant("created_at"),
    CheckConstraint("bound_from <= bound_until", name="forward"),
    # The subject has one item on a meter at any instant, whoever binds it at the same time.
    ExcludeConstraint(
        (column("tenant"), "="),
        (column("meter"), "="),
        (column("subject"), "="),
        (func.tstzrange(column("bound_from"), column("bound_until"), text("'[)'")), "&&"),
        name="ex_subject_binding_one_item",
        using="gist",
    ),
    Index("uq_subject_binding_natural_key", "tenant", "meter", "subject", "bound_from", unique=True),
    Index("ix_subject_binding_tenant_created_at_id", "tenant", "created_at", "id"),
    Index("ix_subject_binding_tenant_subscription_id", "tenant", "subscription_id"),
    Index("ix_subject_binding_tenant_item_id", "tenant", "item_id"),
)

test_clock = Table(
    "test_clock",
    metadata,
    id_column(),
    tenant_column(),
    version_column(),
    Column("name", Text, nullable=False),
    instant("now"),
    instant("created_at"),
    Index("ix_test_clock_tenant_created_at_id", "tenant", "created_at", "id"),
)

# `due_at` is set while the move is under way, so that the mover finds it as *finder*; `clock_id` is its clock.
clock_move = Table(
    "clock_move",
    metadata,
    id_column(),
    tenant_column(),
    Column("state", Text, nullable=False),
    instant("from_at"),
    instant("to_at"),
    instant("clock_now"),
    Column("steps", Integer, nullable=False),
    instant("next_due_at", nullable=True),
    Column("waiting_for", Text),
    instant("started_at"),
    instant("arrived_at", nullable=True),
    *due_columns(),
    CheckConstraint("state IN ('moving', 'arrived')", name="state"),
    CheckConstraint("(state = 'moving') = (due_at IS NOT NULL)", name="due_while_moving"),
    Index("uq_clock_move_one_at_a_time", "clock_id", unique=True, postgresql_where=text("state = 'moving'")),
)
