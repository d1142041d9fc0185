"""Bind metered subjects to subscription items, many at once: each gets its own answer, and the good part is kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from libs.common.clock import Clock
from libs.common.errors import Conflict, DomainError, RuleViolation
from services.subscriptions.application import events
from services.subscriptions.application.pointing import pointing_at
from services.subscriptions.application.ports import Span, UnitOfWork
from services.subscriptions.domain.subject_binding import SubjectBinding, agrees, binding_id, check_bounds
from services.subscriptions.domain.subscription import (
    Subscription,
    SubscriptionNotFound,
    SubscriptionOver,
    SubscriptionState,
)
from services.subscriptions.domain.subscription_item import SubscriptionItem, SubscriptionItemNotFound

RACES_MAX = 10


class ItemReadsNoSuchMeter(RuleViolation):
    """The item is not priced by what this meter measures."""

    code = "item_reads_no_such_meter"
    title = "The item is not priced by this meter"


class ItemAmbiguous(RuleViolation):
    """Several items of the subscription are priced by the meter."""

    code = "item_ambiguous"
    title = "Several items are priced by this meter"


class BindingOutlivesSubscription(RuleViolation):
    code = "binding_outlives_subscription"
    title = "The binding would outlive its subscription"


class BindingsContended(Conflict):
    """Others bound the same subjects at the same time, again and again."""

    code = "bindings_contended"
    title = "Others are binding the same subjects"


@dataclass(frozen=True, slots=True)
class BindSubject:
    """One of `item_id` and `subscription_id`; the latter means its one item that is priced by the meter."""

    subject: str
    meter: str
    bound_from: datetime
    bound_until: datetime | None = None
    item_id: str | None = None
    subscription_id: str | None = None
    asset_id: str | None = None


@dataclass(frozen=True, slots=True)
class Created:
    binding: SubjectBinding


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The same binding was there already; `binding` is how it stands today."""

    binding: SubjectBinding


@dataclass(frozen=True, slots=True)
class Overlapping:
    """`binding` occupies the subject on this meter during some of the time asked for."""

    binding: SubjectBinding


@dataclass(frozen=True, slots=True)
class Rejected:
    error: DomainError


BindingResult = Created | Unchanged | Overlapping | Rejected


async def bind_subjects(
    commands: Sequence[BindSubject], *, uow: UnitOfWork, clock: Clock
) -> list[BindingResult]:
    """One result for each command, in order; one that cannot be kept does not hold up the others.

    A repeat finds everything unchanged, since a binding's id follows from its subject, meter and beginning.
    Within one call the earlier command wins. The number of statements does not grow with the commands.
    Emits: SubjectBound for each that is created.
    Raises: BindingsContended.
    """
    targets = await _Targets.load(commands, uow)
    system_now = clock.system_now()
    results: dict[int, BindingResult] = {}
    pending: dict[int, SubjectBinding] = {}
    for position, command in enumerate(commands):
        try:
            pending[position] = _candidate(command, targets, tenant=uow.tenant, created_at=system_now)
        except DomainError as error:
            results[position] = Rejected(error)
    for _ in range(RACES_MAX):
        decided = await _decide(pending, uow)
        fresh = [result.binding for result in decided.values() if isinstance(result, Created)]
        kept = await uow.bindings.insert_new(fresh)
        await _tell(
            [binding for binding in fresh if binding.id in kept], targets=targets, uow=uow, clock=clock
        )
        # Somebody else was quicker: whatever rests on a binding that was not kept is decided again.
        lost = {binding.id for binding in fresh} - kept
        results |= {at: result for at, result in decided.items() if _rests_on(result) not in lost}
        pending = {at: pending[at] for at, result in decided.items() if _rests_on(result) in lost}
        if not pending:
            return [results[position] for position in range(len(commands))]
    raise BindingsContended("others bind the same subjects at this moment", remedy="Send it again.")


async def _decide(
    pending: Mapping[int, SubjectBinding], uow: UnitOfWork
) -> dict[int, Created | Unchanged | Overlapping]:
    """Each candidate against what is bound, and against those before it."""
    spans = [Span(c.meter, c.subject, c.bound_from, c.bound_until) for c in pending.values()]
    bound: dict[tuple[str, str], list[SubjectBinding]] = defaultdict(list)
    for binding in await uow.bindings.find_in(spans):
        bound[binding.meter, binding.subject].append(binding)
    decided: dict[int, Created | Unchanged | Overlapping] = {}
    for position, candidate in sorted(pending.items()):
        others = bound[candidate.meter, candidate.subject]
        decided[position] = result = _result(candidate, others)
        if isinstance(result, Created):
            others.append(candidate)
    return decided


