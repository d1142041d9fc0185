"""Money in and out, mail, and what documents say of whom they come from."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from libs.common.access.tenancy import APP, let_finder_claim, open_to_app, protect
from libs.common.ids import derived_id

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

JSONB = postgresql.JSONB(astext_type=sa.Text())


def upgrade() -> None:
    contact_details()
    dunnings()
    mails()
    gateways()
    payments_received()
    bank_statements()
    refunds_and_disputes()
    documents()


def contact_details() -> None:
    op.add_column("seller", sa.Column("details", JSONB))
    op.add_column("billing_profile", sa.Column("delivery", JSONB))
    op.add_column("customer", sa.Column("locale", sa.Text()))


def dunnings() -> None:
    """What is done about invoices that are not paid. Those whose tries were over before are left alone."""
    op.create_table(
        "dunning",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("invoice_id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reopened_count", sa.Integer(), nullable=False),
        sa.Column("counted_from", sa.Date(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("agreements", JSONB, nullable=False),
        sa.Column("retry_days", JSONB, nullable=False),
        sa.Column("is_collected", sa.Boolean(), nullable=False),
        sa.Column("behind", JSONB, server_default=sa.text("'[]'"), nullable=False),
        sa.Column("retries_ended_at", sa.DateTime(timezone=True)),
        sa.Column("delay_days", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("paused_at", sa.DateTime(timezone=True)),
        sa.Column("paused_until", sa.DateTime(timezone=True)),
        sa.Column("paused_by", sa.Text()),
        sa.Column("pause_reason", sa.Text()),
        sa.Column("retry_held_at", sa.DateTime(timezone=True)),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True)),
        sa.Column("clock_id", sa.Text()),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("retry_at", sa.DateTime(timezone=True)),
        sa.Column("last_error", sa.Text()),
        sa.Column("traceparent", sa.Text()),
        sa.CheckConstraint(
            "state IN ('running', 'paused', 'exhausted')", name=op.f("ck_dunning_state_known")
        ),
        sa.CheckConstraint(
            "(state = 'paused') = (paused_at IS NOT NULL)", name=op.f("ck_dunning_paused_since")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dunning")),
    )
    op.create_index("uq_dunning_invoice", "dunning", ["tenant", "invoice_id"], unique=True)
    op.create_index("ix_dunning_tenant_created_at", "dunning", ["tenant", "created_at", "id"])
    op.create_index("ix_dunning_tenant_customer", "dunning", ["tenant", "customer_id", "created_at", "id"])
    for statement in protect("dunning", writes="SELECT, INSERT, UPDATE"):
        op.execute(statement)
    for statement in let_finder_claim("dunning", extra_columns=("attempts",)):
        op.execute(statement)


def gateways() -> None:
    """Payments that are in process, methods that a gateway knows by a token, and what gateways tell us."""
    op.alter_column("payment_method", "behaviour", existing_type=sa.Text(), nullable=True)
    for name in ("account", "token", "gateway_customer"):
        op.add_column("payment_method", sa.Column(name, sa.Text()))
    op.add_column("payment_method", sa.Column("details", JSONB))
    op.create_index(
        "uq_payment_method_token",
        "payment_method",
        ["tenant", "gateway", "account", "token"],
        unique=True,
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    for name in ("called_at", "processing_since"):
        op.add_column("payment_attempt", sa.Column(name, sa.DateTime(timezone=True)))
    op.add_column(
        "payment_attempt",
        sa.Column("needs_action", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.create_index(
        "uq_payment_attempt_open",
        "payment_attempt",
        ["tenant", "invoice_id"],
        unique=True,
        postgresql_where=sa.text("state IN ('pending', 'calling', 'processing')"),
    )
    # What was paid and then taken back may be paid again.
    op.drop_index("uq_payment_attempt_success", "payment_attempt")
    op.add_column("sandbox_gateway_payment", sa.Column("awaits", sa.Text()))
    op.create_table(
        "sandbox_gateway_refund",
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("payment_key", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.CHAR(length=3), nullable=False),
        sa.Column("succeeded", sa.Boolean(), nullable=False),
        sa.Column("is_late", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("idempotency_key", name=op.f("pk_sandbox_gateway_refund")),
    )
    op.create_index("ix_sandbox_gateway_refund_payment", "sandbox_gateway_refund", ["payment_key"])
    op.create_table(
        "gateway_event",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("gateway", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("subject_kind", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Text(), nullable=False),
        sa.Column("our_id", sa.Text(), nullable=True),
        sa.Column("happened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("clock_id", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("retry_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gateway_event")),
        sa.UniqueConstraint("tenant", "gateway", "account", "event_id", name="uq_gateway_event_event_id"),
    )
    op.create_index("ix_gateway_event_tenant_created_at", "gateway_event", ["tenant", "created_at", "id"])
    for statement in (
        *open_to_app("sandbox_gateway_refund", rights="SELECT, INSERT"),
        *protect("gateway_event", writes="SELECT, INSERT, UPDATE"),
        *let_finder_claim("gateway_event", extra_columns=("attempts",)),
    ):
        op.execute(statement)


def mails() -> None:
    """What customers are told by mail. A mail is due by the wall, as soon as it is there, whatever a test clock shows."""
    instant = sa.DateTime(timezone=True)
    op.create_table(
        "mail",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("seller_id", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("to_own", sa.Boolean(), nullable=False),
        sa.Column("locale", sa.Text()),
        sa.Column("details", JSONB, nullable=False),
        *(
            sa.Column(name, sa.Text())
            for name in ("invoice_id", "credit_note_id", "refund_id", "subscription_id", "again_of_id")
        ),
        sa.Column("state", sa.Text(), nullable=False),
        *(
            sa.Column(name, sa.Text())
            for name in ("reason", "message_id", "subject", "text_body", "html_body")
        ),
        sa.Column("attached", JSONB, server_default=sa.text("'[]'"), nullable=False),
        sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("occurred_at", instant, nullable=False),
        sa.Column("claimed_until", instant),
        sa.Column("claimed_at", instant),
        sa.Column("sent_at", instant),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", instant, server_default=sa.func.now(), nullable=False),
        sa.Column("due_at", instant, server_default=sa.func.now()),
        sa.Column("clock_id", sa.Text()),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("retry_at", instant),
        sa.Column("last_error", sa.Text()),
        sa.Column("traceparent", sa.Text()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mail")),
        sa.CheckConstraint(
            "state IN ('pending', 'sending', 'sent', 'failed', 'bounced', 'suppressed')",
            name=op.f("ck_mail_state_known"),
        ),
        sa.CheckConstraint(
            "(state IN ('pending', 'sending')) = (due_at IS NOT NULL)", name=op.f("ck_mail_open_is_due")
        ),
        sa.CheckConstraint("clock_id IS NULL", name=op.f("ck_mail_by_the_wall")),
    )
    op.create_index("ix_mail_tenant_created_at", "mail", ["tenant", "created_at", "id"])
    op.create_index("ix_mail_tenant_customer", "mail", ["tenant", "customer_id", "created_at"])
    op.create_index("ix_mail_invoice", "mail", ["tenant", "invoice_id"])
    op.create_index("ix_mail_tenant_claimed_at", "mail", ["tenant", "claimed_at"])
    op.create_table(
        "mail_suppression",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("mail_id", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", instant, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mail_suppression")),
    )
    op.create_index("ix_mail_suppression_tenant_customer", "mail_suppression", ["tenant", "customer_id"])
    op.create_table(
        "mail_template",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("locale", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text()),
        sa.Column("intro", sa.Text()),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", instant, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mail_template")),
    )
    op.create_index("ix_mail_template_tenant_created_at", "mail_template", ["tenant", "created_at", "id"])
    statements = [
        *protect("mail", writes="SELECT, INSERT, UPDATE"),
        *let_finder_claim("mail", extra_columns=("attempts",)),
        *protect("mail_suppression", writes="SELECT, INSERT, DELETE"),
        *protect("mail_template"),
    ]
    for statement in statements:
        op.execute(statement)


def payments_received() -> None:
    """Money that came, and what it was put on; what gateways brought before has its payment too."""
    op.create_table(
        "payment",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=True),
        sa.Column("way", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        *(
            sa.Column(f"{name}_minor", sa.BigInteger(), nullable=False)
            for name in ("amount", "reversed", "allocated", "to_balance", "unapplied")
        ),
        sa.Column("currency", sa.CHAR(length=3), nullable=False),
        sa.Column("received_on", sa.Date(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("allocation_count", sa.Integer(), nullable=False),
        *(
            sa.Column(name, sa.Text(), nullable=True)
            for name in ("attempt_id", "entry_id", "reference", "payer", "note", "reversal_reason")
        ),
        sa.Column("reversed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("clock_id", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.CheckConstraint(
            "amount_minor > 0 AND reversed_minor >= 0 AND allocated_minor >= 0 AND to_balance_minor >= 0 "
            "AND unapplied_minor >= 0 "
            "AND reversed_minor + allocated_minor + to_balance_minor + unapplied_minor = amount_minor",
            name=op.f("ck_payment_adds_up"),
        ),
        sa.CheckConstraint(
            "(state = 'reversed') = (reversed_minor = amount_minor)", name=op.f("ck_payment_reversed_whole")
        ),
        sa.CheckConstraint(
            "customer_id IS NOT NULL OR (allocated_minor = 0 AND to_balance_minor = 0)",
            name=op.f("ck_payment_of_somebody"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment")),
    )
    op.create_index("ix_payment_tenant_received_at", "payment", ["tenant", "received_at", "id"])
    op.create_index("ix_payment_tenant_customer", "payment", ["tenant", "customer_id", "received_at"])
    for name, column, is_unique in (
        ("uq_payment_attempt", "attempt_id", True),
        ("ix_payment_entry", "entry_id", False),
    ):
        op.create_index(
            name,
            "payment",
            ["tenant", column],
            unique=is_unique,
            postgresql_where=sa.text(f"{column} IS NOT NULL"),
        )
    op.create_table(
        "payment_allocation",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("payment_id", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("invoice_id", sa.Text(), nullable=True),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.CHAR(length=3), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("takes_back_id", sa.Text(), nullable=True),
        sa.CheckConstraint("amount_minor <> 0", name=op.f("ck_payment_allocation_of_something")),
        sa.CheckConstraint(
            "(amount_minor < 0) = (takes_back_id IS NOT NULL)",
            name=op.f("ck_payment_allocation_takes_back_something"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_allocation")),
        sa.UniqueConstraint("tenant", "payment_id", "ordinal", name="uq_payment_allocation_ordinal"),
    )
    op.create_index(
        "ix_payment_allocation_invoice",
        "payment_allocation",
        ["tenant", "invoice_id"],
        postgresql_where=sa.text("invoice_id IS NOT NULL"),
    )
    op.add_column(
        "billing_profile", sa.Column("pays_by", sa.Text(), server_default="gateway", nullable=False)
    )
    op.add_column("customer_balance_entry", sa.Column("allocation_id", sa.Text(), nullable=True))
    op.drop_index("uq_customer_balance_entry_invoice", "customer_balance_entry")
    op.create_index(
        "uq_customer_balance_entry_invoice",
        "customer_balance_entry",
        ["tenant", "invoice_id", "kind"],
        unique=True,
        postgresql_where=sa.text("invoice_id IS NOT NULL AND kind <> 'overpaid'"),
    )
    op.create_index(
        "uq_customer_balance_entry_allocation",
        "customer_balance_entry",
        ["tenant", "allocation_id"],
        unique=True,
        postgresql_where=sa.text("allocation_id IS NOT NULL"),
    )
    for statement in (
        *protect("payment", writes="SELECT, INSERT, UPDATE"),
        *protect("payment_allocation", writes="SELECT, INSERT"),
    ):
        op.execute(statement)
    _payments_of_gateways()


_COLLECTED = """
    SELECT a.tenant::text AS tenant, a.id, a.customer_id, a.invoice_id, a.amount_minor, a.currency, a.ended_at,
           (a.ended_at AT TIME ZONE i.zone)::date AS received_on, a.gateway_reference, i.clock_id,
           coalesce((SELECT -e.amount_minor FROM ledger_entry e WHERE e.tenant = a.tenant
                     AND e.posting_key = 'payment\\:' || a.id || '\\:received' AND e.account = 'customer_credit'), 0) AS beyond
    FROM payment_attempt a JOIN invoice i ON i.id = a.invoice_id AND i.tenant = a.tenant
    WHERE a.state = 'succeeded' AND a.id > :after ORDER BY a.id LIMIT 5000
