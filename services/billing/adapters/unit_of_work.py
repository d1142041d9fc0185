"""Billing's repositories on one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.errors import ServiceError
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import rows
from services.billing.adapters.agreements import AgreementRepository
from services.billing.adapters.bank_statements import BankStatementEntryRepository, BankStatementRepository
from services.billing.adapters.billed_lines import BilledLines
from services.billing.adapters.billed_treatments import BilledTreatments
from services.billing.adapters.billing_profiles import BillingProfileRepository
from services.billing.adapters.billing_runs import BillingRunRepository
from services.billing.adapters.business_days import BusinessDays
from services.billing.adapters.charges import ChargeRepository
from services.billing.adapters.coupon_redemptions import CouponRedemptionRepository
from services.billing.adapters.credit_notes import CreditNoteRepository
from services.billing.adapters.customer_balances import CustomerBalanceRepository
from services.billing.adapters.customers import CustomerRepository
from services.billing.adapters.deposits import DepositRepository
from services.billing.adapters.disputes import DisputeRepository
from services.billing.adapters.dunnings import DunningRepository
from services.billing.adapters.gateway_events import GatewayEventRepository
from services.billing.adapters.gatherings import GatheringRepository
from services.billing.adapters.invoices import InvoiceRepository
from services.billing.adapters.issued_documents import IssuedDocumentReader
from services.billing.adapters.ledger import LedgerRepository
from services.billing.adapters.mails import MailRepository, MailTemplateRepository
from services.billing.adapters.manual_lines import ManualLineRepository
from services.billing.adapters.payments import PaymentAttemptRepository, PaymentMethodRepository
from services.billing.adapters.period_terms import PeriodTermsRepository
from services.billing.adapters.plan_versions import PlanCache, PlanVersionRepository
from services.billing.adapters.received_payments import PaymentRepository
from services.billing.adapters.refunds import RefundRepository
from services.billing.adapters.sellers import SellerRepository
from services.billing.adapters.spend_thresholds import SpendThresholdRepository
from services.billing.adapters.table_tax_engine import TableTaxEngine
from services.billing.adapters.tax_rates import TaxRateRepository
from services.billing.adapters.usage_windows import UsageWindowRepository
from services.billing.adapters.wallets import WalletRepository
from services.billing.adapters.window_digests import WindowDigestRepository
from services.billing.application.create_invoice import InvoiceExternalIdTaken
from services.billing.domain.seller import SellerCodeTaken


def _external_id_taken() -> InvoiceExternalIdTaken:
    return InvoiceExternalIdTaken(
        "another invoice has this external id",
        pointer="/external_id",
        remedy="Look that invoice up by its external id, or choose another.",
    )


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
        "uq_invoice_external_id": _external_id_taken,
    }

    def __init__(self, connection: AsyncConnection, plans: PlanCache | None = None) -> None:
        super().__init__(connection, rows.shared)
        self.agreements = AgreementRepository(self)
        self.customers = CustomerRepository(self)
        self.period_terms = PeriodTermsRepository(self)
        self.charges = ChargeRepository(self)
        self.usage_windows = UsageWindowRepository(self)
        self.window_digests = WindowDigestRepository(self)
        self.plan_versions = PlanVersionRepository(self, PlanCache() if plans is None else plans)
        self.sellers = SellerRepository(self)
        self.payment_methods = PaymentMethodRepository(self)
        self.payment_attempts = PaymentAttemptRepository(self)
        self.gateway_events = GatewayEventRepository(self)
        self.payments = PaymentRepository(self)
        self.bank_statements = BankStatementRepository(self)
        self.bank_statement_entries = BankStatementEntryRepository(self)
        self.dunnings = DunningRepository(self, self.agreements)
        self.ledger = LedgerRepository(self)
        self.business_days = BusinessDays()
        self.customer_balances = CustomerBalanceRepository(self)
        self.billing_profiles = BillingProfileRepository(self)
        self.manual_lines = ManualLineRepository(self)
        self.tax_rates = TaxRateRepository(self)
        self.tax_engine = TableTaxEngine(self.tax_rates)
        self.billed_treatments = BilledTreatments(self)
        self.gatherings = GatheringRepository(self)
        self.billing_runs = BillingRunRepository(self)
        self.spend_thresholds = SpendThresholdRepository(self)
        self.deposits = DepositRepository(self)
        self.coupon_redemptions = CouponRedemptionRepository(self)
        self.wallets = WalletRepository(self)
        self.invoices = InvoiceRepository(self)
        self.billed_lines = BilledLines(self, self.invoices)
        self.issued_documents = IssuedDocumentReader(self)
        self.credit_notes = CreditNoteRepository(self)
        self.refunds = RefundRepository(self)
        self.disputes = DisputeRepository(self)
        self.mails = MailRepository(self)
        self.mail_templates = MailTemplateRepository(self)
        self.register(
            self.agreements,
            self.customers,
            self.period_terms,
            self.charges,
            self.usage_windows,
            self.window_digests,
            self.plan_versions,
            self.sellers,
            self.payment_methods,
            self.payment_attempts,
            self.gateway_events,
            self.dunnings,
            self.payments,
            self.bank_statement_entries,
            self.ledger,
            self.customer_balances,
            self.billing_profiles,
            self.manual_lines,
            self.gatherings,
            self.billing_runs,
            self.spend_thresholds,
            self.tax_rates,
            self.billed_treatments,
            self.deposits,
            self.coupon_redemptions,
            self.wallets,
            self.invoices,
            self.credit_notes,
            self.refunds,
            self.disputes,
            self.mails,
            self.mail_templates,
        )
