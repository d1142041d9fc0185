"""Documents in full: settled lines, drafts that wait, documents about no subscription or about several."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from libs.common.access.tenancy import APP, let_finder_claim, protect

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

JSONB = postgresql.JSONB(astext_type=sa.Text())
NO_THINGS = sa.text("'[]'")
ZERO = sa.text("0")

# What an issued document was when it was issued, it stays. What became of it may change.
INVOICE_IS_FINAL = """
CREATE OR REPLACE FUNCTION invoice_is_final() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    standing text[] := ARRAY['status', 'status_reason', 'paid_minor', 'paid_at', 'credited_minor', 'voided_at', 'version',
                             'due_at', 'attempts', 'retry_at', 'last_error'];
BEGIN
    IF to_jsonb(OLD) - standing <> to_jsonb(NEW) - standing OR NEW.status IN ('draft', 'skipped', 'gathered') THEN
        RAISE EXCEPTION 'invoice % is issued and cannot change', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$
"""
INVOICE_IS_CHECKED = """
CREATE TRIGGER invoice_is_final BEFORE UPDATE ON invoice FOR EACH ROW
    WHEN (OLD.status NOT IN ('draft', 'skipped', 'gathered')) EXECUTE FUNCTION invoice_is_final()
"""


def upgrade() -> None:
    settled_documents()
    billing_profiles()
    manual_lines()
    numbers_and_terms()
    tax_rates()
    dated_postings()
    window_digests()
    corrections()
    billing_runs()
    what_corrects_documents()
    coupons_and_credits()


def settled_documents() -> None:
    """What was issued so far was net of tax, without discounts, and about one subscription."""
    for table, columns in _NEW_COLUMNS.items():
        for column in columns:
            op.add_column(table, column)
    op.execute("DROP TRIGGER invoice_is_final ON invoice")
    op.execute("UPDATE invoice SET group_id = subscription_id, subtotal_minor = net_minor")
    op.execute("UPDATE invoice_line SET amount_minor = net_minor")
    op.execute(
        """UPDATE invoice_line SET subscription_id = charge.subscription_id, item_id = charge.item_id,
                  price_id = charge.price_id, product_id = nullif(charge.price->>'product_id', '')
           FROM charge WHERE charge.id = invoice_line.charge_id"""
    )
    for table, name in (
        ("invoice", "group_id"),
        ("invoice", "subtotal_minor"),
        ("invoice_line", "amount_minor"),
    ):
        op.alter_column(table, name, nullable=False)
    op.alter_column("invoice", "subscription_id", nullable=True)
    op.alter_column("invoice_line", "charge_id", nullable=True)
    op.drop_constraint("uq_invoice_document", "invoice")
    op.create_unique_constraint(
        "uq_invoice_document", "invoice", ["tenant", "group_id", "boundary_at", "document_kind", "issue"]
    )
    for name, rule in _INVOICE_RULES.items():
        if name != "gathered_somewhere":
            op.drop_constraint(op.f(f"ck_invoice_{name}"), "invoice")
        op.create_check_constraint(op.f(f"ck_invoice_{name}"), "invoice", rule)
    op.create_check_constraint(
        op.f("ck_invoice_line_from_somewhere"),
        "invoice_line",
        "(charge_id IS NULL) = (manual_line_id IS NOT NULL)",
    )
    op.execute(INVOICE_IS_FINAL)
    op.execute(INVOICE_IS_CHECKED)


_NEW_COLUMNS: dict[str, tuple[sa.Column[Any], ...]] = {
    "seller": (
        sa.Column("tax_rounding", sa.Text(), server_default="group", nullable=False),
        sa.Column("registrations", JSONB, server_default=NO_THINGS, nullable=False),
        sa.Column("number_reset", sa.Text(), server_default="never", nullable=False),
        sa.Column("credit_note_prefix", sa.Text(), nullable=True),
        sa.Column("due_day_rule", sa.Text(), server_default="calendar", nullable=False),
        sa.Column("draft_grace_hours", sa.Integer(), server_default=ZERO, nullable=False),
        sa.Column("zero_invoices", sa.Text(), server_default="skip", nullable=False),
        sa.Column("footer", sa.Text(), nullable=True),
    ),
    "charge": (sa.Column("plan_code", sa.Text(), nullable=True),),
    "invoice": (
        sa.Column("group_id", sa.Text(), nullable=True),
        sa.Column("subtotal_minor", sa.BigInteger(), nullable=True),
        sa.Column("prepaid_minor", sa.BigInteger(), server_default=ZERO, nullable=False),
        sa.Column("discount_minor", sa.BigInteger(), server_default=ZERO, nullable=False),
        sa.Column("credits_applied_minor", sa.BigInteger(), server_default=ZERO, nullable=False),
        sa.Column("credited_minor", sa.BigInteger(), server_default=ZERO, nullable=False),
        sa.Column("taxes", JSONB, server_default=NO_THINGS, nullable=False),
        sa.Column("discounts", JSONB, server_default=NO_THINGS, nullable=False),
        sa.Column("subscription_ids", JSONB, server_default=NO_THINGS, nullable=False),
        sa.Column("profile", JSONB, nullable=True),
        sa.Column("notes", sa.Text(), nullable=True),
        sa.Column("purchase_order", sa.Text(), nullable=True),
        sa.Column("buyer_reference", sa.Text(), nullable=True),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("draft_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("held_for", sa.Text(), nullable=True),
        sa.Column("gathered_into", sa.Text(), nullable=True),
        sa.Column("replaces_id", sa.Text(), nullable=True),
        sa.Column("voided_at", sa.DateTime(timezone=True), nullable=True),
    ),
    "invoice_line": (
        sa.Column("amount_minor", sa.BigInteger(), nullable=True),
        sa.Column("prepaid_minor", sa.BigInteger(), server_default=ZERO, nullable=False),
        sa.Column("discount_minor", sa.BigInteger(), server_default=ZERO, nullable=False),
        sa.Column("line_tax_minor", sa.BigInteger(), nullable=True),
        sa.Column("tax_category", sa.Text(), server_default="S", nullable=False),
        sa.Column("tax_percent", sa.Numeric(), server_default=ZERO, nullable=False),
        sa.Column("tax_reason_code", sa.Text(), nullable=True),
        sa.Column("tax_reason", sa.Text(), nullable=True),
        sa.Column("tax_behavior", sa.Text(), server_default="exclusive", nullable=False),
        sa.Column("product_tax_category", sa.Text(), nullable=True),
        sa.Column("subscription_id", sa.Text(), nullable=True),
        sa.Column("item_id", sa.Text(), nullable=True),
        sa.Column("price_id", sa.Text(), nullable=True),
        sa.Column("product_id", sa.Text(), nullable=True),
        sa.Column("plan_code", sa.Text(), nullable=True),
        sa.Column("corrects_line_id", sa.Text(), nullable=True),
        sa.Column("manual_line_id", sa.Text(), nullable=True),
    ),
}

_INVOICE_RULES = {
    "numbered_once_final": "(status IN ('draft', 'skipped', 'gathered')) = (number IS NULL)",
    "paid_within_total": "paid_minor >= 0 AND credited_minor >= 0 AND paid_minor + credited_minor <= "
    "greatest(total_minor - credits_applied_minor - balance_applied_minor, 0)",
    "paid_in_full": "status <> 'paid' OR "
    "paid_minor + credited_minor + credits_applied_minor + balance_applied_minor = total_minor",
    "balance_within_total": "credits_applied_minor BETWEEN 0 AND greatest(total_minor, 0) AND "
    "balance_applied_minor BETWEEN least(total_minor, 0) AND greatest(total_minor - credits_applied_minor, 0)",
    "gathered_somewhere": "(status = 'gathered') = (gathered_into IS NOT NULL)",
}


def billing_profiles() -> None:
    op.create_table(
        "billing_profile",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("seller_id", sa.Text(), nullable=True),
        sa.Column("gathers", sa.Boolean(), nullable=False),
        sa.Column("purchase_order", sa.Text(), nullable=True),
        sa.Column("buyer_reference", sa.Text(), nullable=True),
        sa.Column("notes", sa.Text(), nullable=True),
        sa.Column("tax_status", sa.Text(), nullable=False),
        sa.Column("tax_exemption_reason", sa.Text(), nullable=True),
        sa.Column("is_business", sa.Boolean(), nullable=True),
        sa.Column("draft_grace_hours", sa.Integer(), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_billing_profile")),
    )
    op.create_index("ix_billing_profile_tenant_created_at", "billing_profile", ["tenant", "created_at", "id"])
    for statement in protect("billing_profile", writes="SELECT, INSERT, UPDATE"):
        op.execute(statement)


def manual_lines() -> None:
    op.create_table(
        "manual_line",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("invoice_id", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Numeric(), nullable=False),
        sa.Column("unit_amount", sa.Numeric(), nullable=False),
        sa.Column("currency", sa.CHAR(length=3), nullable=False),
        sa.Column("tax_category", sa.Text(), nullable=True),
        sa.Column("tax_behavior", sa.Text(), nullable=False),
        sa.Column("product_id", sa.Text(), nullable=True),
        sa.Column("subscription_id", sa.Text(), nullable=True),
        sa.Column("service_start_on", sa.Date(), nullable=True),
        sa.Column("service_end_on", sa.Date(), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_manual_line")),
    )
    op.create_index("ix_manual_line_invoice_id", "manual_line", ["tenant", "invoice_id"])
    for statement in protect("manual_line", writes="SELECT, INSERT, UPDATE, DELETE"):
        op.execute(statement)


def numbers_and_terms() -> None:
    """A count belongs to what stands before the ordinal; so far a seller's prefix could not change."""
    op.add_column("number_series", sa.Column("head", sa.Text(), nullable=True))
    op.execute(
        """UPDATE number_series SET head = seller.number_prefix FROM seller
           WHERE seller.id = number_series.seller_id"""
    )
    op.alter_column("number_series", "head", nullable=False)
    op.drop_constraint(op.f("pk_number_series"), "number_series")
    op.create_primary_key(op.f("pk_number_series"), "number_series", ["seller_id", "series", "head"])
    op.add_column(
        "seller", sa.Column("payment_terms_from", sa.Text(), server_default="issue", nullable=False)
    )
    for name in ("deposit_prefix", "compensation_prefix"):
        op.add_column("seller", sa.Column(name, sa.Text(), nullable=True))
    op.add_column("manual_line", sa.Column("purpose", sa.Text(), server_default="sale", nullable=False))
    op.add_column("invoice", sa.Column("payment_terms", JSONB, nullable=True))
    op.add_column("customer", sa.Column("zone", sa.Text(), nullable=True))
    op.create_index("ix_invoice_subscription", "invoice", ["tenant", "subscription_id"])
    op.create_index(
        "ix_invoice_subscription_ids",
        "invoice",
        ["subscription_ids"],
        postgresql_using="gin",
        postgresql_where=sa.text("subscription_ids <> '[]'::jsonb"),
    )
    op.create_index(
        "uq_invoice_external_id",
        "invoice",
        ["tenant", "external_id"],
        unique=True,
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )


