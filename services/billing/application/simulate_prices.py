"""What plans would come to, side by side: nothing is changed, and nothing is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal

from libs.common.errors import Conflict, InputError, NotFound
from libs.common.money import AmountTooLarge
from libs.common.periods import Interval, boundary, index_on, start_of_day
from services.billing.application.ports import UnitOfWork
from services.billing.domain.intervals import shortest
from services.billing.domain.plan_faults import interval_faults, plan_faults
from services.billing.domain.plan_terms import PlanTerms
from services.billing.domain.simulation.comparison import Comparison, compare
from services.billing.domain.simulation.scenario import Scenario
from services.billing.domain.simulation.schedule import Schedule, schedule
from services.billing.domain.simulation.settlement import (
    SettledPlan,
    SupposedCoupon,
    Taxes,
    settle_plan,
    tax_faults,
)
from services.billing.domain.simulation.simulate import SimulationImpossible, impossible, simulate
from services.billing.domain.simulation.simulated import Note, SimulatedPlan
from services.billing.domain.simulation.stored_usage import StoredUsage, stored_usage
from services.billing.domain.simulation.timetable import Timetable
from services.billing.domain.simulation.usage_given import GivenUsage, UsageBook, usage_faults

# What one simulation may come to at the most, however its parts are multiplied.
LINES_MAX = 5_000
RATED_MAX = 50_000  # events, groups and levels, each as often as it is rated
EXPLAINED_MAX = 5_000  # the same where each is explained as well
LOOKUPS_MAX = 2_000_000  # of events and groups among the cells of a matrix
EXPRESSION_LENGTH = 50  # an expression of more characters counts for several
INDEX_MAX = 100_000


class PlanVersionUnknown(NotFound):
    """Billing has heard of no such plan version or overlay; of one made a moment ago it will. `errors` lists all."""

    code = "plan_version_unknown"
    title = "There is no such plan version"

    def __init__(self, message: str, *, errors: Sequence[InputError], remedy: str) -> None:
        super().__init__(message, remedy=remedy)
        self.errors = tuple(errors)


class SubscriptionUnknown(NotFound):
    """Billing has heard of no such subscription."""

    code = "subscription_unknown"
    title = "There is no such subscription"


class UsageNotClosed(Conflict):
    """Usage is known once its window has closed; fees, once they are billed."""

    code = "usage_not_closed"
    title = "The usage of the period is not known yet"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A plan version by its id, or by the plan's code and number (the newest without one); an overlay; or a draft."""

    plan: str | None = None
    number: int | None = None
    plan_version_id: str | None = None
    overlay_id: str | None = None
    draft: PlanTerms | None = None
    currency: str | None = None
    phase: str | None = None


@dataclass(frozen=True, slots=True)
class SupposedPeriod:
    """Either until `end_on`, or an `interval` long: by default the shortest of the candidates'."""

    start_on: date
    zone: str
    end_on: date | None = None
    interval: Interval | None = None
    anchor_on: date | None = None
    in_use_from: date | None = None
    in_use_until: date | None = None


@dataclass(frozen=True, slots=True)
class UsageOf:
    """A past period of a subscription: by its index, or by a local date in it."""

    subscription_id: str
    period_index: int | None = None
    on: date | None = None
    with_late: bool = False


@dataclass(frozen=True, slots=True)
class SimulatePrices:
    """One of `period` and `usage_of` is given. `taxes` are percentages by tax category, None being all others."""

    candidates: tuple[Candidate, ...]
    period: SupposedPeriod | None = None
    usage_of: UsageOf | None = None
    periods: int = 1
    currency: str | None = None
    quantities: Mapping[str, Decimal] = field(default_factory=dict)
    usage: tuple[GivenUsage, ...] = ()
    coupons: tuple[SupposedCoupon, ...] = ()
    taxes: Taxes | None = None
    with_trial: bool = False
    is_explained: bool = True


@dataclass(frozen=True, slots=True)
class Supposed:
    """The command, with everything that it names: a plan for each candidate, and the usage that is stored."""

    command: SimulatePrices
    plans: tuple[PlanTerms, ...]
    stored: StoredUsage | None


