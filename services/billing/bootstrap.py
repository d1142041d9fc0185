"""Where billing's parts are joined."""

from __future__ import annotations

from dataclasses import replace

from libs.common.http_client import PeerClient
from libs.common.runtime import Platform, Service, assemble, parts_of
from libs.common.telemetry import metrics
from services.billing.adapters import rows
from services.billing.adapters.audit import LISTINGS, audit_billing
from services.billing.adapters.billing_run_rows import billing_run, billing_run_document, spend_threshold
from services.billing.adapters.credit_note_rows import deposit
from services.billing.adapters.metering_peer import HttpMetering
from services.billing.adapters.plan_versions import PlanCache
from services.billing.adapters.sandbox_gateway import SandboxGateway
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.adapters.wallet_rows import wallet
from services.billing.entrypoints.event_handlers import HANDLERS
from services.billing.entrypoints.routes import billing_router
from services.billing.entrypoints.routes_balances import balance_router
from services.billing.entrypoints.routes_billing_runs import billing_run_router
from services.billing.entrypoints.routes_credit_notes import credit_note_router
from services.billing.entrypoints.routes_deposits import deposit_router
from services.billing.entrypoints.routes_drafts import draft_router
from services.billing.entrypoints.routes_ledger import ledger_router
from services.billing.entrypoints.routes_previews import preview_router
from services.billing.entrypoints.routes_profiles import profile_router
from services.billing.entrypoints.routes_proofs import proof_router
from services.billing.entrypoints.routes_sellers import seller_router
from services.billing.entrypoints.routes_simulations import simulation_router
from services.billing.entrypoints.routes_spend_thresholds import spend_threshold_router
from services.billing.entrypoints.routes_standing import standing_router
from services.billing.entrypoints.routes_taxes import tax_router
from services.billing.entrypoints.routes_wallets import wallet_router
from services.billing.entrypoints.scheduler import billing_jobs
from services.billing.settings import BillingSettings

PEER_TIMEOUT_S = 10.0


def build(platform: Platform) -> Service:
    """Billing, on the parts of this process."""
    settings = BillingSettings.from_environment(platform.environment)
    plans = PlanCache()
    parts = parts_of("billing", platform, lambda connection: BillingUnitOfWork(connection, plans))
    client = PeerClient(platform.peers, timeout_s=PEER_TIMEOUT_S)
    jobs = billing_jobs(
        units=parts.worker_units,
        clock=platform.clock,
        gateways={"sandbox": SandboxGateway(parts.worker_database)},
        retry_days=settings.retry_days_each,
        claim_s=settings.payment_claim_s,
        calls_at_once=settings.gateway_calls_at_once,
        metering=HttpMetering(client, key_path=platform.key_path, clock=platform.clock),
        spend_check_s=settings.spend_check_s,
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
            profile_router(platform.clock),
            billing_router(platform.clock),
            billing_run_router(platform.clock),
            spend_threshold_router(platform.clock),
            draft_router(platform.clock),
            standing_router(platform.clock),
            credit_note_router(platform.clock),
            deposit_router(platform.clock),
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
            wallet,
            billing_run,
            billing_run_document,
            spend_threshold,
            deposit,
        ],
        overdue={"invoice": metrics.invoices_overdue},
    )

    async def close() -> None:
        await client.close()
        await service.close()

    return replace(service, close=close)
