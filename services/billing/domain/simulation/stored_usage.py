"""What was really used and paid for in past periods of a subscription, as far as closed windows and charges tell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from libs.common.periods import boundary, local_date
from services.billing.domain.agreement import Agreement
from services.billing.domain.charge import Charge, ItemUsage, UsageCorrection, UsageOfPeriod
from services.billing.domain.rating.usage import sum_of
from services.billing.domain.simulation.simulated import Note
from services.billing.domain.simulation.timetable import Timetable
from services.billing.domain.simulation.usage_given import GivenUsage


@dataclass(frozen=True, slots=True)
class StoredPeriod:
    """One period: which window told of its usage (None where nothing is metered), and what that was."""

    index: int
    window_id: str | None
    closed_at: datetime | None
    usage: tuple[GivenUsage, ...]


@dataclass(frozen=True, slots=True)
class StoredUsage:
    """Consecutive periods of one subscription. `notes` name what is not known, or was left out.

    `ends_at` and `metered_until` are where the last of them was cut, None where it was not.
    """

    subscription_id: str
    currency: str
    timetable: Timetable
    quantities: dict[str, Decimal]
    periods: tuple[StoredPeriod, ...]
    ends_at: datetime | None
    metered_until: datetime | None
    notes: tuple[Note, ...]

    @property
    def usage(self) -> tuple[GivenUsage, ...]:
        return tuple(used for period in self.periods for used in period.usage)


def stored_usage(
    agreement: Agreement,
    indexes: range,
    *,
    charges: Sequence[Charge],
    windows: Sequence[UsageOfPeriod],
    corrections: Sequence[UsageCorrection],
    with_late: bool,
) -> StoredUsage:
    """Put together what is known of the periods `indexes`, of which each has a window or, without meters, a charge.

    `with_late`: also what came after a window had closed, which was not billed with it.
    """
    by_index = {window.period_index: window for window in windows}
    in_order = sorted(corrections, key=lambda correction: correction.revision)
    later = {correction.period_index: correction for correction in in_order}
    notes: list[Note] = []
    periods = []
    for step, index in enumerate(indexes):
        window = by_index.get(index)
        totals = () if window is None else window.totals
        if window is not None and index in later:
            notes += _late_notes(index, window, later[index], with_late)
            totals = later[index].totals if with_late else totals
        usage = _usage_of(agreement, totals, step)
        periods.append(
            StoredPeriod(
                index,
                None if window is None else window.window_id,
                None if window is None else window.closed_at,
                usage,
            )
        )
    if any(period.usage for period in periods):
        says = (
            "Only the total and the number of events of each closed window are kept here: single events, their "
            "dimensions and levels over time are not. A price that needs them is given usage by hand."
        )
        notes.append(Note("events_not_known", says))
    notes += _shared_meter_notes(agreement)
    timetable = _timetable(agreement, indexes, charges, windows)
    end = timetable.span(timetable.count - 1, timetable.count).end
    last = [charge for charge in charges if charge.period_index == indexes[-1] and charge.kind == "advance"]
    billed_until = max((charge.service_end for charge in last), default=None)
    window_end = by_index[indexes[-1]].window_end if indexes[-1] in by_index else None
    ends_at = billed_until if billed_until is not None else window_end
    return StoredUsage(
        subscription_id=agreement.id,
        currency=agreement.currency,
        timetable=timetable,
        quantities=_quantities(agreement, charges, notes),
        periods=tuple(periods),
        ends_at=ends_at if ends_at is not None and ends_at < end else None,
        metered_until=window_end if window_end is not None and window_end < end else None,
        notes=tuple(notes),
    )


def _timetable(
    agreement: Agreement, indexes: range, charges: Sequence[Charge], windows: Sequence[UsageOfPeriod]
) -> Timetable:
    if agreement.anchor_on is not None and agreement.interval is not None:
        start_on = boundary(agreement.anchor_on, agreement.interval, indexes[0])
        return Timetable(agreement.zone, start_on, agreement.anchor_on, len(indexes), agreement.interval)
    assert len(indexes) == 1, "without its interval, what follows a period is not known"
    starts = [charge.service_start for charge in charges] + [window.window_start for window in windows]
    ends = [charge.service_end for charge in charges] + [window.window_end for window in windows]
    start_on, end_on = local_date(min(starts), agreement.zone), local_date(max(ends), agreement.zone)
    return Timetable(agreement.zone, start_on, start_on, end_on=end_on)


def _usage_of(agreement: Agreement, totals: Iterable[ItemUsage], step: int) -> tuple[GivenUsage, ...]:
    """By price, for plans that have the same one, as far as it held; and by meter, for others."""
    prices = {item.id: item.price for item in agreement.items}
    by_meter: dict[str, list[ItemUsage]] = {}
    found = []
    for total in totals:
        by_meter.setdefault(total.meter, []).append(total)
        price = prices.get(total.item_id)
        if price is not None and total.price_id in (None, price.id):
            found.append(_entry([total], step, price=price.code))
    return (*found, *(_entry(by_meter[meter], step) for meter in sorted(by_meter)))


def _entry(totals: Sequence[ItemUsage], step: int, *, price: str | None = None) -> GivenUsage:
    return GivenUsage(
        pointer="",
        meter=totals[0].meter,
        price=price,
        period=step,
        quantity=sum_of(total.quantity for total in totals),
        event_count=sum(total.event_count for total in totals),
    )


def _quantities(agreement: Agreement, charges: Sequence[Charge], notes: list[Note]) -> dict[str, Decimal]:
    """As they were billed; of prices that were not, as they are agreed."""
    found = {
        item.price.code: item.quantity
        for item in agreement.items
        if item.quantity is not None and not item.is_metered
    }
    billed: dict[str, Decimal] = {}
    for charge in sorted(charges, key=lambda charge: (charge.period_index, charge.revision)):
        if charge.kind == "advance":
            first = billed.setdefault(charge.price.code, charge.quantity)
            if first != charge.quantity:
                says = f"The quantity of {charge.price.code} changed in these periods: that of the first was taken."
                notes.append(Note("quantity_changed", says))
    return {**found, **billed}


def _shared_meter_notes(agreement: Agreement) -> list[Note]:
    meters = [item.price.meter for item in agreement.items if item.is_metered]
    shared = sorted({meter for meter in meters if meter is not None and meters.count(meter) > 1})
    return [
        Note(
            "meter_shared",
            f"Several items are measured by {meter}: for other prices their usage is added up.",
        )
        for meter in shared
    ]


def _late_notes(
    index: int, window: UsageOfPeriod, correction: UsageCorrection, with_late: bool
) -> list[Note]:
    before = {total.item_id: total.quantity for total in window.totals}
    notes = []
    for total in correction.totals:
        billed = before.get(total.item_id, Decimal(0))
        if billed != total.quantity:
            counted = "and is counted here" if with_late else "and is left out here"
            says = (
                f"Usage of {total.meter} in period {index} that came late makes {total.quantity:f} of "
                f"{billed:f}, {counted}."
            )
            notes.append(Note("late_usage", says))
    return notes
