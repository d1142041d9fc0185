"""Builders of subscriptions' things, and the service's unit of work in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Literal

from libs.common.contracts.catalog import PlanOverlayV1, PlanV1, PriceTierV1, PriceV1
from libs.common.contracts.metering import MeterDefinedV1
from libs.common.paging import PageRequest, Slice
from libs.common.periods import Interval, start_of_day
from services.subscriptions.application.ports import (
    BindingFilter,
    ChangeFilter,
    CustomerFilter,
    MoveResultFilter,
    MovingClock,
    RevenueEntry,
    RevenueFilter,
    Span,
    SubscriptionFilter,
)
from services.subscriptions.domain.billing_period import BillingPeriod, Calendar
from services.subscriptions.domain.customer import Customer, CustomerNotFound, InTheWay
from services.subscriptions.domain.early_termination import EarlyTerminationQuote, QuoteNotFound
from services.subscriptions.domain.entitlement import Aggregation
from services.subscriptions.domain.invoice_standing import InvoiceStanding, Standing
from services.subscriptions.domain.plan import PlanNotFound, PlanStanding, SaleState
from services.subscriptions.domain.plan_move import MoveResult, PlanMove, PlanMoveNotFound
from services.subscriptions.domain.receipt import Receipt, ReceiptNotFound
from services.subscriptions.domain.recurring_revenue import Mark, RevenueMonth, RevenueMovement
from services.subscriptions.domain.renewal import first_period
from services.subscriptions.domain.scheduled_change import ChangeNotFound, ScheduledChange
from services.subscriptions.domain.subject_binding import (
    SubjectBinding,
    SubjectBindingNotFound,
    binding_id,
)
from services.subscriptions.domain.subscription import Subscription, SubscriptionNotFound, SubscriptionState
from services.subscriptions.domain.subscription_item import ItemSegment, SubscriptionItem
from services.subscriptions.domain.test_clock import (
    ClockMove,
    ClockMoveNotFound,
    MoveState,
    TestClock,
    TestClockNotFound,
)
from services.subscriptions.domain.timeline_entry import TimelineEntry
from tests.support.memory import MemoryRepository, MemoryUnitOfWork

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
TENANT = "0197c7b3-41a2-7d6e-9f00-5a3c8e1b2d47"
MINUTES = "flying-minutes"


def utc(text: str) -> datetime:
    """`2025-06-01` or `2025-06-01T12:30`, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def a_plan(**changes: Any) -> PlanV1:
    """Per aircraft and month in advance, flying minutes in arrears."""
    plan = PlanV1(
        plan_id="pln_00000000000000000000000001",
        plan_version_id="plv_00000000000000000000000001",
        code="power",
        name="Power by the minute",
        plan_version=1,
        currency="USD",
        interval_unit="month",
        interval_count=1,
        prices=(
            PriceV1(
                id="prc_aircraft",
                code="aircraft",
                product_id="prd_1",
                description="Aircraft",
                kind="recurring",
                timing="advance",
                model="per_unit",
                currency="USD",
                unit_amount=Decimal("1200.00"),
            ),
            PriceV1(
                id="prc_minutes",
                code="minutes",
                product_id="prd_1",
                description="Flying minutes",
                kind="usage",
                timing="arrears",
                model="graduated",
                currency="USD",
                tiers=(PriceTierV1(unit_amount=Decimal("5.20")),),
                meter=MINUTES,
            ),
        ),
    )
    return plan.model_copy(update=changes)


def a_customer(**changes: Any) -> Customer:
    customer = Customer(
        id="cus_00000000000000000000000001", name="Delta Air Lines", created_at=NOW, zone="America/New_York"
    )
    return replace(customer, **changes)


def an_item(**changes: Any) -> SubscriptionItem:
    item = SubscriptionItem(
        id="si_minutes",
        price_id="prc_minutes",
        price_code="minutes",
        kind="usage",
        meter=MINUTES,
        quantity=None,
        plan_version_id="plv_00000000000000000000000001",
    )
    return replace(item, **changes)