"""
_PAYMENT = """
    INSERT INTO payment (tenant, id, customer_id, way, state, amount_minor, reversed_minor, allocated_minor,
                         to_balance_minor, unapplied_minor, currency, received_on, received_at, allocation_count,
                         attempt_id, reference, clock_id)
    VALUES (CAST(:tenant AS uuid), :payment_id, :customer_id, 'gateway', 'received', :amount_minor, 0, :taken, :beyond, 0,
            :currency, :received_on, :ended_at, :allocation_count, :id, :gateway_reference, :clock_id)
"""
_ALLOCATION = """
    INSERT INTO payment_allocation (tenant, id, payment_id, ordinal, customer_id, invoice_id, amount_minor, currency,
                                    made_at, actor)
    VALUES (CAST(:tenant AS uuid), :allocation_id, :payment_id, :ordinal, :customer_id, :paid_id, :part_minor, :currency,
            :ended_at, 'migration')
"""
_OVERPAID = """
    UPDATE customer_balance_entry SET allocation_id = :allocation_id
    WHERE tenant = CAST(:tenant AS uuid) AND invoice_id = :invoice_id AND kind = 'overpaid'
"""


def _payments_of_gateways() -> None:
    """What came beyond what was due went to the balance; ids are derived as they are from now on."""
    connection = op.get_bind()
    after = ""
    while found := connection.execute(sa.text(_COLLECTED), {"after": after}).mappings().all():
        payments: list[dict[str, Any]] = []
        allocations: list[dict[str, Any]] = []
        for row in found:
            payment_id = derived_id("pmt", row["id"])
            parts = [(row["invoice_id"], row["amount_minor"] - row["beyond"]), (None, row["beyond"])]
            told = {**row, "payment_id": payment_id, "taken": row["amount_minor"] - row["beyond"]}
            made = [(paid_id, minor) for paid_id, minor in parts if minor]
            payments.append({**told, "allocation_count": len(made)})
            for ordinal, (paid_id, minor) in enumerate(made, start=1):
                id = derived_id("pal", payment_id, str(ordinal))
                allocations.append(
                    {**told, "allocation_id": id, "ordinal": ordinal, "paid_id": paid_id, "part_minor": minor}
                )
        connection.execute(sa.text(_PAYMENT), payments)
        connection.execute(sa.text(_ALLOCATION), allocations)
        overpaid = [one for one in allocations if one["paid_id"] is None]
        if overpaid:
            connection.execute(sa.text(_OVERPAID), overpaid)
        after = found[-1]["id"]


# What an issued document was when it was issued, it stays. What became of it may change, also how often it was due again.
INVOICE_IS_FINAL = """
CREATE OR REPLACE FUNCTION invoice_is_final() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    standing text[] := ARRAY['status', 'status_reason', 'paid_minor', 'paid_at', 'credited_minor', 'voided_at', 'version',
                             'due_at', 'attempts', 'retry_at', 'last_error', 'reopened_count'];
