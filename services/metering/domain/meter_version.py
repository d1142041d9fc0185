"""The next version of a meter: what it may read otherwise, and from when on."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from libs.common.errors import Conflict, RuleViolation
from services.metering.domain.meter import Meter


class MeterVersionDiffers(RuleViolation):
    """What versions come to could not be put together."""

    code: ClassVar[str] = "meter_version_differs"
    title: ClassVar[str] = "The version measures something else"


class MeterVersionTooEarly(Conflict):
    """Versions follow one another in time."""

    code: ClassVar[str] = "meter_version_too_early"
    title: ClassVar[str] = "The version would begin too early"


def check_follows(following: Meter, previous: Meter, *, kept_from: datetime | None) -> None:
    """Whether the version may take the place of the one before, from its `valid_from` on.

    `kept_from`: nothing that happened before can be read again.
    Raises: MeterVersionDiffers, MeterVersionTooEarly.
    """
    assert following.valid_from is not None, "a following version begins somewhere"
    if following.aggregation != previous.aggregation:
        raise MeterVersionDiffers(
            f"the meter is a {previous.aggregation}, and stays one",
            pointer="/aggregation",
            remedy="Define another meter for what is to be counted in another way.",
        )
    if following.options != previous.options:
        raise MeterVersionDiffers(
            "operation, keeps, level, per, by_day and peak_of stay as they were",
            remedy="Repeat them as the meter has them, or define another meter.",
        )
    if previous.counter is not None and following.event_type != previous.event_type:
        raise MeterVersionDiffers("a counter's events are made of its readings", pointer="/event_type")
    if previous.valid_from is not None and following.valid_from <= previous.valid_from:
        raise MeterVersionTooEarly(
            f"the version before began at {previous.valid_from.isoformat()}",
            pointer="/effective_from",
            remedy="Name a later instant.",
        )
    if kept_from is not None and following.valid_from < kept_from:
        raise MeterVersionTooEarly(
            f"raw events are kept from {kept_from.isoformat()} on, and none before can be read again",
            pointer="/effective_from",
            remedy="Name that instant or a later one.",
        )