def a_calendar(
    anchor_on: str = "2025-01-31", interval: Interval | None = None, zone: str = "America/New_York"
) -> Calendar:
    return Calendar(date.fromisoformat(anchor_on), interval or Interval("month", 1), zone)


def a_scheduled(calendar: Calendar | None = None, **changes: Any) -> Subscription:
    """A subscription that has not begun."""
    counted = calendar or a_calendar()
    starts_at = start_of_day(counted.anchor_on, counted.zone)
    items = changes.pop("items", None) or (
        an_item(
            id="si_aircraft",
            price_id="prc_aircraft",
            price_code="aircraft",
            kind="recurring",
            meter=None,
            quantity=Decimal(629),
        ),
        an_item(),
    )
    subscription = Subscription(
        id="sub_00000000000000000000000001",
        customer_id="cus_00000000000000000000000001",
        plan_version_id="plv_00000000000000000000000001",
        plan_code="power",
        plan_name="Power by the minute",
        currency="USD",
        calendar=counted,
        segments=tuple(ItemSegment(item, starts_at, counted.anchor_on) for item in items),
        starts_at=starts_at,
        created_at=NOW,
    )
    return replace(subscription, **changes)


def a_subscription(calendar: Calendar | None = None, *, index: int = 0, **changes: Any) -> Subscription:
    """A running subscription in the period with this index."""
    scheduled = a_scheduled(calendar, items=changes.pop("items", None))
    period = first_period(scheduled)
    for _ in range(index):
        period = scheduled.calendar.after(period)
    return replace(scheduled, **{"state": SubscriptionState.ACTIVE, "period": period, **changes})


def a_binding(**changes: Any) -> SubjectBinding:
    binding = SubjectBinding(
        id="",
        subject="N14228",
        meter=MINUTES,
        subscription_id="sub_00000000000000000000000001",
        item_id="si_minutes",
        bound_from=utc("2025-01-01"),
        bound_until=None,
        test_clock_id=None,
        created_at=NOW,
    )
    made = replace(binding, **changes)
    derived = binding_id(tenant=TENANT, meter=made.meter, subject=made.subject, bound_from=made.bound_from)
    return replace(made, id=made.id or derived)


def a_test_clock(**changes: Any) -> TestClock:
    clock = TestClock(
        id="clk_00000000000000000000000001", name="2025", now=utc("2025-01-31T05:00"), created_at=NOW
    )
    return replace(clock, **changes)


class MemoryCustomers(MemoryRepository[Customer]):
    """`hold_count` is how often the tenant's families were held."""

    def __init__(self, subscriptions: MemorySubscriptions, standings: MemoryStandings) -> None:
        super().__init__(lambda id: CustomerNotFound("there is no customer with this id"))
        self._subscriptions, self._standings = subscriptions, standings
        self.hold_count = 0

    async def load(self, ids: Iterable[str]) -> None:
        """All are at hand."""

    async def get_shared(self, id: str) -> Customer:
        return await self.get(id)

    async def hold_families(self) -> None:
        self.hold_count += 1

    async def ancestors_of(self, id: str) -> Sequence[Customer]:
        found = [await self.get(id)]
        while found[-1].parent_id is not None:
            found.append(await self.get(found[-1].parent_id))
        return found

    async def count_levels_below(self, id: str) -> int:
        children = [one.id for one in self.by_id.values() if one.parent_id == id]
        return max([1 + await self.count_levels_below(child) for child in children], default=0)

    async def find_in_the_way(self, id: str) -> InTheWay:
        agreed = [one for one in self._subscriptions.by_id.values() if id in (one.customer_id, one.payer_id)]
        unpaid = [
            invoice_id
            for one in agreed
            for invoice_id, known in self._standings.by_subscription[one.id].items()
            if known.standing is not InvoiceStanding.PAID
        ]
        return InTheWay(
            subscription_ids=[one.id for one in agreed if one.ended_at is None],
            child_ids=[one.id for one in self.by_id.values() if one.parent_id == id and not one.is_erased],
            unpaid_invoice_ids=unpaid,
        )

    async def list_page(self, wanted: CustomerFilter, page: PageRequest) -> Slice[Customer]:
        return self.page(page, lambda one: wanted.external_id in (None, one.external_id))


