"""One billing period of an agreement, settled by the engine: charged when it begins, and again when something changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from libs.common.money import Money
from libs.common.periods import Period
from services.billing.domain.agreement import Agreement, BilledPeriod, Bounds, CustomerDetails
from services.billing.domain.charge import Charge
from services.billing.domain.period_charges import period_charges
from services.billing.domain.proration import AS_USUAL, ProrationOptions
from services.billing.domain.rating.price import Price, Proration
from services.billing.domain.terms import PeriodTerms, TermSegment
from tests.cases.prices import price_of

CUSTOMER = CustomerDetails("cus", 1, "Customer", None, None, None)


class Part(NamedTuple):
    """An item at a price from `start` until `end`; `whole` is what it is a part of, if not the period."""

    item: str
    price: Price
    quantity: Decimal
    start: datetime
    end: datetime
    end_proration: Proration | None = None
    whole: Period | None = None


def settled(
    full: Period,
    parts: Iterable[Part],
    *,
    recorded: Sequence[Charge] = (),
    until: datetime,
    cut_at: datetime | None = None,
    ends_at: datetime | None = None,
    options: ProrationOptions = AS_USUAL,
) -> list[Charge]:
    """What is added to the charges recorded, at `until`. `cut_at` ends the period before it is whole."""
    agreement = Agreement(
        id="sub",
        version=1,
        customer=CUSTOMER,
        currency="EUR",
        zone=full.zone,
        items=(),
        ends_at=ends_at,
        clock_id=None,
        proration=options,
    )
    bounds = _bounds(full)
    if cut_at is None:
        period = BilledPeriod(0, bounds.start_on, bounds.end_on, bounds.start, bounds.end)
    else:
        cut = _bounds(Period(full.start, cut_at, full.zone))
        period = BilledPeriod(0, cut.start_on, cut.end_on, cut.start, cut.end, full=bounds)
    segments = tuple(_segment(part, full.zone) for part in parts if part.start < part.end)
    terms = PeriodTerms("sub", 1, period, segments, is_over=cut_at is not None)
    return period_charges(agreement, terms, recorded, until=until, now=until)


def _segment(part: Part, zone: str) -> TermSegment:
    bounds = _bounds(Period(part.start, part.end, zone))
    return TermSegment(
        item_id=part.item,
        price=part.price,
        quantity=part.quantity,
        start_on=bounds.start_on,
        end_on=bounds.end_on,
        start=bounds.start,
        end=bounds.end,
        end_proration=part.end_proration,
        whole=None if part.whole is None else _bounds(part.whole),
    )


def _bounds(period: Period) -> Bounds:
    return Bounds(period.start_on, period.end_on, period.start, period.end)


def recurring_price(
    id: str, terms: Mapping[str, Any], currency: str, *, proration: Proration = "day", in_advance: bool = True
) -> Price:
    """A fee, or so much for each."""
    if "unit_amount" in terms:
        model = {"type": "per_unit", "unit_amount": terms["unit_amount"]}
    else:
        model = {"type": "flat", "amount": terms["amount"]}
    return replace(
        price_of(model, currency),
        id=id,
        kind="recurring",
        meter=None,
        timing="advance" if in_advance else "arrears",
        proration=proration,
    )


def quantity_of(terms: Mapping[str, Any]) -> Decimal:
    return Decimal(terms.get("quantity", "1"))


def sum_of(charges: Iterable[Charge], currency: str, *, sign: int) -> Money:
    """What is charged (1), or what is given back (-1, as a positive amount)."""
    minors = [charge.amount.amount_minor * sign for charge in charges]
    return Money(sum(minor for minor in minors if minor > 0), currency)
