"""What one plan comes to under a scenario: each price rated where it is charged, commitments settled where they end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction

from libs.common.errors import InputError, InvalidInput, ServiceError
from libs.common.money import Money, total
from libs.common.periods import Period, boundary, days_in_use
from services.billing.domain.agreement import Bounds
from services.billing.domain.plan_terms import PlanTerms
from services.billing.domain.pooled_allowance import pool_with
from services.billing.domain.proration import fraction_in_use
from services.billing.domain.rating.allowance import (
    AllowanceBalance,
    AllowancePool,
    draw,
    opening_balance,
    renew,
    with_usage,
)
from services.billing.domain.rating.commitment import Commitment, Spent, settle
from services.billing.domain.rating.explain import explain
from services.billing.domain.rating.explain_commitment import explain_commitment
from services.billing.domain.rating.price import Price
from services.billing.domain.rating.rate import WHOLE_PERIOD, Rated, rate_usage
from services.billing.domain.rating.rated_line import ONE
from services.billing.domain.rating.usage import NegativeQuantity, Usage, UsageIncomplete, sum_of
from services.billing.domain.simulation.scenario import Scenario
from services.billing.domain.simulation.schedule import PlannedCharge, Schedule
from services.billing.domain.simulation.simulated import (
    Note,
    SimulatedCharge,
    SimulatedLine,
    SimulatedPeriod,
    SimulatedPlan,
)
from services.billing.domain.simulation.usage_given import GivenUsage

TRIAL = "trial"


class SimulationImpossible(InvalidInput):
    """Something that the simulation needs is missing or does not fit. All of it is listed, with its place."""

    code = "simulation_impossible"
    title = "This cannot be simulated"


def simulate(
    plan: PlanTerms, planned: Schedule, scenario: Scenario, *, currency: str, at: str
) -> SimulatedPlan:
    """The charges of every period, by the same rating as an invoice's.

    Nothing is carried into the first period: allowances begin with it, and commitments of a year are counted from it.
    Rounding: each line once, half away from zero.
    Raises: SimulationImpossible with all that is wrong; `at` is where the plan was named.
    """
    run = _Run(plan, planned, scenario, currency, at)
    for charge in planned.charges:
        run.rate(charge)
    for commitment in plan.commitments:
        if commitment.currency == currency:
            run.settle(commitment)
    trial = run.trial() if scenario.with_trial else None
    if run.faults:
        raise impossible(run.faults)
    run.note_pools()
    timetable = scenario.timetable
    periods = tuple(
        SimulatedPeriod(
            index, timetable.start_of(index), timetable.start_of(index + 1), phase, tuple(run.found[index])
        )
        for index, phase in enumerate(planned.phases)
    )
    return SimulatedPlan(
        plan=plan,
        currency=currency,
        trial=trial,
        periods=periods,
        plan_steps=planned.plan_steps,
        notes=tuple(dict.fromkeys([*run.notes, *_notes_of(planned, scenario)])),
    )


def impossible(faults: list[InputError]) -> SimulationImpossible:
    count = len(faults)
    return SimulationImpossible(
        f"the simulation has {count} fault{'s' if count > 1 else ''}: see errors",
        errors=faults,
        remedy="Correct what is listed and send it again.",
    )


@dataclass(slots=True)
class _Run:
    """What has been found so far, and what is carried on from charge to charge."""

    plan: PlanTerms
    planned: Schedule
    scenario: Scenario
    currency: str
    at: str
    found: list[list[SimulatedCharge]] = field(init=False)
    spent: list[list[Spent]] = field(init=False)
    carried: dict[str, AllowanceBalance] = field(default_factory=dict)
    pools: dict[str, AllowancePool] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    faults: list[InputError] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.found = [[] for _ in self.planned.phases]
        self.spent = [[] for _ in self.planned.phases]

    def rate(self, charge: PlannedCharge) -> None:
        """Rate one charge, unless nothing of its time is in use."""
        price, span = charge.price, self.scenario.timetable.span(charge.start, charge.end)
        given: tuple[GivenUsage, ...] = ()
        try:
            if price.kind == "usage":
                found = self.scenario.usage.of(price, charge.start, charge.end)
                given, used = found.given, self.scenario.metered_of(span)
                if used.start == used.end and not given:
                    return
                if not given:
                    self._note_no_usage(price)
                rated = self._rate_usage(charge, found.usage, span)
            else:
                used, fraction = self._part_of(charge, span)
                if not fraction:
                    return
                rated = rate_usage(price, Usage(self._quantity(price)), fraction=fraction)
            self._keep(charge, rated, used)
        except ServiceError as error:
            self.faults.append(_fault(error, price, given, self.at))

    def _rate_usage(self, charge: PlannedCharge, usage: Usage, span: Period) -> Rated:
        """With what is left of the allowance, where that lasts longer than the charge, or begins anew within it."""
        price, length = charge.price, charge.whole_end - charge.start
        if price.allowance_pool is not None:
            return self._rate_pooled(charge, usage, span)
        if price.rollover is None and (not price.included_quantity or charge.allowance_steps == length):
            return rate_usage(price, usage, span)
        opening = self.carried.get(price.id) or opening_balance(price)
        if charge.allowance_steps < length:
            free, self.carried[price.id] = self._drawn_within(charge, opening)
            return rate_usage(price, usage, span, allowance=AllowanceBalance(free))
        rated = rate_usage(price, usage, span, allowance=opening)
        assert rated.closing is not None
        self.carried[price.id] = renew(price, rated.closing) if charge.allowance_ends else rated.closing
        return rated

    def _rate_pooled(self, charge: PlannedCharge, usage: Usage, span: Period) -> Rated:
        """With the pool that it goes on with, or begins; settled where that or its price ends. Source: R13."""
        price, timetable, phases = charge.price, self.scenario.timetable, self.planned.phases
        if usage.quantity < 0:
            raise NegativeQuantity("a quantity is rated from zero up", quantity=usage.quantity)
        used = self.scenario.metered_of(span)
        until = self.scenario.metered_until or self.scenario.in_use_until
        phase_ends = price.phase is not None and phases[charge.end : charge.end + 1] not in (
            (price.phase,),
            (),
        )
        opening = pool_with(
            price,
            self.plan.allowance_interval(price),
            [(used.start_on, used.end_on)],
            anchor_on=timetable.start_on,
            grid_on=timetable.anchor_on,
            ends_on=used.end_on,
            began=Bounds(used.start_on, used.end_on, used.start, used.end),
            before=self.pools.pop(price.id, None),
            is_end=phase_ends or (until is not None and until <= span.end),
        )
        assert opening.pool is not None
        if not opening.pool.is_last:
            self.pools[price.id] = with_usage(opening.pool, usage.quantity)
        return rate_usage(price, usage, span, allowance=opening)

    def note_pools(self) -> None:
        """Those of which the end lies beyond what is simulated."""
        codes = {price.id: price.code for price in self.plan.in_currency(self.currency)}
        for price_id in self.pools:
            says = "pools what it includes, and is settled at the end of that, which lies beyond what is simulated."
            self.notes.append(Note("allowance_not_settled", f"{codes[price_id]} {says}"))

    def _drawn_within(
        self, charge: PlannedCharge, opening: AllowanceBalance
    ) -> tuple[Decimal, AllowanceBalance]:
        """The units that cost nothing, and the balance after: each part of the charge has an allowance of its own."""
        price, steps, balance = charge.price, charge.allowance_steps, opening
        free: list[Decimal] = []
        for start in range(charge.start, charge.end, steps):
            part = self.scenario.usage.of(price, start, min(start + steps, charge.end)).usage
            if part.quantity < 0:
                raise NegativeQuantity("a quantity is rated from zero up", quantity=part.quantity)
            drawn = draw(price, part.quantity, balance)
            free += drawn.covered
            balance = renew(price, drawn.closing)
        return sum_of(free), balance

    def _part_of(self, charge: PlannedCharge, span: Period) -> tuple[Period, Fraction]:
        """The part of the charge's time that is in use, and what of it is owed."""
        if charge.price.kind == "one_time":
            return span, WHOLE_PERIOD
        used = self.scenario.used_of(span)
        if used.start == used.end:
            return used, Fraction(0)
        whole = self.scenario.timetable.span(charge.start, charge.whole_end)
        fraction = fraction_in_use(used=used, full=whole, method=charge.price.proration)
        return used, WHOLE_PERIOD if fraction == 1 else fraction

    def _quantity(self, price: Price) -> Decimal:
        quantity = self.scenario.quantities.get(price.code)
        if quantity is not None:
            return quantity
        if price.model != "flat":
            if self.scenario.needs_quantities:
                raise QuantityUnknown(
                    "the subscription has no price of this code, which would tell how many",
                    pointer=f"/quantities/{price.code}",
                    remedy="Say how many there would be.",
                )
            says = f"No quantity was given for {price.code}: it was taken as 1."
            self.notes.append(Note("quantity_assumed", says))
        return ONE

    def _note_no_usage(self, price: Price) -> None:
        says = f"No usage was given for {price.code} (meter {price.meter}): it was taken as none."
        self.notes.append(Note("usage_assumed", says))

    def _keep(self, charge: PlannedCharge, rated: Rated, used: Period) -> None:
        price = rated.price
        start_on, end_on = self._dates(charge.start, charge.end, used)
        pool = None if rated.opening is None else rated.opening.pool
        if pool is not None and pool.is_last:
            start_on = pool.start_on
        carried = rated.closing is not None and pool is None
        self.found[charge.due].append(
            SimulatedCharge(
                code=price.code,
                kind=price.kind,
                description=price.description,
                model=price.model,
                timing=price.timing,
                product_id=price.product_id,
                tax_behavior=price.tax_behavior,
                tax_category=price.tax_category,
                start_on=start_on,
                end_on=end_on,
                lines=tuple(SimulatedLine.of_price(line) for line in rated.lines),
                amount=rated.amount,
                explanation=explain(rated) if self.scenario.is_explained else None,
                allowance_before=rated.opening if carried else None,
                allowance_after=self.carried[price.id] if carried else None,
            )
        )
        self.spent[charge.due].append(Spent(price, rated.measured, rated.amount))

    def _dates(self, start: int, end: int, used: Period) -> tuple[date, date]:
        """Local dates of what is in use; those of the timetable where it is not cut."""
        timetable = self.scenario.timetable
        span = timetable.span(start, end)
        start_on = timetable.start_of(start) if used.start == span.start else used.start_on
        return start_on, timetable.start_of(end) if used.end == span.end else used.end_on

    def settle(self, commitment: Commitment) -> None:
        """Each of the commitment's periods that ends within those simulated."""
        timetable, count = self.scenario.timetable, len(self.found)
        length = timetable.steps_in_year() if commitment.per == "year" else self.planned.plan_steps
        settled = 0 if length is None else count - count % length
        for start in range(0, settled, length or 1):
            self._settle(commitment, start, start + (length or 1))
        if settled < count:
            per = "year" if commitment.per == "year" else "billing period"
            says = (
                f"{commitment.code} is settled at the end of its {per}, which lies beyond what is simulated."
            )
            self.notes.append(Note("commitment_not_settled", says))

    def _settle(self, commitment: Commitment, start: int, end: int) -> None:
        bound = self._bound(commitment, start, end)
        span = self.scenario.timetable.span(start, end)
        used = self.scenario.used_of(span)
        whole_days = days_in_use(span)
        if not bound or not whole_days or used.start == used.end:
            return
        spent = [part for step in range(start, end) for part in self.spent[step]]
        charged = {part.price.id for part in spent}
        nothing = Money.zero(self.currency)
        spent += [Spent(price, Decimal(0), nothing) for price in bound if price.id not in charged]
        fraction = Fraction(days_in_use(used), whole_days)
        try:
            lines = settle(commitment, spent, fraction=fraction)
            if not lines:
                return
            amount = total((line.amount for line in lines), self.currency)
            explained = explain_commitment(commitment, spent, fraction=fraction)
        except ServiceError as error:
            detail = f"the commitment {commitment.code}: {error.message}. {error.remedy or ''}".strip()
            self.faults.append({"pointer": self.at, "detail": detail})
            return
        start_on, end_on = self._dates(start, end, used)
        self.found[end - 1].append(
            SimulatedCharge(
                code=commitment.code,
                kind="commitment",
                description=commitment.description,
                model="commitment",
                timing="arrears",
                product_id=bound[0].product_id if commitment.price_codes else None,
                tax_behavior=bound[0].tax_behavior,
                tax_category=bound[0].tax_category,
                start_on=start_on,
                end_on=end_on,
                lines=tuple(SimulatedLine.of_commitment(line) for line in lines),
                amount=amount,
                explanation=explained if self.scenario.is_explained else None,
            )
        )

    def _bound(self, commitment: Commitment, start: int, end: int) -> list[Price]:
        """The prices that the commitment is about and that hold at some time in these periods."""
        phases = {None, *self.planned.phases[start:end]}
        return [
            price
            for price in self.plan.in_currency(self.currency)
            if price.phase in phases and (not commitment.price_codes or price.code in commitment.price_codes)
        ]

    def trial(self) -> SimulatedCharge | None:
        """What the trial before the first period comes to."""
        plan, trial = self.plan, self.plan.trial
        if trial is None:
            self.notes.append(Note("no_trial", "The plan has no trial."))
            return None
        if trial.amount is not None and plan.currency != self.currency:
            says = f"The trial is paid in {plan.currency}, and is not counted here."
            self.notes.append(Note("trial_not_counted", says))
            return None
        price = Price(
            id=TRIAL,
            code=TRIAL,
            product_id="",
            description=f"{plan.name}: trial",
            kind="one_time",
            timing="advance",
            model="flat",
            currency=self.currency,
            unit_amount=trial.amount or Decimal(0),
        )
        start_on = self.scenario.timetable.start_on
        try:
            rated = rate_usage(price, Usage(ONE))
            return SimulatedCharge(
                code=TRIAL,
                kind="trial",
                description=price.description,
                model=price.model,
                timing=price.timing,
                product_id=None,
                tax_behavior=price.tax_behavior,
                tax_category=None,
                start_on=boundary(start_on, trial.interval, -1),
                end_on=start_on,
                lines=tuple(SimulatedLine.of_price(line) for line in rated.lines),
                amount=rated.amount,
                explanation=explain(rated) if self.scenario.is_explained else None,
            )
        except ServiceError as error:
            self.faults.append({"pointer": self.at, "detail": f"the trial: {error.message}"})
            return None


class QuantityUnknown(InvalidInput):
    """A customer's real quantities are known, but not for this price."""

    code = "quantity_unknown"
    title = "A quantity is needed"


def _fault(error: ServiceError, price: Price, given: tuple[GivenUsage, ...], at: str) -> InputError:
    """With the place of the usage, where it was given by hand, or else that of the plan."""
    pointer = next((entry.pointer for entry in given if entry.pointer), at)
    if isinstance(error, QuantityUnknown):
        pointer = error.pointer or at
    elif isinstance(error, UsageIncomplete) and pointer != at:
        pointer = f"{pointer}{error.pointer}"
    detail = f"the price {price.code}: {error.message}. {error.remedy or ''}"
    return {"pointer": pointer, "detail": detail.strip()}


def _notes_of(planned: Schedule, scenario: Scenario) -> Iterator[Note]:
    for charge in planned.not_due:
        end_on = scenario.timetable.start_of(charge.end)
        says = f"{charge.price.code} is charged on {end_on}, after the periods that are simulated."
        yield Note("not_charged_yet", says)
