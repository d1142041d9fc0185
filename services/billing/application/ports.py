"""What billing's use cases need from outside."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import Protocol

from libs.common.clock import TestClock
from libs.common.contracts.catalog import PlanOverlayV1, PlanV1
from libs.common.contracts.envelope import Event
from libs.common.money import Money
from services.billing.application.billing_run_ports import BillingRuns, Gatherings, SpendThresholds
from services.billing.application.credit_ports import BilledLines, CouponRedemptions, Wallets
from services.billing.application.dunning_ports import Dunnings
from services.billing.application.issued_documents import IssuedDocuments
from services.billing.application.mail_ports import Mails, MailTemplates
from services.billing.application.money_ports import (
    CustomerBalances,
    Deposits,
    Disputes,
    GatewayEvents,
    PaymentAttempts,
    PaymentMethods,
    Payments,
    Refunds,
)
from services.billing.application.statement_ports import BankStatementEntries, BankStatements
from services.billing.domain.agreement import Agreement, CustomerDetails
from services.billing.domain.billing_profile import BillingProfile
from services.billing.domain.charge import Charge, UsageCorrection, UsageOfPeriod
from services.billing.domain.credit_note import CreditNote
from services.billing.domain.invoice import Finalized, Invoice
from services.billing.domain.invoice_line import InvoiceLine
from services.billing.domain.ledger_entry import Posting
from services.billing.domain.manual_line import ManualLine
from services.billing.domain.payment_terms import BusinessCalendar
from services.billing.domain.plan_terms import PlanTerms
from services.billing.domain.seller import Seller
from services.billing.domain.tax_assessment import TaxAssessment, TaxQuestion
from services.billing.domain.tax_rate import TaxRate
from services.billing.domain.tax_treatment import TaxTreatment
from services.billing.domain.terms import PeriodTerms
from services.billing.domain.window_digest import WindowDigest


class EventSink(Protocol):
    def append(self, event: Event, *, key: str, traceparent: str | None = None) -> None: ...


class Agreements(Protocol):
    async def find(self, id: str) -> Agreement | None: ...

    async def find_for_update(self, id: str) -> Agreement | None: ...

    async def of_customer_for_update(self, customer_id: str) -> list[Agreement]:
        """Those under which the customer uses or pays, in id order."""
        ...

    def add(self, aggregate: Agreement) -> None: ...

    def save(self, aggregate: Agreement) -> None: ...


class Customers(Protocol):
    async def find(self, id: str) -> CustomerDetails | None: ...

    async def find_for_update(self, id: str) -> CustomerDetails | None: ...

    def keep_newest(self, customer: CustomerDetails) -> None: ...


class Charges(Protocol):
    async def recorded(self, ids: Sequence[str]) -> set[str]: ...

    async def of_invoice(self, invoice_id: str) -> list[Charge]: ...

    async def of_periods(self, subscription_id: str, start: int, end: int) -> list[Charge]:
        """Those of the billing periods from `start` until before `end`."""
        ...

    async def of_period(self, subscription_id: str, period_index: int) -> list[Charge]:
        """Those of one billing period, and those for what is charged once, of whatever period."""
        ...

    async def usage_of_period(self, subscription_id: str, period_index: int) -> list[Charge]:
        """Those for the usage of one billing period, revision by revision."""
        ...

    async def waiting(self, subscription_id: str) -> list[Charge]:
        """Those that stand on no document yet."""
        ...

    async def last_usage(self, item_id: str, price_id: str, *, before: int) -> Charge | None:
        """The charge for the usage of the last billing period before the one with the index `before`."""
        ...

    def add(self, charge: Charge) -> None: ...

    def place(self, charge: Charge, invoice_id: str) -> None:
        """Put a charge that waited on a document."""
        ...

    async def load_of_invoices(self, invoice_ids: Iterable[str]) -> None:
        """At once, for a whole batch."""
        ...

    def move(self, charges: Iterable[Charge], invoice_id: str) -> None:
        """Put charges of other drafts on this one; those of both were loaded."""
        ...

    async def free(self, invoice_id: str) -> list[Charge]:
        """Take the charges of an issued document off it, as it is voided: they wait for another from now on."""
        ...

    async def freed_by(self, invoice_id: str) -> list[Charge]:
        """Those that stood on a document that was voided, and still wait for another."""
        ...


class TermsOfPeriods(Protocol):
    """What is agreed on for each period that an event told of, as the newest one told it."""

    async def find(self, subscription_id: str, period_index: int) -> PeriodTerms | None: ...

    async def of_periods(self, subscription_id: str, start: int, end: int) -> dict[int, PeriodTerms]:
        """By index, those that were told of the periods from `start` until before `end`."""
        ...

    async def unsettled(self, subscription_id: str) -> list[PeriodTerms]:
        """Those that have not been held against what was charged since they were told, in their order."""
        ...

    async def keep_newest(self, terms: PeriodTerms) -> None:
        """Older ones replace nothing."""
        ...

    async def settle(self, terms: PeriodTerms) -> None: ...


class BillingProfiles(Protocol):
    async def find(self, customer_id: str) -> BillingProfile | None:
        """Without another round trip where it was loaded for the batch."""
        ...

    async def find_for_update(self, id: str) -> BillingProfile | None: ...

    def add(self, aggregate: BillingProfile) -> None: ...

    def save(self, aggregate: BillingProfile) -> None: ...


class TaxEngine(Protocol):
    """Says what tax supplies bear, and why. The one that is used by default looks it up in tables.

    It is asked while a document is locked: one that asks an outside party has its answers before.
    """

    async def assess(self, question: TaxQuestion) -> Sequence[TaxAssessment]:
        """One answer for each supply, in their order."""
        ...


class TaxRates(Protocol):
    """The tenant's own."""

    async def count(self) -> int: ...

    def add(self, rate: TaxRate) -> None: ...


