"""Requests and answers about counters, their readings, what is to be looked at, and what was used."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, ValidationError

from libs.common.web.bodies import Code, DecimalText, Flag, Instant, Quantity, StrictBody, identifier
from libs.common.web.validation import faults_of
from services.metering.application.correct_meter_reading import CorrectMeterReading
from services.metering.application.reading_ports import MadeConsumption
from services.metering.application.resolve_reading_exception import ResolveReadingException
from services.metering.application.take_meter_readings import ReadingResult
from services.metering.domain.consumption import Rule
from services.metering.domain.counter import (
    DECIMALS_MAX,
    DIGITS_MAX,
    IN_A_ROW_MAX,
    PERIODS_MAX,
    READING_VALUE,
    Backwards,
    CounterRules,
    EstimateRules,
    new_counter_rules,
    reading_event_type,
)
from services.metering.domain.reading import Kind, Quality, Reading, State, reading_id, sent_digest
from services.metering.domain.reading_exception import (
    Decision,
    ExceptionKind,
    ExceptionState,
    ReadingException,
    Resolution,
)
from services.metering.domain.true_up import TrueUp
from services.metering.domain.usage_event import Reason
from services.metering.entrypoints.event_flaws import REASONS_MAX
from services.metering.entrypoints.usage_event_bodies import ReasonBody, Subject, plain

READINGS_MAX = 1_000

ReadingId = Annotated[str, identifier("rdg"), Field(examples=["rdg_01jz3v6m1qk0c8n4r2d5s7t9wx"])]
ReadingExceptionId = Annotated[str, identifier("rex"), Field(examples=["rex_01jz3v6m1qk0c8n4r2d5s7t9wx"])]
Device = Annotated[
    str, StringConstraints(min_length=1, max_length=100), Field(examples=["LM-000417"]), AfterValidator(plain)
]
SentId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200),
    Field(examples=["2026-03-31"]),
    AfterValidator(plain),
]
Why = Annotated[str, StringConstraints(min_length=1, max_length=500), AfterValidator(plain)]
RegisterDigits = Annotated[int, Field(strict=True, ge=1, le=DIGITS_MAX, examples=[6])]


class EstimateBody(StrictBody):
    """Who was not read at the end of a period is taken to have used the mean of the last `periods` that were read.

    At most for `in_a_row` periods one after another; then a reading is asked for.
    """

    policy: Literal["mean_of_last"] = "mean_of_last"
    periods: Annotated[int, Field(strict=True, ge=1, le=PERIODS_MAX)] = 3
    in_a_row: Annotated[int, Field(strict=True, ge=1, le=IN_A_ROW_MAX)] = 2


class CounterBody(StrictBody):
    """The counters of a meter that takes readings.

    `register_digits` are those before the decimal point: a drop of more than half of what the register holds is a wrap.
    `rate_max`, in units an hour, is the most that is plausible. `backwards`: what a value below the last one is, if it
    is no wrap: kept aside for a person (`hold`, the default), or a counter that began again at zero (`reset`).
    """

    register_digits: RegisterDigits | None = None
    decimals: Annotated[int, Field(strict=True, ge=0, le=DECIMALS_MAX)] = 0
    rate_max: Quantity | None = Field(default=None, examples=["400"])
    estimate: EstimateBody | None = None
    backwards: Backwards = "hold"

    def to_rules(self) -> CounterRules:
        """Raises: InvalidCounter."""
        estimate = self.estimate
        return new_counter_rules(
            register_digits=self.register_digits,
            decimals=self.decimals,
            rate_max=self.rate_max,
            estimate=None if estimate is None else EstimateRules(estimate.periods, estimate.in_a_row),
            backwards=self.backwards,
        )

    @classmethod
    def from_domain(cls, rules: CounterRules) -> Self:
        estimate = rules.estimate
        return cls(
            register_digits=rules.register_digits,
            decimals=rules.decimals,
            rate_max=rules.rate_max,
            estimate=None
            if estimate is None
            else EstimateBody(periods=estimate.periods, in_a_row=estimate.in_a_row),
            backwards=rules.backwards,
        )


def as_counter_meter(given: Any) -> Any:
    """A meter with a counter reads the events that are made of its readings, and nothing else: that need not be said.

    Raises: ValueError, for what is said otherwise.
    """
    if not isinstance(given, dict) or given.get("counter") is None or not isinstance(given.get("code"), str):
        return given
    fixed = {"event_type": reading_event_type(given["code"]), "aggregation": "sum", "value": READING_VALUE}
    for name, value in fixed.items():
        if given.get(name, value) != value:
            raise ValueError(f"a meter with a counter has the {name} {value}, which may be left out")
    of_events = ("value_expression", "group_by", "filter", "exclude", "filter_expression")
    for name in of_events:
        if given.get(name):
            raise ValueError(f"a meter with a counter has no {name}: it takes readings and no events")
    return {**given, **fixed}


class MeterReadingCreateBody(StrictBody):
    """What a counter showed. Its identity is `id`, or without one the `device` and `read_at`, at this meter and subject.

    Of an `exchange`, `device` is the serial of the counter that came, `old_end` what the other showed last and
    `new_start` what this one showed first; of a `reset` they are the same of one counter, and without `old_end` what was
    used before it is lost. `value` is what the counter in place showed, by default `new_start`.
    """

    meter: Code = Field(examples=["light-delivered"])
    subject: Subject = Field(examples=["terminal-2"])
    id: SentId | None = None
    read_at: Instant
    value: Quantity | None = Field(default=None, examples=["981250"])
    device: Device | None = None
    register_digits: RegisterDigits | None = None
    quality: Literal["actual", "customer", "estimated", "substituted"] = "actual"
    kind: Literal["regular", "exchange", "reset"] = "regular"
    old_end: Quantity | None = None
    new_start: Quantity | None = None

    def to_reading(self, *, tenant: str, author: str, now: datetime) -> Reading | tuple[Reason, ...]:
        begins_anew = self.kind != "regular"
        new_start = self.new_start
        if new_start is None and self.kind == "reset":
            new_start = Decimal(0)
        value = self.value if self.value is not None or not begins_anew else new_start
        if value is None:
            return (Reason("value_missing", "/value", "a reading tells what the counter showed"),)
        return Reading(
            id=reading_id(
                tenant, self.meter, self.subject, sent_id=self.id, device=self.device, read_at=self.read_at
            ),
            meter=self.meter,
            subject=self.subject,
            read_at=self.read_at,
            value=value,
            quality=self.quality,
            received_at=now,
            author=author,
            digest=sent_digest(
                read_at=self.read_at,
                value=value,
                quality=self.quality,
                kind=self.kind,
                device=self.device,
                register_digits=self.register_digits,
                old_end=self.old_end,
                new_start=new_start,
            ),
            kind=self.kind,
            sent_id=self.id,
            device=self.device,
            register_digits=self.register_digits,
            old_end=self.old_end,
            new_start=new_start,
        )


def read_reading(given: Any, *, tenant: str, author: str, now: datetime) -> Reading | tuple[Reason, ...]:
    """The reading, or what is wrong with its form."""
    try:
        body = MeterReadingCreateBody.model_validate(given)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)[:REASONS_MAX]
        faults = faults_of(found, given, MeterReadingCreateBody, "")
        return tuple(Reason("malformed", fault["pointer"], fault["detail"]) for fault in faults)
    return body.to_reading(tenant=tenant, author=author, now=now)


class MeterReadingBody(StrictBody):
    """A reading and what is thought of it. `replaces`: the reading that this one corrects."""

    id: str
    version: int
    meter: str
    subject: str
    sent_id: str | None
    device: str | None
    read_at: Instant
    value: DecimalText
    register_digits: int | None
    quality: Quality
    kind: Kind
    old_end: DecimalText | None
    new_start: DecimalText | None
    state: State
    is_certain: bool
    reason: str | None
    replaces: str | None
    author: str
    received_at: Instant

    @classmethod
    def from_domain(cls, reading: Reading) -> Self:
        return cls(
            id=reading.id,
            version=reading.version,
            meter=reading.meter,
            subject=reading.subject,
            sent_id=reading.sent_id,
            device=reading.device,
            read_at=reading.read_at,
            value=reading.value,
            register_digits=reading.register_digits,
            quality=reading.quality,
            kind=reading.kind,
            old_end=reading.old_end,
            new_start=reading.new_start,
            state=reading.state,
            is_certain=reading.is_certain,
            reason=reading.reason,
            replaces=reading.replaces,
            author=reading.author,
            received_at=reading.received_at,
        )


class ReadingResultBody(StrictBody):
    """What became of one reading. A rejected one leaves its identity free; in a conflict, the first one stays.

    One that is `held` does not bill until the exception is resolved.
    """

    status: Literal["accepted", "duplicate", "conflict", "held", "rejected"]
    id: str | None
    exception_id: str | None = None
    reasons: list[ReasonBody] = Field(default_factory=list)

    @classmethod
    def from_result(cls, result: ReadingResult) -> Self:
        reasons = [ReasonBody.from_domain(reason) for reason in result.reasons]
        exception = result.exception
        if exception is not None:
            reasons.append(ReasonBody(code=exception.kind, pointer="/value", detail=exception.told))
        return cls(
            status=result.status,
            id=None if result.reading is None else result.reading.id,
            exception_id=None if exception is None else exception.id,
            reasons=reasons,
        )


class ReadingResultsBody(StrictBody):
    """One result for each reading, in the order in which they were sent, and how many of each kind."""

    results: list[ReadingResultBody]
    accepted: int
    duplicate: int
    conflict: int
    held: int
    rejected: int

    @classmethod
    def from_results(cls, results: Any) -> Self:
        told = [ReadingResultBody.from_result(result) for result in results]
        counts = {
            status: sum(1 for one in told if one.status == status)
            for status in ("accepted", "duplicate", "conflict", "held", "rejected")
        }
        return cls(results=told, **counts)


class MeterReadingCorrectionBody(StrictBody):
    """What the counter showed in truth, and why that is known. What is left out stays as it was.

    What the counter cannot have shown after the reading before it, or before the one after it, is refused unless
    `is_certain`.
    """

    value: Quantity
    reason: Why
    read_at: Instant | None = None
    kind: Kind | None = None
    device: Device | None = None
    register_digits: RegisterDigits | None = None
    old_end: Quantity | None = None
    new_start: Quantity | None = None
    is_certain: Flag = False

    def to_command(self, reading_id: str, *, author: str) -> CorrectMeterReading:
        return CorrectMeterReading(reading_id=reading_id, author=author, **_fields(self))


class ReadingResolutionBody(StrictBody):
    """What a reading that was kept aside means.

    `accept`: it is as it says. `wrap`: the register ran over. `exchange`: another device came, of which `device`,
    `old_end` and `new_start` tell. `reset`: the counter began again, at `new_start` (0), after `old_end` if that is
    known. `discard`: it means nothing.
    """

    decision: Decision
    reason: Why
    old_end: Quantity | None = None
    new_start: Quantity | None = None
    device: Device | None = None
    register_digits: RegisterDigits | None = None

    def to_command(self, exception_id: str, *, author: str) -> ResolveReadingException:
        return ResolveReadingException(exception_id=exception_id, author=author, **_fields(self))


class ReadingExceptionBody(StrictBody):
    """A reading that is kept aside, or one that nobody has taken: `needed_at` is when it should have been.

    An open one may be resolved by a person, or by itself: the reading turns out to be `plausible`, is `replaced` by a
    correction, or the one that was needed is `read`.
    """

    id: str
    version: int
    kind: ExceptionKind
    meter: str
    subject: str
    reading_id: str | None
    needed_at: Instant | None
    told: str
    state: ExceptionState
    resolution: Resolution | None
    reason: str | None
    resolved_by: str | None
    opened_at: Instant
    resolved_at: Instant | None

    @classmethod
    def from_domain(cls, exception: ReadingException) -> Self:
        return cls(
            id=exception.id,
            version=exception.version,
            kind=exception.kind,
            meter=exception.meter,
            subject=exception.subject,
            reading_id=exception.reading_id,
            needed_at=exception.needed_at,
            told=exception.told,
            state=exception.state,
            resolution=exception.resolution,
            reason=exception.reason,
            resolved_by=exception.resolved_by,
            opened_at=exception.opened_at,
            resolved_at=exception.resolved_at,
        )


class TrueUpBody(StrictBody):
    """`actual_quantity` was used from `from` until `to`, of which `estimated_quantity` was told before, as estimates."""

    subject: str
    start: Instant = Field(alias="from")
    end: Instant = Field(alias="to")
    actual_quantity: DecimalText
    estimated_quantity: DecimalText

    @classmethod
    def from_domain(cls, true_up: TrueUp) -> Self:
        return cls.model_validate(
            {
                "subject": true_up.subject,
                "from": true_up.start,
                "to": true_up.end,
                "actual_quantity": true_up.actual_quantity,
                "estimated_quantity": true_up.estimated_quantity,
            }
        )


class ReadingConsumptionBody(StrictBody):
    """What was used from one reading until the next, by which rule, and the readings behind it.

    It is the usage event `event_id` of the source `perennial:readings`, at the last moment before `to`.
    """

    event_id: str
    meter: str
    subject: str
    start: Instant = Field(alias="from")
    end: Instant = Field(alias="to")
    quantity: DecimalText
    quality: Literal["actual", "estimated"]
    rule: Rule
    true_up: TrueUpBody | None
    readings: list[str]

    @classmethod
    def from_made(cls, made: MadeConsumption) -> Self:
        consumption = made.consumption
        true_up = consumption.true_up
        return cls.model_validate(
            {
                "event_id": made.event_id,
                "meter": made.meter,
                "subject": made.subject,
                "from": consumption.start,
                "to": consumption.end,
                "quantity": consumption.quantity,
                "quality": "estimated" if consumption.is_estimated else "actual",
                "rule": consumption.rule,
                "true_up": None if true_up is None else TrueUpBody.from_domain(true_up),
                "readings": list(consumption.behind),
            }
        )


def _fields(body: StrictBody) -> Mapping[str, Any]:
    return {name: getattr(body, name) for name in type(body).model_fields}
