"""What a change asks for by name → what it means here: plans that are on sale, a customer's own prices, add-ons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from libs.common.contracts.catalog import PlanV1
from libs.common.errors import DomainError, InputError, InvalidInput, RuleViolation
from services.subscriptions.application.billable import refuse_unbillable
from services.subscriptions.application.co_terming import anchor_of
from services.subscriptions.application.offers import AddOnDoesNotFit, find_plan, offer_of
from services.subscriptions.application.ports import UnitOfWork
from services.subscriptions.domain.change import Anchoring, Change
from services.subscriptions.domain.customer import CustomerErased
from services.subscriptions.domain.plan import refuse_unsold
from services.subscriptions.domain.scheduled_change import WantedAddOn, WantedChange
from services.subscriptions.domain.subscription import Subscription
from services.subscriptions.domain.subscription_item import Offer, Proration, check_quantities


class ChangeRefused(InvalidInput):
    """Several things stand in the way of a change, each named."""

    code = "change_refused"
    title = "The change cannot be made"


class OverlayNotForThis(RuleViolation):
    """The terms are another customer's, or of another version of the plan, or no longer offered."""

    code = "overlay_not_for_this"
    title = "These prices are not this subscription's"


@dataclass(frozen=True, slots=True)
class AddOnRequest:
    plan: str
    quantities: Mapping[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """What a caller asks to be different, by its own names; what is None or empty stays.

    A plan is named by its code (its newest version on sale, or the one with this number), or by a version's id; a
    number alone is of the subscription's own plan. `co_term_with` names a subscription to take the anchor from.
    """

    plan: str | None = None
    plan_version_id: str | None = None
    version: int | None = None
    plan_overlay_id: str | None = None
    quantities: Mapping[str, Decimal] = field(default_factory=dict)
    add: tuple[AddOnRequest, ...] = ()
    remove: tuple[str, ...] = ()
    anchor_on: date | None = None
    anchoring: Anchoring | None = None
    co_term_with: str | None = None
    zone: str | None = None
    currency: str | None = None
    payer_id: str | None = None
    proration: Proration | None = None
    settles: bool = False
    is_indexation: bool = False


async def pin(
    request: ChangeRequest, subscription: Subscription, now: datetime, *, uow: UnitOfWork
) -> WantedChange:
    """The change with every plan that it names pinned to the version that the name stands for now.

    Raises: PlanNotFound, SubscriptionNotFound, CoTermDoesNotFit, ChangeRefused.
    """
    faults = Faults()
    plan: PlanV1 | None = None
    for pointer, find in (
        ("/plan_version_id", _find_version),
        ("/plan_overlay_id", _find_overlaid),
        ("/plan", _find_by_code),
    ):
        with faults.at(pointer):
            plan = plan or await find(request, subscription, now, uow)
    add = []
    for place, wanted in enumerate(request.add):
        with faults.at(f"/add/{place}/plan"):
            add_on = await uow.plans.get_newest(wanted.plan, now)
            add.append(WantedAddOn(add_on.code, add_on.plan_version_id, wanted.quantities))
    anchor_on = request.anchor_on
    if request.co_term_with is not None:
        interval = offer_of(plan).interval if plan is not None else subscription.calendar.interval
        with faults.at("/co_term_with"):
            anchor_on = await anchor_of(
                request.co_term_with, customer_id=subscription.customer_id, interval=interval, uow=uow
            )
    faults.raise_if_any()
    return WantedChange(
        plan_version_id=plan.plan_version_id if plan is not None else None,
        plan_code=plan.code if plan is not None else None,
        overlay_id=request.plan_overlay_id,
        currency=request.currency,
        quantities=request.quantities,
        add=tuple(add),
        remove=request.remove,
        anchor_on=anchor_on,
        anchoring=request.anchoring,
        zone=request.zone,
        payer_id=request.payer_id,
        proration=request.proration,
        settles=request.settles,
        is_indexation=request.is_indexation,
    )


async def resolve(
    wanted: WantedChange,
    subscription: Subscription,
    now: datetime,
    *,
    uow: UnitOfWork,
    plan_pointer: str = "/plan",
) -> Change:
    """The change as the domain makes it, if it may be made now: whatever it newly agrees on is on sale.

    Raises: PlanNotFound, PlanRetired, PlanVersionNotOnSale, PlanNotBillableYet, CurrencyNotOffered, OverlayNotForThis,
    AddOnDoesNotFit, QuantityWithoutPrice, QuantityNegative, CustomerNotFound, CustomerErased, ChangeRefused.
    """
    faults = Faults()
    offer = None
    with faults.at(plan_pointer):
        offer = await _offer(wanted, subscription, now, uow=uow, pointer=plan_pointer)
    plan_code = offer.plan_code if offer is not None else subscription.plan_code
    interval = offer.interval if offer is not None else subscription.calendar.interval
    currency = wanted.currency or subscription.currency
    add_ons: list[tuple[Offer, Mapping[str, Decimal]]] = []
    for place, one in enumerate(wanted.add):
        with faults.at(f"/add/{place}/plan"):
            add_on = await uow.plans.get(one.plan_version_id)
            await _refuse_unfit(add_on, plan_code, now, uow=uow, pointer=f"/add/{place}/plan")
            offered = offer_of(add_on, currency=currency)
            _refuse_interval(offered, interval)
            check_quantities(offered.prices, one.quantities, pointer=f"/add/{place}/quantities")
            add_ons.append((offered, one.quantities))
    with faults.at("/remove"):
        add_ons[:0] = await _kept_add_ons(wanted, subscription, plan_code, currency, interval, uow=uow)
    if wanted.payer_id is not None:
        with faults.at("/payer_id"):
            payer = await uow.customers.get_shared(wanted.payer_id)  # not to be erased meanwhile
            if payer.is_erased:
                raise CustomerErased("who is to pay was erased", remedy="Name another payer.")
    faults.raise_if_any()
    return Change(
        offer=offer,
        quantities=wanted.quantities,
        add_ons=tuple(add_ons),
        removes=wanted.remove,
        anchor_on=wanted.anchor_on,
        anchoring=wanted.anchoring,
        zone=wanted.zone,
        payer_id=wanted.payer_id,
        proration=wanted.proration,
        is_indexation=wanted.is_indexation,
    )


def plan_pointer_of(request: ChangeRequest) -> str:
    """The field by which the request names the plan, for what is wrong with that."""
    if request.plan_version_id is not None:
        return "/plan_version_id"
    if request.plan is None and request.plan_overlay_id is not None:
        return "/plan_overlay_id"
    return "/version" if request.plan is None and request.version is not None else "/plan"


class Faults:
    """Collects what is wrong with the parts of a document, so that a caller hears of all of it at once."""

    def __init__(self) -> None:
        self._errors: list[DomainError] = []

    @contextmanager
    def at(self, pointer: str) -> Iterator[None]:
        """Errors that leave the block are kept, and point at this field, unless they know better."""
        try:
            yield
        except DomainError as error:
            error.pointer = error.pointer or pointer
            self._errors.append(error)

    def raise_if_any(self) -> None:
        """Raises: the one error; ChangeRefused with each of several."""
        if len(self._errors) == 1:
            raise self._errors[0]
        if self._errors:
            raise ChangeRefused(
                f"{len(self._errors)} things stand in the way of the change: see errors",
                errors=[InputError(pointer=e.pointer or "", detail=e.message) for e in self._errors],
            )


async def _find_version(
    request: ChangeRequest, subscription: Subscription, now: datetime, uow: UnitOfWork
) -> PlanV1 | None:
    if request.plan_version_id is None:
        return None
    return await uow.plans.get(request.plan_version_id)


async def _find_overlaid(
    request: ChangeRequest, subscription: Subscription, now: datetime, uow: UnitOfWork
) -> PlanV1 | None:
    """An overlay is of one version of one plan."""
    if request.plan_overlay_id is None or request.plan is not None or request.version is not None:
        return None
    return (await uow.plans.get_overlay(request.plan_overlay_id)).plan


async def _find_by_code(
    request: ChangeRequest, subscription: Subscription, now: datetime, uow: UnitOfWork
) -> PlanV1 | None:
    if request.version is not None:
        return await uow.plans.get_numbered(request.plan or subscription.plan_code, request.version)
    return await uow.plans.get_newest(request.plan, now) if request.plan is not None else None


async def _offer(
    wanted: WantedChange, subscription: Subscription, now: datetime, *, uow: UnitOfWork, pointer: str
) -> Offer | None:
    """None where the plan stays as it is, so that it goes on in its phase. What is newly agreed on must be on sale."""
    version_id = wanted.plan_version_id or subscription.plan_version_id
    overlay_id = wanted.overlay_id
    if wanted.plan_version_id is None and overlay_id is None:
        overlay_id = subscription.overlay_id
    currency = wanted.currency or subscription.currency
    now_agreed = (subscription.plan_version_id, subscription.overlay_id, subscription.currency)
    if (version_id, overlay_id, currency) == now_agreed:
        return None
    if overlay_id is not None and (version_id, overlay_id) != now_agreed[:2]:
        await _refuse_overlay(overlay_id, version_id, subscription, uow=uow)
    plan = await find_plan(version_id, overlay_id, uow=uow)
    if plan.kind == "add_on":
        raise AddOnDoesNotFit("an add-on is not subscribed to by itself", add_on=plan.code)
    if version_id != subscription.plan_version_id:
        standing = await uow.plans.standing_of(plan)
        refuse_unsold(standing, now, plan=plan.code, number=plan.plan_version, pointer=pointer)
    await refuse_unbillable(plan, pointer=pointer, uow=uow)
    return offer_of(plan, currency=currency, overlay_id=overlay_id)


async def _refuse_overlay(
    overlay_id: str, version_id: str, subscription: Subscription, *, uow: UnitOfWork
) -> None:
    pointer = "/plan_overlay_id"
    overlay = await uow.plans.get_overlay(overlay_id)
    if overlay.customer_id != subscription.customer_id:
        raise OverlayNotForThis("these prices are another customer's", pointer=pointer)
    if overlay.plan_version_id != version_id:
        raise OverlayNotForThis(
            "these prices are of another version of the plan",
            pointer=pointer,
            plan_version_id=overlay.plan_version_id,
            remedy="Name that version too, or leave the plan out.",
        )
    if await uow.plans.is_withdrawn(overlay_id):
        raise OverlayNotForThis("these prices are no longer offered", pointer=pointer)


async def _kept_add_ons(
    wanted: WantedChange,
    subscription: Subscription,
    plan_code: str,
    currency: str,
    interval: object,
    *,
    uow: UnitOfWork,
) -> list[tuple[Offer, Mapping[str, Decimal]]]:
    """The add-ons that go on beside another plan must go with it; in another currency, each is offered in that."""
    held = {
        item.add_on: item.plan_version_id
        for item in subscription.items
        if item.add_on is not None and item.add_on not in wanted.remove
    }
    again: list[tuple[Offer, Mapping[str, Decimal]]] = []
    for code, version_id in sorted(held.items()):
        if currency == subscription.currency and wanted.plan_version_id is None:
            continue
        add_on = await uow.plans.get(version_id)
        if add_on.for_plans and plan_code not in add_on.for_plans:
            raise AddOnDoesNotFit(
                f"the add-on {code} does not go with {plan_code}",
                add_on=code,
                plans=sorted(add_on.for_plans),
                remedy="Take it away in the same change (remove).",
            )
        offered = offer_of(add_on, currency=currency)
        _refuse_interval(offered, interval)
        if currency != subscription.currency:
            again.append((offered, {}))
    return again


async def _refuse_unfit(
    add_on: PlanV1, plan_code: str, now: datetime, *, uow: UnitOfWork, pointer: str
) -> None:
    if add_on.kind != "add_on":
        raise AddOnDoesNotFit("this is a plan, and no add-on", plan=add_on.code)
    await refuse_unbillable(add_on, pointer=pointer, uow=uow)
    if add_on.for_plans and plan_code not in add_on.for_plans:
        raise AddOnDoesNotFit(
            f"the add-on does not go with {plan_code}", add_on=add_on.code, plans=sorted(add_on.for_plans)
        )
    standing = await uow.plans.standing_of(add_on)
    refuse_unsold(standing, now, plan=add_on.code, number=add_on.plan_version, pointer=pointer)


def _refuse_interval(add_on: Offer, interval: object) -> None:
    if add_on.interval != interval:
        raise AddOnDoesNotFit(
            "the add-on is billed at other intervals than the plan",
            add_on=add_on.plan_code,
            interval={"unit": add_on.interval.unit, "count": add_on.interval.count},
        )