class BilledTreatments(Protocol):
    async def of_lines(self, line_ids: Iterable[str]) -> Mapping[str, TaxTreatment]:
        """How lines that were issued are taxed, by their ids."""
        ...


class ManualLines(Protocol):
    async def load_of_invoices(self, invoice_ids: Iterable[str]) -> None:
        """At once, for a whole batch."""
        ...

    async def of_invoice(self, invoice_id: str) -> list[ManualLine]:
        """In the order in which they were put on it."""
        ...

    async def get_for_update(self, id: str) -> ManualLine: ...

    async def remove(self, line: ManualLine) -> None:
        """Written at once. It was locked."""
        ...

    def move(self, lines: Iterable[ManualLine], invoice_id: str) -> None:
        """Put lines of other drafts, which are locked, on this one; those of both were loaded."""
        ...

    def add(self, aggregate: ManualLine) -> None: ...

    def save(self, aggregate: ManualLine) -> None: ...


class Invoices(Protocol):
    async def load_for_update(self, ids: Iterable[str]) -> None:
        """At once, for a whole batch, in id order."""
        ...

    async def get(self, id: str) -> Invoice:
        """Without a lock. Raises: InvoiceNotFound."""
        ...

    async def find_for_update(self, id: str) -> Invoice | None: ...

    async def get_for_update(self, id: str) -> Invoice: ...

    async def release_waiting_for_seller(self) -> None:
        """Make the drafts due that are complete but had no seller to issue them: the scheduler takes them up."""
        ...

    def add(self, aggregate: Invoice) -> None: ...

    def save(self, aggregate: Invoice) -> None: ...

    def finalize(self, outcome: Finalized) -> None:
        """Save the finalized invoice with its lines, number and event, as the last thing before the commit."""
        ...


class CreditNotes(Protocol):
    async def any_issued(self) -> bool:
        """Whether there are any at all. Asked once for each unit of work."""
        ...

    async def of_invoice(self, invoice_id: str) -> list[CreditNote]:
        """In the order in which they were issued."""
        ...

    async def lines_billed(self, invoice_id: str) -> list[InvoiceLine]:
        """The lines of an issued invoice, in their order."""
        ...

    async def taken_back(self, invoice_id: str) -> Mapping[str, Money]:
        """By line: what lines of later documents gave back of it, without tax."""
        ...

    def add(self, note: CreditNote) -> None:
        """Its number and its event come as the last thing before the commit."""
        ...


class WindowDigests(Protocol):
    def add(self, sealed: WindowDigest) -> None: ...

    async def of_windows(self, window_ids: Collection[str]) -> list[WindowDigest]:
        """All seals of these windows, the oldest first."""
        ...


class UsageWindows(Protocol):
    async def find(self, subscription_id: str, period_index: int) -> UsageOfPeriod | None: ...

    async def of_periods(self, subscription_id: str, start: int, end: int) -> list[UsageOfPeriod]:
        """The closed ones from `start` until before `end`, in their order."""
        ...

    async def newest(self, usage: UsageOfPeriod) -> UsageOfPeriod:
        """What is billed of a closed window by now, with all that was corrected since."""
        ...

    async def corrections_of(self, subscription_id: str, start: int, end: int) -> list[UsageCorrection]: ...

    def add(self, usage: UsageOfPeriod) -> None: ...

    async def add_correction(self, correction: UsageCorrection) -> bool:
        """False where it is known."""
        ...


