"""Tables of the subscriptions service: columns, keys, constraints."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
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
from sqlalchemy.dialects.postgresql import UUID, ExcludeConstraint

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
    Column("legal_name", Text),
    json_column("address", nullable=True),
    Column("vat_id", Text),
    Column("locale", Text),
    Column("parent_id", Text, ForeignKey("customer.id")),
    Column("payment_terms_days", Integer),
    instant("erased_at", nullable=True),
    # What customers are found by, folded when they are saved: row policies let no index serve lower(name).
    Column("name_key", Text(collation="C"), nullable=False),
    Column("email_key", Text(collation="C")),
    CheckConstraint("payment_terms_days BETWEEN 0 AND 365", name="payment_terms"),
    Index("ix_customer_tenant_created_at_id", "tenant", "created_at", "id"),
    Index("uq_customer_tenant_external_id", "tenant", "external_id", unique=True),
    Index("ix_customer_tenant_name_key", "tenant", "name_key"),
    Index(
        "ix_customer_tenant_email_key", "tenant", "email_key", postgresql_where=text("email_key IS NOT NULL")
    ),
    Index(
        "ix_customer_tenant_parent_id_created_at_id",
        "tenant",
        "parent_id",
        "created_at",
        "id",
        postgresql_where=text("parent_id IS NOT NULL"),
    ),
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

# A plan version as one customer has it; withdrawn, it may no longer be newly agreed to.
known_overlay = Table(
    "known_overlay",
    metadata,
    id_column(),
    tenant_column(),
    Column("customer_id", Text, nullable=False),
    Column("plan_version_id", Text, nullable=False),
    json_column("overlay"),
)

withdrawn_overlay = Table("withdrawn_overlay", metadata, id_column(), tenant_column())

# Whether a customer has a payment method, by its id.
customer_payment_method = Table(
    "customer_payment_method",
    metadata,
    id_column(),
    tenant_column(),
    version_column(),
    Column("has_one", Boolean, nullable=False),
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
    json_column("period_more", nullable=True),
    Column("cancel_credit", Text, nullable=False, server_default=text("'none'")),
    Column("cancel_reason", Text, nullable=False, server_default=text("'canceled'")),
    Column("keeps_charges_of", Integer),
    Column("overlay_id", Text),
    Column("payer_id", Text, ForeignKey("customer.id")),
    Column("dunning", Text, nullable=False, server_default=text("'none'")),
    json_column("pauses", nullable=True),
    instant("trial_ends_at", nullable=True),
    Column("trial_without_payment_method", Text, nullable=False, server_default=text("'continue'")),
    Column("merges_stub", Boolean, nullable=False, server_default=text("false")),
    json_column("touched", nullable=True),
    instant("next_change_at", nullable=True),
    Column("boundary_changes", Integer, nullable=False, server_default=text("0")),
    Column("phase", Text),
    Column("phase_ends_index", Integer),
    json_column("reminders", nullable=True),
    json_column("activation", nullable=True),
    json_column("term", nullable=True),
    Column("withdrawal_ends_on", Date),
    json_column("proration", nullable=True),
    instant("billed_until", nullable=True),
    Column("won_back_from", Text),
    CheckConstraint(
        "state IN ('scheduled', 'awaiting_activation', 'trialing', 'active', 'paused', 'past_due', 'suspended',"
        " 'ending', 'ended', 'canceled')",
        name="state",
    ),
    CheckConstraint(
        "(state IN ('awaiting_activation', 'ended', 'canceled')) = (due_at IS NULL)",
        name="due_while_not_over",
    ),
    CheckConstraint(
        "(state IN ('scheduled', 'awaiting_activation', 'canceled')) = (period_index IS NULL)",
        name="period_once_begun",
    ),
    CheckConstraint("(state IN ('ended', 'canceled')) = (ended_at IS NOT NULL)", name="ended_once_over"),
    Index("ix_subscription_tenant_created_at_id", "tenant", "created_at", "id"),
    Index("ix_subscription_tenant_customer_id_created_at_id", "tenant", "customer_id", "created_at", "id"),
    Index("uq_subscription_tenant_external_id", "tenant", "external_id", unique=True),
    Index("ix_subscription_tenant_plan_version_id_id", "tenant", "plan_version_id", "id"),
    Index(
        "ix_subscription_tenant_payer_id", "tenant", "payer_id", postgresql_where=text("payer_id IS NOT NULL")
    ),
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

# The history of items: which was agreed on from when until when. `ordinal` is its place in that history.
item_segment = Table(
    "item_segment",
    metadata,
    tenant_column(),
    Column("subscription_id", Text, ForeignKey("subscription.id"), primary_key=True),
    Column("ordinal", Integer, primary_key=True),
    Column("item_id", Text, ForeignKey("subscription_item.id"), nullable=False),
    Column("price_id", Text, nullable=False),
    Column("price_code", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("meter", Text),
    decimal_column("quantity", nullable=True),
    Column("plan_version_id", Text, nullable=False),
    Column("overlay_id", Text),
    Column("add_on", Text),
    instant("start_at"),
    Column("start_on", Date, nullable=False),
    instant("end_at", nullable=True),
    Column("end_on", Date),
    Column("start_proration", Text),
    Column("end_proration", Text),
    Column("is_indexation", Boolean, nullable=False, server_default=text("false")),
    CheckConstraint("start_at <= end_at", name="forward"),
    CheckConstraint("(end_at IS NULL) = (end_on IS NULL)", name="ended_wholly"),
)

# Each period as it is, or was. The key is what makes a second renewal into the same period impossible.
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
    json_column("more", nullable=True),
    CheckConstraint("start_at <= end_at", name="forward"),
)

subscription_invoice = Table(
    "subscription_invoice",
    metadata,
    tenant_column(),
    Column("subscription_id", Text, ForeignKey("subscription.id"), primary_key=True),
    Column("invoice_id", Text, primary_key=True),
    Column("standing", Text, nullable=False),
    Column("round", Integer, nullable=False, server_default=text("0")),
    CheckConstraint("standing IN ('overdue', 'given_up', 'never_paid', 'paid')", name="standing"),
    Index(
        "ix_subscription_invoice_overdue",
        "tenant",
        "subscription_id",
        postgresql_where=text("standing IN ('overdue', 'given_up', 'never_paid')"),
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
    Column("asset_id", Text),
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
    Index(
        "ix_subject_binding_tenant_asset_id",
        "tenant",
        "asset_id",
        "created_at",
        "id",
        postgresql_where=text("asset_id IS NOT NULL"),
    ),
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

# What was asked to be different, also where that was done at once: the list that a caller reads.
subscription_change = Table(
    "subscription_change",
    metadata,
    id_column(),
    tenant_column(),
    version_column(),
    Column("subscription_id", Text, ForeignKey("subscription.id"), nullable=False),
    Column("status", Text, nullable=False),
    Column("when_kind", Text, nullable=False),
    Column("when_on", Date),
    instant("at", nullable=True),
    json_column("wanted"),
    instant("settled_at", nullable=True),
    Column("reason_code", Text),
    Column("reason", Text),
    instant("created_at"),
    CheckConstraint("status IN ('scheduled', 'applied', 'unchanged', 'withdrawn', 'failed')", name="status"),
    CheckConstraint("when_kind IN ('now', 'period_end', 'on')", name="when_kind"),
    CheckConstraint("(when_kind = 'on') = (when_on IS NOT NULL)", name="when_on"),
    CheckConstraint("(status = 'scheduled') = (settled_at IS NULL)", name="settled_once"),
    Index(
        "ix_subscription_change_tenant_subscription_id_created_at_id",
        "tenant",
        "subscription_id",
        "created_at",
        "id",
    ),
    Index(
        "ix_subscription_change_waiting",
        "tenant",
        "subscription_id",
        postgresql_where=text("status = 'scheduled'"),
    ),
)

# `due_at` is set while subscriptions are left to look at; `reached_id` is the last one that was.
plan_move = Table(
    "plan_move",
    metadata,
    id_column(),
    tenant_column(),
    version_column(),
    Column("state", Text, nullable=False),
    Column("from_plan_version_id", Text, nullable=False),
    Column("to_plan_version_id", Text, nullable=False),
    Column("when_kind", Text, nullable=False),
    Column("when_on", Date),
    Column("proration", Text),
    Column("is_dry_run", Boolean, nullable=False),
    Column("is_indexation", Boolean, nullable=False, server_default=text("false")),
    Column("reached_id", Text),
    Column("found_count", Integer, nullable=False),
    Column("moved_count", Integer, nullable=False),
    Column("scheduled_count", Integer, nullable=False),
    Column("unchanged_count", Integer, nullable=False),
    Column("refused_count", Integer, nullable=False),
    json_column("differences"),
    instant("created_at"),
    instant("done_at", nullable=True),
    *due_columns(),
    CheckConstraint("state IN ('running', 'done')", name="state"),
    CheckConstraint("(state = 'running') = (due_at IS NOT NULL)", name="due_while_running"),
    CheckConstraint("(state = 'done') = (done_at IS NOT NULL)", name="done_once"),
    Index("ix_plan_move_tenant_created_at_id", "tenant", "created_at", "id"),
)

# What became of each subscription that a plan move found: the key is what keeps it from being moved twice.
plan_move_result = Table(
    "plan_move_result",
    metadata,
    tenant_column(),
    Column("plan_move_id", Text, ForeignKey("plan_move.id"), primary_key=True),
    Column("id", Text, ForeignKey("subscription.id"), primary_key=True),
    Column("outcome", Text, nullable=False),
    Column("change_id", Text),
    Column("reason_code", Text),
    Column("reason", Text),
    instant("created_at"),
    CheckConstraint("outcome IN ('moved', 'scheduled', 'unchanged', 'refused')", name="outcome"),
    Index(
        "ix_plan_move_result_tenant_plan_move_id_created_at_id", "tenant", "plan_move_id", "created_at", "id"
    ),
)

# Append-only; read by business time, at one instant in the order in which it was written.
timeline_entry = Table(
    "timeline_entry",
    metadata,
    id_column(),
    tenant_column(),
    Column("subscription_id", Text, nullable=False),
    instant("at"),
    Column("event", Text, nullable=False),
    Column("words", Text, nullable=False),
    Column("about", Text),
    Column("trace_id", Text),
    Index("ix_timeline_entry_tenant_subscription_id_at_id", "tenant", "subscription_id", "at", "id"),
)

early_termination_quote = Table(
    "early_termination_quote",
    metadata,
    id_column(),
    tenant_column(),
    version_column(),
    Column("subscription_id", Text, ForeignKey("subscription.id"), nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("ends_on", Date, nullable=False),
    Column("bound_until", Date, nullable=False),
    currency_column(),
    Column("amount_minor", BigInteger, nullable=False),
    json_column("steps"),
    instant("issued_at"),
    instant("expires_at"),
    instant("accepted_at", nullable=True),
    instant("created_at"),
    CheckConstraint("kind IN ('none', 'fixed', 'percentage', 'months', 'rerate', 'forbidden')", name="kind"),
    CheckConstraint("amount_minor >= 0", name="no_credit"),
    Index("ix_early_termination_quote_tenant_subscription_id", "tenant", "subscription_id"),
)

# Append-only: what a consumer was given to keep.
receipt = Table(
    "receipt",
    metadata,
    id_column(),
    tenant_column(),
    Column("kind", Text, nullable=False),
    Column("subscription_id", Text, ForeignKey("subscription.id"), nullable=False),
    Column("customer_id", Text, nullable=False),
    instant("received_at"),
    Column("zone", Text, nullable=False),
    Column("declared_by", Text, nullable=False),
    Column("statement", Text, nullable=False),
    instant("ends_at", nullable=True),
    Column("text", Text, nullable=False),
    instant("created_at"),
    CheckConstraint("kind IN ('cancellation', 'withdrawal')", name="kind"),
    Index("ix_receipt_tenant_subscription_id", "tenant", "subscription_id"),
)

# What metering told of the usage of an item in a billing period: `version` is that of the last balance while it was
# under way, `window_version` that of the last word on its closed window, 0 before there is one.
usage_balance = Table(
    "usage_balance",
    metadata,
    tenant_column(),
    Column("item_id", Text, primary_key=True),
    Column("period_index", Integer, primary_key=True, autoincrement=False),
    Column("subscription_id", Text, nullable=False),
    Column("meter", Text, nullable=False),
    instant("period_start"),
    Column("version", Integer, nullable=False),
    Column("window_version", Integer, nullable=False),
    decimal_column("quantity"),
    Column("aggregation", Text, nullable=False),
    instant("as_of", nullable=True),
    CheckConstraint(
        "aggregation IN "
        "('count', 'sum', 'min', 'max', 'average', 'latest', 'unique', 'time_weighted', 'peak')",
        name="aggregation",
    ),
    Index("ix_usage_balance_tenant_subscription_id", "tenant", "subscription_id", "period_start"),
)

# What is made of the usage on a meter, as metering told when it was defined.
known_meter = Table(
    "known_meter",
    metadata,
    Column("tenant", UUID(as_uuid=False), primary_key=True),
    Column("code", Text, primary_key=True),
    Column("aggregation", Text, nullable=False),
    Column("version", Integer, nullable=False),
)
