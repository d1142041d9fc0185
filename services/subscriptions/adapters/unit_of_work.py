"""The repositories of subscriptions on one transaction."""

from __future__ import annotations

from typing import ClassVar, Literal

from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.persistence.reference import find_tenant_mode
from libs.common.persistence.unit_of_work import ConstraintErrors, UnitOfWork
from services.subscriptions.adapters.customer_invoices import CustomerInvoices
from services.subscriptions.adapters.customer_standings import CustomerStandingReads
from services.subscriptions.adapters.customers import CustomerRepository
from services.subscriptions.adapters.entitlements import EntitlementReads
from services.subscriptions.adapters.invoice_standings import InvoiceStandingRepository
from services.subscriptions.adapters.known_meters import KnownMeters
from services.subscriptions.adapters.payment_methods import KnownPaymentMethods
from services.subscriptions.adapters.plan_moves import PlanMoveRepository
from services.subscriptions.adapters.plans import PlanCopies
from services.subscriptions.adapters.quotes import QuoteRepository
from services.subscriptions.adapters.receipts import ReceiptRepository
from services.subscriptions.adapters.revenue_movements import RevenueMovementRepository
from services.subscriptions.adapters.rows import shared
from services.subscriptions.adapters.scheduled_changes import ScheduledChangeRepository
from services.subscriptions.adapters.subject_bindings import SubjectBindingRepository
from services.subscriptions.adapters.subscriptions import SubscriptionRepository
from services.subscriptions.adapters.test_clocks import ClockMoveRepository, TestClockRepository
from services.subscriptions.adapters.timeline import TimelineRepository
from services.subscriptions.adapters.usage_balances import UsageBalances
from services.subscriptions.domain.customer import CustomerExternalIdTaken
from services.subscriptions.domain.subscription import SubscriptionExternalIdTaken
from services.subscriptions.domain.test_clock import ClockIsMoving


def _customer_external_id_taken() -> CustomerExternalIdTaken:
    return CustomerExternalIdTaken(
        "another customer has this external id",
        pointer="/external_id",
        remedy="Use that customer, or another external id.",
    )


def _subscription_external_id_taken() -> SubscriptionExternalIdTaken:
    return SubscriptionExternalIdTaken(
        "another subscription has this external id",
        pointer="/external_id",
        remedy="Use that subscription, or another external id.",
    )


def _clock_is_moving() -> ClockIsMoving:
    return ClockIsMoving("a clock makes one move at a time")


class SubscriptionsUnitOfWork(UnitOfWork):
    constraint_errors: ClassVar[ConstraintErrors] = {
        "uq_customer_tenant_external_id": _customer_external_id_taken,
        "uq_subscription_tenant_external_id": _subscription_external_id_taken,
        "uq_clock_move_one_at_a_time": _clock_is_moving,
    }

    def __init__(self, connection: AsyncConnection) -> None:
        super().__init__(connection, shared)
        self.customers = CustomerRepository(self)
        self.plans = PlanCopies(self)
        self.subscriptions = SubscriptionRepository(self)
        self.scheduled_changes = ScheduledChangeRepository(self)
        self.plan_moves = PlanMoveRepository(self)
        self.standings = InvoiceStandingRepository(self)
        self.revenue = RevenueMovementRepository(self)
        self.customer_invoices = CustomerInvoices(self)
        self.customer_standings = CustomerStandingReads(self)
        self.payment_methods = KnownPaymentMethods(self)
        self.bindings = SubjectBindingRepository(self)
        self.timeline = TimelineRepository(self)
        self.quotes = QuoteRepository(self)
        self.receipts = ReceiptRepository(self)
        self.entitlements = EntitlementReads(self)
        self.known_meters = KnownMeters(self)
        self.usage_balances = UsageBalances(self)
        self.test_clocks = TestClockRepository(self)
        self.clock_moves = ClockMoveRepository(self)
        self.register(
            self.customers,
            self.plans,
            self.subscriptions,
            self.scheduled_changes,
            self.plan_moves,
            self.standings,
            self.revenue,
            self.customer_invoices,
            self.payment_methods,
            self.bindings,
            self.timeline,
            self.quotes,
            self.receipts,
            self.known_meters,
            self.usage_balances,
            self.test_clocks,
            self.clock_moves,
        )

    async def tenant_mode(self) -> Literal["live", "sandbox"] | None:
        return await find_tenant_mode(self)
