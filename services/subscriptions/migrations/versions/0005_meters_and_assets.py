"""Meters that metering has defined, balances of every kind of them, and the things that subjects are built into."""

import sqlalchemy as sa
from alembic import op

from libs.common.access.tenancy import protect

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

AGGREGATIONS = "'count', 'sum', 'min', 'max', 'average', 'latest', 'unique', 'time_weighted', 'peak'"


def upgrade() -> None:
    op.drop_constraint(op.f("ck_usage_balance_aggregation"), "usage_balance")
    op.create_check_constraint(
        op.f("ck_usage_balance_aggregation"), "usage_balance", f"aggregation IN ({AGGREGATIONS})"
    )
    op.add_column("subject_binding", sa.Column("asset_id", sa.Text(), nullable=True))
    op.create_index(
        "ix_subject_binding_tenant_asset_id",
        "subject_binding",
        ["tenant", "asset_id", "created_at", "id"],
        unique=False,
        postgresql_where=sa.text("asset_id IS NOT NULL"),
    )
    op.create_table(
        "known_meter",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("aggregation", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "code", name=op.f("pk_known_meter")),
    )
    for statement in protect("known_meter", writes="SELECT, INSERT, UPDATE"):
        op.execute(statement)
