"""The events behind a figure: those that a question about usage counts, with what the meter took from each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from libs.common.clock import Clock
from libs.common.paging import PageRequest, Position
from services.metering.application.ports import UnitOfWork
from services.metering.application.reads import AnswerPosition, MeasuredEvent, Whose
from services.metering.application.usage_question import UsageQuestion, make_clear
from services.metering.domain.usage_slices import EmptyRange


@dataclass(frozen=True, slots=True)
class UsageBehind:
    """A page of the events that count from `start` until `end`, all read at one `position`."""

    start: datetime
    end: datetime
    events: Sequence[MeasuredEvent]
    position: AnswerPosition
    filled_until: datetime | None
    next: Position | None


async def list_usage_behind(
    question: UsageQuestion, page: PageRequest, *, uow: UnitOfWork, clock: Clock
) -> UsageBehind:
    """What the same question, put to `ask_usage` without windows and groups, adds up.

    Raises: MeterNotFound, MeteredItemNotFound, UsageQuestionUnclear, DimensionUnknown, UsageFilterUnclear,
    EmptyRange, TooManySteps.
    """
    asked = await make_clear(question, clock.system_now(), uow=uow)
    if asked.start >= asked.end:
        raise EmptyRange("from must lie before to", remedy="Ask for a later to, or an earlier from.")
    position = await uow.reads.position()
    whose = Whose(
        start=asked.start,
        end=asked.end,
        zone=question.zone,
        subject=question.subject,
        item_ids=asked.item_ids,
        asset_id=question.asset_id,
        filters=asked.filters,
        until=asked.now,
    )
    found = await uow.reads.list_measured_events(asked.versions, whose, page)
    return UsageBehind(asked.start, asked.end, found.items, position, asked.filled_until, found.next)
