"""What a plan would be sold as if it were published now, and everything that may be wrong with that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from libs.common.errors import InputError, InvalidInput
from libs.common.money import UnknownCurrency, exponent
from libs.common.periods import Interval
from services.catalog.domain.price import Price, price_faults
from services.catalog.domain.product import Product

PRICES_MAX = 100
INTERVAL_COUNT_MAX = {"day": 366, "week": 104, "month": 120, "year": 10}


class PlanInvalid(InvalidInput):
    """The plan cannot be sold like this. All that is wrong is listed, each with its place and what to do."""

    code = "plan_invalid"
    title = "The plan is invalid"


class MeterUnknown(PlanInvalid):
    """All that is wrong is that prices name meters of which the catalog has not heard (yet)."""

    code = "meter_unknown"
    title = "There is no such meter"


@dataclass(frozen=True, slots=True)
class PlanDraft:
    """`interval` is the billing period. The order of the prices is that of an invoice's lines."""

    name: str
    currency: str
    interval: Interval
    prices: tuple[Price, ...]


def check_draft(
    draft: PlanDraft,
    *,
    products: Mapping[str, Product],
    meters: frozenset[str],
    found: Sequence[InputError] = (),
) -> None:
    """Refuse a draft that could not be sold. `found` are faults that were seen while it was read.

    `products` and `meters` are those of the tenant that the draft names and that exist.
    Raises: PlanInvalid, with every fault and not only the first; MeterUnknown, when there is no other kind.
    """
    faults = [*found, *_draft_faults(draft, products)]
    unknown = list(_meter_faults(draft, meters))
    if faults or unknown:
        count = len(faults) + len(unknown)
        refusal = PlanInvalid if faults else MeterUnknown
        raise refusal(
            f"the plan has {count} fault{'s' if count > 1 else ''}: see errors",
            errors=[*faults, *unknown],
            remedy="Correct what is listed and send the whole plan again.",
        )


def _meter_faults(draft: PlanDraft, meters: frozenset[str]) -> Iterator[InputError]:
    for position, price in enumerate(draft.prices):
        if price.kind == "usage" and price.meter is not None and price.meter not in meters:
            detail = f"there is no meter {price.meter}: define it first (POST /v1/meters)"
            yield {"pointer": f"/prices/{position}/meter", "detail": detail}


def _draft_faults(draft: PlanDraft, products: Mapping[str, Product]) -> Iterator[InputError]:
    try:
        exponent(draft.currency)
    except UnknownCurrency:
        yield {"pointer": "/currency", "detail": "is no currency of ISO 4217 with a minor unit: use EUR, say"}
    count_max = INTERVAL_COUNT_MAX[draft.interval.unit]
    if draft.interval.count > count_max:
        detail = f"a billing period has at most {count_max} {draft.interval.unit}s"
        yield {"pointer": "/interval/count", "detail": detail}
    if not draft.prices:
        yield {"pointer": "/prices", "detail": "a plan needs at least one price"}
    if len(draft.prices) > PRICES_MAX:
        yield {"pointer": "/prices", "detail": f"a plan has at most {PRICES_MAX} prices"}
    first_with: dict[str, int] = {}
    for position, price in enumerate(draft.prices):
        at = f"/prices/{position}"
        first = first_with.setdefault(price.code, position)
        if first != position:
            detail = f"the price at /prices/{first} has this code already: choose another"
            yield {"pointer": f"{at}/code", "detail": detail}
        yield from price_faults(price, at)
        product = products.get(price.product_id)
        if product is not None and product.archived:
            detail = f"the product {product.code} is archived: choose one that is still sold"
            yield {"pointer": f"{at}/product_id", "detail": detail}