class MemoryPlans:
    def __init__(self) -> None:
        self.by_id: dict[str, PlanV1] = {}
        self.retired: set[str] = set()
        self.sales: dict[str, tuple[int, SaleState]] = {}
        self.overlays: dict[str, PlanOverlayV1] = {}
        self.withdrawn: set[str] = set()

    async def load(self, plan_version_ids: Iterable[str]) -> None:
        """All are at hand."""

    async def get(self, plan_version_id: str) -> PlanV1:
        if plan_version_id not in self.by_id:
            raise PlanNotFound("there is no published plan version with this id")
        return self.by_id[plan_version_id]

    async def get_newest(self, code: str, now: datetime) -> PlanV1:
        found = [plan for plan in self.by_id.values() if plan.code == code]
        if not found:
            raise PlanNotFound("there is no published plan with this code")

        def is_on_sale(plan: PlanV1) -> bool:
            begun = plan.valid_from is None or plan.valid_from <= now
            over = plan.valid_until is not None and plan.valid_until <= now
            return begun and not over and self._state(plan) == "published"

        return max(
            found, key=lambda plan: (plan.plan_id not in self.retired, is_on_sale(plan), plan.plan_version)
        )

    async def get_numbered(self, code: str, number: int) -> PlanV1:
        for plan in self.by_id.values():
            if (plan.code, plan.plan_version) == (code, number):
                return plan
        raise PlanNotFound("there is no published version with this number of the plan with this code")

    async def standing_of(self, plan: PlanV1) -> PlanStanding:
        is_retired = plan.plan_id in self.retired
        return PlanStanding(is_retired, self._state(plan), plan.valid_from, plan.valid_until)

    def _state(self, plan: PlanV1) -> SaleState:
        return self.sales.get(plan.plan_version_id, (0, "published"))[1]

    async def note_sale(self, plan_version_id: str, state: SaleState, version: int) -> None:
        if version > self.sales.get(plan_version_id, (0, "published"))[0]:
            self.sales[plan_version_id] = version, state

    async def keep(self, plan: PlanV1) -> None:
        self.by_id.setdefault(plan.plan_version_id, plan)

    async def retire(self, plan_id: str) -> None:
        self.retired.add(plan_id)

    async def load_overlays(self, overlay_ids: Iterable[str]) -> None:
        """All are at hand."""

    async def get_overlay(self, overlay_id: str) -> PlanOverlayV1:
        if overlay_id not in self.overlays:
            raise PlanNotFound("there is no plan overlay with this id")
        return self.overlays[overlay_id]

    async def keep_overlay(self, overlay: PlanOverlayV1) -> None:
        self.overlays.setdefault(overlay.overlay_id, overlay)

    async def withdraw_overlay(self, overlay_id: str) -> None:
        self.withdrawn.add(overlay_id)

    async def is_withdrawn(self, overlay_id: str) -> bool:
        return overlay_id in self.withdrawn