@dataclass(frozen=True, slots=True)
class PriceSimulation:
    timetable: Timetable
    stored: StoredUsage | None
    plans: tuple[SettledPlan, ...]
    comparisons: tuple[Comparison, ...]


async def gather(command: SimulatePrices, *, uow: UnitOfWork) -> Supposed:
    """Find what the command names. Nothing is locked.

    Raises: SimulationImpossible, PlanVersionUnknown, SubscriptionUnknown, UsageNotClosed.
    """
    faults = list(_faults(command))
    if faults:
        raise impossible(faults)
    plans = [await _plan(candidate, uow) for candidate in command.candidates]
    unknown: list[InputError] = [
        {
            "pointer": f"/candidates/{position}/{_name_of(candidate)}",
            "detail": "there is no such plan version",
        }
        for position, (candidate, plan) in enumerate(zip(command.candidates, plans, strict=True))
        if plan is None
    ]
    if unknown:
        raise PlanVersionUnknown(
            f"{len(unknown)} of the candidates cannot be found: see errors",
            errors=unknown,
            remedy="Publish the plan (POST /v1/plans/{plan_id}/publications), or give it as a draft.",
        )
    stored = None if command.usage_of is None else await _stored(command.usage_of, command.periods, uow)
    return Supposed(command, tuple(plan for plan in plans if plan is not None), stored)


def _faults(command: SimulatePrices) -> Iterator[InputError]:
    """What is wrong whatever there is."""
    for position, candidate in enumerate(command.candidates):
        if candidate.draft is not None:
            yield from plan_faults(candidate.draft, f"/candidates/{position}/draft")
    if (command.period is None) == (command.usage_of is None):
        detail = "give either the period that is supposed, or usage_of, which has its own"
        yield {"pointer": "/period", "detail": detail}
    if command.period is not None:
        yield from _period_faults(command.period, command.periods)
    counted = Counter(given.coupon.code for given in command.coupons)
    for position, given in enumerate(command.coupons):
        if counted[given.coupon.code] > 1:
            detail = f"there are several coupons {given.coupon.code}: give each once"
            yield {"pointer": f"/coupons/{position}/code", "detail": detail}


def _period_faults(period: SupposedPeriod, periods: int) -> Iterator[InputError]:
    if period.interval is not None:
        yield from interval_faults(period.interval, "/period/interval")
    if period.end_on is not None:
        if period.end_on <= period.start_on:
            yield {"pointer": "/period/end", "detail": "is later than the start"}
        for name, given in (("interval", period.interval), ("anchor_on", period.anchor_on)):
            if given is not None:
                detail = "does not go with an end: give the one or the other"
                yield {"pointer": f"/period/{name}", "detail": detail}
        if periods > 1:
            detail = "several periods follow each other by an interval: leave the end out"
            yield {"pointer": "/period/end", "detail": detail}
    since, until = period.in_use_from, period.in_use_until
    if since is not None and until is not None and until <= since:
        yield {"pointer": "/period/in_use_until", "detail": "is later than in_use_from"}


def _name_of(candidate: Candidate) -> str:
    """The field that names the plan."""
    names = {"plan_version_id": candidate.plan_version_id, "plan_overlay_id": candidate.overlay_id}
    return next((name for name, given in names.items() if given is not None), "plan")


async def _plan(candidate: Candidate, uow: UnitOfWork) -> PlanTerms | None:
    if candidate.draft is not None:
        return candidate.draft
    if candidate.plan_version_id is not None:
        return await uow.plan_versions.find(candidate.plan_version_id)
    if candidate.overlay_id is not None:
        return await uow.plan_versions.find_overlay(candidate.overlay_id)
    assert candidate.plan is not None, "a candidate names a plan"
    return await uow.plan_versions.find_by_code(candidate.plan, candidate.number)