BEGIN
    IF to_jsonb(OLD) - standing <> to_jsonb(NEW) - standing OR NEW.status IN ('draft', 'skipped', 'gathered') THEN
        RAISE EXCEPTION 'invoice % is issued and cannot change', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.reopened_count < OLD.reopened_count THEN
        RAISE EXCEPTION 'invoice % cannot have been due again less often', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$
"""
# Neither more of an invoice than was paid of it, nor more along a payment than it brought. The locks are taken here as
# well, so that nobody who forgets them can give back the same money at the same moment.
REFUNDS_WITHIN_PAID = """
CREATE OR REPLACE FUNCTION refunds_within_paid() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM invoice i WHERE i.id IN (SELECT invoice_id FROM inserted) ORDER BY i.id FOR UPDATE;
    PERFORM FROM payment p WHERE p.id IN (SELECT payment_id FROM inserted) ORDER BY p.id FOR UPDATE;
    IF EXISTS (
        SELECT FROM (SELECT DISTINCT tenant, invoice_id FROM inserted WHERE invoice_id IS NOT NULL) g
        LEFT JOIN invoice i ON i.id = g.invoice_id
        CROSS JOIN LATERAL (SELECT sum(r.amount_minor) AS minor FROM refund r
                            WHERE r.tenant = g.tenant AND r.invoice_id = g.invoice_id AND r.state <> 'canceled') r
        WHERE i.id IS NULL OR r.minor > i.paid_minor
    ) THEN
        RAISE EXCEPTION 'a refund exceeds what was paid' USING ERRCODE = 'check_violation';
    END IF;
    IF EXISTS (
        SELECT FROM (SELECT DISTINCT tenant, payment_id FROM inserted WHERE payment_id IS NOT NULL) g
        LEFT JOIN payment p ON p.id = g.payment_id
        CROSS JOIN LATERAL (SELECT sum(r.amount_minor) AS minor FROM refund r
                            WHERE r.tenant = g.tenant AND r.payment_id = g.payment_id AND r.state <> 'canceled') r
        WHERE p.id IS NULL OR r.minor > p.amount_minor - p.reversed_minor
    ) THEN
        RAISE EXCEPTION 'a refund exceeds what its payment brought' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$
