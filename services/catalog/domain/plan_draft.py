"""What a plan would be sold as if it were published now, and everything that may be wrong with that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from libs.common.errors import InputError, InvalidInput
from libs.common.periods import Interval
from services.catalog.domain.commitment import Commitment, commitment_faults
from services.catalog.domain.currency import currency_faults
from services.catalog.domain.dunning import AS_BY_DEFAULT as DUNNED_BY_DEFAULT
from services.catalog.domain.dunning import Dunning, dunning_faults
from services.catalog.domain.feature import Feature
from services.catalog.domain.feature_grant import FeatureGrant, grant_faults
from services.catalog.domain.interval_nesting import length_faults, nesting_faults
from services.catalog.domain.known_meter import KnownMeter
from services.catalog.domain.late_usage import AS_BY_DEFAULT, LateUsage, late_usage_faults
from services.catalog.domain.phase import Phase, phase_faults
from services.catalog.domain.price import Price
from services.catalog.domain.price_faults import price_faults
from services.catalog.domain.product import Product
from services.catalog.domain.trial import Trial, trial_faults

PRICES_MAX = 200
FOR_PLANS_MAX = 100

PlanKind = Literal["base", "add_on"]


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
    """`interval` is the billing period. The order of the prices is that of an invoice's lines.

    `currency` is that of a subscription that names none. An add-on goes with the plans whose codes `for_plans`
    lists, with any where it lists none.
    """

    name: str
    currency: str
    interval: Interval
    prices: tuple[Price, ...]
    description: str = ""
    kind: PlanKind = "base"
    for_plans: tuple[str, ...] = ()
    phases: tuple[Phase, ...] = ()
    trial: Trial | None = None
    commitments: tuple[Commitment, ...] = ()
    features: tuple[FeatureGrant, ...] = ()
    late_usage: LateUsage = AS_BY_DEFAULT
    dunning: Dunning = DUNNED_BY_DEFAULT


@dataclass(frozen=True, slots=True)
class Known:
    """What of the things that a draft names there is: products and features by id, meters and base plans by code."""

    products: Mapping[str, Product] = field(default_factory=dict)
    meters: Mapping[str, KnownMeter] = field(default_factory=dict)
    features: Mapping[str, Feature] = field(default_factory=dict)
    base_plans: frozenset[str] = frozenset()


def check_draft(draft: PlanDraft, known: Known, *, found: Sequence[InputError] = ()) -> None:
    """Refuse a draft that could not be sold. `found` are faults that were seen while it was read.

    Raises: PlanInvalid, with every fault and not only the first; MeterUnknown, when there is no other kind.
    """
    faults = [*found, *_draft_faults(draft, known)]
    unknown = list(_unknown_meters(draft, known))
    if faults or unknown:
        count = len(faults) + len(unknown)
        refusal = PlanInvalid if faults else MeterUnknown
        raise refusal(
            f"the plan has {count} fault{'s' if count > 1 else ''}: see errors",
            errors=[*faults, *unknown],
            remedy="Correct what is listed and send the whole plan again.",
        )


def _unknown_meters(draft: PlanDraft, known: Known) -> Iterator[InputError]:
    for position, price in enumerate(draft.prices):
        if price.kind == "usage" and price.meter is not None and price.meter not in known.meters:
            detail = f"there is no meter {price.meter}: define it first (POST /v1/meters)"
            yield {"pointer": f"/prices/{position}/meter", "detail": detail}


def _draft_faults(draft: PlanDraft, known: Known) -> Iterator[InputError]:
    yield from _currency_faults(draft)
    yield from length_faults(draft.interval, "/interval")
    yield from _kind_faults(draft, known)
    yield from phase_faults(draft.phases, "/phases")
    if draft.trial is not None:
        yield from trial_faults(draft.trial, "/trial")
    if not draft.prices:
        yield {"pointer": "/prices", "detail": "a plan needs at least one price: give one"}
    if len(draft.prices) > PRICES_MAX:
        yield {"pointer": "/prices", "detail": f"a plan has at most {PRICES_MAX} prices: make it two plans"}
    yield from _code_faults(draft.prices)
    for position, price in enumerate(draft.prices):
        at = f"/prices/{position}"
        yield from price_faults(price, at)
        yield from _fit_faults(price, draft, at)
        yield from _naming_faults(price, known, at)
    yield from commitment_faults(draft.commitments, draft.prices, draft.interval, "/commitments")
    yield from grant_faults(draft.features, known.features, "/features")
    yield from late_usage_faults(draft.late_usage, "/late_usage", is_add_on=draft.kind == "add_on")
    yield from dunning_faults(draft.dunning, "/dunning", is_add_on=draft.kind == "add_on")


def _currency_faults(draft: PlanDraft) -> Iterator[InputError]:
    """Those of the plan's own currency; and of prices, where it is another."""
    if not draft.currency:
        yield {"pointer": "/currency", "detail": "no price tells the plan's currency either: give it"}
    else:
        faults = list(currency_faults(draft.currency, "/currency"))
        yield from faults
        if not faults and draft.prices and all(price.currency != draft.currency for price in draft.prices):
            detail = f"no price is in {draft.currency}: add one, or name the currency of one that there is"
            yield {"pointer": "/currency", "detail": detail}
    for position, price in enumerate(draft.prices):
        at = f"/prices/{position}/currency"
        if not price.currency:
            detail = "a price needs a currency: give it one, or give the plan one for all its prices"
            yield {"pointer": at, "detail": detail}
        elif price.currency != draft.currency:
            yield from currency_faults(price.currency, at)