async def _stored(usage_of: UsageOf, periods: int, uow: UnitOfWork) -> StoredUsage:
    agreement = await uow.agreements.find(usage_of.subscription_id)
    if agreement is None:
        raise SubscriptionUnknown("there is no such subscription", pointer="/usage_of/subscription_id")
    index = usage_of.period_index
    anchor_on, interval = agreement.anchor_on, agreement.interval
    if anchor_on is None or interval is None:
        if index is None or periods > 1:
            detail = "its interval is not known here: give the period_index of one period"
            raise impossible([{"pointer": "/usage_of", "detail": detail}])
    elif index is None:
        assert usage_of.on is not None, "a period is named by its index or by a date"
        index = index_on(anchor_on, interval, usage_of.on)
        if index < 0:
            detail = f"is before {anchor_on}, on which the subscription began"
            raise impossible([{"pointer": "/usage_of/on", "detail": detail}])
    indexes = range(index, index + periods)
    bounds = (agreement.id, indexes.start, indexes.stop)
    charges = await uow.charges.of_periods(*bounds)
    windows = await uow.usage_windows.of_periods(*bounds)
    known = {window.period_index for window in windows}
    if not agreement.has_metered_items:
        known |= {charge.period_index for charge in charges}
    missing = [index for index in indexes if index not in known]
    if missing:
        what = "its usage window has not closed" if agreement.has_metered_items else "it has not been billed"
        raise UsageNotClosed(
            f"period {missing[0]} is not known yet: {what}",
            pointer="/usage_of",
            remedy="Simulate earlier periods, or give quantities and usage by hand.",
            period=missing[0],
        )
    return stored_usage(
        agreement,
        indexes,
        charges=charges,
        windows=windows,
        corrections=await uow.usage_windows.corrections_of(*bounds),
        with_late=usage_of.with_late,
    )


def simulate_prices(supposed: Supposed) -> PriceSimulation:
    """Rate every candidate, and compare the others with the first. It takes a while: call it in a thread.

    The same arguments give the same answer, whenever it is asked for.
    Raises: SimulationImpossible, with all that is wrong.
    """
    command, stored = supposed.command, supposed.stored
    candidates, faults = _candidates(supposed)
    if faults:
        raise impossible(faults)
    timetable = stored.timetable if stored is not None else _timetable(command, candidates)
    scenario = _scenario(command, stored, timetable)
    planned = [
        schedule(c.plan, timetable, currency=c.currency, phase=c.phase, at=c.pointer) for c in candidates
    ]
    faults = [fault for each in planned for fault in each.faults]
    faults += usage_faults(command.usage, timetable)
    faults += _unused_faults(command, candidates)
    if not faults:
        faults += _size_faults(planned, scenario)
    if faults:
        raise impossible(faults)
    simulated = _simulated(candidates, planned, scenario)
    settled = _settled(simulated, command)
    return PriceSimulation(timetable, stored, tuple(settled), compare(settled))


@dataclass(frozen=True, slots=True)
class _Chosen:
    """A candidate with its plan, its currency, and where in the body it stands."""

    plan: PlanTerms
    currency: str
    phase: str | None
    pointer: str


def _candidates(supposed: Supposed) -> tuple[list[_Chosen], list[InputError]]:
    chosen: list[_Chosen] = []
    faults: list[InputError] = []
    command, stored = supposed.command, supposed.stored
    shared = command.currency or (stored.currency if stored is not None else None)
    for position, (candidate, plan) in enumerate(zip(command.candidates, supposed.plans, strict=True)):
        at = f"/candidates/{position}"
        currency = candidate.currency or shared or plan.currency
        if not plan.in_currency(currency):
            pointer = f"{at}/currency" if candidate.currency else "/currency" if command.currency else at
            others = ", ".join(sorted({price.currency for price in plan.prices}))
            detail = f"{plan.code} has no price in {currency}: it has prices in {others}"
            faults.append(InputError(pointer=pointer, detail=detail))
        if candidate.phase is not None and candidate.phase not in {phase.code for phase in plan.phases}:
            there = ", ".join(phase.code for phase in plan.phases) or "none"
            detail = f"{plan.code} has no phase {candidate.phase}: its phases are {there}"
            faults.append(InputError(pointer=f"{at}/phase", detail=detail))
        chosen.append(_Chosen(plan, currency, candidate.phase, at))
    return chosen, faults