def tax_rates() -> None:
    """Those that a business keeps itself: written once."""
    op.create_table(
        "tax_rate",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("country", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("percent", sa.Numeric(), nullable=True),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tax_rate")),
    )
    op.create_index("ix_tax_rate_tenant_created_at", "tax_rate", ["tenant", "created_at", "id"])
    for statement in protect("tax_rate", writes="SELECT, INSERT"):
        op.execute(statement)


# A posting is inserted in one statement and begins with its first entry, so that its key cannot be used again.
LEDGER_BALANCES = """
CREATE OR REPLACE FUNCTION ledger_balances() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM inserted GROUP BY tenant, posting_key, currency HAVING sum(amount_minor) <> 0) THEN
        RAISE EXCEPTION 'a posting does not sum to zero' USING ERRCODE = 'check_violation';
    END IF;
    IF EXISTS (SELECT FROM inserted GROUP BY tenant, posting_key HAVING min(ordinal) <> 0) THEN
        RAISE EXCEPTION 'a posting does not begin with its first entry' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$
"""

# What was posted as still to be delivered is earned month by month, by days: each month's exact share is floored, and the
# minor units that are missing go to the largest remainders, ties to the first month.
WHAT_WAS_STILL_TO_BE_EARNED = """
WITH ahead AS (
    SELECT i.tenant, i.id, i.zone, i.issued_at, l.id AS line_id, l.currency, l.net_minor, l.service_start_on AS starts_on,
           greatest(l.service_end_on, l.service_start_on + 1) AS ends_on
    FROM invoice_line l JOIN invoice i ON i.id = l.invoice_id
    WHERE i.issued_at IS NOT NULL AND l.service_start_on >= (i.issued_at AT TIME ZONE i.zone)::date
), parts AS (
    SELECT ahead.*, month::date AS month_on, least(ends_on, (month + interval '1 month')::date) AS until,
           net_minor::numeric * (least(ends_on, (month + interval '1 month')::date) - greatest(starts_on, month::date))
               AS weighed, ends_on - starts_on AS days
    FROM ahead, generate_series(date_trunc('month', starts_on::timestamp),
                                date_trunc('month', (ends_on - 1)::timestamp), interval '1 month') AS month
), floored AS (
    SELECT parts.*, div(weighed - mod(mod(weighed, days) + days, days), days) AS floor_minor,
           mod(mod(weighed, days) + days, days) AS remainder
    FROM parts
), ranked AS (
    SELECT floored.*, net_minor - sum(floor_minor) OVER (PARTITION BY line_id) AS missing,
           row_number() OVER (PARTITION BY line_id ORDER BY remainder DESC, month_on) AS rank
    FROM floored
), months AS (
    SELECT tenant, id, zone, issued_at, currency, month_on, max(until) AS until,
           sum(floor_minor + CASE WHEN rank <= missing THEN 1 ELSE 0 END)::bigint AS earned_minor
    FROM ranked GROUP BY tenant, id, zone, issued_at, currency, month_on
)
INSERT INTO ledger_entry (tenant, posting_key, ordinal, account, amount_minor, currency, posted_at, posted_on, invoice_id)
SELECT tenant, 'invoice:' || id || '\\:earned:' || to_char(month_on, 'YYYY-MM'), ordinal, account, side * earned_minor,
       currency, greatest(until::timestamp AT TIME ZONE zone - interval '1 second', issued_at), until - 1, id
FROM months, (VALUES (0, 'contract_liability', 1), (1, 'revenue', -1)) AS entry (ordinal, account, side)
WHERE earned_minor <> 0
"""


def dated_postings() -> None:
    """Each set stands in the books of a date. What earlier releases left to be earned is posted now, as it falls due."""
    op.add_column("ledger_entry", sa.Column("posted_on", sa.Date(), nullable=True))
    op.add_column("ledger_entry", sa.Column("source_id", sa.Text(), nullable=True))
    op.execute(
        """UPDATE ledger_entry SET posted_on = (ledger_entry.posted_at AT TIME ZONE coalesce(i.zone, 'UTC'))::date
           FROM ledger_entry e LEFT JOIN invoice i ON i.id = e.invoice_id
           WHERE (e.posting_key, e.ordinal) = (ledger_entry.posting_key, ledger_entry.ordinal)"""
    )
    op.execute(WHAT_WAS_STILL_TO_BE_EARNED)
    op.alter_column("ledger_entry", "posted_on", nullable=False)
    op.create_index("ix_ledger_entry_account", "ledger_entry", ["tenant", "account", "posted_at"])
    op.add_column("invoice_line", sa.Column("earned_until", sa.Date(), nullable=True))
    op.add_column("invoice_line", sa.Column("income", sa.Text(), server_default="revenue", nullable=False))
    op.execute(
        """UPDATE invoice_line SET earned_until = invoice_line.service_end_on FROM invoice i
           WHERE i.id = invoice_line.invoice_id
             AND invoice_line.service_start_on >= (i.issued_at AT TIME ZONE i.zone)::date"""
    )
    op.execute(LEDGER_BALANCES)


def window_digests() -> None:
    """What seals the usage behind invoices; of windows that closed before, metering says it after its own upgrade."""
    op.create_table(
        "window_digest",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("window_id", sa.Text(), nullable=False),
        sa.Column("subscription_id", sa.Text(), nullable=False),
        sa.Column("period_index", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("seal", sa.Integer(), nullable=False),
        sa.Column("digests", JSONB, nullable=False),
        sa.Column("sealed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_window_digest")),
    )
    op.create_index("ix_window_digest_tenant_window_id", "window_digest", ["tenant", "window_id", "seal"])
    for statement in protect("window_digest", writes="SELECT, INSERT"):
        op.execute(statement)


def billing_runs() -> None:
    """Gathered invoices, billing runs and spend thresholds. The next boundary of agreements is known from their next event on."""
    op.add_column("agreement", sa.Column("payer_id", sa.Text(), nullable=True))
    op.add_column("agreement", sa.Column("next_boundary_at", sa.DateTime(timezone=True), nullable=True))
    op.execute(
        "UPDATE agreement SET payer_id = coalesce(snapshot->'payer'->>'id', customer_id) WHERE payer_id IS NULL"
    )
    op.create_index(
        "ix_agreement_next_boundary",
        "agreement",
        ["tenant", "payer_id", "next_boundary_at"],
        postgresql_where=sa.text("next_boundary_at IS NOT NULL"),
    )
    op.create_index(
        "ix_invoice_draft",
        "invoice",
        ["tenant", "customer_id", "boundary_at"],
        postgresql_where=sa.text("status = 'draft'"),
    )
    op.create_table(
        "billing_run_settings",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("run_limit_multiple", sa.Numeric(), nullable=True),
        sa.Column("requires_run", sa.Boolean(), nullable=False),
        sa.Column("gathering_hours", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_billing_run_settings")),
    )
    op.create_table(
        "billing_run",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("is_dry", sa.Boolean(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("is_gathered", sa.Boolean(), nullable=False),
        sa.Column("invoice_count", sa.Integer(), nullable=False),
        sa.Column("totals", JSONB, nullable=False),
        sa.Column("exceeded", JSONB, nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        *_due_columns(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_billing_run")),
    )
    op.create_index("ix_billing_run_tenant_created_at", "billing_run", ["tenant", "created_at", "id"])
    op.create_index(
        "ix_billing_run_finished",
        "billing_run",
        ["tenant", "finished_at"],
        postgresql_where=sa.text("state = 'finished'"),
    )
    op.create_table(
        "billing_run_document",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("invoice_id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("currency", sa.CHAR(length=3), nullable=False),
        sa.Column("is_dry", sa.Boolean(), nullable=False),
        sa.Column("holds", sa.Boolean(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("total_minor", sa.BigInteger(), nullable=True),
        sa.Column("line_count", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        *_due_columns(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_billing_run_document")),
        sa.CheckConstraint("NOT (holds AND is_dry)", name=op.f("ck_billing_run_document_dry_holds_nothing")),
    )
    op.create_index(
        "ix_billing_run_document_run", "billing_run_document", ["tenant", "run_id", "created_at", "id"]
    )
    op.create_index(
        "uq_billing_run_document_run", "billing_run_document", ["run_id", "invoice_id"], unique=True
    )
    op.create_index(
        "uq_billing_run_document_held",
        "billing_run_document",
        ["tenant", "invoice_id"],
        unique=True,
        postgresql_where=sa.text("holds"),
    )
    op.create_table(
        "spend_threshold",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.CHAR(length=3), nullable=True),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        *_due_columns(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_spend_threshold")),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_spend_threshold_above_zero")),
        sa.CheckConstraint(
            "(amount_minor IS NULL) = (currency IS NULL)",
            name=op.f("ck_spend_threshold_amount_has_currency"),
        ),
    )
    op.create_index("ix_spend_threshold_tenant_created_at", "spend_threshold", ["tenant", "created_at", "id"])
    for statement in (
        *protect("billing_run_settings", writes="SELECT, INSERT, UPDATE"),
        *protect("billing_run", writes="SELECT, INSERT, UPDATE"),
        *protect("billing_run_document", writes="SELECT, INSERT, UPDATE"),
        *protect("spend_threshold", writes="SELECT, INSERT, UPDATE"),
        *let_finder_claim("billing_run", extra_columns=("attempts",)),
        *let_finder_claim("billing_run_document", extra_columns=("attempts",)),
        *let_finder_claim("spend_threshold", extra_columns=("attempts",)),
    ):
        op.execute(statement)


def _due_columns() -> tuple[sa.Column[Any], ...]:
    """What a scheduler needs of a row."""
    return (
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("clock_id", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=ZERO, nullable=False),
        sa.Column("retry_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("traceparent", sa.Text(), nullable=True),
    )


def corrections() -> None:
    """What a charge corrects, and every correction of a window; so far the newest was kept, which stands for all before."""
    for column in (
        sa.Column("billed_before", JSONB, nullable=True),
        sa.Column("pools", JSONB, nullable=True),
        sa.Column("estimated_quantity", sa.Numeric(), nullable=True),
    ):
        op.add_column("charge", column)
    op.add_column("corrected_window", sa.Column("before", JSONB, nullable=True))
    op.add_column("corrected_window", sa.Column("corrected_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE corrected_window SET is_billable = billable_revision > 0")
    op.drop_column("corrected_window", "billable_revision")
    op.drop_constraint(op.f("pk_corrected_window"), "corrected_window")
    op.create_primary_key(op.f("pk_corrected_window"), "corrected_window", ["id", "revision"])
    op.create_index(
        "ix_corrected_window_subscription", "corrected_window", ["tenant", "subscription_id", "period_index"]
    )


# Notes are written by whoever holds the invoice locked. The lock is taken here as well, so that nobody who forgets it
# can credit the same thing at the same moment; what others wrote meanwhile is seen by the statements after it.
CREDITS_WITHIN_BILLED = """
CREATE FUNCTION credits_within_billed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM invoice i WHERE i.id IN (
        SELECT n.invoice_id FROM inserted l JOIN credit_note n ON n.id = l.credit_note_id
    ) ORDER BY i.id FOR UPDATE;
    IF EXISTS (
        SELECT FROM (SELECT tenant, credit_note_id, count(*) AS added, sum(net_minor) AS net_minor
                     FROM inserted GROUP BY tenant, credit_note_id) g
        LEFT JOIN credit_note n ON n.id = g.credit_note_id AND n.xmin = pg_current_xact_id()::xid
        CROSS JOIN LATERAL (SELECT count(*) AS present FROM credit_note_line l
                            WHERE l.tenant = g.tenant AND l.credit_note_id = g.credit_note_id) p
        WHERE n.id IS NULL OR g.net_minor <> n.net_minor OR g.added <> p.present
    ) THEN
        RAISE EXCEPTION 'lines do not come with their credit note' USING ERRCODE = 'check_violation';
    END IF;
    IF EXISTS (
        SELECT FROM (SELECT DISTINCT tenant, invoice_line_id FROM inserted) g
        LEFT JOIN invoice_line l ON l.id = g.invoice_line_id
        CROSS JOIN LATERAL (SELECT sum(c.net_minor) AS net_minor, sum(c.amount_minor) AS amount_minor
                            FROM credit_note_line c
                            WHERE c.tenant = g.tenant AND c.invoice_line_id = g.invoice_line_id) c
        WHERE l.id IS NULL OR c.net_minor NOT BETWEEN least(l.net_minor, 0) AND greatest(l.net_minor, 0)
           OR c.amount_minor NOT BETWEEN least(l.amount_minor, 0) AND greatest(l.amount_minor, 0)
    ) THEN
        RAISE EXCEPTION 'a credit exceeds what was billed on a line' USING ERRCODE = 'check_violation';
    END IF;
    IF EXISTS (
        SELECT FROM (SELECT DISTINCT n.tenant, n.invoice_id FROM inserted l
                     JOIN credit_note n ON n.id = l.credit_note_id) g
        LEFT JOIN invoice i ON i.id = g.invoice_id AND i.status IN ('finalized', 'paid')
        CROSS JOIN LATERAL (SELECT sum(n.total_minor) AS total_minor FROM credit_note n
                            WHERE n.tenant = g.tenant AND n.invoice_id = g.invoice_id) n
        WHERE i.id IS NULL OR n.total_minor > i.total_minor
    ) THEN
        RAISE EXCEPTION 'a credit exceeds what was billed' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$
"""
CREDITS_ARE_CHECKED = """
CREATE TRIGGER credits_within_billed AFTER INSERT ON credit_note_line REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION credits_within_billed()
"""
REFUNDS_WITHIN_PAID = """
CREATE FUNCTION refunds_within_paid() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM invoice i WHERE i.id IN (SELECT invoice_id FROM inserted) ORDER BY i.id FOR UPDATE;
    IF EXISTS (
        SELECT FROM (SELECT DISTINCT tenant, invoice_id FROM inserted WHERE invoice_id IS NOT NULL) g
        LEFT JOIN invoice i ON i.id = g.invoice_id
        CROSS JOIN LATERAL (SELECT sum(r.amount_minor) AS minor FROM refund r
                            WHERE r.tenant = g.tenant AND r.invoice_id = g.invoice_id) r
        WHERE i.id IS NULL OR r.minor > i.paid_minor
    ) THEN
        RAISE EXCEPTION 'a refund exceeds what was paid' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$
"""
REFUNDS_ARE_CHECKED = """
CREATE TRIGGER refunds_within_paid AFTER INSERT ON refund REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION refunds_within_paid()
"""


def what_corrects_documents() -> None:
    """Credit notes, refunds, deposits; and charges of documents that were voided, which wait for another."""
    op.add_column("charge", sa.Column("freed_from_id", sa.Text(), nullable=True))
    op.execute(f"GRANT UPDATE (freed_from_id) ON charge TO {APP}")
    op.add_column("customer_balance_entry", sa.Column("credit_note_id", sa.Text(), nullable=True))
    op.drop_index("uq_customer_balance_entry_invoice", "customer_balance_entry")
    op.create_index(
        "uq_customer_balance_entry_invoice",
        "customer_balance_entry",
        ["tenant", "invoice_id", "kind"],
        unique=True,
        postgresql_where=sa.text("invoice_id IS NOT NULL"),
    )
    credit_notes()
    refunds()
    deposits()


def credit_notes() -> None:
    op.create_table(
        "credit_note",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("invoice_id", sa.Text(), nullable=False),
        sa.Column("invoice_number", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("customer", JSONB, nullable=False),
        sa.Column("seller_id", sa.Text(), nullable=False),
        sa.Column("seller", JSONB, nullable=False),
        sa.Column("series", sa.Text(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("currency", sa.CHAR(length=3), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("net_minor", sa.BigInteger(), nullable=False),
        sa.Column("tax_minor", sa.BigInteger(), nullable=False),
        sa.Column("total_minor", sa.BigInteger(), nullable=False),
        sa.Column("to_invoice_minor", sa.BigInteger(), nullable=False),
        sa.Column("to_balance_minor", sa.BigInteger(), nullable=False),
        sa.Column("to_refund_minor", sa.BigInteger(), nullable=False),
        sa.Column("taxes", JSONB, nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("issued_on", sa.Date(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("clock_id", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "net_minor + tax_minor = total_minor AND total_minor > 0", name=op.f("ck_credit_note_adds_up")
        ),
        sa.CheckConstraint(
            "least(to_invoice_minor, to_balance_minor, to_refund_minor) >= 0 AND "
            "to_invoice_minor + to_balance_minor + to_refund_minor = total_minor",
            name=op.f("ck_credit_note_goes_somewhere"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_note")),
        sa.UniqueConstraint("tenant", "seller_id", "series", "number", name="uq_credit_note_number"),
    )
    op.create_index("ix_credit_note_invoice", "credit_note", ["tenant", "invoice_id"])
    op.create_index("ix_credit_note_tenant_created_at", "credit_note", ["tenant", "created_at", "id"])
    op.create_index("ix_credit_note_tenant_customer", "credit_note", ["tenant", "customer_id", "created_at"])
    op.create_table(
        "credit_note_line",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("credit_note_id", sa.Text(), nullable=False),
        sa.Column("invoice_line_id", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Numeric(), nullable=False),
        sa.Column("unit_amount", sa.Numeric(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("paid_minor", sa.BigInteger(), nullable=False),
        sa.Column("net_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.CHAR(length=3), nullable=False),
        sa.Column("tax_category", sa.Text(), nullable=False),
        sa.Column("tax_percent", sa.Numeric(), nullable=False),
        sa.Column("tax_behavior", sa.Text(), nullable=False),
        sa.Column("tax_reason_code", sa.Text(), nullable=True),
        sa.Column("tax_reason", sa.Text(), nullable=True),
        sa.Column("service_start_on", sa.Date(), nullable=False),
        sa.Column("service_end_on", sa.Date(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_note_line")),
        sa.UniqueConstraint("tenant", "credit_note_id", "ordinal", name="uq_credit_note_line_ordinal"),
    )
    op.create_index("ix_credit_note_line_invoice_line", "credit_note_line", ["tenant", "invoice_line_id"])
    for table in ("credit_note", "credit_note_line"):
        for statement in protect(table, writes="SELECT, INSERT"):
            op.execute(statement)
    op.execute(CREDITS_WITHIN_BILLED)
    op.execute(CREDITS_ARE_CHECKED)


def refunds() -> None:
    op.create_table(
        "refund",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.CHAR(length=3), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("credit_note_id", sa.Text(), nullable=True),
        sa.Column("invoice_id", sa.Text(), nullable=True),
        sa.Column("deposit_id", sa.Text(), nullable=True),
        sa.Column("clock_id", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_refund_of_something")),
        sa.CheckConstraint(
            "(deposit_id IS NULL) = (credit_note_id IS NOT NULL) AND "
            "(credit_note_id IS NULL) = (invoice_id IS NULL)",
            name=op.f("ck_refund_for_one_thing"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refund")),
    )
    op.create_index("ix_refund_tenant_created_at", "refund", ["tenant", "created_at", "id"])
    op.create_index("ix_refund_tenant_customer", "refund", ["tenant", "customer_id", "created_at"])
    op.create_index("ix_refund_invoice", "refund", ["tenant", "invoice_id"])
    op.create_index("ix_refund_deposit", "refund", ["tenant", "deposit_id"])
    for statement in protect("refund", writes="SELECT, INSERT"):
        op.execute(statement)
    op.execute(REFUNDS_WITHIN_PAID)
    op.execute(REFUNDS_ARE_CHECKED)


def deposits() -> None:
    op.create_table(
        "deposit",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("subscription_id", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("collected_minor", sa.BigInteger(), nullable=False),
        sa.Column("applied_minor", sa.BigInteger(), nullable=False),
        sa.Column("released_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.CHAR(length=3), nullable=False),
        sa.Column("set_off", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("invoice_id", sa.Text(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("clock_id", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("retry_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "amount_minor > 0 AND collected_minor BETWEEN 0 AND amount_minor AND applied_minor >= 0 "
            "AND released_minor >= 0 AND applied_minor + released_minor <= collected_minor",
            name=op.f("ck_deposit_within_amount"),
        ),
        sa.CheckConstraint(
            "(kind = 'collected') = (invoice_id IS NOT NULL)", name=op.f("ck_deposit_asked_for_by_document")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deposit")),
    )
    op.create_index("ix_deposit_tenant_created_at", "deposit", ["tenant", "created_at", "id"])
    op.create_index("ix_deposit_tenant_customer", "deposit", ["tenant", "customer_id", "created_at"])
    for statement in (
        *protect("deposit", writes="SELECT, INSERT, UPDATE"),
        *let_finder_claim("deposit", extra_columns=("attempts",)),
    ):
        op.execute(statement)


def coupons_and_credits() -> None:
    """What customers hold that lessens what they pay, and every use of it."""
    _coupon_redemptions()
    _wallets()
    _movements_of_wallets()
    for table, writes in (
        ("coupon_redemption", "SELECT, INSERT, UPDATE"),
        ("coupon_use", "SELECT, INSERT"),
        ("wallet", "SELECT, INSERT, UPDATE"),
        ("wallet_grant", "SELECT, INSERT, UPDATE"),
        ("wallet_entry", "SELECT, INSERT"),
        ("wallet_top_up", "SELECT, INSERT, UPDATE"),
    ):
        for statement in protect(table, writes=writes):
            op.execute(statement)
    for statement in let_finder_claim("wallet", extra_columns=("attempts",)):
        op.execute(statement)


def _columns(*told: str) -> list[sa.Column[Any]]:
    """`name type`, with a question mark where it may be null: `used_minor minor`, `unit text?`."""
    columns: list[sa.Column[Any]] = [sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False)]
    for each in told:
        name, kind = each.split()
        columns.append(sa.Column(name, _KINDS[kind.rstrip("?")], nullable=kind.endswith("?")))
    return columns


_KINDS: dict[str, Any] = {
    "text": sa.Text(),
    "integer": sa.Integer(),
    "minor": sa.BigInteger(),
    "number": sa.Numeric(),
    "currency": sa.CHAR(length=3),
    "instant": sa.DateTime(timezone=True),
    "json": JSONB,
}


def _recorded_at() -> sa.Column[Any]:
    return sa.Column(
        "recorded_at",
        sa.DateTime(timezone=True),
        server_default=sa.text("clock_timestamp()"),
        nullable=False,
    )


def _coupon_redemptions() -> None:
    op.create_table(
        "coupon_redemption",
        *_columns("id text", "customer_id text", "subscription_id text?", "coupon json?"),
        *_columns("redeemed_at instant?", "withdrawn_at instant?", "clock_id text?")[1:],
        *_columns("used_count integer", "used_minor minor", "periods json")[1:],
        sa.CheckConstraint(
            "used_count >= 0 AND used_minor >= 0", name=op.f("ck_coupon_redemption_used_not_below_zero")
        ),
        sa.CheckConstraint(
            "coupon IS NOT NULL OR withdrawn_at IS NOT NULL",
            name=op.f("ck_coupon_redemption_known_or_withdrawn"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_coupon_redemption")),
    )
    op.create_index("ix_coupon_redemption_customer", "coupon_redemption", ["tenant", "customer_id"])
    op.create_table(
        "coupon_use",
        *_columns("id text", "redemption_id text", "invoice_id text", "kind text", "amount_minor minor"),
        *_columns("currency currency", "parts json", "occurred_at instant")[1:],
        _recorded_at(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_coupon_use")),
        sa.UniqueConstraint("tenant", "redemption_id", "invoice_id", "kind", name="uq_coupon_use_document"),
    )
    op.create_index("ix_coupon_use_invoice", "coupon_use", ["tenant", "invoice_id"])


def _wallets() -> None:
    op.create_table(
        "wallet",
        *_columns("id text", "customer_id text", "name text", "currency currency", "unit text?"),
        *_columns("unit_amount number?", "tax_category text?", "zone text", "grants_on text")[1:],
        *_columns("top_up_threshold number?", "top_up_amount number?", "top_up_monthly_limit_minor minor?")[
            1:
        ],
        *_columns("top_up_priority integer", "top_up_days integer?", "balance number")[1:],
        *_columns("grant_count integer", "entry_count integer", "open_top_up_id text?")[1:],
        *_columns("top_up_after instant?")[1:],
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        *_columns("created_at instant", "due_at instant?", "clock_id text?")[1:],
        sa.Column("attempts", sa.Integer(), server_default=ZERO, nullable=False),
        *_columns("retry_at instant?", "last_error text?", "traceparent text?")[1:],
        sa.CheckConstraint("balance >= 0", name=op.f("ck_wallet_not_below_zero")),
        sa.CheckConstraint(
            "(top_up_threshold IS NULL) = (top_up_amount IS NULL)", name=op.f("ck_wallet_tops_up_by_rule")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wallet")),
    )
    op.create_index("ix_wallet_tenant_customer", "wallet", ["tenant", "customer_id"])
    op.create_index("ix_wallet_tenant_created_at", "wallet", ["tenant", "created_at", "id"])
    op.create_table(
        "wallet_grant",
        *_columns("id text", "wallet_id text", "ordinal integer", "amount number", "remaining number"),
        *_columns("cost_minor minor", "cost_left_minor minor", "currency currency", "priority integer")[1:],
        *_columns("granted_at instant", "expires_at instant?", "scope json", "source text")[1:],
        *_columns("reason text?", "top_up_id text?", "voided_at instant?")[1:],
        sa.CheckConstraint(
            "remaining BETWEEN 0 AND amount", name=op.f("ck_wallet_grant_remaining_within_amount")
        ),
        sa.CheckConstraint(
            "cost_left_minor BETWEEN 0 AND cost_minor", name=op.f("ck_wallet_grant_cost_left_within_cost")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wallet_grant")),
        sa.UniqueConstraint("tenant", "wallet_id", "ordinal", name="uq_wallet_grant_ordinal"),
    )
    _index("ix_wallet_grant_open", "wallet_grant", ["tenant", "wallet_id"], "remaining > 0")
    _index(
        "uq_wallet_grant_top_up",
        "wallet_grant",
        ["tenant", "top_up_id"],
        "top_up_id IS NOT NULL",
        unique=True,
    )


def _movements_of_wallets() -> None:
    op.create_table(
        "wallet_entry",
        *_columns("id text", "wallet_id text", "grant_id text", "ordinal integer", "kind text"),
        *_columns("amount number", "after number", "cost_minor minor", "paid_minor minor?")[1:],
        *_columns("currency currency", "occurred_at instant", "actor text", "invoice_id text?")[1:],
        *_columns("line_id text?", "charge_id text?", "reason text?")[1:],
        _recorded_at(),
        sa.CheckConstraint("after >= 0", name=op.f("ck_wallet_entry_not_below_zero")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wallet_entry")),
        sa.UniqueConstraint("tenant", "wallet_id", "ordinal", name="uq_wallet_entry_ordinal"),
    )
    op.create_index("ix_wallet_entry_recorded_at", "wallet_entry", ["tenant", "wallet_id", "recorded_at"])
    for name in ("invoice", "charge"):
        of = ["tenant", f"{name}_id"]
        _index(f"ix_wallet_entry_{name}", "wallet_entry", of, f"{name}_id IS NOT NULL")
    op.create_table(
        "wallet_top_up",
        *_columns("id text", "wallet_id text", "invoice_id text", "cause text", "amount number"),
        *_columns("price_minor minor", "currency currency", "priority integer", "days integer?")[1:],
        *_columns("state text", "requested_at instant")[1:],
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wallet_top_up")),
        sa.UniqueConstraint("tenant", "invoice_id", name="uq_wallet_top_up_invoice"),
    )
    under_way = "cause = 'automatic' AND state = 'open'"
    _index("uq_wallet_top_up_under_way", "wallet_top_up", ["tenant", "wallet_id"], under_way, unique=True)
    op.create_index("ix_wallet_top_up_month", "wallet_top_up", ["tenant", "wallet_id", "requested_at"])


def _index(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    op.create_index(name, table, columns, unique=unique, postgresql_where=sa.text(where))
