"""Seals of closed windows: digests over the events behind their totals."""

import sqlalchemy as sa
from alembic import op

from libs.common.access.tenancy import let_finder_claim, protect

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# As before; what is to be sealed is read once more, so that it is kept as well.
KEEP_USAGE_FROM = """
CREATE OR REPLACE FUNCTION keep_usage_from(wanted timestamptz) RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found timestamptz;
BEGIN
    SELECT date_trunc('month', least(wanted, now(), min(w.window_start)), 'UTC') INTO found
    FROM public.usage_window w
    WHERE w.state <> 'closed' OR EXISTS (SELECT FROM public.late_usage l WHERE l.window_id = w.id)
       OR EXISTS (SELECT FROM public.usage_seal_note n WHERE n.window_id = w.id);
    INSERT INTO public.usage_kept AS k (id, kept_from, noted_at) VALUES (1, found, clock_timestamp())
    ON CONFLICT (id) DO UPDATE SET kept_from = excluded.kept_from, noted_at = excluded.noted_at
    WHERE k.kept_from < excluded.kept_from;
    RETURN found;
END $$
"""
# Windows that closed before there were seals.
SEAL_WHAT_IS_CLOSED = """
INSERT INTO usage_seal_note (id, tenant, window_id, due_at, clock_id, traceparent)
SELECT 'useal_' || replace(gen_random_uuid()::text, '-', ''), tenant, id, window_end, clock_id, traceparent
FROM usage_window WHERE state = 'closed'
"""


def upgrade() -> None:
    op.create_table(
        "usage_seal_note",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("window_id", sa.Text(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("clock_id", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("retry_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_seal_note")),
    )
    op.create_index(
        "ix_usage_seal_note_tenant_window_id", "usage_seal_note", ["tenant", "window_id"], unique=False
    )
    op.create_table(
        "usage_digest",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("window_id", sa.Text(), nullable=False),
        sa.Column("seal", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("price_id", sa.Text(), nullable=True),
        sa.Column("meter", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Numeric(), nullable=False),
        sa.Column("event_count", sa.BigInteger(), nullable=False),
        sa.Column("leaf_count", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("chunks", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_digest")),
    )
    op.create_index(
        "ix_usage_digest_tenant_window_id", "usage_digest", ["tenant", "window_id", "seal"], unique=False
    )
    for statement in (
        *protect("usage_seal_note", writes="SELECT, INSERT, UPDATE, DELETE"),
        *let_finder_claim("usage_seal_note", extra_columns=("attempts",)),
        *protect("usage_digest", writes="SELECT, INSERT"),
        KEEP_USAGE_FROM,
        SEAL_WHAT_IS_CLOSED,
    ):
        op.execute(statement)