"""
# So far an invoice had one payment, and nothing of it had gone back. What that did not bring is for a person.
REFUNDS_GO_ALONG_PAYMENTS = """
UPDATE refund SET payment_id = p.id FROM (
    SELECT r.id AS refund_id, p.id, p.amount_minor,
           sum(r.amount_minor) OVER (PARTITION BY p.id ORDER BY r.created_at, r.id) AS back_minor
    FROM refund r LEFT JOIN deposit d ON d.id = r.deposit_id AND d.tenant = r.tenant
    JOIN payment_attempt a ON a.tenant = r.tenant AND a.invoice_id = coalesce(r.invoice_id, d.invoice_id)
     AND a.state = 'succeeded'
    JOIN payment p ON p.tenant = a.tenant AND p.attempt_id = a.id
) AS p WHERE p.refund_id = refund.id AND p.back_minor <= p.amount_minor
"""


def refunds_and_disputes() -> None:
    """Refunds whose money moves, payments that banks ask back, invoices that are due again."""
    op.add_column(
        "invoice", sa.Column("reopened_count", sa.Integer(), server_default=sa.text("0"), nullable=False)
    )
    op.execute(INVOICE_IS_FINAL)
    op.add_column("customer_balance_entry", sa.Column("refund_id", sa.Text()))
    op.create_index(
        "uq_customer_balance_entry_refund",
        "customer_balance_entry",
        ["tenant", "refund_id", "kind"],
        unique=True,
        postgresql_where=sa.text("refund_id IS NOT NULL"),
    )
    _refunds_that_move()
    _disputes()


def _refunds_that_move() -> None:
    instant = sa.DateTime(timezone=True)
    texts = ("payment_id", "failure", "gateway_reference", "paid_reference", "last_error", "traceparent")
    columns: list[sa.Column[Any]] = [sa.Column(name, sa.Text()) for name in texts]
    for name in ("claimed_until", "processing_since", "ended_at", "due_at", "retry_at"):
        columns.append(sa.Column(name, instant))
    for name, first in (("try_number", "1"), ("attempts", "0")):
        columns.append(sa.Column(name, sa.Integer(), server_default=sa.text(first), nullable=False))
    for column in columns:
        op.add_column("refund", column)
    op.execute(REFUNDS_GO_ALONG_PAYMENTS)
    op.execute("UPDATE refund SET due_at = created_at WHERE payment_id IS NOT NULL")
    op.execute("UPDATE refund SET state = 'manual' WHERE payment_id IS NULL")
    op.drop_constraint(op.f("ck_refund_for_one_thing"), "refund")
    for name, rule in (
        (
            "for_one_thing",
            "num_nonnulls(deposit_id, credit_note_id) <= 1 AND (credit_note_id IS NULL) = (invoice_id IS NULL)",
        ),
        (
            "state_known",
            "state IN ('pending', 'calling', 'processing', 'succeeded', 'failed', 'manual', 'canceled')",
        ),
        (
            "open_is_due",
            "state NOT IN ('pending', 'calling', 'processing') OR (due_at IS NOT NULL AND payment_id IS NOT NULL)",
        ),
    ):
        op.create_check_constraint(op.f(f"ck_refund_{name}"), "refund", rule)
    op.create_index("ix_refund_payment", "refund", ["tenant", "payment_id"])
    op.execute(f"GRANT UPDATE ON refund TO {APP}")
    for statement in let_finder_claim("refund", extra_columns=("attempts",)):
        op.execute(statement)
    op.execute(REFUNDS_WITHIN_PAID)


def _disputes() -> None:
    instant = sa.DateTime(timezone=True)
    op.create_table(
        "dispute",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("payment_id", sa.Text(), nullable=False),
        *(sa.Column(name, sa.Text()) for name in ("customer_id", "gateway", "reference")),
        sa.Column("state", sa.Text(), nullable=False),
        *(
            sa.Column(f"{name}_minor", sa.BigInteger(), nullable=False)
            for name in ("amount", "returned", "taken")
        ),
        sa.Column("currency", sa.CHAR(length=3), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("fee_minor", sa.BigInteger()),
        sa.Column("fee_currency", sa.Text()),
        sa.Column("opened_at", instant, nullable=False),
        sa.Column("closed_at", instant),
        sa.Column("clock_id", sa.Text()),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", instant, nullable=False),
        sa.CheckConstraint(
            "state IN ('inquiry', 'open', 'accepted', 'won', 'lost')", name=op.f("ck_dispute_state_known")
        ),
        sa.CheckConstraint(
            "amount_minor > 0 AND returned_minor BETWEEN 0 AND amount_minor AND taken_minor >= 0",
            name=op.f("ck_dispute_within_amount"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dispute")),
    )
    op.create_index("ix_dispute_tenant_created_at", "dispute", ["tenant", "created_at", "id"])
    op.create_index("ix_dispute_tenant_customer", "dispute", ["tenant", "customer_id", "created_at"])
    op.create_index("ix_dispute_payment", "dispute", ["tenant", "payment_id"])
    for statement in protect("dispute", writes="SELECT, INSERT, UPDATE"):
        op.execute(statement)


def documents() -> None:
    """Logos at the head of documents, and what finds the postings of a customer's payments and refunds."""
    op.create_table(
        "seller_logo",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "media_type IN ('image/png', 'image/svg+xml')", name=op.f("ck_seller_logo_is_picture")
        ),
        sa.CheckConstraint("octet_length(content) BETWEEN 1 AND 262144", name=op.f("ck_seller_logo_small")),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_seller_logo")),
    )
    for statement in protect("seller_logo", writes="SELECT, INSERT"):
        op.execute(statement)
    op.create_index(
        "ix_ledger_entry_source",
        "ledger_entry",
        ["tenant", "source_id"],
        postgresql_where=sa.text("account IN ('unapplied_payments', 'refunds_payable')"),
    )


