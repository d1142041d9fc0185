"""Billing's repositories on one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.errors import ServiceError
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import rows
from services.billing.adapters.agreements import AgreementRepository
from services.billing.adapters.charges import ChargeRepository
from services.billing.adapters.customer_balances import CustomerBalanceRepository
from services.billing.adapters.customers import CustomerRepository
from services.billing.adapters.invoices import InvoiceRepository
from services.billing.adapters.ledger import LedgerRepository
from services.billing.adapters.payments import PaymentAttemptRepository, PaymentMethodRepository
from services.billing.adapters.period_terms import PeriodTermsRepository
from services.billing.adapters.plan_versions import PlanCache, PlanVersionRepository
from services.billing.adapters.sellers import SellerRepository
from services.billing.adapters.usage_windows import UsageWindowRepository
from services.billing.domain.seller import SellerCodeTaken


def _seller_code_taken() -> SellerCodeTaken:
    return SellerCodeTaken(
        "another seller has this code", pointer="/code", remedy="Choose another code, or use that seller."
    )


class BillingUnitOfWork(UnitOfWork):
    """Invoices flush last: by then every other lock is held, and numbers are taken for the shortest time.

    `plans` outlives it: what was published never changes.
    """

    constraint_errors: ClassVar[Mapping[str, Callable[[], ServiceError]]] = {
        "uq_seller_tenant_code": _seller_code_taken,
    }

    def __init__(self, connection: AsyncConnection, plans: PlanCache | None = None) -> None:
        super().__init__(connection, rows.shared)
        self.agreements = AgreementRepository(self)
        self.customers = CustomerRepository(self)
        self.period_terms = PeriodTermsRepository(self)
        self.charges = ChargeRepository(self)
        self.usage_windows = UsageWindowRepository(self)
        self.plan_versions = PlanVersionRepository(self, PlanCache() if plans is None else plans)
        self.sellers = SellerRepository(self)
        self.payment_methods = PaymentMethodRepository(self)
        self.payment_attempts = PaymentAttemptRepository(self)
        self.ledger = LedgerRepository(self)
        self.customer_balances = CustomerBalanceRepository(self)
        self.invoices = InvoiceRepository(self)
        self.register(
            self.agreements,
            self.customers,
            self.period_terms,
            self.charges,
            self.usage_windows,
            self.plan_versions,
            self.sellers,
            self.payment_methods,
            self.payment_attempts,
            self.ledger,
            self.customer_balances,
            self.invoices,
        )
