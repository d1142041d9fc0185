"""Usage through a topic: how far it is stored, what became of each batch, and what windows await of it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from libs.common.access.tenancy import FINDER, open_to_app, protect

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "usage_window",
        sa.Column(
            "awaited_usage",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
    )
    op.create_table(
        "usage_offset",
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("next_offset", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("topic", "partition", name=op.f("pk_usage_offset")),
    )
    op.create_table(
        "usage_batch",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("batch_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("part", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("batch_event_count", sa.Integer(), nullable=False),
        sa.Column("stored", sa.Integer(), nullable=False),
        sa.Column("duplicate", sa.Integer(), nullable=False),
        sa.Column("conflict", sa.Integer(), nullable=False),
        sa.Column("rejected", sa.Integer(), nullable=False),
        sa.Column("arrived_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "batch_id", "part", name=op.f("pk_usage_batch")),
    )
    op.create_index(op.f("ix_usage_batch_expires_at"), "usage_batch", ["expires_at"], unique=False)
    op.create_table(
        "usage_result",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("batch_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("reasons", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_result")),
    )
    op.create_index(
        "ix_usage_result_tenant_settled_at", "usage_result", ["tenant", "settled_at", "id"], unique=False
    )
    op.create_index(
        "ix_usage_result_tenant_batch_id",
        "usage_result",
        ["tenant", "batch_id", "settled_at", "id"],
        unique=False,
    )
    for statement in (
        *open_to_app("usage_offset", rights="SELECT, INSERT, UPDATE"),
        *protect("usage_batch", writes="SELECT, INSERT, DELETE"),
        *protect("usage_result", writes="SELECT, INSERT, DELETE"),
        # Housekeeping asks whose results have expired, and then drops them as each tenant's app.
        f"CREATE POLICY expired_batches ON usage_batch FOR SELECT TO {FINDER} USING (expires_at <= now())",
        f"GRANT SELECT (tenant, expires_at) ON usage_batch TO {FINDER}",
    ):
        op.execute(statement)
