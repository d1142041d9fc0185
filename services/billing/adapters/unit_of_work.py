"""Billing's repositories on one transaction."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import rows
from services.billing.adapters.repositories import (
    AgreementRepository,
    ChargeRepository,
    CustomerRepository,
    InvoiceRepository,
    LedgerRepository,
    PaymentAttemptRepository,
    PaymentMethodRepository,
    SellerRepository,
    UsageWindowRepository,
)


class BillingUnitOfWork(UnitOfWork):
    """Invoices flush last: by then every other lock is held, and numbers are taken for the shortest time."""

    def __init__(self, connection: AsyncConnection) -> None:
        super().__init__(connection, rows.shared)
        self.agreements = AgreementRepository(self)
        self.customers = CustomerRepository(self)
        self.charges = ChargeRepository(self)
        self.usage_windows = UsageWindowRepository(self)
        self.sellers = SellerRepository(self)
        self.payment_methods = PaymentMethodRepository(self)
        self.payment_attempts = PaymentAttemptRepository(self)
        self.ledger = LedgerRepository(self)
        self.invoices = InvoiceRepository(self)
        self.register(
            self.agreements,
            self.customers,
            self.charges,
            self.usage_windows,
            self.sellers,
            self.payment_methods,
            self.payment_attempts,
            self.ledger,
            self.invoices,
        )
