"""When a window is about to close and nobody has read a counter: it is taken to have gone on as in the periods before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from services.metering.application.ports import UnitOfWork
from services.metering.application.reading_ports import KnownReadings, MeterPoint, MissingReading, Stretch
from services.metering.application.settle_readings import PointChange, add_exceptions, settle_readings
from services.metering.domain.consumption import Position, Step, step
from services.metering.domain.counter import CounterRules, EstimateRules
from services.metering.domain.estimate import PeriodUsed, estimated_value, mean_of_periods
from services.metering.domain.exactly import EXACT, stripped
from services.metering.domain.meter import Meter
from services.metering.domain.reading import Reading, reading_id, sent_digest
from services.metering.domain.reading_exception import ReadingException, needed_reading_id
from services.metering.domain.usage_event import MICROSECOND
from services.metering.domain.usage_window import UsageWindow

AUTHOR = "estimate:readings"


async def estimate_readings(windows: Sequence[UsageWindow], *, uow: UnitOfWork, now: datetime) -> None:
    """Estimate what the counters showed at the end of the windows, before their totals are summed.

    Where the meter's rules estimate, and a point that counts in the window was not read at its end or later. After as
    many estimates in a row as the rules allow, or with nothing to estimate from, a reading is asked for instead.
    Emits: MeterReadingHeld for each reading that is asked for.
    """
    codes = {item.meter for window in windows for item in window.measured_items}
    meters = {
        code: meter
        for code, meter in (await uow.readings.newest_meters(codes)).items()
        if meter.counter is not None and meter.counter.estimate is not None
    }
    if not meters or not await uow.readings.find_missing(windows, meters):
        return
    await uow.usage.stop_writers()
    missing = list(await uow.readings.find_missing(windows, meters))
    while missing:
        # Of several windows that close at once, each estimate rests on the one before.
        earliest = _earliest_of_each(missing)
        await _estimate(earliest, meters, uow=uow, now=now)
        missing = [one for one in missing if one not in earliest]


async def _estimate(
    missing: Sequence[MissingReading], meters: Mapping[str, Meter], *, uow: UnitOfWork, now: datetime
) -> None:
    known = await uow.readings.load([Stretch(one.point, one.needed_at, one.needed_at) for one in missing])
    periods_max = max(_estimates(meter.counter).periods for meter in meters.values())
    around = await uow.readings.used_around(missing, periods_max=periods_max)
    changes: list[PointChange] = []
    exceptions: list[ReadingException] = []
    for one, used in zip(missing, around, strict=True):
        rules = meters[one.point.meter].counter
        assert rules is not None
        estimates = _estimates(rules)
        position = _position_at(one, known[one.point], rules)
        before = used.before[: estimates.periods]
        obstacle = _obstacle(position, estimates, len(before))
        if obstacle is not None:
            exceptions.append(_needed(one, obstacle, tenant=uow.tenant, now=now))
            continue
        assert position is not None
        mean = mean_of_periods(before, decimals=rules.decimals, part=_part(one))
        value = estimated_value(position, max(Decimal(0), EXACT.subtract(mean, used.told)), rules)
        reading = _estimated(one, value, reason=_told(before), tenant=uow.tenant, now=now)
        changes.append(PointChange(one.point, rules, came=(reading,)))
    if changes:
        await settle_readings(changes, author=AUTHOR, uow=uow, now=now)
    await add_exceptions(exceptions, uow=uow)


def _earliest_of_each(missing: Sequence[MissingReading]) -> list[MissingReading]:
    earliest: dict[MeterPoint, MissingReading] = {}
    for one in missing:
        known = earliest.get(one.point)
        if known is None or one.needed_at < known.needed_at:
            earliest[one.point] = one
    return [earliest[point] for point in sorted(earliest)]


def _told(periods: Sequence[PeriodUsed]) -> str:
    told = ", ".join(
        f"{stripped(period.quantity):f}{'' if period.part == 1 else ' (a part of one)'}" for period in periods
    )
    return f"the mean of the last periods that were read: {told}"


def _estimates(rules: CounterRules | None) -> EstimateRules:
    assert rules is not None, "only counters are asked for"
    assert rules.estimate is not None, "and of those only the ones that estimate"
    return rules.estimate


def _position_at(one: MissingReading, known: KnownReadings, rules: CounterRules) -> Position | None:
    """Where the counter stands after the last reading before."""
    position = known.start
    for reading in known.taken:
        if reading.read_at >= one.needed_at:
            break
        found = step(position, reading, rules)
        assert isinstance(found, Step), "what was taken is plausible"
        position = found.position
    return position


def _part(one: MissingReading) -> Fraction:
    """Of a whole period, how much has passed of the window when the point ceases to count in it."""
    elapsed_us = (one.needed_at - one.window.window_start) // MICROSECOND
    return Fraction(elapsed_us, one.window.whole_length // MICROSECOND)


def _obstacle(position: Position | None, estimates: EstimateRules, period_count: int) -> str | None:
    if position is None:
        return "the counter was never read"
    if len(position.estimates) >= estimates.in_a_row:
        return f"it was estimated {len(position.estimates)} times in a row, as often as it may be"
    if not period_count:
        return "no period has been read from end to end, from which to estimate"
    return None


def _needed(one: MissingReading, told: str, *, tenant: str, now: datetime) -> ReadingException:
    return ReadingException(
        id=needed_reading_id(tenant, one.point.meter, one.point.subject, one.needed_at),
        kind="reading_needed",
        meter=one.point.meter,
        subject=one.point.subject,
        reading_id=None,
        needed_at=one.needed_at,
        told=told,
        opened_at=now,
    )


def _estimated(one: MissingReading, value: Decimal, *, reason: str, tenant: str, now: datetime) -> Reading:
    meter, subject = one.point
    return Reading(
        id=reading_id(
            tenant,
            meter,
            subject,
            sent_id=f"{AUTHOR}/{one.needed_at.isoformat()}",
            device=None,
            read_at=one.needed_at,
        ),
        meter=meter,
        subject=subject,
        read_at=one.needed_at,
        value=value,
        quality="estimated",
        received_at=now,
        author=AUTHOR,
        digest=sent_digest(
            read_at=one.needed_at,
            value=value,
            quality="estimated",
            kind="regular",
            device=None,
            register_digits=None,
            old_end=None,
            new_start=None,
        ),
        reason=reason,
    )
