"""The product's own billing domain, fed with what subscriptions tells, with everything in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from libs.common.money import total
from services.billing.domain.agreement import Agreement, BilledItem, BilledPeriod, Bounds, CustomerDetails
from services.billing.domain.charge import Charge, rated_lines
from services.billing.domain.period_charges import period_charges
from services.billing.domain.rating.price import Price, PriceTier
from services.billing.domain.terms import PeriodTerms, TermSegment, plain_terms
from services.subscriptions.domain.billing_period import BillingPeriod
from services.subscriptions.domain.billing_period import Bounds as ToldBounds
from services.subscriptions.domain.period_terms import PeriodTerms as ToldTerms
from services.subscriptions.domain.period_terms import TermSegment as ToldSegment
from services.subscriptions.domain.renewal import Changed, Ended, Renewed, Started
from services.subscriptions.domain.subscription import Subscription
from tests.model.money import Tariff

CUSTOMER = CustomerDetails("cus_1", 1, "Customer", None, None, None)


def price_of(id: str, tariff: Tariff) -> Price:
    """The same price in the product's words."""
    return Price(
        id=id,
        code=id,
        product_id="prd_1",
        description=id,
        kind=tariff.kind,
        timing="arrears" if tariff.in_arrears or tariff.kind == "usage" else "advance",
        model="flat" if tariff.fee is not None else "per_unit" if tariff.unit is not None else "graduated",
        currency="EUR",
        unit_amount=tariff.fee if tariff.fee is not None else tariff.unit,
        tiers=tuple(PriceTier(up_to, each, flat or None) for up_to, each, flat in tariff.tiers),
        meter="meter" if tariff.kind == "usage" else None,
        proration=tariff.method,
    )


@dataclass
class Books:
    """As billing's handlers do it: of each period the newest terms, and what of them has not been settled yet."""

    tariffs: Mapping[str, Tariff]
    billed_until: datetime | None = None
    terms: dict[int, PeriodTerms] = field(default_factory=dict)
    unsettled: set[int] = field(default_factory=set)
    charges: list[Charge] = field(default_factory=list)
    agreement: Agreement | None = None

    def hear(self, outcome: Started | Renewed | Changed | Ended) -> None:
        subscription = outcome.subscription
        self.agreement = agreement = self._agreement(subscription)
        for told in outcome.terms:
            self._keep(self._terms(told, subscription))
        if isinstance(outcome, Changed):
            if outcome.settles:
                self.settle(outcome.at, [*self.unsettled])
            return
        begins = outcome.period if isinstance(outcome, (Started, Renewed)) else None
        ended = outcome.ended if isinstance(outcome, (Renewed, Ended)) else None
        at = begins.start if begins is not None else outcome.ended_at if isinstance(outcome, Ended) else None
        assert at is not None
        for period in (ended, begins):
            if period is not None and period.index not in self.terms:
                is_first = period is begins and ended is None
                self.terms[period.index] = plain_terms(agreement, _period(period), is_first=is_first)
        billed = {period.index for period in (ended, begins) if period is not None}
        self.settle(at, [*(self.unsettled | billed)])

    def _keep(self, terms: PeriodTerms) -> None:
        known = self.terms.get(terms.period.index)
        if known is None or known.version <= terms.version:
            self.terms[terms.period.index] = terms
            self.unsettled.add(terms.period.index)

    def settle(self, at: datetime, indexes: Iterable[int]) -> list[Charge]:
        """What is missing of these periods, recorded; and nothing more the second time."""
        found: list[Charge] = []
        for index in sorted(indexes):
            if self.terms[index].period.start > at:
                continue
            self.unsettled.discard(index)
            charges = self._missing(index, at)
            self.charges += charges
            found += charges
            assert self._missing(index, at) == [], "a repeat adds nothing"
        return found

    def _missing(self, index: int, at: datetime) -> list[Charge]:
        assert self.agreement is not None, "something was heard"
        recorded = [
            charge for charge in self.charges if charge.period_index == index or charge.kind == "once"
        ]
        found = period_charges(self.agreement, self.terms[index], recorded, until=at, now=at)
        for charge in found:
            assert charge.amount == total((line.amount for line in rated_lines(charge)), "EUR")
        return found

    def nets(self) -> dict[tuple[str, str, int], tuple[int, int]]:
        """By item, price and period: what it comes to in minor units, and of how many lines."""
        sums: dict[tuple[str, str, int], list[int]] = defaultdict(lambda: [0, 0])
        for charge in self.charges:
            known = sums[charge.item_id, charge.price.id, charge.period_index]
            known[0] += charge.amount.amount_minor
            known[1] += len(rated_lines(charge))
            assert known[0] >= 0, "no more is given back than was charged"
        return {key: (amount, lines) for key, (amount, lines) in sums.items()}

    def _agreement(self, subscription: Subscription) -> Agreement:
        return Agreement(
            id=subscription.id,
            version=subscription.version,
            customer=CUSTOMER,
            currency="EUR",
            zone=subscription.calendar.zone,
            items=tuple(
                BilledItem(item.id, price_of(item.price_id, self.tariffs[item.price_id]), item.quantity)
                for item in subscription.items
            ),
            ends_at=subscription.ends_at,
            clock_id=None,
            anchor_on=subscription.calendar.anchor_on,
            interval=subscription.calendar.interval,
            billed_until=self.billed_until,
        )

    def _terms(self, told: ToldTerms, subscription: Subscription) -> PeriodTerms:
        segments = tuple(self._segment(segment) for segment in told.segments)
        return PeriodTerms(
            subscription.id, subscription.version, _period(told.period), segments, told.is_over
        )

    def _segment(self, told: ToldSegment) -> TermSegment:
        item = told.item
        return TermSegment(
            item_id=item.id,
            price=price_of(item.price_id, self.tariffs[item.price_id]),
            quantity=item.quantity,
            start_on=told.start_on,
            end_on=told.end_on,
            start=told.start,
            end=told.end,
            start_proration=told.start_proration,
            end_proration=told.end_proration,
            whole=_bounds(told.whole),
        )


def _period(told: BillingPeriod) -> BilledPeriod:
    return BilledPeriod(
        told.index, told.start_on, told.end_on, told.start, told.end, told.kind, _bounds(told.full)
    )


def _bounds(told: ToldBounds | None) -> Bounds | None:
    return None if told is None else Bounds(told.start_on, told.end_on, told.start, told.end)


def afresh(books: Books, at: datetime) -> Books:
    """Books that hear of it all at once, at the end: the same terms, with nothing charged before."""
    fresh = replace(books, charges=[], unsettled=set())
    fresh.settle(at, [*fresh.terms])
    return fresh
