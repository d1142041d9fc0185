"""Which published plans can be agreed to today: those of which billing can run every price from renewal to invoice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from libs.common.contracts.catalog import PlanV1, PriceV1
from libs.common.errors import InputError, InvalidInput
from libs.common.expression import PRICE_TOTALS, parse
from services.subscriptions.application.ports import UnitOfWork
from services.subscriptions.domain.entitlement import Aggregation

# Whoever can bill one more takes it out of here or puts it in, with a journey that shows it.
MODELS_BILLED = frozenset(
    {
        "flat",
        "per_unit",
        "graduated",
        "volume",
        "package",
        "percentage",
        "graduated_percentage",
        "dynamic",
        "capacity",
        "expression",
    }
)
TIMINGS_BILLED = frozenset(
    {("recurring", "advance"), ("recurring", "arrears"), ("usage", "arrears"), ("one_time", "advance")}
)
EVENTS_NEEDED = (
    "free_amount",
    "free_events",
    "fixed_amount_per_event",
    "minimum_amount_per_event",
    "maximum_amount_per_event",
)
_STEPS = {"day": ("day", 1), "week": ("day", 7), "month": ("month", 1), "year": ("month", 12)}


class PlanNotBillableYet(InvalidInput):
    """The catalog can describe and simulate more than subscriptions can run. Better refused than billed wrongly."""

    code = "plan_not_billable_yet"
    title = "Subscriptions cannot run this plan yet"


async def refuse_unbillable(plan: PlanV1, *, pointer: str, uow: UnitOfWork) -> None:
    """Raises: PlanNotBillableYet, with each part of the plan that stands in the way."""
    capacities = {
        price.meter for price in plan.prices if price.model == "capacity" and price.meter is not None
    }
    aggregations = await uow.known_meters.aggregations(capacities) if capacities else {}
    faults: list[InputError] = [
        {"pointer": pointer, "detail": f"{fault['pointer']} of the plan: {fault['detail']}"}
        for fault in _faults(plan, aggregations)
    ]
    if faults:
        raise PlanNotBillableYet(
            f"{len(faults)} part(s) of the plan can be simulated, but not yet subscribed to: see errors",
            pointer=pointer,
            plan=plan.code,
            errors=faults,
            remedy="Use another plan, or simulate this one (POST /v1/price-simulations).",
        )


def _faults(plan: PlanV1, aggregations: Mapping[str, Aggregation]) -> Iterator[InputError]:
    for position, price in enumerate(plan.prices):
        for field, detail in (*_price_faults(price, plan), *_capacity_faults(price, aggregations)):
            yield {"pointer": f"/prices/{position}/{field}", "detail": detail}


def _price_faults(price: PriceV1, plan: PlanV1) -> Iterator[tuple[str, str]]:
    """What of a price billing cannot do: it knows the total of a window and how many events made it, and no more."""
    if (price.kind, price.timing) not in TIMINGS_BILLED:
        yield "kind", f"{price.kind} prices in {price.timing} are not billed yet"
    if price.model not in MODELS_BILLED:
        yield "model", f"{price.model} prices are not billed yet"
    if price.model == "expression" and parse(price.expression or "", PRICE_TOTALS).needs_events:
        yield "expression", "a sum over single events is not billed yet"
    for field in EVENTS_NEEDED:
        if getattr(price, field) is not None:
            yield field, "amounts by event are not billed yet"
    charged = (price.interval_unit or plan.interval_unit, price.interval_count)
    if price.interval_unit is not None and _times(charged, plan) != 1:
        yield "interval_unit", "all prices of a subscription are billed by the plan's interval"
    allowed = (price.allowance_interval_unit or plan.interval_unit, price.allowance_interval_count)
    if price.allowance_interval_unit is not None and not _times(allowed, plan):
        yield (
            "allowance_interval_unit",
            "an allowance that is no whole number of billing periods is not billed yet",
        )


def _capacity_faults(price: PriceV1, aggregations: Mapping[str, Aggregation]) -> Iterator[tuple[str, str]]:
    """The window has one number for the period, so that its meter must be one that takes the peak, or the mean.

    A meter from before meters were told of here is none that weighs by time.
    """
    if price.model != "capacity":
        return
    known = aggregations.get(price.meter or "")
    if price.capacity_basis == "time_weighted" and known != "time_weighted":
        measured = (
            f"its meter {price.meter} takes the {known}" if known else f"no meter {price.meter} is known"
        )
        yield (
            "capacity_basis",
            f"{measured}: a mean over time is billed of a meter whose aggregation is time_weighted",
        )
    if price.capacity_basis == "peak" and known not in (None, "max", "peak"):
        yield (
            "capacity_basis",
            f"its meter {price.meter} takes the {known}: a peak is billed of a meter whose aggregation is max or peak",
        )


def _times(interval: tuple[str, int], plan: PlanV1) -> int:
    """How many of the plan's billing periods make the interval; 0 where they are no whole number of them."""
    (kind, step), (plan_kind, plan_step) = _STEPS[interval[0]], _STEPS[plan.interval_unit]
    count, rest = divmod(step * interval[1], plan_step * plan.interval_count)
    return count if kind == plan_kind and not rest else 0
