"""Take what counters showed: each reading once for ever, and the usage that follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from services.metering.application.estimate_readings import cut_at_ends
from services.metering.application.ports import UnitOfWork
from services.metering.application.reading_ports import MeterPoint
from services.metering.application.settle_readings import PointChange, settle_readings
from services.metering.domain.meter import Meter
from services.metering.domain.reading import Reading, flaws
from services.metering.domain.reading_exception import ReadingException
from services.metering.domain.usage_event import AcceptWindow, Reason

Status = Literal["accepted", "duplicate", "conflict", "held", "rejected"]


@dataclass(frozen=True, slots=True)
class ReadingResult:
    """What became of one reading. `exception`: what a person has to look at."""

    status: Status
    reading: Reading | None = None
    reasons: tuple[Reason, ...] = ()
    exception: ReadingException | None = None


@dataclass(frozen=True, slots=True)
class TakeMeterReadings:
    """Readings in order. What is wrong with the form of one stands in its place."""

    author: str
    readings: Sequence[Reading | tuple[Reason, ...]]


async def take_meter_readings(
    command: TakeMeterReadings, *, uow: UnitOfWork, accept: AcceptWindow, now: datetime
) -> Sequence[ReadingResult]:
    """Take what is new and plausible, keep aside what is not; a result for each, in order. The good part is kept.

    A refused reading leaves its identity free. Whoever repeats the whole finds duplicates, and changes nothing.
    Emits: MeterReadingHeld for each that is kept aside.
    """
    await uow.usage.stop_writers()
    sent = [reading for reading in command.readings if isinstance(reading, Reading)]
    meters = await uow.readings.newest_meters({reading.meter for reading in sent})
    known = dict(await uow.readings.find({reading.id for reading in sent}))
    kept_from = await uow.retention.kept_from()
    results: list[ReadingResult | None] = []
    came: dict[str, Reading] = {}
    for reading in command.readings:
        if not isinstance(reading, Reading):
            results.append(ReadingResult("rejected", reasons=reading))
            continue
        before = known.get(reading.id) or came.get(reading.id)
        if before is not None:
            same = before.digest == reading.digest
            results.append(ReadingResult("duplicate" if same else "conflict", before))
            continue
        reasons = _objections(reading, meters.get(reading.meter), accept, kept_from, now)
        if reasons:
            results.append(ReadingResult("rejected", reasons=tuple(reasons)))
            continue
        came[reading.id] = reading
        results.append(None)
    settled = (
        await settle_readings(_by_point(came, meters), author=command.author, uow=uow, now=now)
        if came
        else None
    )
    if settled is not None:
        taken = [r for r in settled.readings.values() if r.state == "accepted" and not r.is_estimate]
        await cut_at_ends({(MeterPoint(r.meter, r.subject), r.read_at) for r in taken}, uow=uow, now=now)
    told: list[ReadingResult] = []
    for reading, result in zip(command.readings, results, strict=True):
        if result is None:
            assert settled is not None
            assert isinstance(reading, Reading)
            kept = settled.readings[reading.id]
            status: Status = "held" if kept.state == "held" else "accepted"
            result = ReadingResult(status, kept, exception=settled.exceptions.get(reading.id))
        told.append(result)
    return told


def _objections(
    reading: Reading,
    meter: Meter | None,
    accept: AcceptWindow,
    kept_from: datetime | None,
    now: datetime,
) -> Sequence[Reason]:
    """All for which it cannot be taken at all."""
    if meter is None:
        return (Reason("meter_unknown", "/meter", f"there is no meter {reading.meter}"),)
    if meter.counter is None:
        told = f"the meter {meter.code} takes events and no readings: it was defined without a counter"
        return (Reason("not_a_counter", "/meter", told),)
    times = [
        Reason(reason.code, "/read_at", reason.detail) for reason in accept.refusals(reading.read_at, now)
    ]
    if kept_from is not None and reading.read_at <= kept_from:
        told = (
            f"usage before {kept_from.isoformat()} is no longer kept as events, and stays as it was counted"
        )
        times.append(Reason("time_no_longer_kept", "/read_at", told))
    return [*times, *flaws(reading, meter.counter)]


def _by_point(came: Mapping[str, Reading], meters: Mapping[str, Meter]) -> list[PointChange]:
    points: dict[MeterPoint, list[Reading]] = {}
    for reading in came.values():
        points.setdefault(MeterPoint(reading.meter, reading.subject), []).append(reading)
    changes: list[PointChange] = []
    for point in sorted(points):
        rules = meters[point.meter].counter
        assert rules is not None, "readings are taken on counters only"
        changes.append(PointChange(point, rules, came=tuple(points[point])))
    return changes
