"""Tables of mails, of addresses that take none, and of what tenants say in their own words."""

from __future__ import annotations

from sqlalchemy import Boolean, CheckConstraint, Column, Index, Integer, Table, Text, func, text

from libs.common.persistence.base import (
    due_columns,
    id_column,
    instant,
    json_column,
    tenant_column,
    version_column,
)
from services.billing.adapters.rows import metadata

# `created_at` and `due_at` are the wall's: mail goes out by it, whatever a test clock shows, so `clock_id` stays empty.
# `claimed_at` is when it was last claimed, by which a tenant's rate is counted.
mail = Table(
    "mail",
    metadata,
    tenant_column(),
    id_column(),
    Column("kind", Text, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("seller_id", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("to_own", Boolean, nullable=False),
    Column("locale", Text),
    json_column("details"),
    Column("invoice_id", Text),
    Column("credit_note_id", Text),
    Column("refund_id", Text),
    Column("subscription_id", Text),
    Column("again_of_id", Text),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("message_id", Text),
    Column("subject", Text),
    Column("text_body", Text),
    Column("html_body", Text),
    json_column("attached", server_default=text("'[]'")),
    Column("tries", Integer, nullable=False, server_default=text("0")),
    instant("occurred_at"),
    instant("claimed_until", nullable=True),
    instant("claimed_at", nullable=True),
    instant("sent_at", nullable=True),
    version_column(),
    instant("created_at", server_default=func.now()),
    instant("due_at", nullable=True, server_default=func.now()),
    *due_columns()[1:],
    CheckConstraint(
        "state IN ('pending', 'sending', 'sent', 'failed', 'bounced', 'suppressed')", name="state_known"
    ),
    CheckConstraint("(state IN ('pending', 'sending')) = (due_at IS NOT NULL)", name="open_is_due"),
    CheckConstraint("clock_id IS NULL", name="by_the_wall"),
    Index("ix_mail_tenant_created_at", "tenant", "created_at", "id"),
    Index("ix_mail_tenant_customer", "tenant", "customer_id", "created_at"),
    Index("ix_mail_invoice", "tenant", "invoice_id"),
    Index("ix_mail_tenant_claimed_at", "tenant", "claimed_at"),
)

# Addresses that refused a mail for good; by customer, so that one who has a new address is written to again.
mail_suppression = Table(
    "mail_suppression",
    metadata,
    tenant_column(),
    id_column(),
    Column("customer_id", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("mail_id", Text, nullable=False),
    Column("reason", Text, nullable=False),
    instant("created_at"),
    Index("ix_mail_suppression_tenant_customer", "tenant", "customer_id"),
)

mail_template = Table(
    "mail_template",
    metadata,
    tenant_column(),
    id_column(),
    Column("kind", Text, nullable=False),
    Column("locale", Text, nullable=False),
    Column("subject", Text),
    Column("intro", Text),
    version_column(),
    instant("created_at"),
    Index("ix_mail_template_tenant_created_at", "tenant", "created_at", "id"),
)
