"""Terms of periods as subscriptions would tell them, written down as a test reads them: dates, quantities, methods."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from libs.common.money import total
from libs.common.periods import Interval, load_zone, local_date, start_of_day
from services.billing.domain.agreement import Agreement, BilledItem, BilledPeriod, Bounds, CustomerDetails
from services.billing.domain.charge import Charge, rated_lines
from services.billing.domain.period_charges import period_charges
from services.billing.domain.proration import AS_USUAL, ProrationOptions
from services.billing.domain.rating.commitment import Commitment
from services.billing.domain.rating.price import Price, PriceTier
from services.billing.domain.terms import PeriodTerms, TermSegment

MONTH = Interval("month")
NOW = datetime(2030, 1, 1, tzinfo=UTC)

CUSTOMER = CustomerDetails("cus_1", 1, "Cloudhop", None, None, "NL")


def a_price(unit_amount: str | None = "10", **changes: Any) -> Price:
    plain = Price(
        id="prc_1",
        code="seats",
        product_id="prd_1",
        description="Seats",
        kind="recurring",
        timing="advance",
        model="per_unit",
        currency="EUR",
        unit_amount=None if unit_amount is None else Decimal(unit_amount),
    )
    return replace(plain, **changes)


def tiers(*given: tuple[str | None, str]) -> tuple[PriceTier, ...]:
    return tuple(
        PriceTier(up_to=None if up_to is None else Decimal(up_to), unit_amount=Decimal(amount))
        for up_to, amount in given
    )


@dataclass(frozen=True, slots=True)
class Agreed:
    """An agreement, whose periods are written as dates; `2026-03-10` is the start of that day in its zone."""

    zone: str = "Europe/Amsterdam"
    options: ProrationOptions = AS_USUAL
    billed_until: str | None = None
    ends_at: str | None = None
    interval: Interval = MONTH
    anchor_on: date = date(2026, 1, 1)
    items: tuple[BilledItem, ...] = ()
    commitments: tuple[Commitment, ...] = ()
    currency: str = "EUR"

    @property
    def agreement(self) -> Agreement:
        return Agreement(
            id="sub_1",
            version=1,
            customer=CUSTOMER,
            currency=self.currency,
            zone=self.zone,
            items=self.items,
            ends_at=None if self.ends_at is None else self.at(self.ends_at),
            clock_id=None,
            anchor_on=self.anchor_on,
            interval=self.interval,
            billed_until=None if self.billed_until is None else self.at(self.billed_until),
            proration=self.options,
            commitments=self.commitments,
        )

    def at(self, given: str) -> datetime:
        """A date, or a date and a local time."""
        on, _, time = given.partition("T")
        if not time:
            return start_of_day(date.fromisoformat(on), self.zone)
        return datetime.fromisoformat(given).replace(tzinfo=load_zone(self.zone)).astimezone(UTC)

    def on(self, given: str) -> date:
        return local_date(self.at(given), self.zone)

    def bounds(self, start: str, end: str) -> Bounds:
        return Bounds(self.on(start), self.on(end), self.at(start), self.at(end))

    def period(
        self,
        start: str,
        end: str,
        *,
        index: int = 0,
        full: tuple[str, str] | None = None,
        kind: Any = "regular",
    ) -> BilledPeriod:
        bounds = self.bounds(start, end)
        return BilledPeriod(
            index,
            bounds.start_on,
            bounds.end_on,
            bounds.start,
            bounds.end,
            kind=kind,
            full=None if full is None else self.bounds(*full),
        )

    def segment(
        self,
        start: str,
        end: str,
        quantity: str | None,
        price: Price,
        *,
        item: str = "itm_1",
        begins: Any = None,
        ends: Any = None,
        whole: tuple[str, str] | None = None,
    ) -> TermSegment:
        bounds = self.bounds(start, end)
        return TermSegment(
            item_id=item,
            price=price,
            quantity=None if quantity is None else Decimal(quantity),
            start_on=bounds.start_on,
            end_on=bounds.end_on,
            start=bounds.start,
            end=bounds.end,
            start_proration=begins,
            end_proration=ends,
            whole=None if whole is None else self.bounds(*whole),
        )

    def terms(
        self, period: BilledPeriod, *segments: TermSegment, version: int = 1, **changes: Any
    ) -> PeriodTerms:
        return PeriodTerms("sub_1", version, period, segments, **changes)

    def settle(
        self, terms: PeriodTerms, recorded: Sequence[Charge] = (), *, until: str | None = None
    ) -> list[Charge]:
        at = terms.period.start if until is None else self.at(until)
        return period_charges(self.agreement, terms, recorded, until=at, now=NOW)

    def settle_all(self, *told: PeriodTerms, until: str | None = None) -> list[Charge]:
        """One after another, each against all that was charged before."""
        charges: list[Charge] = []
        for terms in told:
            charges += self.settle(terms, charges, until=until)
        return charges


def lines(charges: Iterable[Charge]) -> list[tuple[str, str, str]]:
    """(price, shown quantity, amount) of each line, in the order of charges."""
    return [
        (charge.price.code, f"{line.shown_quantity:f}", f"{line.amount.to_decimal():f}")
        for charge in charges
        for line in rated_lines(charge)
    ]


def amount(charges: Iterable[Charge]) -> str:
    return f"{total((charge.amount for charge in charges), 'EUR').to_decimal():f}"
