"""What the use cases need of the outside: repositories, the outbox, the other services, the bus's progress."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal, Protocol

from libs.common.contracts import SERVICES
from libs.common.contracts.billing import CreditNoteIssuedV1, InvoiceV1, PaymentReceivedV1
from libs.common.contracts.catalog import PlanOverlayV1, PlanV1
from libs.common.contracts.envelope import Event
from libs.common.contracts.metering import (
    MeterDefinedV1,
    UsageBalanceUpdatedV1,
    UsageCorrectedV1,
    UsageWindowClosedV1,
)
from libs.common.paging import PageRequest, Slice
from services.subscriptions.domain.billing_period import BillingPeriod
from services.subscriptions.domain.clock_rest import Look, Offsets
from services.subscriptions.domain.customer import Customer, InTheWay
from services.subscriptions.domain.customer_standing import OwedInvoice, RevenueDay
from services.subscriptions.domain.early_termination import EarlyTerminationQuote
from services.subscriptions.domain.entitlement import Aggregation, Granting, UsageBalance
from services.subscriptions.domain.invoice_standing import Standing
from services.subscriptions.domain.plan import PlanStanding, SaleState
from services.subscriptions.domain.plan_move import MoveOutcome, MoveResult, PlanMove
from services.subscriptions.domain.receipt import Receipt
from services.subscriptions.domain.recurring_revenue import (
    Mark,
    MovementKind,
    RevenueMonth,
    RevenueMovement,
)
from services.subscriptions.domain.scheduled_change import ChangeStatus, ScheduledChange
from services.subscriptions.domain.subject_binding import SubjectBinding
from services.subscriptions.domain.subscription import Subscription, SubscriptionState
from services.subscriptions.domain.test_clock import ClockMove, TestClock
from services.subscriptions.domain.timeline_entry import TimelineEntry

CheckVersion = Callable[[int], None]
"""Refuses, by raising, the version that was found and locked."""


def any_version(version: int) -> None:
    """For callers to whom the version does not matter."""


class EventOutbox(Protocol):
    @property
    def events(self) -> Sequence[Mapping[str, Any]]:
        """What waits to be written: rows with a type and the event as JSON."""
        ...

    def append(self, event: Event, *, key: str, traceparent: str | None = None) -> None: ...


class Customers(Protocol):
    async def load(self, ids: Iterable[str]) -> None:
        """Read many at once, and all above them, without locking them; `get` and `ancestors_of` find them at hand."""
        ...

    async def get(self, id: str) -> Customer: ...

    async def get_shared(self, id: str) -> Customer:
        """Held against change and erasure until the transaction is over, but not against others who do the same."""
        ...

    async def get_for_update(self, id: str) -> Customer: ...

    async def hold_families(self) -> None:
        """Nobody else of the tenant changes who pays for whom until the transaction is over. Lock customers first."""
        ...

    async def ancestors_of(self, id: str) -> Sequence[Customer]:
        """The customer, who pays for it, who pays for that one, and so on.

        Raises: CustomerNotFound.
        """
        ...

    async def count_levels_below(self, id: str) -> int:
        """How many levels of customers there are of which each pays for the next, below this one."""
        ...

    async def find_in_the_way(self, id: str) -> InTheWay:
        """What keeps it from being erased."""
        ...

    def add(self, aggregate: Customer) -> None: ...

    def save(self, aggregate: Customer) -> None: ...

    async def list_page(self, wanted: CustomerFilter, page: PageRequest) -> Slice[Customer]: ...


@dataclass(frozen=True, slots=True)
class CustomerFilter:
    """`email` and `name_prefix` are compared without regard to capitals."""

    external_id: str | None = None
    email: str | None = None
    name_prefix: str | None = None
    parent_id: str | None = None


class Plans(Protocol):
    """Copies of what the catalog published."""

    async def load(self, plan_version_ids: Iterable[str]) -> None: ...

    async def get(self, plan_version_id: str) -> PlanV1:
        """Raises: PlanNotFound."""
        ...

    async def get_newest(self, code: str, now: datetime) -> PlanV1:
        """The newest version under this code that is on sale at `now`; if none is, the newest that there is.

        Raises: PlanNotFound.
        """
        ...

    async def get_numbered(self, code: str, number: int) -> PlanV1:
        """The version with this number of the plan with this code.

        Raises: PlanNotFound.
        """
        ...

    async def standing_of(self, plan: PlanV1) -> PlanStanding: ...

    async def keep(self, plan: PlanV1) -> None:
        """A version never changes: one that is known stays as it is."""
        ...

    async def load_overlays(self, overlay_ids: Iterable[str]) -> None: ...

    async def get_overlay(self, overlay_id: str) -> PlanOverlayV1:
        """Raises: PlanNotFound."""
        ...

    async def keep_overlay(self, overlay: PlanOverlayV1) -> None:
        """It never changes: one that is known stays as it is."""
        ...

    async def withdraw_overlay(self, overlay_id: str) -> None:
        """Also before the overlay itself was heard of."""
        ...

    async def is_withdrawn(self, overlay_id: str) -> bool: ...

    async def retire(self, plan_id: str) -> None: ...

    async def note_sale(self, plan_version_id: str, state: SaleState, version: int) -> None:
        """Of what is heard of a version, the highest `version` of its plan wins."""
        ...


class Subscriptions(Protocol):
    async def load_for_update(self, ids: Iterable[str]) -> None: ...

    async def load_shared(self, *, ids: Iterable[str], item_ids: Iterable[str]) -> Sequence[Subscription]:
        """These, and those that have these items. None of them can end or change until the transaction is over."""
        ...

    async def get(self, id: str) -> Subscription: ...

    async def get_for_update(self, id: str) -> Subscription: ...

    def add(self, aggregate: Subscription) -> None: ...

    def save(self, aggregate: Subscription) -> None: ...

    def begin_period(self, subscription: Subscription, period: BillingPeriod) -> None:
        """Write down, once and for all, that this period has begun."""
        ...

    def change_period(self, subscription: Subscription, period: BillingPeriod) -> None:
        """A period that has begun was cut, or ends at another instant."""
        ...

    async def periods_from(self, subscription_id: str, at: datetime) -> Sequence[BillingPeriod]:
        """The periods that have begun and end after `at`, in their order."""
        ...

    async def periods_numbered(
        self, wanted: Mapping[str, Iterable[int]]
    ) -> Mapping[str, Mapping[int, BillingPeriod]]:
        """Of each subscription, the periods with these numbers."""
        ...

    async def find_on_version(self, plan_version_id: str, *, after_id: str | None, length: int) -> list[str]:
        """The next so many that are on this plan version and not over, in the order of their ids."""
        ...

    async def list_page(self, wanted: SubscriptionFilter, page: PageRequest) -> Slice[Subscription]: ...


@dataclass(frozen=True, slots=True)
class SubscriptionFilter:
    customer_id: str | None = None
    state: SubscriptionState | None = None
    external_id: str | None = None
    plan_code: str | None = None


class ScheduledChanges(Protocol):
    """The changes that were asked for. Whoever alters them, or reads which wait, has locked the subscription first."""

    async def load_waiting(self, subscriptions: Iterable[Subscription]) -> None:
        """Read what waits for many at once; `waiting_of` finds it at hand. None is asked for that has none waiting."""
        ...

    def knows(self, subscription_id: str) -> bool:
        """Whether what waits for it was read, or something was added, in this unit of work."""
        ...

    async def waiting_of(self, subscription: Subscription) -> Sequence[ScheduledChange]:
        """In the order in which they were asked for, as they stand in this unit of work."""
        ...

    async def get(self, id: str) -> ScheduledChange: ...

    async def get_for_update(self, id: str) -> ScheduledChange: ...

    def add(self, aggregate: ScheduledChange) -> None: ...

    def save(self, aggregate: ScheduledChange) -> None: ...

    async def list_page(self, wanted: ChangeFilter, page: PageRequest) -> Slice[ScheduledChange]: ...


@dataclass(frozen=True, slots=True)
class ChangeFilter:
    subscription_id: str
    status: ChangeStatus | None = None


class PlanMoves(Protocol):
    async def get(self, id: str) -> PlanMove: ...

    async def get_for_update(self, id: str) -> PlanMove: ...

    def add(self, aggregate: PlanMove) -> None: ...

    def save(self, aggregate: PlanMove) -> None: ...

    def add_results(self, results: Sequence[MoveResult]) -> None:
        """Once and for all: what became of a subscription is said once."""
        ...

    async def list_page(self, page: PageRequest) -> Slice[PlanMove]: ...

    async def list_results(self, wanted: MoveResultFilter, page: PageRequest) -> Slice[MoveResult]: ...


@dataclass(frozen=True, slots=True)
class MoveResultFilter:
    plan_move_id: str
    outcome: MoveOutcome | None = None


class InvoiceStandings(Protocol):
    """How the invoices of subscriptions stand. Whoever changes them has locked the subscription first."""

    async def load(self, invoices: Iterable[tuple[str, str]]) -> None:
        """Read many at once: (subscription id, invoice id) each; `of` finds them at hand."""
        ...

    async def of(self, subscription_id: str, invoice_id: str) -> Mapping[str, Standing]:
        """The standing of this invoice, if it is known, and all the overdue ones, by invoice id."""
        ...

    def put(self, subscription_id: str, invoice_id: str, standing: Standing) -> None: ...


class RevenueMovements(Protocol):
    """Movements of recurring revenue, each added once and for all."""

    def add(self, movement: RevenueMovement) -> None: ...

    async def recorded_of(self, subscription_ids: Iterable[str]) -> Mapping[str, Mapping[Mark, Decimal]]:
        """By subscription, what its movements come to on each day."""
        ...

    async def filled(self, subscription_ids: Iterable[str]) -> None:
        """The movements of their past are written."""
        ...

    async def months(
        self, wanted: RevenueFilter, start_on: date, end_on: date
    ) -> Sequence[tuple[Sequence[RevenueMonth], RevenueMonth]]:
        """By currency, each month from `start_on` until before `end_on`, firsts of months; and all of that as one."""
        ...

    async def list_page(
        self, wanted: RevenueFilter, start_on: date, end_on: date, page: PageRequest
    ) -> Slice[RevenueEntry]:
        """By day, and of one day by subscription."""
        ...


@dataclass(frozen=True, slots=True)
class RevenueFilter:
    customer_id: str | None = None
    currency: str | None = None
    test_clock_id: str | None = None
    kind: MovementKind | None = None


@dataclass(frozen=True, slots=True)
class RevenueEntry:
    """What one day did to one subscription's MRR; `before` and `after` are the customer's in that currency."""

    customer_id: str
    subscription_id: str
    currency: str
    on_date: date
    kind: MovementKind
    amount: Decimal
    before: Decimal
    after: Decimal


class CustomerInvoices(Protocol):
    """What billing told of invoices, in any order."""

    def issued(self, invoice: InvoiceV1) -> None: ...

    def paid(self, invoice: InvoiceV1) -> None: ...

    def reopened(self, invoice: InvoiceV1, due_minor: int) -> None: ...

    def voided(self, invoice: InvoiceV1) -> None: ...

    def credited(self, event: CreditNoteIssuedV1) -> None: ...

    def received(self, event: PaymentReceivedV1) -> None: ...

    async def owed_by(self, customer_ids: Iterable[str]) -> Mapping[str, Sequence[OwedInvoice]]:
        """Of each customer, the invoices that it is to pay, and has not."""
        ...


@dataclass(frozen=True, slots=True)
class StandingFilter:
    """`tenure_days_min`: those that are customers still, and have been for so long."""

    is_overdue: bool | None = None
    tenure_days_min: int | None = None


class CustomerStandings(Protocol):
    """What standings are read off, of many customers at once."""

    async def agreements_of(self, customer_ids: Iterable[str]) -> Mapping[str, Sequence[Subscription]]:
        """All that they ever agreed on, without its segments."""
        ...

    async def revenue_days_of(self, customer_ids: Iterable[str]) -> Mapping[str, Sequence[RevenueDay]]: ...

    async def clocks_of(self, customer_ids: Iterable[str]) -> Mapping[str, datetime]:
        """The latest that a test clock of theirs shows, of those that are on one."""
        ...

    async def list_page(
        self, wanted: StandingFilter, system_now: datetime, page: PageRequest
    ) -> Slice[Customer]: ...


class PaymentMethods(Protocol):
    """Which customers have something to collect from, as far as heard; a customer nobody told of has nothing."""

    async def load(self, customer_ids: Iterable[str]) -> None: ...

    async def has_one(self, customer_id: str) -> bool: ...

    async def note(self, customer_id: str, has_one: bool, version: int) -> None:
        """The highest `version` of a customer wins."""
        ...


@dataclass(frozen=True, slots=True)
class BindingFilter:
    subject: str | None = None
    item_id: str | None = None
    subscription_id: str | None = None
    meter: str | None = None
    asset_id: str | None = None
    customer_id: str | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """What a binding occupies: a subject on a meter, from and until."""

    meter: str
    subject: str
    bound_from: datetime
    bound_until: datetime | None


class SubjectBindings(Protocol):
    async def get(self, id: str) -> SubjectBinding: ...

    async def get_for_update(self, id: str) -> SubjectBinding: ...

    def save(self, aggregate: SubjectBinding) -> None: ...

    async def find_in(self, spans: Sequence[Span]) -> Sequence[SubjectBinding]:
        """Every binding that overlaps one of these, or begins where it does."""
        ...

    async def insert_new(self, bindings: Sequence[SubjectBinding]) -> set[str]:
        """Insert at once what nothing stands in the way of; returns the ids of what was inserted."""
        ...

    async def load_open(self, subscription_ids: Iterable[str]) -> None:
        """Lock, in one go, what `open_of` will be asked for of these subscriptions."""
        ...

    async def open_of(self, subscription: Subscription) -> Sequence[SubjectBinding]:
        """Its bindings that reach beyond its end, locked; all of them when it never began."""
        ...

    async def list_page(self, wanted: BindingFilter, page: PageRequest) -> Slice[SubjectBinding]: ...


class Timelines(Protocol):
    """What happened to subscriptions, for people to read."""

    def next_id(self, subscription_id: str) -> str:
        """An id that sorts after those that this transaction gave to entries of the subscription before."""
        ...

    def add(self, entry: TimelineEntry) -> None: ...

    async def list_page(self, subscription_id: str, page: PageRequest) -> Slice[TimelineEntry]: ...


class Quotes(Protocol):
    """Early-termination quotes."""

    async def get(self, id: str) -> EarlyTerminationQuote: ...

    async def get_for_update(self, id: str) -> EarlyTerminationQuote: ...

    def add(self, aggregate: EarlyTerminationQuote) -> None: ...

    def save(self, aggregate: EarlyTerminationQuote) -> None: ...


class Receipts(Protocol):
    async def get(self, id: str) -> Receipt: ...

    def add(self, aggregate: Receipt) -> None:
        """Once and for all."""
        ...


class TestClocks(Protocol):
    async def get(self, id: str) -> TestClock: ...

    async def get_for_update(self, id: str) -> TestClock: ...

    async def load_shared(self, ids: Iterable[str]) -> Mapping[str, TestClock]:
        """These clocks; they stand still until the transaction is over."""
        ...

    def add(self, aggregate: TestClock) -> None: ...

    def save(self, aggregate: TestClock) -> None: ...

    async def list_page(self, page: PageRequest) -> Slice[TestClock]: ...


class ClockMoves(Protocol):
    async def get(self, id: str) -> ClockMove: ...

    async def get_for_update(self, id: str) -> ClockMove: ...

    async def find_moving(self, test_clock_id: str) -> ClockMove | None: ...

    def add(self, aggregate: ClockMove) -> None: ...

    def save(self, aggregate: ClockMove) -> None: ...

    async def find_all_moving(self) -> Sequence[MovingClock]:
        """The moves under way of all tenants. Call it in a unit of work that has no tenant."""
        ...

    async def wake_mover(self) -> None:
        """Let the mover look as soon as this transaction is committed."""
        ...


@dataclass(frozen=True, slots=True)
class MovingClock:
    tenant: str
    move_id: str


class Entitlements(Protocol):
    async def find(self, customer_id: str, system_now: datetime) -> Sequence[Granting] | None:
        """The customer's subscriptions that are not over, with what they grant; None where there is no customer."""
        ...


