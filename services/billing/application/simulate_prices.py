"""What plans would come to, side by side: nothing is changed, and nothing is kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from libs.common.errors import InputError
from libs.common.money import AmountTooLarge
from libs.common.periods import Interval, boundary, index_on, start_of_day
from services.billing.application.simulation_request import SimulatePrices, Supposed
from services.billing.domain.intervals import shortest
from services.billing.domain.plan_terms import PlanTerms
from services.billing.domain.simulation.comparison import Comparison, compare
from services.billing.domain.simulation.scenario import Scenario
from services.billing.domain.simulation.schedule import Schedule, schedule
from services.billing.domain.simulation.settlement import SettledPlan, settle_plan, tax_faults
from services.billing.domain.simulation.simulate import SimulationImpossible, impossible, simulate
from services.billing.domain.simulation.simulated import Note, SimulatedPlan
from services.billing.domain.simulation.size import size_faults
from services.billing.domain.simulation.stored_usage import StoredUsage
from services.billing.domain.simulation.timetable import Timetable
from services.billing.domain.simulation.usage_given import UsageBook, usage_faults


@dataclass(frozen=True, slots=True)
class PriceSimulation:
    timetable: Timetable
    stored: StoredUsage | None
    plans: tuple[SettledPlan, ...]
    comparisons: tuple[Comparison, ...]


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
        faults += size_faults(planned, scenario)
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
