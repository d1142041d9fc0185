"""What plans let customers do, and money off: features, coupons, who redeemed which, and who there is to redeem."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from libs.common.access.tenancy import protect

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("product", sa.Column("tax_category", sa.Text(), nullable=True))
    op.add_column("product", sa.Column("gtin", sa.Text(), nullable=True))
    op.create_index(
        "ix_product_tenant_gtin",
        "product",
        ["tenant", "gtin"],
        unique=False,
        postgresql_where=sa.text("gtin IS NOT NULL"),
    )
    _create_features()
    _create_coupons()
    _create_redemptions()
    _create_known()
    for statement in (
        *protect("feature", writes="SELECT, INSERT, UPDATE"),
        *protect("coupon", writes="SELECT, INSERT, UPDATE"),
        *protect("coupon_customer", writes="SELECT, INSERT, UPDATE"),
        *protect("coupon_redemption", writes="SELECT, INSERT, UPDATE"),
        *protect("known_customer", writes="SELECT, INSERT"),
        *protect("known_subscription", writes="SELECT, INSERT"),
    ):
        op.execute(statement)


def _create_features() -> None:
    op.create_table(
        "feature",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("meter", sa.Text(), nullable=True),
        sa.Column("unit", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind IN ('switch', 'limit', 'metered')", name=op.f("ck_feature_kind")),
        sa.CheckConstraint("(kind = 'metered') = (meter IS NOT NULL)", name=op.f("ck_feature_meter")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feature")),
        sa.UniqueConstraint("tenant", "code", name=op.f("uq_feature_tenant_code")),
    )
    op.create_index(
        "ix_feature_tenant_created_at_id", "feature", ["tenant", "created_at", "id"], unique=False
    )


def _create_coupons() -> None:
    op.create_table(
        "coupon",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("percent", sa.Numeric(), nullable=True),
        sa.Column("amount_minor", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.CHAR(length=3), nullable=True),
        sa.Column("duration", sa.Text(), nullable=False),
        sa.Column("periods", sa.Integer(), nullable=True),
        sa.Column("product_ids", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("plan_codes", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("stacking_order", sa.Integer(), nullable=False),
        sa.Column("redemptions_max", sa.Integer(), nullable=True),
        sa.Column("redemptions_per_customer_max", sa.Integer(), nullable=True),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=True),
        sa.Column("valid_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("redeemed_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(percent IS NULL) <> (amount_minor IS NULL)", name=op.f("ck_coupon_value")),
        sa.CheckConstraint("percent > 0 AND percent <= 100", name=op.f("ck_coupon_percent")),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_coupon_amount_minor")),
        sa.CheckConstraint("(amount_minor IS NULL) = (currency IS NULL)", name=op.f("ck_coupon_currency")),
        sa.CheckConstraint("duration IN ('once', 'periods', 'forever')", name=op.f("ck_coupon_duration")),
        sa.CheckConstraint(
            "(duration = 'periods') = (periods IS NOT NULL) AND periods > 0", name=op.f("ck_coupon_periods")
        ),
        sa.CheckConstraint("valid_until > valid_from", name=op.f("ck_coupon_validity")),
        sa.CheckConstraint("redemptions_per_customer_max > 0", name=op.f("ck_coupon_customer_limit")),
        sa.CheckConstraint("redeemed_count >= 0", name=op.f("ck_coupon_redeemed_count")),
        sa.CheckConstraint(
            "redemptions_max > 0 AND redeemed_count <= redemptions_max", name=op.f("ck_coupon_limit")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_coupon")),
        sa.UniqueConstraint("tenant", "code", name=op.f("uq_coupon_tenant_code")),
    )
    op.create_index("ix_coupon_tenant_created_at_id", "coupon", ["tenant", "created_at", "id"], unique=False)


def _create_redemptions() -> None:
    op.create_table(
        "coupon_customer",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("coupon_id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("redeemed_count", sa.Integer(), nullable=False),
        sa.CheckConstraint("redeemed_count >= 0", name=op.f("ck_coupon_customer_redeemed_count")),
        sa.ForeignKeyConstraint(
            ["coupon_id"], ["coupon.id"], name=op.f("fk_coupon_customer_coupon_id_coupon")
        ),
        sa.PrimaryKeyConstraint("coupon_id", "customer_id", name=op.f("pk_coupon_customer")),
    )
    op.create_table(
        "coupon_redemption",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("coupon_id", sa.Text(), nullable=False),
        sa.Column("coupon_version", sa.Integer(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("subscription_id", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("redeemed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["coupon_id"], ["coupon.id"], name=op.f("fk_coupon_redemption_coupon_id_coupon")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_coupon_redemption")),
    )
    for columns in (["tenant"], ["coupon_id"], ["tenant", "customer_id"]):
        op.create_index(
            f"ix_coupon_redemption_{'_'.join(columns)}_redeemed_at_id",
            "coupon_redemption",
            [*columns, "redeemed_at", "id"],
            unique=False,
        )


def _create_known() -> None:
    op.create_table(
        "known_customer",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_known_customer")),
    )
    op.create_table(
        "known_subscription",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("clock_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_known_subscription")),
    )