def _kind_faults(draft: PlanDraft, known: Known) -> Iterator[InputError]:
    if draft.kind == "base" and draft.for_plans:
        detail = "only an add-on goes with other plans: leave for_plans out, or make it an add-on"
        yield {"pointer": "/for_plans", "detail": detail}
        return
    if len(draft.for_plans) > FOR_PLANS_MAX:
        detail = f"there are more than {FOR_PLANS_MAX} plans: leave for_plans out for all"
        yield {"pointer": "/for_plans", "detail": detail}
    for position, code in enumerate(draft.for_plans):
        at = f"/for_plans/{position}"
        if code in draft.for_plans[:position]:
            yield {"pointer": at, "detail": f"the plan {code} stands here twice: leave one of the two out"}
        elif code not in known.base_plans:
            yield {"pointer": at, "detail": f"there is no base plan {code} on offer: make it first"}


def _code_faults(prices: Sequence[Price]) -> Iterator[InputError]:
    """A code is one price's, in each currency; in another currency it is the same price otherwise."""
    first_with: dict[tuple[str, str], int] = {}
    first_of: dict[str, Price] = {}
    for position, price in enumerate(prices):
        at = f"/prices/{position}"
        first = first_with.setdefault(price.key, position)
        if first != position:
            detail = f"the price at /prices/{first} has this code already: choose another"
            yield {"pointer": f"{at}/code", "detail": detail}
            continue
        other = first_of.setdefault(price.code, price)
        for name in ("kind", "timing", "model", "product_id", "meter", "unit", "interval", "phase"):
            if getattr(price, name) != getattr(other, name):
                detail = f"is not as in {other.currency}: one code is one price in several currencies"
                yield {"pointer": f"{at}/{name}", "detail": detail}


def _fit_faults(price: Price, draft: PlanDraft, at: str) -> Iterator[InputError]:
    """Whether the price goes with the rest of the plan."""
    charged_every = price.interval or draft.interval
    if price.interval is not None:
        yield from nesting_faults(price.interval, draft.interval, f"{at}/interval", of="the plan")
    if price.allowance_interval is not None:
        where = f"{at}/allowance_interval"
        yield from nesting_faults(price.allowance_interval, charged_every, where, of="the charge")
    if price.phase is not None and price.phase not in {phase.code for phase in draft.phases}:
        detail = f"the plan has no phase {price.phase}: name one of its phases, or leave it out for all"
        yield {"pointer": f"{at}/phase", "detail": detail}


def _naming_faults(price: Price, known: Known, at: str) -> Iterator[InputError]:
    """What the price names is still sold, and measured in what it is charged by."""
    product = known.products.get(price.product_id)
    if product is not None and product.archived:
        detail = f"the product {product.code} is archived: choose one that is still sold"
        yield {"pointer": f"{at}/product_id", "detail": detail}
    meter = known.meters.get(price.meter) if price.kind == "usage" and price.meter is not None else None
    if meter is not None and meter.unit is not None and price.unit not in (None, meter.unit):
        detail = (
            f"the price is for each {price.unit}, and its meter {meter.code} counts in {meter.unit}: "
            f"leave unit out to charge by {meter.unit}, or use a meter that counts in {price.unit}"
        )
        yield {"pointer": f"{at}/unit", "detail": detail}
