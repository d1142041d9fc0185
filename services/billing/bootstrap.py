"""Where billing's parts are joined."""

from __future__ import annotations

from dataclasses import replace

from libs.common.http_client import PeerClient
from libs.common.runtime import Platform, Service, assemble, parts_of
from libs.common.telemetry import metrics
from libs.common.web.limits import Limits
from services.billing.adapters import rows
from services.billing.adapters.audit import LISTINGS, audit_billing
from services.billing.adapters.billing_run_rows import billing_run, billing_run_document, spend_threshold
from services.billing.adapters.credit_note_rows import deposit, refund
from services.billing.adapters.dunning_rows import dunning
from services.billing.adapters.e_invoices.writer import EInvoiceFiles
from services.billing.adapters.gateway_accounts import GatewayAccounts
from services.billing.adapters.gateway_rows import gateway_event
from services.billing.adapters.mail_rows import mail
from services.billing.adapters.metering_peer import HttpMetering
from services.billing.adapters.plan_versions import PlanCache
from services.billing.adapters.sandbox_gateway import SandboxGateway
from services.billing.adapters.statement_rows import bank_statement_entry
from services.billing.adapters.stripe_client import StripeClient
from services.billing.adapters.stripe_gateway import STRIPE, StripeGateway
from services.billing.adapters.typst_documents import TypstDocuments
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.adapters.wallet_rows import wallet
from services.billing.entrypoints.event_handlers import HANDLERS
from services.billing.entrypoints.routes import billing_router
from services.billing.entrypoints.routes_balances import balance_router
from services.billing.entrypoints.routes_bank_statements import BODY_BYTES_MAX as STATEMENT_BYTES_MAX
from services.billing.entrypoints.routes_bank_statements import PREFIX as STATEMENTS
from services.billing.entrypoints.routes_bank_statements import bank_statement_router
from services.billing.entrypoints.routes_billing_runs import billing_run_router
from services.billing.entrypoints.routes_credit_notes import credit_note_router
from services.billing.entrypoints.routes_deposits import deposit_router
from services.billing.entrypoints.routes_disputes import dispute_router
from services.billing.entrypoints.routes_documents import document_router
from services.billing.entrypoints.routes_drafts import draft_router
from services.billing.entrypoints.routes_dunning import dunning_router
from services.billing.entrypoints.routes_e_invoices import e_invoice_router
from services.billing.entrypoints.routes_gateway_events import (
    BODY_BYTES_MAX,
    OPEN_PREFIX,
    gateway_event_router,
)
from services.billing.entrypoints.routes_ledger import ledger_router
from services.billing.entrypoints.routes_logos import logo_router
from services.billing.entrypoints.routes_mails import NOTICE_BYTES_MAX, NOTICES, mail_router
from services.billing.entrypoints.routes_payment_methods import payment_method_router
from services.billing.entrypoints.routes_payments import payment_router
from services.billing.entrypoints.routes_previews import preview_router
from services.billing.entrypoints.routes_profiles import profile_router
from services.billing.entrypoints.routes_proofs import proof_router
from services.billing.entrypoints.routes_refunds import refund_router
from services.billing.entrypoints.routes_sellers import seller_router
from services.billing.entrypoints.routes_simulations import simulation_router
from services.billing.entrypoints.routes_spend_thresholds import spend_threshold_router
from services.billing.entrypoints.routes_standing import standing_router
from services.billing.entrypoints.routes_taxes import tax_router
from services.billing.entrypoints.routes_wallets import wallet_router
from services.billing.entrypoints.scheduler import billing_jobs
from services.billing.mail_parts import mail_parts
from services.billing.settings import BillingSettings

PEER_TIMEOUT_S = 10.0
# Where people write, or programs hand on what people wrote. Statements of banks are full of numbers, and none of these.
CARD_FREE = (
    "/v1/billing-profiles",
    "/v1/credit-note",
    "/v1/deposits",
    "/v1/disputes",
    "/v1/invoices",
    "/v1/payment",
    "/v1/refunds",
)


def build(platform: Platform) -> Service:
    """Billing, on the parts of this process."""
    settings = BillingSettings.from_environment(platform.environment)
    plans = PlanCache()
    parts = parts_of("billing", platform, lambda connection: BillingUnitOfWork(connection, plans))
    client = PeerClient(platform.peers, timeout_s=PEER_TIMEOUT_S)
    documents = TypstDocuments()
    accounts = GatewayAccounts(settings.gateway_accounts_file)
    stripe_client = StripeClient(settings.stripe_url, timeout_s=settings.gateway_timeout_s)
    stripe = StripeGateway(accounts, stripe_client)
    mails = mail_parts(platform.environment, documents=documents, e_invoices=EInvoiceFiles())
    jobs = billing_jobs(
        units=parts.worker_units,
        clock=platform.clock,
        gateways={"sandbox": SandboxGateway(parts.worker_database), STRIPE: stripe},
        retry_days=settings.retry_days_each,
        claim_s=settings.payment_claim_s,
        calls_at_once=settings.gateway_calls_at_once,
        metering=HttpMetering(client, key_path=platform.key_path, clock=platform.clock),
        spend_check_s=settings.spend_check_s,
        mails=mails,
        stopping=platform.stopping,
    )
    service = assemble(
        parts,
        title="Perennial billing",
        description="What is owed: invoices to the cent, payments, the ledger.",
        machinery=rows.shared,
        handlers=HANDLERS,
        routers=[
            seller_router(platform.clock),
            logo_router(platform.clock, documents),
            document_router(platform.clock, documents),
            profile_router(platform.clock),
            payment_method_router(platform.clock, accounts=accounts, stripe=stripe),
            gateway_event_router(platform.clock, accounts=accounts),
            billing_router(platform.clock),
            billing_run_router(platform.clock),
            spend_threshold_router(platform.clock),
            draft_router(platform.clock),
            standing_router(platform.clock),
            credit_note_router(platform.clock),
            payment_router(platform.clock),
            bank_statement_router(platform.clock),
            e_invoice_router(documents, EInvoiceFiles()),
            deposit_router(platform.clock),
            dunning_router(platform.clock),
            mail_router(platform.clock),
            refund_router(platform.clock),
            dispute_router(platform.clock, {STRIPE: stripe}),
            balance_router(platform.clock),
            wallet_router(platform.clock),
            ledger_router(platform.clock),
            proof_router(),
            preview_router(),
            simulation_router(),
            tax_router(platform.clock),
        ],
        audit=audit_billing,
        listings=LISTINGS,
        jobs=jobs,
        due_tables=[
            rows.invoice,
            rows.payment_attempt,
            gateway_event,
            refund,
            dunning,
            mail,
            wallet,
            billing_run,
            billing_run_document,
            spend_threshold,
            deposit,
            bank_statement_entry,
        ],
        overdue={"invoice": metrics.invoices_overdue},
        limits=Limits(
            raw_body_prefixes=(OPEN_PREFIX, NOTICES, STATEMENTS),
            body_bytes_max_by_prefix={
                OPEN_PREFIX: BODY_BYTES_MAX,
                NOTICES: NOTICE_BYTES_MAX,
                STATEMENTS: STATEMENT_BYTES_MAX,
            },
            card_free_prefixes=CARD_FREE,
        ),
        open_prefixes=(OPEN_PREFIX,),
    )

    async def close() -> None:
        await client.close()
        await stripe_client.close()
        await documents.close()
        if mails is not None:
            await mails.transport.close()
        await service.close()

    return replace(service, close=close)
