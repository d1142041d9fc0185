"""What is measured when, by the newest terms of a period; and what was said last of the usage under way."""

import sqlalchemy as sa
from alembic import op

from libs.common.access.tenancy import APP, let_finder_claim, protect

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


# Runs as its owner, since a process that begins knows no tenants: it changes when balances are said, of all of them,
# and nothing that is said. They are said within five minutes, so that what is used meanwhile need not wait for them.
NOTE_ALL = """
CREATE FUNCTION note_all_usage_balances() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE public.usage_balance SET due_at = statement_timestamp() + random() * interval '5 minutes'
    WHERE due_at IS NULL
$$
"""


def upgrade() -> None:
    op.add_column(
        "usage_window", sa.Column("terms_version", sa.Integer(), server_default=sa.text("0"), nullable=False)
    )
    op.create_table(
        "usage_balance",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("window_id", sa.Text(), nullable=True),
        sa.Column("quantity", sa.Numeric(), nullable=True),
        sa.Column("said_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("clock_id", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("retry_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_balance")),
    )
    for statement in (
        *protect("usage_balance", writes="SELECT, INSERT, UPDATE"),
        *let_finder_claim("usage_balance", extra_columns=("attempts",)),
        "ALTER TABLE usage_balance SET (fillfactor = 80)",
        NOTE_ALL,
        "REVOKE ALL ON FUNCTION note_all_usage_balances() FROM PUBLIC",
        f"GRANT EXECUTE ON FUNCTION note_all_usage_balances() TO {APP}",
    ):
        op.execute(statement)
