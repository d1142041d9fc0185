"""When each price of a plan is charged within the periods that are simulated, and in which phase they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from libs.common.errors import InputError
from services.billing.domain.intervals import told
from services.billing.domain.plan_terms import PlanTerms
from services.billing.domain.rating.price import Price
from services.billing.domain.simulation.timetable import Timetable


@dataclass(frozen=True, slots=True)
class PlannedCharge:
    """One charge of a price, for the periods from `start` until before `end`; it falls due in period `due`.

    `whole_end` is later than `end` where the phase ends before the interval of the charge does. What the price includes
    begins anew every `allowance_steps` periods, and `allowance_ends` with the charge, or goes on to the next one.
    """

    price: Price
    start: int
    end: int
    whole_end: int
    due: int
    allowance_steps: int
    allowance_ends: bool = True


@dataclass(frozen=True, slots=True)
class NotDue:
    """What is charged only after the last of the periods: of `price`, from period `start` until before `end`."""

    price: Price
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """`phases` has the code of each period's phase, None for a plan without phases."""

    charges: tuple[PlannedCharge, ...]
    not_due: tuple[NotDue, ...]
    phases: tuple[str | None, ...]
    plan_steps: int
    faults: tuple[InputError, ...] = ()


MISFIT = "is no whole number of the periods that are simulated: choose a shorter interval for these"


def schedule(plan: PlanTerms, timetable: Timetable, *, currency: str, phase: str | None, at: str) -> Schedule:
    """All charges of the prices in `currency`, in the order of periods and then of prices.

    The first of the periods begins `phase`, or the plan's first one; the others follow as the plan has them.
    What does not fit stands among the faults; `at` is where the plan was named.
    """
    plan_steps = timetable.steps_in(plan.interval, plan.interval)
    if plan_steps is None:
        detail = f"its billing period of {told(plan.interval)} {MISFIT}"
        return Schedule((), (), (), 1, ({"pointer": at, "detail": detail},))
    faults: list[InputError] = []
    phases = _phases(plan, timetable.count, plan_steps, phase)
    found: list[PlannedCharge] = []
    not_due: list[NotDue] = []
    for price in plan.in_currency(currency):
        if price.kind == "one_time":
            found += _once(price, phases, is_beginning=phase is None or phase == _first_phase(plan))
            continue
        fault = _misfit(plan, price, timetable)
        if fault is not None:
            faults.append({"pointer": at, "detail": f"the price {price.code} {fault}"})
            continue
        for charge in _repeated(plan, price, timetable, phases):
            if isinstance(charge, NotDue):
                not_due.append(charge)
            else:
                found.append(charge)
    found.sort(key=lambda charge: charge.due)  # stable: within a period, the order of the plan
    return Schedule(tuple(found), tuple(not_due), phases, plan_steps, tuple(faults))


def _first_phase(plan: PlanTerms) -> str | None:
    return plan.phases[0].code if plan.phases else None


def _phases(plan: PlanTerms, count: int, plan_steps: int, first: str | None) -> tuple[str | None, ...]:
    if not plan.phases:
        return (None,) * count
    codes = [phase.code for phase in plan.phases]
    found: list[str | None] = []
    for phase in plan.phases[codes.index(first) if first is not None else 0 :]:
        length = count if phase.periods is None else phase.periods * plan_steps
        found += [phase.code] * min(length, count - len(found))
    return tuple(found + [codes[-1]] * (count - len(found)))


def _once(price: Price, phases: tuple[str | None, ...], *, is_beginning: bool) -> Iterator[PlannedCharge]:
    """At the beginning of its phase, or else of the plan: a simulation of a later phase does not see that."""
    if price.phase is None:
        start = 0 if is_beginning else None
    else:
        start = phases.index(price.phase) if price.phase in phases else None
    if start is not None:
        yield PlannedCharge(price, start, start + 1, start + 1, start, allowance_steps=1)


def _misfit(plan: PlanTerms, price: Price, timetable: Timetable) -> str | None:
    """Why the price cannot be simulated in these periods."""
    charged_every, allowed_every = plan.charge_interval(price), plan.allowance_interval(price)
    charged = timetable.steps_in(charged_every, plan.interval)
    if charged is None:
        return f"is charged every {told(charged_every)}, which {MISFIT}"
    if not _has_allowance(price):
        return None
    allowed = timetable.steps_in(allowed_every, plan.interval)
    if allowed is None:
        return f"has an allowance for each {told(allowed_every)}, which {MISFIT}"
    if allowed < charged and (price.model == "capacity" or (price.model == "package" and price.rollover)):
        return "has an allowance that begins anew between two charges: by this model that is not simulated"
    return None


def _has_allowance(price: Price) -> bool:
    """Whether units are drawn from something that lasts; what a fee includes, it includes in each charge."""
    return price.kind == "usage" and bool(price.included_quantity)


def _repeated(
    plan: PlanTerms, price: Price, timetable: Timetable, phases: tuple[str | None, ...]
) -> Iterator[PlannedCharge | NotDue]:
    """Counted from the beginning of the periods, or of the price's phase."""
    length = timetable.steps_in(plan.charge_interval(price), plan.interval)
    allowed = timetable.steps_in(plan.allowance_interval(price), plan.interval)
    assert length is not None
    if not _has_allowance(price) or allowed is None:
        allowed = length
    held = [step for step, phase in enumerate(phases) if price.phase in (None, phase)]
    if not held:
        return
    first, after = held[0], held[-1] + 1
    is_over = after < len(phases)  # the phase ends within the periods
    for start in range(first, after, length):
        whole_end = start + length
        end = min(whole_end, after) if is_over else whole_end
        due = start if price.timing == "advance" else end - 1
        if due >= len(phases):
            yield NotDue(price, start, end)
        else:
            yield PlannedCharge(price, start, end, whole_end, due, allowed, (end - first) % allowed == 0)