def _timetable(command: SimulatePrices, candidates: Sequence[_Chosen]) -> Timetable:
    period = command.period
    assert period is not None, "without stored usage there is a period"
    if period.end_on is not None:
        return Timetable(period.zone, period.start_on, period.start_on, end_on=period.end_on)
    interval = period.interval or shortest([found for each in candidates for found in _intervals(each)])
    anchor_on = period.anchor_on or period.start_on
    begins_on = boundary(anchor_on, interval, index_on(anchor_on, interval, period.start_on))
    if begins_on != period.start_on:
        detail = f"no period counted from {anchor_on} begins on this day: {begins_on} is the last one before"
        raise impossible([{"pointer": "/period/start", "detail": detail}])
    return Timetable(period.zone, period.start_on, anchor_on, command.periods, interval)


def _intervals(candidate: _Chosen) -> Iterator[Interval]:
    yield candidate.plan.interval
    for price in candidate.plan.in_currency(candidate.currency):
        if price.kind != "one_time":
            yield candidate.plan.charge_interval(price)
        if price.kind == "usage" and price.included_quantity:
            yield candidate.plan.allowance_interval(price)


def _scenario(command: SimulatePrices, stored: StoredUsage | None, timetable: Timetable) -> Scenario:
    scenario = Scenario(
        timetable=timetable,
        usage=UsageBook(timetable, command.usage, stored.usage if stored is not None else ()),
        quantities=command.quantities,
        with_trial=command.with_trial,
        is_explained=command.is_explained,
    )
    if stored is not None:
        return replace(
            scenario,
            quantities={**stored.quantities, **command.quantities},
            in_use_until=stored.ends_at,
            metered_until=stored.metered_until,
            needs_quantities=True,
        )
    period = command.period
    assert period is not None
    since, until = period.in_use_from, period.in_use_until
    return replace(
        scenario,
        in_use_from=None if since is None else start_of_day(since, period.zone),
        in_use_until=None if until is None else start_of_day(until, period.zone),
    )


def _unused_faults(command: SimulatePrices, candidates: Sequence[_Chosen]) -> Iterator[InputError]:
    """What is given for no price of any candidate: most likely it is misspelt."""
    prices = [price for each in candidates for price in each.plan.in_currency(each.currency)]
    counted = {price.code for price in prices if price.kind != "usage"}
    for code in command.quantities:
        if code not in counted:
            detail = f"no candidate has a recurring or one-time price {code}"
            yield {"pointer": f"/quantities/{code}", "detail": detail}
    metered = [price for price in prices if price.kind == "usage"]
    for entry in command.usage:
        if not any(entry.is_of(price) for price in metered):
            name, named = ("price", entry.price) if entry.price is not None else ("meter", entry.meter)
            detail = f"no candidate has a usage price of the {name} {named}"
            yield {"pointer": f"{entry.pointer}/{name}", "detail": detail}
    products = {price.product_id for price in prices}
    plans = {each.plan.code for each in candidates}
    currencies = {each.currency for each in candidates}
    for position, given in enumerate(command.coupons):
        at, coupon = f"/coupons/{position}", given.coupon
        for number, product_id in enumerate(coupon.product_ids):
            if product_id not in products:
                detail = "no price of a candidate is of this product"
                yield {"pointer": f"{at}/product_ids/{number}", "detail": detail}
        for number, plan in enumerate(coupon.plan_codes):
            if plan not in plans:
                yield {"pointer": f"{at}/plans/{number}", "detail": "is not the plan of a candidate"}
        if coupon.amount is not None and coupon.amount.currency not in currencies:
            detail = f"no candidate is in {coupon.amount.currency}"
            yield {"pointer": f"{at}/amount/currency", "detail": detail}