class MemorySubscriptions(MemoryRepository[Subscription]):
    def __init__(self) -> None:
        super().__init__(lambda id: SubscriptionNotFound("there is no subscription with this id"))
        self.periods: dict[str, list[BillingPeriod]] = defaultdict(list)

    async def load_shared(self, *, ids: Iterable[str], item_ids: Iterable[str]) -> Sequence[Subscription]:
        wanted, items = set(ids), set(item_ids)
        return [
            one for one in self.by_id.values() if one.id in wanted or items & {item.id for item in one.items}
        ]

    def begin_period(self, subscription: Subscription, period: BillingPeriod) -> None:
        known = self.periods[subscription.id]
        assert period.index not in {one.index for one in known}, "a period begins once"
        known.append(period)

    def change_period(self, subscription: Subscription, period: BillingPeriod) -> None:
        known = self.periods[subscription.id]
        places = [place for place, one in enumerate(known) if one.index == period.index]
        if places:  # those of a subscription that a test put here ready-made were never begun
            known[places[0]] = period

    async def find_on_version(self, plan_version_id: str, *, after_id: str | None, length: int) -> list[str]:
        found = [
            one.id
            for one in self.by_id.values()
            if one.plan_version_id == plan_version_id and one.ended_at is None and one.id > (after_id or "")
        ]
        return sorted(found)[:length]

    async def periods_from(self, subscription_id: str, at: datetime) -> Sequence[BillingPeriod]:
        return [period for period in self.periods[subscription_id] if period.end > at]

    async def periods_numbered(
        self, wanted: Mapping[str, Iterable[int]]
    ) -> Mapping[str, Mapping[int, BillingPeriod]]:
        return {
            id: {one.index: one for one in self.periods[id] if one.index in set(indexes)}
            for id, indexes in wanted.items()
        }

    async def list_page(self, wanted: SubscriptionFilter, page: PageRequest) -> Slice[Subscription]:
        return self.page(
            page,
            lambda one: (
                wanted.customer_id in (None, one.customer_id)
                and wanted.state in (None, one.state)
                and wanted.external_id in (None, one.external_id)
                and wanted.plan_code in (None, one.plan_code)
            ),
        )


class MemoryPaymentMethods:
    """`by_customer` says who has something to collect from; whom nobody told of has nothing."""

    def __init__(self) -> None:
        self.by_customer: dict[str, tuple[int, bool]] = {}

    async def load(self, customer_ids: Iterable[str]) -> None:
        """All are at hand."""

    async def has_one(self, customer_id: str) -> bool:
        return self.by_customer.get(customer_id, (0, False))[1]

    async def note(self, customer_id: str, has_one: bool, version: int) -> None:
        if version > self.by_customer.get(customer_id, (0, False))[0]:
            self.by_customer[customer_id] = version, has_one


class MemoryRevenue:
    """`movements` are all that were ever added."""

    def __init__(self) -> None:
        self.movements: list[RevenueMovement] = []

    def add(self, movement: RevenueMovement) -> None:
        assert movement.id not in {one.id for one in self.movements}, "a movement is added once"
        self.movements.append(movement)

    async def recorded_of(self, subscription_ids: Iterable[str]) -> Mapping[str, Mapping[Mark, Decimal]]:
        found: dict[str, dict[Mark, Decimal]] = {id: defaultdict(Decimal) for id in subscription_ids}
        for one in self.movements:
            if one.subscription_id in found:
                found[one.subscription_id][one.on, one.currency, one.part] += one.amount
        return found

    async def filled(self, subscription_ids: Iterable[str]) -> None:
        """Nobody asks for it again."""

    async def months(
        self, wanted: RevenueFilter, start_on: date, end_on: date
    ) -> Sequence[tuple[Sequence[RevenueMonth], RevenueMonth]]:
        raise NotImplementedError("the database reckons them")

    async def list_page(
        self, wanted: RevenueFilter, start_on: date, end_on: date, page: PageRequest
    ) -> Slice[RevenueEntry]:
        raise NotImplementedError("the database reckons them")


