"""Prices of every kind: their terms as one document; several currencies; bounds and stops of what is on sale.

What was published before says the same afterwards, down to its digest.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from libs.common.access.tenancy import protect

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# Numbers become text as PostgreSQL writes them: every digit, no exponent.
PRICES_AS_DOCUMENTS = """
    UPDATE price SET
        currency = (SELECT currency FROM plan_version WHERE plan_version.id = price.plan_version_id),
        terms = jsonb_build_object(
            'description', description,
            'timing', timing,
            'model', model,
            'unit_amount', unit_amount::text,
            'tiers', tiers,
            'package_size', package_size::text,
            'included_quantity', included_quantity::text,
            'unit', unit,
            'proration', proration
        )
"""
# Drafts stay as they are but for the interval, which was two fields, and the currency, which is each price's now.
DRAFTS_AS_DOCUMENTS = """
    UPDATE plan SET draft = draft - 'interval_unit' - 'interval_count' || jsonb_build_object(
        'interval', jsonb_build_object('unit', draft -> 'interval_unit', 'count', draft -> 'interval_count'),
        'prices', coalesce(
            (SELECT jsonb_agg(price || jsonb_build_object('currency', draft -> 'currency') ORDER BY position)
             FROM jsonb_array_elements(draft -> 'prices') WITH ORDINALITY AS priced (price, position)),
            '[]'
        )
    )
"""
MOVED = (
    "description",
    "timing",
    "model",
    "unit_amount",
    "tiers",
    "package_size",
    "included_quantity",
    "unit",
    "proration",
)


def upgrade() -> None:
    _widen_plans()
    _widen_prices()
    _create_overlays()
    for statement in protect("plan_overlay", writes="SELECT, INSERT, UPDATE"):
        op.execute(statement)


def _widen_plans() -> None:
    document = postgresql.JSONB(astext_type=sa.Text())
    op.add_column("plan", sa.Column("off_sale", document, server_default="{}", nullable=False))
    op.alter_column("plan", "off_sale", server_default=None)
    op.execute(DRAFTS_AS_DOCUMENTS)
    op.add_column("plan_version", sa.Column("terms", document, server_default="{}", nullable=False))
    op.alter_column("plan_version", "terms", server_default=None)
    for name in ("valid_from", "valid_until"):
        op.add_column("plan_version", sa.Column(name, sa.DateTime(timezone=True), nullable=True))
    op.create_check_constraint(op.f("ck_plan_version_validity"), "plan_version", "valid_until > valid_from")


def _widen_prices() -> None:
    """Even the owner may not change a price: the trigger steps aside for this one statement, as nobody else can."""
    op.add_column("price", sa.Column("currency", sa.CHAR(length=3), nullable=True))
    op.add_column("price", sa.Column("terms", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.execute("ALTER TABLE price DISABLE TRIGGER no_change")
    op.execute(PRICES_AS_DOCUMENTS)
    op.execute("ALTER TABLE price ENABLE TRIGGER no_change")
    op.alter_column("price", "currency", nullable=False)
    op.alter_column("price", "terms", nullable=False)
    op.drop_constraint(op.f("ck_price_unit_amount"), "price")
    op.drop_constraint(op.f("ck_price_included_quantity"), "price")
    op.drop_constraint(op.f("uq_price_tenant_plan_version_id_code"), "price")
    for name in MOVED:
        op.drop_column("price", name)
    op.create_unique_constraint(
        op.f("uq_price_tenant_plan_version_id_code_currency"),
        "price",
        ["tenant", "plan_version_id", "code", "currency"],
    )


def _create_overlays() -> None:
    document = postgresql.JSONB(astext_type=sa.Text())
    op.create_table(
        "plan_overlay",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("plan_id", sa.Text(), nullable=False),
        sa.Column("plan_version_id", sa.Text(), nullable=False),
        sa.Column("overrides", document, nullable=False),
        sa.Column("term", document, nullable=True),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["plan_version_id"],
            ["plan_version.id"],
            name=op.f("fk_plan_overlay_plan_version_id_plan_version"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plan_overlay")),
    )
    for columns in (["tenant"], ["tenant", "customer_id"]):
        op.create_index(
            f"ix_plan_overlay_{'_'.join(columns)}_created_at_id",
            "plan_overlay",
            [*columns, "created_at", "id"],
            unique=False,
        )
    op.create_index(
        "uq_plan_overlay_one_at_a_time",
        "plan_overlay",
        ["tenant", "customer_id", "plan_version_id"],
        unique=True,
        postgresql_where=sa.text("withdrawn_at IS NULL"),
    )
