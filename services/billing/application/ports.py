"""What billing's use cases need from outside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from libs.common.contracts.catalog import PlanOverlayV1, PlanV1
from libs.common.contracts.envelope import Event
from libs.common.money import Money
from services.billing.domain.agreement import Agreement, CustomerDetails
from services.billing.domain.charge import Charge, UsageCorrection, UsageOfPeriod
from services.billing.domain.customer_balance import BalanceEntry, BalanceMovement, CustomerBalance
from services.billing.domain.invoice import Finalized, Invoice
from services.billing.domain.ledger_entry import LedgerEntry
from services.billing.domain.payment import Outcome, PaymentAttempt, PaymentMethod
from services.billing.domain.plan_terms import PlanTerms
from services.billing.domain.seller import Seller
from services.billing.domain.terms import PeriodTerms


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


class TermsOfPeriods(Protocol):
    """What is agreed on for each period that an event told of, as the newest one told it."""

    async def find(self, subscription_id: str, period_index: int) -> PeriodTerms | None: ...

    async def unsettled(self, subscription_id: str) -> list[PeriodTerms]:
        """Those that have not been held against what was charged since they were told, in their order."""
        ...

    async def keep_newest(self, terms: PeriodTerms) -> None:
        """Older ones replace nothing."""
        ...

    async def settle(self, terms: PeriodTerms) -> None: ...


class Invoices(Protocol):
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


class CustomerBalances(Protocol):
    """What is owed to customers. Drawn on by those who hold the balance locked; anybody may give to it."""

    async def find_for_update(self, customer_id: str, currency: str) -> CustomerBalance | None:
        """None where nothing was ever given: then there is nothing to lock, and nothing to draw on."""
        ...

    async def open_for_update(self, customer_id: str, currency: str, *, now: datetime) -> CustomerBalance:
        """The balance, made empty where there is none yet."""
        ...

    def move(self, movement: BalanceMovement) -> BalanceEntry:
        """Give to a balance, or draw on one that is locked; its event comes when the unit of work is flushed.

        The entry's place is sure where the balance is locked. Raises: BalanceTooSmall.
        """
        ...


class UsageWindows(Protocol):
    async def find(self, subscription_id: str, period_index: int) -> UsageOfPeriod | None: ...

    async def of_periods(self, subscription_id: str, start: int, end: int) -> list[UsageOfPeriod]:
        """The closed ones from `start` until before `end`, in their order."""
        ...

    async def corrections_of(self, subscription_id: str, start: int, end: int) -> list[UsageCorrection]: ...

    def add(self, usage: UsageOfPeriod) -> None: ...

    def keep_newest_correction(self, correction: UsageCorrection) -> None: ...


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
    async def find_default(self) -> Seller | None:
        """Who issues the tenant's invoices. Where there is none, none is made before this transaction is over."""
        ...

    async def lock_default(self) -> None:
        """Wait for those who found no seller, and make others wait who look for one."""
        ...

    def add(self, aggregate: Seller) -> None: ...


class PaymentMethods(Protocol):
    async def find(self, id: str) -> PaymentMethod | None: ...

    async def find_default(self, customer_id: str) -> PaymentMethod | None: ...

    async def of_customer(self, customer_id: str) -> list[PaymentMethod]:
        """Those that were not removed, in the order in which they were added."""
        ...

    async def count_changes(self, customer_id: str) -> int:
        """How many methods the customer ever had, and how many of them were removed: it only grows."""
        ...

    async def remove(self, method: PaymentMethod) -> None:
        """Written at once, so that another may become the default. It was locked."""
        ...

    async def get_for_update(self, id: str) -> PaymentMethod: ...

    def add(self, aggregate: PaymentMethod) -> None: ...

    def save(self, aggregate: PaymentMethod) -> None: ...


class PaymentAttempts(Protocol):
    async def find_for_update(self, id: str) -> PaymentAttempt | None: ...

    async def last_of_invoice(self, invoice_id: str) -> PaymentAttempt | None: ...

    def add(self, aggregate: PaymentAttempt) -> None: ...

    def save(self, aggregate: PaymentAttempt) -> None: ...


class Ledger(Protocol):
    def post(
        self,
        entries: Iterable[LedgerEntry],
        *,
        posted_at: datetime,
        invoice_id: str | None = None,
        attempt_id: str | None = None,
        balance_entry_id: str | None = None,
    ) -> None: ...


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
    def customer_balances(self) -> CustomerBalances: ...

    @property
    def usage_windows(self) -> UsageWindows: ...

    @property
    def plan_versions(self) -> PlanVersions: ...

    @property
    def sellers(self) -> Sellers: ...

    @property
    def payment_methods(self) -> PaymentMethods: ...

    @property
    def payment_attempts(self) -> PaymentAttempts: ...

    @property
    def ledger(self) -> Ledger: ...

    def record(self, action: str, aggregate_id: str, version: int = 1) -> None: ...


class PaymentGateway(Protocol):
    """An outside party. `idempotency_key` makes asking twice harmless."""

    async def collect(
        self, *, idempotency_key: str, method: PaymentMethod, amount: Money, at: datetime
    ) -> Outcome:
        """Raises: TransientError when the outcome is unknown."""
        ...

    async def find_outcome(self, *, idempotency_key: str) -> Outcome | None:
        """What became of an earlier call; None when the gateway never saw it."""
        ...


Gateways = Mapping[str, PaymentGateway]
