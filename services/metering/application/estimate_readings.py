"""What a counter showed when a window ended and nobody read it: as in the periods before, or between two readings."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from services.metering.application.ports import UnitOfWork
from services.metering.application.reading_ports import KnownReadings, MeterPoint, MissingReading, Stretch
from services.metering.application.settle_readings import PointChange, add_exceptions, settle_readings
from services.metering.domain.consumption import Position, Step, step
from services.metering.domain.counter import CounterRules, EstimateRules
from services.metering.domain.estimate import PeriodUsed, estimated_value, mean_of_periods, used_until
from services.metering.domain.exactly import EXACT, stripped
from services.metering.domain.meter import Meter
from services.metering.domain.reading import Kind, Quality, Reading, reading_id, sent_digest
from services.metering.domain.reading_exception import ReadingException, needed_reading_id
from services.metering.domain.usage_event import MICROSECOND
from services.metering.domain.usage_window import UsageWindow

AUTHOR = "estimate:readings"


async def estimate_readings(windows: Sequence[UsageWindow], *, uow: UnitOfWork, now: datetime) -> None:
    """Estimate what the counters showed at the end of the windows, before their totals are summed.

    Where the meter's rules estimate, and a point that counts in the window was not read at its end or later. After as
    many estimates in a row as the rules allow, or with nothing to estimate from, a reading is asked for instead.
    Where a point counts in no later window of the subscription, whatever the rules: between the readings around that
    instant if it was read later, and else by the rules or not at all.
    Emits: MeterReadingHeld for each reading that is asked for.
    """
    codes = {item.meter for window in windows for item in window.measured_items}
    meters = {
        code: meter
        for code, meter in (await uow.readings.newest_meters(codes)).items()
        if meter.counter is not None
    }
    estimated = {code: _counter(meter).estimate is not None for code, meter in meters.items()}
    if not meters or not await uow.readings.find_missing(windows, estimated):
        return
    await uow.usage.stop_writers()
    missing = list(await uow.readings.find_missing(windows, estimated))
    while missing:
        # Of several windows that close at once, each estimate rests on the one before.
        earliest = _earliest_of_each(missing)
        await _estimate(earliest, meters, uow=uow, now=now)
        missing = [one for one in missing if one not in earliest]


async def cut_at_ends(
    read: Collection[tuple[MeterPoint, datetime]], *, uow: UnitOfWork, now: datetime
) -> None:
    """What was used until a point ceased to count is told apart, once the counter was read on both sides of that.

    Of windows that have closed, which are corrected. `read`: where and when readings were taken. Writers have been
    stopped.
    """
    if not read:
        return
    kept_from = await uow.retention.kept_from()
    left = {
        point: [at for at in ends if kept_from is None or at > kept_from]
        for point, ends in (await uow.readings.find_ends_beside(read)).items()
    }
    meters = await uow.readings.newest_meters({point.meter for point in left})
    while left := {point: ends for point, ends in left.items() if ends}:
        # Of several ends between the same readings, each rests on the one before.
        earliest = {point: ends.pop(0) for point, ends in left.items()}
        known = await uow.readings.load([Stretch(point, at, at) for point, at in earliest.items()])
        changes: list[PointChange] = []
        for point, at in sorted(earliest.items()):
            rules = _counter(meters[point.meter])
            position = _position_at(at, known[point], rules)
            reading = _between(point, at, position, known[point], rules, tenant=uow.tenant, now=now)
            if reading is not None:
                changes.append(PointChange(point, rules, came=(reading,)))
        if changes:
            await settle_readings(changes, author=AUTHOR, uow=uow, now=now)


async def _estimate(
    missing: Sequence[MissingReading], meters: Mapping[str, Meter], *, uow: UnitOfWork, now: datetime
) -> None:
    known = await uow.readings.load([Stretch(one.point, one.needed_at, one.needed_at) for one in missing])
    policies = [_counter(meter).estimate for meter in meters.values()]
    periods_max = max((policy.periods for policy in policies if policy is not None), default=1)
    around = await uow.readings.used_around(missing, periods_max=periods_max)
    changes: list[PointChange] = []
    exceptions: list[ReadingException] = []
    for one, used in zip(missing, around, strict=True):
        rules = _counter(meters[one.point.meter])
        position = _position_at(one.needed_at, known[one.point], rules)
        if one.is_end:
            point, at = one.point, one.needed_at
            between = _between(point, at, position, known[point], rules, tenant=uow.tenant, now=now)
            if between is not None:
                changes.append(PointChange(one.point, rules, came=(between,)))
                continue
        estimates = rules.estimate
        before = used.before[: 0 if estimates is None else estimates.periods]
        obstacle = _obstacle(position, estimates, len(before))
        if obstacle is not None:
            exceptions.append(_needed(one, obstacle, tenant=uow.tenant, now=now))
            continue
        assert position is not None
        mean = mean_of_periods(before, decimals=rules.decimals, part=_part(one))
        value = estimated_value(position, max(Decimal(0), EXACT.subtract(mean, used.told)), rules)
        reading = _estimated(
            one.point, one.needed_at, value, reason=_told(before), tenant=uow.tenant, now=now
        )
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


def _counter(meter: Meter) -> CounterRules:
    assert meter.counter is not None, "only counters are asked for"
    return meter.counter


def _between(
    point: MeterPoint,
    at: datetime,
    position: Position | None,
    known: KnownReadings,
    rules: CounterRules,
    *,
    tenant: str,
    now: datetime,
) -> Reading | None:
    """What the counter showed then by time, if it was read before and after. What an end leaves to nobody is not told.

    Where estimates have told more by then, only what stands for a reading takes that back.
    """
    following = next((r for r in known.taken if r.read_at > at and not r.is_estimate), None)
    if position is None or following is None:
        return None
    used = used_until(at, position, following, rules)
    if used is None:
        return None
    value = estimated_value(replace(position, shown=position.read_shown), used, rules)
    is_enough = used >= position.estimated_quantity
    before = position.shown if is_enough else position.read_shown
    told = (
        f"by time between the readings of {position.read_at.isoformat()} and {following.read_at.isoformat()}"
    )
    return _estimated(
        point,
        at,
        value,
        quality="estimated" if is_enough else "substituted",
        kind="wrap" if value < before else "regular",
        reason=told,
        tenant=tenant,
        now=now,
    )


def _position_at(at: datetime, known: KnownReadings, rules: CounterRules) -> Position | None:
    """Where the counter stands after the last reading before."""
    position = known.start
    for reading in known.taken:
        if reading.read_at >= at:
            break
        found = step(position, reading, rules)
        assert isinstance(found, Step), "what was taken is plausible"
        position = found.position
    return position


def _part(one: MissingReading) -> Fraction:
    """Of a whole period, how much has passed of the window when the point ceases to count in it."""
    elapsed_us = (one.needed_at - one.window.window_start) // MICROSECOND
    return Fraction(elapsed_us, one.window.whole_length // MICROSECOND)


def _obstacle(position: Position | None, estimates: EstimateRules | None, period_count: int) -> str | None:
    if position is None:
        return "the counter was never read"
    if estimates is None:
        return "it ceased to count then, and its meter estimates nothing"
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


def _estimated(
    point: MeterPoint,
    at: datetime,
    value: Decimal,
    *,
    reason: str,
    tenant: str,
    now: datetime,
    quality: Quality = "estimated",
    kind: Kind = "regular",
) -> Reading:
    meter, subject = point
    return Reading(
        id=reading_id(
            tenant,
            meter,
            subject,
            sent_id=f"{AUTHOR}/{at.isoformat()}",
            device=None,
            read_at=at,
        ),
        meter=meter,
        subject=subject,
        read_at=at,
        value=value,
        quality=quality,
        kind=kind,
        received_at=now,
        author=AUTHOR,
        digest=sent_digest(
            read_at=at,
            value=value,
            quality=quality,
            kind=kind,
            device=None,
            register_digits=None,
            old_end=None,
            new_start=None,
        ),
        reason=reason,
    )
