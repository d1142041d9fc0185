"""What the plan wants done with usage that changed after it was billed, and whether it is to be billed at all."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Corrections that are there came when all were to be billed."""
    for column in (
        sa.Column("policy", sa.Text(), server_default="next_invoice", nullable=False),
        sa.Column("is_billable", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("billable_revision", sa.Integer(), server_default=sa.text("0"), nullable=False),
    ):
        op.add_column("corrected_window", column)
    op.execute("UPDATE corrected_window SET billable_revision = revision")