class MemoryScheduledChanges(MemoryRepository[ScheduledChange]):
    def __init__(self) -> None:
        super().__init__(lambda id: ChangeNotFound("the subscription has no change with this id"))

    async def load_waiting(self, subscriptions: Iterable[Subscription]) -> None:
        """All are at hand."""

    def knows(self, subscription_id: str) -> bool:
        return any(change.subscription_id == subscription_id for change in self.by_id.values())

    async def waiting_of(self, subscription: Subscription) -> Sequence[ScheduledChange]:
        found = [
            change
            for change in self.by_id.values()
            if change.subscription_id == subscription.id and change.is_waiting
        ]
        await self.load_for_update(change.id for change in found)
        return sorted(found, key=lambda change: (change.created_at, change.id))

    async def list_page(self, wanted: ChangeFilter, page: PageRequest) -> Slice[ScheduledChange]:
        return self.page(
            page,
            lambda one: one.subscription_id == wanted.subscription_id and wanted.status in (None, one.status),
        )


class MemoryPlanMoves(MemoryRepository[PlanMove]):
    def __init__(self) -> None:
        super().__init__(lambda id: PlanMoveNotFound("there is no plan move with this id"))
        self.results: list[MoveResult] = []

    def add_results(self, results: Sequence[MoveResult]) -> None:
        known = {(one.plan_move_id, one.id) for one in self.results}
        assert not known & {(one.plan_move_id, one.id) for one in results}, "it is said once"
        self.results += results

    async def list_page(self, page: PageRequest) -> Slice[PlanMove]:
        return self.page(page, lambda one: True)

    async def list_results(self, wanted: MoveResultFilter, page: PageRequest) -> Slice[MoveResult]:
        found = [
            one
            for one in self.results
            if one.plan_move_id == wanted.plan_move_id and wanted.outcome in (None, one.outcome)
        ]
        return Slice(tuple(found[: page.limit]))


class MemoryStandings:
    def __init__(self) -> None:
        self.by_subscription: dict[str, dict[str, Standing]] = defaultdict(dict)

    async def load(self, invoices: Iterable[tuple[str, str]]) -> None:
        """All are at hand."""

    async def of(self, subscription_id: str, invoice_id: str) -> Mapping[str, Standing]:
        return dict(self.by_subscription[subscription_id])

    def put(self, subscription_id: str, invoice_id: str, standing: Standing) -> None:
        self.by_subscription[subscription_id][invoice_id] = standing


class MemoryBindings(MemoryRepository[SubjectBinding]):
    """`rivals` are what others will have bound by the time of the next insert."""

    def __init__(self) -> None:
        super().__init__(lambda id: SubjectBindingNotFound("there is no subject binding with this id"))
        self.rivals: list[SubjectBinding] = []
        self.insert_count = 0

    async def find_in(self, spans: Sequence[Span]) -> Sequence[SubjectBinding]:
        return [
            binding
            for binding in self.by_id.values()
            if any(
                (binding.meter, binding.subject) == (span.meter, span.subject)
                and (
                    binding.bound_from == span.bound_from
                    or binding.overlaps(span.bound_from, span.bound_until)
                )
                for span in spans
            )
        ]

    async def insert_new(self, bindings: Sequence[SubjectBinding]) -> set[str]:
        self.insert_count += 1
        rivals, self.rivals = self.rivals, []
        self.by_id.update({rival.id: rival for rival in rivals})
        kept = set()
        for binding in bindings:
            span = Span(binding.meter, binding.subject, binding.bound_from, binding.bound_until)
            if not await self.find_in([span]):
                self.by_id[binding.id] = binding
                kept.add(binding.id)
        return kept

    async def load_open(self, subscription_ids: Iterable[str]) -> None:
        """All are at hand."""

    async def open_of(self, subscription: Subscription) -> Sequence[SubjectBinding]:
        found = [
            binding
            for binding in self.by_id.values()
            if binding.subscription_id == subscription.id
            and (
                subscription.state is SubscriptionState.CANCELED
                or subscription.ended_at is None
                or binding.covers_after(subscription.ended_at)
            )
        ]
        await self.load_for_update(binding.id for binding in found)
        return found

    async def list_page(self, wanted: BindingFilter, page: PageRequest) -> Slice[SubjectBinding]:
        return self.page(page, lambda one: wanted.subject in (None, one.subject))


