"""Which published plans can be agreed to today: those of which billing can run every price from renewal to invoice."""

from __future__ import annotations

from collections.abc import Iterator

from libs.common.contracts.catalog import PlanV1, PriceV1
from libs.common.errors import InputError, InvalidInput

# Whoever can bill one more takes it out of here or puts it in, with a journey that shows it.
MODELS_BILLED = frozenset(
    {"flat", "per_unit", "graduated", "volume", "package", "percentage", "graduated_percentage"}
)
TIMING_BILLED = {"recurring": "advance", "usage": "arrears"}
PRORATIONS_BILLED = frozenset({"none", "day", "full"})


class PlanNotBillableYet(InvalidInput):
    """The catalog can describe and simulate more than subscriptions can run. Better refused than billed wrongly."""

    code = "plan_not_billable_yet"
    title = "Subscriptions cannot run this plan yet"


def refuse_unbillable(plan: PlanV1, *, pointer: str) -> None:
    """Raises: PlanNotBillableYet, with each part of the plan that stands in the way."""
    faults: list[InputError] = [
        {"pointer": pointer, "detail": f"{fault['pointer']} of the plan: {fault['detail']}"}
        for fault in _faults(plan)
    ]
    if faults:
        raise PlanNotBillableYet(
            f"{len(faults)} part(s) of the plan can be simulated, but not yet subscribed to: see errors",
            pointer=pointer,
            plan=plan.code,
            errors=faults,
            remedy="Use another plan, or simulate this one (POST /v1/price-simulations).",
        )


def _faults(plan: PlanV1) -> Iterator[InputError]:
    if plan.kind != "base":
        yield {"pointer": "/kind", "detail": "an add-on is not subscribed to by itself"}
    for name in ("phases", "trial", "commitments"):
        if getattr(plan, name):
            yield {"pointer": f"/{name}", "detail": f"{name} are not run yet"}
    for position, price in enumerate(plan.prices):
        for field, detail in _price_faults(price, plan):
            yield {"pointer": f"/prices/{position}/{field}", "detail": detail}


def _price_faults(price: PriceV1, plan: PlanV1) -> Iterator[tuple[str, str]]:
    if TIMING_BILLED.get(price.kind) != price.timing:
        yield "kind", f"{price.kind} prices in {price.timing} are not billed yet"
    if price.model not in MODELS_BILLED:
        yield "model", f"{price.model} prices are not billed yet"
    if price.currency != plan.currency:
        yield "currency", "a subscription is billed in its plan's first currency only"
    if price.tax_behavior != "exclusive":
        yield "tax_behavior", "prices that include tax are not billed yet"
    if price.interval_unit is not None and (price.interval_unit, price.interval_count) != (
        plan.interval_unit,
        plan.interval_count,
    ):
        yield "interval_unit", "all prices of a subscription are billed by the plan's interval"
    if price.proration not in PRORATIONS_BILLED:
        yield "proration", f"proration by {price.proration} is not billed yet"
    for field in ("allowance_interval_unit", "rollover", "free_amount", "free_events", "phase"):
        if getattr(price, field) is not None:
            yield field, "is not billed yet"
    for field in ("fixed_amount_per_event", "minimum_amount_per_event", "maximum_amount_per_event"):
        if getattr(price, field) is not None:
            yield field, "amounts by event are not billed yet"