def bank_statements() -> None:
    """Files of banks, their entries, and the accounts from which customers are known to pay."""
    op.create_table(
        "bank_statement",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("accounts", JSONB, nullable=False),
        *(
            sa.Column(name, sa.Integer(), nullable=False)
            for name in ("entry_count", "new_count", "passed_over_count")
        ),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bank_statement")),
    )
    op.create_index("ix_bank_statement_tenant_created_at", "bank_statement", ["tenant", "created_at", "id"])
    op.create_table(
        "bank_statement_entry",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("id", "statement_id", "account")),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.CHAR(length=3), nullable=False),
        sa.Column("booked_on", sa.Date(), nullable=False),
        sa.Column("value_on", sa.Date(), nullable=True),
        sa.Column("is_reversal", sa.Boolean(), nullable=False),
        sa.Column("is_return", sa.Boolean(), nullable=False),
        *(
            sa.Column(name, sa.Text(), nullable=True)
            for name in ("bank_reference", "end_to_end_id", "creditor_reference")
        ),
        sa.Column("text", sa.Text(), nullable=False),
        *(
            sa.Column(name, sa.Text(), nullable=True)
            for name in ("payer_name", "payer_account", "instructed")
        ),
        sa.Column("state", sa.Text(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=True) for name in ("matched_by", "payment_id", "reason")),
        sa.Column("payment_count", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("clock_id", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("retry_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_bank_statement_entry_of_something")),
        sa.CheckConstraint(
            "(state = 'pending') = (due_at IS NOT NULL)", name=op.f("ck_bank_statement_entry_pending_is_due")
        ),
        sa.CheckConstraint(
            "state <> 'matched' OR payment_id IS NOT NULL",
            name=op.f("ck_bank_statement_entry_matched_with_payment"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bank_statement_entry")),
    )
    op.create_index(
        "ix_bank_statement_entry_state", "bank_statement_entry", ["tenant", "state", "created_at", "id"]
    )
    op.create_index(
        "ix_bank_statement_entry_statement", "bank_statement_entry", ["tenant", "statement_id", "ordinal"]
    )
    op.create_index(
        "ix_bank_statement_entry_credit",
        "bank_statement_entry",
        ["tenant", "account", "amount_minor"],
        postgresql_where=sa.text("direction = 'credit'"),
    )
    op.create_table(
        "payer_account",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account", "customer_id", name=op.f("pk_payer_account")),
    )
    for statement in (
        *protect("bank_statement", writes="SELECT, INSERT, UPDATE"),
        *protect("bank_statement_entry", writes="SELECT, INSERT, UPDATE"),
        *let_finder_claim("bank_statement_entry", extra_columns=("attempts",)),
        *protect("payer_account", writes="SELECT, INSERT, DELETE"),
    ):
        op.execute(statement)