class MemoryKnownMeters:
    def __init__(self) -> None:
        self.by_code: dict[str, Aggregation] = {}

    def keep(self, event: MeterDefinedV1) -> None:
        self.by_code[event.code] = event.aggregation

    async def aggregations(self, codes: Collection[str]) -> Mapping[str, Aggregation]:
        return {code: self.by_code[code] for code in codes if code in self.by_code}


class MemoryTimelines:
    def __init__(self) -> None:
        self.entries: list[TimelineEntry] = []

    def next_id(self, subscription_id: str) -> str:
        return f"tle_{len(self.entries):06d}"

    def add(self, entry: TimelineEntry) -> None:
        self.entries.append(entry)

    async def list_page(self, subscription_id: str, page: PageRequest) -> Slice[TimelineEntry]:
        found = sorted(
            (entry for entry in self.entries if entry.subscription_id == subscription_id),
            key=lambda entry: (entry.at, entry.id),
        )
        return Slice(tuple(found[: page.limit]))


class MemoryTestClocks(MemoryRepository[TestClock]):
    async def load_shared(self, ids: Iterable[str]) -> Mapping[str, TestClock]:
        return {id: await self.get(id) for id in ids}

    async def list_page(self, page: PageRequest) -> Slice[TestClock]:
        return self.page(page, lambda one: True)


class MemoryClockMoves(MemoryRepository[ClockMove]):
    def __init__(self) -> None:
        super().__init__(lambda id: ClockMoveNotFound("there is no move with this id"))
        self.wake_count = 0

    async def find_moving(self, test_clock_id: str) -> ClockMove | None:
        moving = [one for one in self.by_id.values() if one.state is MoveState.MOVING]
        return next((one for one in moving if one.test_clock_id == test_clock_id), None)

    async def find_all_moving(self) -> Sequence[MovingClock]:
        return [MovingClock(TENANT, one.id) for one in self.by_id.values() if one.state is MoveState.MOVING]

    async def wake_mover(self) -> None:
        self.wake_count += 1


class MemorySubscriptionsUnitOfWork(MemoryUnitOfWork):
    """Also opens itself, for what works in several transactions."""

    def __init__(self) -> None:
        super().__init__(TENANT)
        self.plans = MemoryPlans()
        self.subscriptions = MemorySubscriptions()
        self.revenue = MemoryRevenue()
        self.payment_methods = MemoryPaymentMethods()
        self.scheduled_changes = MemoryScheduledChanges()
        self.plan_moves = MemoryPlanMoves()
        self.standings = MemoryStandings()
        self.customers = MemoryCustomers(self.subscriptions, self.standings)
        self.bindings = MemoryBindings()
        self.known_meters = MemoryKnownMeters()
        self.timeline = MemoryTimelines()
        self.quotes: MemoryRepository[EarlyTerminationQuote] = MemoryRepository(
            lambda id: QuoteNotFound("there is no quote with this id")
        )
        self.receipts: MemoryRepository[Receipt] = MemoryRepository(
            lambda id: ReceiptNotFound("there is no receipt with this id")
        )
        self.test_clocks = MemoryTestClocks(
            lambda id: TestClockNotFound("there is no test clock with this id")
        )
        self.clock_moves = MemoryClockMoves()
        self.mode: Literal["live", "sandbox"] | None = "sandbox"

    async def tenant_mode(self) -> Literal["live", "sandbox"] | None:
        return self.mode

    @asynccontextmanager
    async def open(self, tenant: str, actor: str) -> AsyncIterator[MemorySubscriptionsUnitOfWork]:
        assert tenant == self.tenant
        yield self

    @asynccontextmanager
    async def open_for_many(self) -> AsyncIterator[MemorySubscriptionsUnitOfWork]:
        yield self

    @property
    def told(self) -> list[str]:
        """The names of the events, in order, without their versions."""
        return [type(event).__name__.removesuffix("V1") for event in self.outbox.events]
