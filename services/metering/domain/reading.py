"""What a counter showed at an instant, who read it, and what is thought of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import ClassVar, Literal

from libs.common.errors import InvalidInput
from libs.common.ids import derived_id
from services.metering.domain.counter import CounterRules
from services.metering.domain.exactly import EXACT, stripped
from services.metering.domain.usage_event import Reason, digest_of_payload

Quality = Literal["actual", "customer", "estimated", "corrected", "substituted"]
Kind = Literal["regular", "wrap", "exchange", "reset"]
State = Literal["accepted", "held", "discarded", "replaced"]
HeldKind = Literal["backwards", "beyond_rate", "before_exchange"]


class InvalidReading(InvalidInput):
    code: ClassVar[str] = "invalid_reading"
    title: ClassVar[str] = "The reading cannot be taken like this"


@dataclass(frozen=True, slots=True)
class Reading:
    """`value` is what the counter in place showed at `read_at`; a wrap, an exchange or a reset came before that.

    Of an exchange, `old_end` is what the counter that was taken away showed last and `new_start` what the one that
    came showed first; of a reset they are the same of one counter, and without `old_end` what was used before it is
    lost. `register_digits` hold from this reading on, for the counter in place. `is_certain`: a person has decided
    that it is right, however implausible. `sent_id` is the id that its sender gave it, and `digest` tells another
    payload under the same identity apart.
    """

    id: str
    meter: str
    subject: str
    read_at: datetime
    value: Decimal
    quality: Quality
    received_at: datetime
    author: str
    digest: str
    kind: Kind = "regular"
    state: State = "accepted"
    sent_id: str | None = None
    device: str | None = None
    register_digits: int | None = None
    old_end: Decimal | None = None
    new_start: Decimal | None = None
    reason: str | None = None
    is_certain: bool = False
    replaces: str | None = None
    version: int = 1

    @property
    def is_estimated(self) -> bool:
        return self.quality == "estimated"

    @property
    def is_estimate(self) -> bool:
        """An estimate of a counter that is still there, which a later reading puts right."""
        return self.is_estimated and self.kind in ("regular", "wrap")

    @property
    def place(self) -> tuple[object, ...]:
        """In what order readings are looked at, in whatever order they came."""
        return (self.read_at, not self.is_estimated, self.kind != "regular", self.value, self.id)


def sent_digest(
    *,
    read_at: datetime,
    value: Decimal,
    quality: Quality,
    kind: Kind,
    device: str | None,
    register_digits: int | None,
    old_end: Decimal | None,
    new_start: Decimal | None,
) -> str:
    """What two deliveries of one reading have in common, whatever has become of the first. 1.50 is 1.5."""
    numbers = [
        None if number is None else format(stripped(number), "f") for number in (value, old_end, new_start)
    ]
    told = (read_at.isoformat(), quality, kind, device, register_digits, *numbers)
    return digest_of_payload("\0".join("" if part is None else str(part) for part in told))


def reading_id(
    tenant: str, meter: str, subject: str, *, sent_id: str | None, device: str | None, read_at: datetime
) -> str:
    """The identity of a reading, for ever: its sender's id, or else the device and the instant."""
    if sent_id is not None:
        return derived_id("rdg", tenant, meter, subject, "id", sent_id)
    return derived_id("rdg", tenant, meter, subject, "at", device or "", read_at.isoformat())


def flaws(reading: Reading, rules: CounterRules) -> Sequence[Reason]:
    """Everything for which a counter with these rules cannot have shown this, whatever it showed before and after."""
    found: list[Reason] = []
    digits = reading.register_digits or rules.register_digits
    told = (("value", reading.value), ("old_end", reading.old_end), ("new_start", reading.new_start))
    for name, shown in told:
        if shown is None:
            continue
        if shown < 0:
            found.append(Reason("value_negative", f"/{name}", "a counter shows no number below zero"))
        if EXACT.remainder(shown, rules.smallest_unit):
            found.append(
                Reason(
                    "too_many_decimals",
                    f"/{name}",
                    f"the counters of this meter have {rules.decimals} decimals",
                )
            )
        # What the old device showed last is told in its own digits, which may have been more.
        if digits is not None and name != "old_end" and shown >= 10**digits:
            found.append(
                Reason("beyond_register", f"/{name}", f"a register of {digits} digits cannot show this")
            )
    return [*found, *_flaws_of_kind(reading, digits)]


def _flaws_of_kind(reading: Reading, digits: int | None) -> Sequence[Reason]:
    found: list[Reason] = []
    if reading.kind == "wrap" and digits is None:
        found.append(
            Reason(
                "digits_unknown", "/register_digits", "how much a wrap is depends on the register's digits"
            )
        )
    if reading.kind == "exchange":
        needed = (
            ("device", reading.device, "the serial of the device that came"),
            ("old_end", reading.old_end, "what the device that was taken away showed last"),
            ("new_start", reading.new_start, "what the device that came showed first"),
        )
        found += [
            Reason("exchange_incomplete", f"/{name}", f"an exchange tells {what}")
            for name, given, what in needed
            if given is None
        ]
    if reading.kind in ("regular", "wrap"):
        found += [
            Reason("not_of_this_kind", f"/{name}", "only an exchange or a reset has this")
            for name, given in (("old_end", reading.old_end), ("new_start", reading.new_start))
            if given is not None
        ]
    return found


def as_decided(
    reading: Reading,
    *,
    kind: Kind | None,
    reason: str,
    old_end: Decimal | None = None,
    new_start: Decimal | None = None,
    device: str | None = None,
    register_digits: int | None = None,
) -> Reading:
    """The reading as a person explained it; `kind` None: as it is. From now on nothing about it is implausible."""
    explained = kind or reading.kind
    begins_anew = explained in ("exchange", "reset")
    return replace(
        reading,
        kind=explained,
        state="accepted",
        is_certain=True,
        reason=reason,
        old_end=(old_end if old_end is not None else reading.old_end) if begins_anew else None,
        new_start=(new_start if new_start is not None else reading.new_start or Decimal(0))
        if begins_anew
        else None,
        device=device or reading.device,
        register_digits=register_digits or reading.register_digits,
    )
