"""Events that the bus refused say so; what was handled can be heard again."""

from alembic import op

from libs.common.persistence.shared_migrations import second

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for statement in second():
        op.execute(statement)
