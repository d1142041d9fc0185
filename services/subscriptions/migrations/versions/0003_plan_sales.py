"""Plan versions are sold within bounds, and some no longer: who agrees anew is told."""

import sqlalchemy as sa
from alembic import op

from libs.common.access.tenancy import protect

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("valid_from", "valid_until"):
        op.add_column("known_plan", sa.Column(name, sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "plan_sale",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "state IN ('published', 'withdrawn', 'archived')", name=op.f("ck_plan_sale_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plan_sale")),
    )
    for statement in protect("plan_sale", writes="SELECT, INSERT, UPDATE"):
        op.execute(statement)
