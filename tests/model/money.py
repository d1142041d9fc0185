"""What a period comes to, told a second time: each stretch by itself, in exact fractions, and rounded nowhere.

The product rounds every line once, so what it charged lies within half a minor unit per line of this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction

from tests.model.agreement import Agreement, Kind, Method, Period, Stretch
from tests.model.calendar import day_begins, day_of, days_between


@dataclass(frozen=True)
class Tariff:
    """Each unit, or tier after tier (up to, per unit, once when it is reached); or a fee, whatever the quantity."""

    kind: Kind
    unit: Decimal | None = None
    fee: Decimal | None = None
    tiers: tuple[tuple[Decimal | None, Decimal, Decimal], ...] = ()
    method: Method = "day"
    in_arrears: bool = False

    def cost(self, quantity: Decimal | None) -> Fraction:
        """Of a whole period, in minor units of two decimals."""
        units = Decimal(1) if quantity is None else quantity
        if self.fee is not None:
            return Fraction(self.fee) * 100
        if self.unit is not None:
            return Fraction(self.unit) * Fraction(units) * 100
        owed, below = Fraction(0), Decimal(0)
        for number, (up_to, each, flat) in enumerate(self.tiers):
            if number and units <= below:
                break  # the first is reached by nothing
            top = units if up_to is None else min(units, up_to)
            owed += Fraction(each) * Fraction(top - below) + Fraction(flat)
            below = top
        return owed * 100


@dataclass(frozen=True)
class Frame:
    """The whole interval that a stretch is a part of."""

    start_on: date
    end_on: date
    start: datetime
    end: datetime


def frames_of(period: Period, zone: str) -> list[Frame]:
    """One, but two for a period into which a first part was merged."""
    whole = period.whole_on or (period.start_on, period.end_on)
    bounds = [whole]
    if period.stub_end_on is not None:
        assert period.stub_start_on is not None, "both are known"
        bounds = [(period.stub_start_on, period.stub_end_on), (period.stub_end_on, whole[1])]
    return [
        Frame(
            first,
            last,
            period.start
            if first == period.start_on
            else day_begins(first, zone),  # a cut may begin it at noon
            day_begins(last, zone),
        )
        for first, last in bounds
    ]


def owed(
    known: Agreement, period: Period, tariffs: Mapping[str, Tariff], *, billed_until: datetime | None = None
) -> dict[tuple[str, str], Fraction]:
    """By item and price, in minor units: what the fees of a period come to in the end."""
    found: dict[tuple[str, str], Fraction] = {}
    if period.kind == "trial":
        return found
    for code, stretches in known.terms(period).items():
        for stretch in stretches:
            tariff = tariffs[stretch.price]
            if tariff.kind != "recurring":
                continue
            part = sum(
                (
                    _part(stretch, frame, tariff, known.zone, billed_until)
                    for frame in frames_of(period, known.zone)
                ),
                Fraction(0),
            )
            key = (code, stretch.price)
            found[key] = found.get(key, Fraction(0)) + tariff.cost(stretch.quantity) * part
    return found


def _part(
    stretch: Stretch, frame: Frame, tariff: Tariff, zone: str, billed_until: datetime | None
) -> Fraction:
    """Which part of the frame the stretch is; what was charged and ends without credit is owed for to its end."""
    stays = stretch.end_method == "none" and not tariff.in_arrears and stretch.end > frame.start
    if tariff.method == "day":
        start_on = max(stretch.start_on, frame.start_on)
        end_on = frame.end_on if stays else min(stretch.end_on, frame.end_on)
        if billed_until is not None:
            start_on = max(start_on, day_of(billed_until, zone))
        whole = days_between(frame.start_on, frame.end_on, zone)
        return Fraction(days_between(start_on, end_on, zone), whole) if start_on < end_on else Fraction(0)
    start = max(stretch.start, frame.start)
    end = frame.end if stays else min(stretch.end, frame.end)
    if billed_until is not None:
        start = max(start, billed_until)
    return Fraction(max(0, _microseconds(start, end)), _microseconds(frame.start, frame.end))


def _microseconds(start: datetime, end: datetime) -> int:
    span = end - start
    return (span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds
