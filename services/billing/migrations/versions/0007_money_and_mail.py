"""Money in and out, mail, and what documents say of whom they come from."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

JSONB = postgresql.JSONB(astext_type=sa.Text())


def upgrade() -> None:
    contact_details()


def contact_details() -> None:
    op.add_column("seller", sa.Column("details", JSONB))
    op.add_column("billing_profile", sa.Column("delivery", JSONB))
    op.add_column("customer", sa.Column("locale", sa.Text()))
