"""What the use cases need of the outside: repositories, the outbox, the other services, the bus's progress."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from libs.common.contracts.catalog import PlanV1
from libs.common.contracts.envelope import Event
from libs.common.paging import PageRequest, Slice
from services.subscriptions.domain.billing_period import BillingPeriod
from services.subscriptions.domain.clock_rest import Look, Offsets
from services.subscriptions.domain.customer import Customer
from services.subscriptions.domain.invoice_standing import InvoiceStanding
from services.subscriptions.domain.plan import PlanStanding, SaleState
from services.subscriptions.domain.subject_binding import SubjectBinding
from services.subscriptions.domain.subscription import Subscription, SubscriptionState
from services.subscriptions.domain.test_clock import ClockMove, TestClock

CheckVersion = Callable[[int], None]
"""Refuses, by raising, the version that was found and locked."""


def any_version(version: int) -> None:
    """For callers to whom the version does not matter."""


class EventOutbox(Protocol):
    def append(self, event: Event, *, key: str, traceparent: str | None = None) -> None: ...


class Customers(Protocol):
    async def load(self, ids: Iterable[str]) -> None:
        """Read many at once, without locking them; `get` finds them at hand."""
        ...

    async def get(self, id: str) -> Customer: ...

    async def get_for_update(self, id: str) -> Customer: ...

    def add(self, aggregate: Customer) -> None: ...

    def save(self, aggregate: Customer) -> None: ...

    async def list_page(self, wanted: CustomerFilter, page: PageRequest) -> Slice[Customer]: ...


@dataclass(frozen=True, slots=True)
class CustomerFilter:
    external_id: str | None = None


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

    async def standing_of(self, plan: PlanV1) -> PlanStanding: ...

    async def keep(self, plan: PlanV1) -> None:
        """A version never changes: one that is known stays as it is."""
        ...

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

    async def list_page(self, wanted: SubscriptionFilter, page: PageRequest) -> Slice[Subscription]: ...


@dataclass(frozen=True, slots=True)
class SubscriptionFilter:
    customer_id: str | None = None
    state: SubscriptionState | None = None
    external_id: str | None = None
    plan_code: str | None = None


class InvoiceStandings(Protocol):
    """How the invoices of subscriptions stand. Whoever changes them has locked the subscription first."""

    async def load(self, invoices: Iterable[tuple[str, str]]) -> None:
        """Read many at once: (subscription id, invoice id) each; `of` finds them at hand."""
        ...

    async def of(self, subscription_id: str, invoice_id: str) -> Mapping[str, InvoiceStanding]:
        """The standing of this invoice, if it is known, and all the overdue ones, by invoice id."""
        ...

    def put(self, subscription_id: str, invoice_id: str, standing: InvoiceStanding) -> None: ...


@dataclass(frozen=True, slots=True)
class BindingFilter:
    subject: str | None = None
    item_id: str | None = None
    subscription_id: str | None = None
    meter: str | None = None
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
    def standings(self) -> InvoiceStandings: ...

    @property
    def bindings(self) -> SubjectBindings: ...

    @property
    def test_clocks(self) -> TestClocks: ...

    @property
    def clock_moves(self) -> ClockMoves: ...

    def record(self, action: str, aggregate_id: str, version: int = 1) -> None: ...

    async def tenant_mode(self) -> Literal["live", "sandbox"] | None:
        """None while this service has not heard of the tenant."""
        ...


class OpenUnits(Protocol):
    def open(self, tenant: str, actor: str) -> AbstractAsyncContextManager[UnitOfWork]: ...

    def open_for_many(self) -> AbstractAsyncContextManager[UnitOfWork]: ...


class ClockPeers(Protocol):
    """The four services, asked what a test clock must still wait for."""

    async def look(self, *, tenant: str, test_clock_id: str) -> Sequence[Look]:
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
