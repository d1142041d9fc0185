"""Where billing's parts are joined."""

from __future__ import annotations

from libs.common.runtime import Platform, Service, assemble, parts_of
from libs.common.telemetry import metrics
from services.billing.adapters import rows
from services.billing.adapters.audit import audit_billing
from services.billing.adapters.plan_versions import PlanCache
from services.billing.adapters.sandbox_gateway import SandboxGateway
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.entrypoints.event_handlers import HANDLERS
from services.billing.entrypoints.routes import billing_router
from services.billing.entrypoints.routes_balances import balance_router
from services.billing.entrypoints.routes_previews import preview_router
from services.billing.entrypoints.routes_simulations import simulation_router
from services.billing.entrypoints.scheduler import billing_jobs
from services.billing.settings import BillingSettings


def build(platform: Platform) -> Service:
    """Billing, on the parts of this process."""
    settings = BillingSettings.from_environment(platform.environment)
    plans = PlanCache()
    parts = parts_of("billing", platform, lambda connection: BillingUnitOfWork(connection, plans))
    jobs = billing_jobs(
        units=parts.worker_units,
        clock=platform.clock,
        gateways={"sandbox": SandboxGateway(parts.worker_database)},
        retry_days=settings.retry_days_each,
        claim_s=settings.payment_claim_s,
        calls_at_once=settings.gateway_calls_at_once,
        stopping=platform.stopping,
    )
    return assemble(
        parts,
        title="Perennial billing",
        description="What is owed: invoices to the cent, payments, the ledger.",
        machinery=rows.shared,
        handlers=HANDLERS,
        routers=[
            billing_router(platform.clock),
            balance_router(platform.clock),
            preview_router(),
            simulation_router(),
        ],
        audit=audit_billing,
        jobs=jobs,
        due_tables=[rows.invoice, rows.payment_attempt],
        overdue={"invoice": metrics.invoices_overdue},
    )