def _size_faults(planned: Sequence[Schedule], scenario: Scenario) -> Iterator[InputError]:
    """Whether it is too much for one request. Explaining takes longer than rating, by far."""
    charges = [charge for each in planned for charge in each.charges]
    lines = sum(max(1, len(charge.price.tiers)) for charge in charges)
    if lines > LINES_MAX:
        detail = f"comes to up to {lines} lines, and at most {LINES_MAX} are simulated at once: ask for fewer"
        yield {"pointer": "/periods", "detail": detail}
        return
    rated = lookups = 0
    for charge in charges:
        price = charge.price
        if price.kind == "usage":
            count = scenario.usage.parts_count(price, charge.start, charge.end)
            rated += count * (1 + len(price.expression or "") // EXPRESSION_LENGTH)
            lines_max = min(len(price.cells), count) if scenario.is_explained else 1
            lookups += count * len(price.cells) * lines_max
    rated_max = EXPLAINED_MAX if scenario.is_explained else RATED_MAX
    if rated > rated_max or lookups > LOOKUPS_MAX:
        told = 'give totals, or set explanations to "none"' if scenario.is_explained else "give totals"
        detail = f"is too much for one simulation, in all plans and periods: {told}, or ask for fewer"
        yield {"pointer": "/usage", "detail": detail}


def _simulated(
    candidates: Sequence[_Chosen], planned: Sequence[Schedule], scenario: Scenario
) -> list[SimulatedPlan]:
    """Raises: SimulationImpossible, with what is wrong with any of them."""
    found: list[SimulatedPlan] = []
    faults: list[InputError] = []
    for each, its in zip(candidates, planned, strict=True):
        try:
            simulated = simulate(each.plan, its, scenario, currency=each.currency, at=each.pointer)
        except SimulationImpossible as refused:
            faults += refused.errors
            continue
        notes = (*simulated.notes, *_notes(each, scenario))
        found.append(replace(simulated, notes=notes))
    if faults:
        raise impossible(_once_each(faults))
    return found


def _once_each(faults: Sequence[InputError]) -> list[InputError]:
    """The same usage may be at fault in several candidates and periods."""
    told = dict.fromkeys((fault["pointer"], fault["detail"]) for fault in faults)
    return [{"pointer": pointer, "detail": detail} for pointer, detail in told]


def _notes(candidate: _Chosen, scenario: Scenario) -> Iterator[Note]:
    """What of the scenario the plan has no price for; and where its terms end."""
    prices = candidate.plan.in_currency(candidate.currency)
    codes = {price.code for price in prices if price.kind != "usage"}
    for code in sorted(set(scenario.quantities) - codes):
        yield Note(
            "quantity_not_priced", f"The plan has no price {code}: its quantity counts for nothing here."
        )
    metered = [price for price in prices if price.kind == "usage"]
    book = scenario.usage
    names = {
        entry.meter or entry.price or ""
        for entry in (*book.given, *book.stored)
        if not any(entry.is_of(price) for price in metered)
        and not any(price.meter == entry.meter for price in metered)
    }
    for name in sorted(names):
        yield Note("usage_not_priced", f"The plan has no price for usage of {name}: it costs nothing here.")
    term, timetable = candidate.plan.term, scenario.timetable
    if term is not None:
        ends_on = boundary(timetable.start_on, term, 1)
        if ends_on < timetable.start_of(timetable.count):
            says = f"The customer's own terms, begun with the first period, are agreed until {ends_on} only."
            yield Note("term_ends", says)


def _settled(simulated: Sequence[SimulatedPlan], command: SimulatePrices) -> list[SettledPlan]:
    faults: list[InputError] = []
    if command.taxes is not None:
        for each in simulated:
            faults += tax_faults(each, command.taxes, "/taxes")
    if faults:
        raise impossible(_once_each(faults))
    try:
        return [settle_plan(each, command.coupons, command.taxes) for each in simulated]
    except AmountTooLarge as error:
        detail = "comes to more than can be counted: lower the quantities"
        raise impossible([{"pointer": "", "detail": detail}]) from error
