"""Tables of bank statements. Amounts are minor units of the row's currency, which is that of the account."""

from __future__ import annotations

from sqlalchemy import Boolean, CheckConstraint, Column, Date, Index, Integer, Table, Text, text

from libs.common.persistence.base import (
    currency_column,
    due_columns,
    id_column,
    instant,
    json_column,
    minor,
    tenant_column,
    version_column,
)
from services.billing.adapters.rows import metadata

bank_statement = Table(
    "bank_statement",
    metadata,
    tenant_column(),
    id_column(),
    Column("format", Text, nullable=False),
    Column("digest", Text, nullable=False),
    json_column("accounts"),
    Column("entry_count", Integer, nullable=False),
    Column("new_count", Integer, nullable=False),
    Column("passed_over_count", Integer, nullable=False),
    version_column(),
    instant("created_at"),
    Index("ix_bank_statement_tenant_created_at", "tenant", "created_at", "id"),
)

# Its id follows from the account and what tells the entry from all others: it is one row however often it is told.
bank_statement_entry = Table(
    "bank_statement_entry",
    metadata,
    tenant_column(),
    id_column(),
    Column("statement_id", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("key", Text, nullable=False),
    Column("direction", Text, nullable=False),
    minor("amount_minor"),
    currency_column(),
    Column("booked_on", Date, nullable=False),
    Column("value_on", Date),
    Column("is_reversal", Boolean, nullable=False),
    Column("is_return", Boolean, nullable=False),
    Column("bank_reference", Text),
    Column("end_to_end_id", Text),
    Column("creditor_reference", Text),
    Column("text", Text, nullable=False),
    Column("payer_name", Text),
    Column("payer_account", Text),
    Column("instructed", Text),
    Column("state", Text, nullable=False),
    Column("matched_by", Text),
    Column("payment_id", Text),
    Column("reason", Text),
    Column("payment_count", Integer, nullable=False),
    version_column(),
    instant("created_at"),
    *due_columns(),
    CheckConstraint("amount_minor > 0", name="of_something"),
    CheckConstraint("(state = 'pending') = (due_at IS NOT NULL)", name="pending_is_due"),
    CheckConstraint("state <> 'matched' OR payment_id IS NOT NULL", name="matched_with_payment"),
    Index("ix_bank_statement_entry_state", "tenant", "state", "created_at", "id"),
    Index("ix_bank_statement_entry_statement", "tenant", "statement_id", "ordinal"),
    Index(
        "ix_bank_statement_entry_credit",
        "tenant",
        "account",
        "amount_minor",
        postgresql_where=text("direction = 'credit'"),
    ),
)

# From which accounts customers have paid: learned from entries whose payer was certain.
payer_account = Table(
    "payer_account",
    metadata,
    tenant_column(),
    Column("account", Text, primary_key=True),
    Column("customer_id", Text, primary_key=True),
    instant("created_at"),
)