class UsageBalances(Protocol):
    """What metering told of usage, by item and billing period."""

    def keep(self, event: UsageBalanceUpdatedV1) -> None: ...

    def keep_closed(self, event: UsageWindowClosedV1 | UsageCorrectedV1) -> None: ...

    async def list_since(self, starts: Mapping[str, datetime]) -> Sequence[UsageBalance]:
        """By subscription, those of the billing periods that begin at the instant or later."""
        ...


class KnownMeters(Protocol):
    """What is made of the usage on meters, as metering told."""

    def keep(self, event: MeterDefinedV1) -> None: ...

    async def aggregations(self, codes: Collection[str]) -> Mapping[str, Aggregation]:
        """By code, of those that were told of."""
        ...


class UnitOfWork(Protocol):
    @property
    def tenant(self) -> str: ...

    @property
    def outbox(self) -> EventOutbox: ...

    @property
    def customers(self) -> Customers: ...

    @property
    def plans(self) -> Plans: ...

    @property
    def subscriptions(self) -> Subscriptions: ...

    @property
    def scheduled_changes(self) -> ScheduledChanges: ...

    @property
    def plan_moves(self) -> PlanMoves: ...

    @property
    def standings(self) -> InvoiceStandings: ...

    @property
    def revenue(self) -> RevenueMovements: ...

    @property
    def customer_invoices(self) -> CustomerInvoices: ...

    @property
    def customer_standings(self) -> CustomerStandings: ...

    @property
    def payment_methods(self) -> PaymentMethods: ...

    @property
    def bindings(self) -> SubjectBindings: ...

    @property
    def timeline(self) -> Timelines: ...

    @property
    def quotes(self) -> Quotes: ...

    @property
    def receipts(self) -> Receipts: ...

    @property
    def entitlements(self) -> Entitlements: ...

    @property
    def usage_balances(self) -> UsageBalances: ...

    @property
    def known_meters(self) -> KnownMeters: ...

    @property
    def test_clocks(self) -> TestClocks: ...

    @property
    def clock_moves(self) -> ClockMoves: ...

    def record(self, action: str, aggregate_id: str, version: int = 1) -> None: ...

    async def flush(self) -> None:
        """Write what is pending, so that what is read from now on holds it. Nothing is committed by it."""
        ...

    async def tenant_mode(self) -> Literal["live", "sandbox"] | None:
        """None while this service has not heard of the tenant."""
        ...


class OpenUnits(Protocol):
    def open(self, tenant: str, actor: str) -> AbstractAsyncContextManager[UnitOfWork]: ...

    def open_for_many(self) -> AbstractAsyncContextManager[UnitOfWork]: ...


class ClockPeers(Protocol):
    """The four services, or some of them, asked what a test clock must still wait for."""

    async def look(
        self, *, tenant: str, test_clock_id: str, services: Sequence[str] = SERVICES
    ) -> Sequence[Look]:
        """Raises: TransientError when one of them does not answer."""
        ...


class EventProgress(Protocol):
    """How far the readers of events have come."""

    async def ends(self) -> Mapping[str, Offsets]:
        """For each publishing service, where its topic ends now."""
        ...

    async def find_behind(self, ends: Mapping[str, Offsets]) -> tuple[str, str] | None:
        """Some (reader, publisher) where the reader has yet to handle an event before these ends."""
        ...
