"""What may be wrong with a plan that nobody has published, all of it at once, each fault with its JSON pointer.

That its products, meters and features exist is for the catalog to say, when it is made there.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from libs.common.errors import InputError
from libs.common.money import UnknownCurrency, exponent
from libs.common.periods import Interval
from services.billing.domain.intervals import YEAR, times
from services.billing.domain.plan_terms import PlanTerms
from services.billing.domain.rating.commitment import Commitment
from services.billing.domain.rating.price import Price
from services.billing.domain.rating.validate_price import validate_price

INTERVAL_COUNT_MAX = {"day": 366, "week": 104, "month": 120, "year": 10}
PRICES_MAX = 200
TIERS_MAX = 50
PHASES_MAX = 50
PHASE_PERIODS_MAX = 1_200
COMMITMENTS_MAX = 50


def plan_faults(plan: PlanTerms, at: str) -> Iterator[InputError]:
    """Everything wrong with `plan`; `at` is where it stands."""
    yield from _currency_faults(plan, at)
    yield from interval_faults(plan.interval, f"{at}/interval")
    yield from _phase_faults(plan, at)
    if plan.trial is not None:
        yield from interval_faults(plan.trial.interval, f"{at}/trial/interval")
        if plan.trial.amount is not None and plan.trial.amount <= 0:
            yield _fault(f"{at}/trial/amount", "is more than nothing: leave it out where the trial is free")
    if not 1 <= len(plan.prices) <= PRICES_MAX:
        yield _fault(f"{at}/prices", f"a plan has 1 to {PRICES_MAX} prices")
    seen: set[tuple[str, str]] = set()
    for position, price in enumerate(plan.prices):
        here = f"{at}/prices/{position}"
        if (price.code, price.currency) in seen:
            yield _fault(f"{here}/code", f"another price has the code {price.code}: choose another")
        seen.add((price.code, price.currency))
        yield from _price_faults(plan, price, here)
    if len(plan.commitments) > COMMITMENTS_MAX:
        yield _fault(f"{at}/commitments", f"a plan has at most {COMMITMENTS_MAX} commitments")
    for position, commitment in enumerate(plan.commitments):
        yield from _commitment_faults(plan, commitment, f"{at}/commitments/{position}")


def interval_faults(interval: Interval, at: str) -> Iterator[InputError]:
    """What is wrong with how long it is."""
    count_max = INTERVAL_COUNT_MAX[interval.unit]
    if interval.count > count_max:
        yield _fault(f"{at}/count", f"has at most {count_max} {interval.unit}s: use fewer")


def _currency_faults(plan: PlanTerms, at: str) -> Iterator[InputError]:
    if not plan.currency:
        yield _fault(f"{at}/currency", "is missing: no price tells the plan's currency either")
        return
    try:
        exponent(plan.currency)
    except UnknownCurrency:
        yield _fault(f"{at}/currency", "is not a currency of ISO 4217 that one can pay in")
    if plan.prices and not plan.in_currency(plan.currency):
        yield _fault(f"{at}/currency", f"no price is in {plan.currency}: name a currency that one has")


def _phase_faults(plan: PlanTerms, at: str) -> Iterator[InputError]:
    if len(plan.phases) > PHASES_MAX:
        yield _fault(f"{at}/phases", f"a plan has at most {PHASES_MAX} phases")
    seen: set[str] = set()
    for position, phase in enumerate(plan.phases):
        here = f"{at}/phases/{position}"
        if phase.code in seen:
            yield _fault(f"{here}/code", f"another phase has the code {phase.code}: choose another")
        seen.add(phase.code)
        is_last = position == len(plan.phases) - 1
        if is_last and phase.periods is not None:
            yield _fault(f"{here}/periods", "the last phase has no end: leave periods out")
        if not is_last and phase.periods is None:
            yield _fault(f"{here}/periods", "is missing: only the last phase has no end")
        if phase.periods is not None and phase.periods > PHASE_PERIODS_MAX:
            yield _fault(f"{here}/periods", f"a phase lasts at most {PHASE_PERIODS_MAX} billing periods")


def _price_faults(plan: PlanTerms, price: Price, at: str) -> Iterator[InputError]:
    for fault in validate_price(price):
        yield _fault(f"{at}{fault['pointer'].replace('interval_unit', 'interval')}", fault["detail"])
    if len(price.tiers) > TIERS_MAX:
        yield _fault(f"{at}/tiers", f"a price has at most {TIERS_MAX} tiers")
    if price.phase is not None and price.phase not in {phase.code for phase in plan.phases}:
        yield _fault(f"{at}/phase", f"the plan has no phase {price.phase}: name one of its phases")
    charged_every, allowed_every = plan.charge_interval(price), plan.allowance_interval(price)
    for name, interval, other in (
        ("interval", charged_every, plan.interval),
        ("allowance_interval", allowed_every, charged_every),
    ):
        if getattr(price, f"{name}_unit") is not None:
            yield from interval_faults(interval, f"{at}/{name}")
            if times(interval, other) is None and times(other, interval) is None:
                detail = "is no whole number of the interval that it goes with, nor the other way round"
                yield _fault(f"{at}/{name}", detail)


def _commitment_faults(plan: PlanTerms, commitment: Commitment, at: str) -> Iterator[InputError]:
    amounts = {
        name: amount
        for name in ("minimum_amount", "minimum_quantity", "maximum_amount")
        if (amount := getattr(commitment, name)) is not None
    }
    if not amounts:
        yield _fault(at, "commits to nothing: give minimum_amount, minimum_quantity or maximum_amount")
    for name, amount in amounts.items():
        yield from _amount_faults(amount, f"{at}/{name}")
    least, most = commitment.minimum_amount, commitment.maximum_amount
    if least is not None and most is not None and least > most:
        yield _fault(f"{at}/maximum_amount", "is no less than minimum_amount")
    if commitment.per == "year" and times(YEAR, plan.interval) is None:
        yield _fault(f"{at}/per", "a year is not made of whole billing periods: use period")
    prices = {price.code: price for price in plan.in_currency(commitment.currency)}
    if not prices:
        yield _fault(f"{at}/currency", f"no price is in {commitment.currency}: name a currency that one has")
    for position, code in enumerate(commitment.price_codes):
        if code not in prices:
            detail = f"there is no price {code} in {commitment.currency}: name one of this plan's"
            yield _fault(f"{at}/price_codes/{position}", detail)
    if commitment.minimum_quantity is not None:
        named = [prices[code] for code in commitment.price_codes if code in prices]
        if len(named) != 1 or named[0].model != "per_unit":
            detail = "a quantity is of one price per unit, at whose amount it is priced: name just that"
            yield _fault(f"{at}/price_codes", detail)


def _amount_faults(amount: Decimal, at: str) -> Iterator[InputError]:
    if amount < 0:
        yield _fault(at, "is not negative")


def _fault(pointer: str, detail: str) -> InputError:
    return {"pointer": pointer, "detail": detail}