class PlanVersions(Protocol):
    """What the catalog published, as far as it has been heard of."""

    async def find(self, plan_version_id: str) -> PlanTerms | None: ...

    async def find_by_code(self, code: str, number: int | None) -> PlanTerms | None:
        """Version `number` of the plan; its newest one where that is None."""
        ...

    async def find_overlay(self, overlay_id: str) -> PlanTerms | None: ...

    def keep(self, plan: PlanV1) -> None:
        """One that is known already stays as it is, since versions never change."""
        ...

    def keep_overlay(self, overlay: PlanOverlayV1) -> None: ...


class Sellers(Protocol):
    async def find(self, id: str) -> Seller | None: ...

    async def find_default(self) -> Seller | None:
        """Who issues the tenant's invoices. Where there is none, none is made before this transaction is over."""
        ...

    async def lock_default(self) -> None:
        """Wait for those who found no seller, and make others wait who look for one."""
        ...

    async def get_for_update(self, id: str) -> Seller: ...

    async def step_down(self, seller: Seller) -> None:
        """No longer the default, written at once, so that another may become it. He was locked."""
        ...

    def save(self, aggregate: Seller) -> None: ...

    def add(self, aggregate: Seller) -> None: ...


class BusinessDays(Protocol):
    async def of(self, country: str, *, around: date) -> BusinessCalendar:
        """The country's calendar, with the year of `around` at hand."""
        ...


class Ledger(Protocol):
    def post(self, postings: Iterable[Posting]) -> None: ...

    async def of_invoice(self, invoice_id: str) -> list[Posting]:
        """Every set that is about the document, those dated ahead too."""
        ...

    async def accruals_of(self, charge_ids: Iterable[str], *, is_first: bool = False) -> dict[str, Money]:
        """What is accrued of these charges and not taken back; `is_first`: all that was ever accrued of them."""
        ...


class UnitOfWork(Protocol):
    tenant: str
    actor: str

    @property
    def outbox(self) -> EventSink: ...

    @property
    def agreements(self) -> Agreements: ...

    @property
    def customers(self) -> Customers: ...

    @property
    def charges(self) -> Charges: ...

    @property
    def period_terms(self) -> TermsOfPeriods: ...

    @property
    def invoices(self) -> Invoices: ...

    @property
    def billing_profiles(self) -> BillingProfiles: ...

    @property
    def manual_lines(self) -> ManualLines: ...

    @property
    def credit_notes(self) -> CreditNotes: ...

    @property
    def refunds(self) -> Refunds: ...

    @property
    def disputes(self) -> Disputes: ...

    @property
    def mails(self) -> Mails: ...

    @property
    def mail_templates(self) -> MailTemplates: ...

    @property
    def deposits(self) -> Deposits: ...

    @property
    def gatherings(self) -> Gatherings: ...

    @property
    def billing_runs(self) -> BillingRuns: ...

    @property
    def spend_thresholds(self) -> SpendThresholds: ...

    @property
    def tax_engine(self) -> TaxEngine: ...

    @property
    def tax_rates(self) -> TaxRates: ...

    @property
    def billed_treatments(self) -> BilledTreatments: ...

    @property
    def coupon_redemptions(self) -> CouponRedemptions: ...

    @property
    def billed_lines(self) -> BilledLines: ...

    @property
    def issued_documents(self) -> IssuedDocuments: ...

    @property
    def wallets(self) -> Wallets: ...

    @property
    def customer_balances(self) -> CustomerBalances: ...

    @property
    def usage_windows(self) -> UsageWindows: ...

    @property
    def window_digests(self) -> WindowDigests: ...

    @property
    def plan_versions(self) -> PlanVersions: ...

    @property
    def sellers(self) -> Sellers: ...

    @property
    def business_days(self) -> BusinessDays: ...

    @property
    def payment_methods(self) -> PaymentMethods: ...

    @property
    def dunnings(self) -> Dunnings: ...

    @property
    def payment_attempts(self) -> PaymentAttempts: ...

    @property
    def payments(self) -> Payments: ...

    @property
    def bank_statements(self) -> BankStatements: ...

    @property
    def bank_statement_entries(self) -> BankStatementEntries: ...

    @property
    def gateway_events(self) -> GatewayEvents: ...

    @property
    def ledger(self) -> Ledger: ...

    async def test_clock(self, clock_id: str | None) -> TestClock | None:
        """The clock as this service last heard of it."""
        ...

    def record(self, action: str, aggregate_id: str, version: int = 1) -> None: ...
