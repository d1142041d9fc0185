"""Windows know the whole period that they are a part of, and why they could not be counted again."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in (
        sa.Column("whole_start", sa.DateTime(timezone=True), nullable=True),
        sa.Column("whole_end", sa.DateTime(timezone=True), nullable=True),
        sa.Column("recount_refusal", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
    ):
        op.add_column("usage_window", column)