def _result(candidate: SubjectBinding, others: Sequence[SubjectBinding]) -> Created | Unchanged | Overlapping:
    for other in others:
        if other.id == candidate.id:
            same = agrees(other, candidate)
            return Unchanged(other) if same else Overlapping(other)
    for other in others:
        if other.overlaps(candidate.bound_from, candidate.bound_until):
            return Overlapping(other)
    return Created(candidate)


def _rests_on(result: BindingResult) -> str | None:
    return None if isinstance(result, Rejected) else result.binding.id


async def _tell(
    created: Sequence[SubjectBinding], *, targets: _Targets, uow: UnitOfWork, clock: Clock
) -> None:
    if not created:
        return
    clock_ids = {binding.test_clock_id for binding in created if binding.test_clock_id is not None}
    clocks = await uow.test_clocks.load_shared(clock_ids)
    for binding in created:
        shown = clocks[binding.test_clock_id].shown if binding.test_clock_id else None
        uow.record("subject_binding.created", binding.id, binding.version)
        event = events.for_bound(binding, tenant=uow.tenant, occurred_at=clock.business_now(shown))
        uow.outbox.append(event, key=binding.id)


def _candidate(
    command: BindSubject, targets: _Targets, *, tenant: str, created_at: datetime
) -> SubjectBinding:
    """Raises: BindingReversed, and what `_Targets.item_of` raises."""
    check_bounds(command.bound_from, command.bound_until)
    subscription, item = targets.item_of(command)
    _check_lasts(subscription, command)
    return SubjectBinding(
        id=binding_id(
            tenant=tenant, meter=command.meter, subject=command.subject, bound_from=command.bound_from
        ),
        subject=command.subject,
        meter=command.meter,
        subscription_id=subscription.id,
        item_id=item.id,
        bound_from=command.bound_from,
        bound_until=command.bound_until,
        test_clock_id=subscription.test_clock_id,
        created_at=created_at,
        asset_id=command.asset_id,
    )


def _check_lasts(subscription: Subscription, command: BindSubject) -> None:
    """Raises: SubscriptionOver, BindingOutlivesSubscription."""
    if subscription.state is SubscriptionState.CANCELED:
        raise SubscriptionOver("the subscription was canceled before it began")
    ended_at = subscription.ended_at
    if ended_at is not None and (command.bound_until is None or command.bound_until > ended_at):
        raise BindingOutlivesSubscription(
            "the subscription ended before the binding would",
            pointer="/bound_until",
            remedy="Bind it until the subscription's end at the latest.",
            ended_at=ended_at,
        )


class _Targets:
    """The subscriptions and items that a batch of commands names; they do not change while it is worked on."""

    def __init__(self, subscriptions: Sequence[Subscription]) -> None:
        self._subscriptions = {subscription.id: subscription for subscription in subscriptions}
        self._items = {
            item.id: (subscription, item) for subscription in subscriptions for item in subscription.items
        }

    @classmethod
    async def load(cls, commands: Sequence[BindSubject], uow: UnitOfWork) -> _Targets:
        return cls(
            await uow.subscriptions.load_shared(
                ids={c.subscription_id for c in commands if c.subscription_id is not None},
                item_ids={c.item_id for c in commands if c.item_id is not None},
            )
        )

    def item_of(self, command: BindSubject) -> tuple[Subscription, SubscriptionItem]:
        """Raises: SubscriptionItemNotFound, SubscriptionNotFound, ItemReadsNoSuchMeter, ItemAmbiguous."""
        if command.item_id is not None:
            with pointing_at("/item_id"):
                return self._by_item(command.item_id, command.meter)
        assert command.subscription_id is not None, "a binding names an item or a subscription"
        with pointing_at("/subscription_id"):
            return self._by_subscription(command.subscription_id, command.meter)

    def _by_item(self, item_id: str, meter: str) -> tuple[Subscription, SubscriptionItem]:
        if item_id not in self._items:
            raise SubscriptionItemNotFound("there is no subscription item with this id")
        subscription, item = self._items[item_id]
        if item.meter != meter:
            raise ItemReadsNoSuchMeter("the item is not priced by this meter", meter=item.meter)
        return subscription, item

    def _by_subscription(self, id: str, meter: str) -> tuple[Subscription, SubscriptionItem]:
        if id not in self._subscriptions:
            raise SubscriptionNotFound("there is no subscription with this id")
        subscription = self._subscriptions[id]
        items = [item for item in subscription.items if item.meter == meter]
        if not items:
            raise ItemReadsNoSuchMeter("no item of the subscription is priced by this meter")
        if len(items) > 1:
            raise ItemAmbiguous(
                "several items of the subscription are priced by this meter",
                remedy="Name one of them in item_id.",
                items=[item.id for item in items],
            )
        return subscription, items[0]
