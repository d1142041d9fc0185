"""Whether a published version may be newly agreed to: within its bounds of time, and while nobody has stopped it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from libs.common.errors import InputError

SaleState = Literal["published", "withdrawn", "archived"]
OfferStatus = Literal["scheduled", "on_sale", "expired", "withdrawn", "archived"]


@dataclass(frozen=True, slots=True)
class Validity:
    """From when until when it may be agreed to, the end excluded; None is no bound. Set when it is published."""

    valid_from: datetime | None = None
    valid_until: datetime | None = None


ALWAYS = Validity()


def validity_faults(validity: Validity) -> Iterator[InputError]:
    """What is wrong with the bounds, with its place and what to do."""
    start, end = validity.valid_from, validity.valid_until
    if start is not None and end is not None and end <= start:
        detail = "is not later than valid_from, so that nobody could ever agree: choose a later end"
        yield {"pointer": "/valid_until", "detail": detail}


def offer_status(validity: Validity, state: SaleState, now: datetime) -> OfferStatus:
    """Where it stands at `now`. What was stopped by somebody is told before what time has done."""
    if state != "published":
        return state
    if validity.valid_from is not None and now < validity.valid_from:
        return "scheduled"
    if validity.valid_until is not None and now >= validity.valid_until:
        return "expired"
    return "on_sale"
