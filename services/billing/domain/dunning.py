"""What becomes of an invoice that is not paid: reminders, suspension and end, by the schedules of its agreements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Literal

from libs.common.errors import Conflict, NotFound
from libs.common.ids import derived_id
from libs.common.periods import local_date, start_of_day
from services.billing.domain.dunning_terms import NEVER_DAYS, DunningTerms, strictest_of
from services.billing.domain.invoice import Invoice

StepKind = Literal["overdue", "reminder", "final_reminder", "suspend", "end"]
StepOutcome = Literal["taken", "skipped", "overtaken"]
DunningState = Literal["running", "paused", "exhausted"]

OVERDUE_AFTER_DAYS = 1
_RANK: dict[StepKind, int] = {"overdue": 0, "reminder": 1, "final_reminder": 1, "suspend": 2, "end": 3}


class DunningNotFound(NotFound):
    code = "dunning_not_found"
    title = "The invoice is not being dunned"


class DunningOver(Conflict):
    code = "dunning_over"
    title = "No step of dunning lies ahead"


class DunningPaused(Conflict):
    code = "dunning_paused"
    title = "The dunning is paused"


class DunningNotPaused(Conflict):
    code = "dunning_not_paused"
    title = "The dunning is not paused"


class DunningStepNotAhead(Conflict):
    code = "dunning_step_not_ahead"
    title = "The step does not come next"


@dataclass(frozen=True, slots=True)
class DunningStep:
    """One step of a round, the n-th of its kind. `at` of None: when the retries end.

    `subscription_ids` are whom a suspension or an end is about.
    """

    kind: StepKind
    number: int
    at: datetime | None
    subscription_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StepBehind:
    """What became of a step. `overtaken`: a later one was due as well, so that it would have said nothing."""

    reopened_count: int
    kind: StepKind
    number: int
    at: datetime
    outcome: StepOutcome
    actor: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Dunning:
    """The dunning of one invoice. Its id follows from the invoice's, so that there is one.

    `agreements` are the schedules of those that the invoice is about, by subscription: each is suspended and ended by its
    own, while reminders and retries are the strictest one's. Days are counted from `counted_from`, which is the due date,
    or the day on which a paid invoice became due again: that is another round, in which nothing is tried by itself.
    `reopened_count` numbers the rounds. `is_collected`: attempts are made by schedule.
    `delay_days` are what pauses have put all later steps off by.
    `retry_held_at` is when the try would have been due that a pause holds back.
    """

    id: str
    invoice_id: str
    customer_id: str
    state: DunningState
    reopened_count: int
    counted_from: date
    zone: str
    agreements: tuple[tuple[str, DunningTerms], ...]
    retry_days: tuple[int, ...]
    is_collected: bool
    created_at: datetime
    clock_id: str | None
    traceparent: str | None
    behind: tuple[StepBehind, ...] = ()
    retries_ended_at: datetime | None = None
    delay_days: int = 0
    paused_at: datetime | None = None
    paused_until: datetime | None = None
    paused_by: str | None = None
    pause_reason: str | None = None
    retry_held_at: datetime | None = None
    due_at: datetime | None = None
    version: int = 1

    @property
    def strictest(self) -> DunningTerms:
        return strictest_of(self.agreements)

    @property
    def is_retried(self) -> bool:
        """Whether a failed try is followed by another: not once all is over, or after the money was taken back."""
        return self.is_collected and self.reopened_count == 0 and not (self.has_ended and not self.ahead)

    @property
    def has_ended(self) -> bool:
        return any(step.kind == "end" and step.outcome == "taken" for step in self._behind_now)

    @property
    def writes_off(self) -> bool:
        """Only where every agreement has come to its end, and all of them say so."""
        terms = [terms for _, terms in self.agreements]
        return bool(terms) and all(each.writes_off and each.end_after_days is not None for each in terms)

    @property
    def _behind_now(self) -> tuple[StepBehind, ...]:
        return tuple(step for step in self.behind if step.reopened_count == self.reopened_count)

    @property
    def ahead(self) -> tuple[DunningStep, ...]:
        """What is still to come, in its order; nothing follows the last end but what nobody knows the instant of."""
        done = {(step.kind, step.number) for step in self._behind_now}
        steps = [step for step in schedule_of(self) if (step.kind, step.number) not in done]
        if self.agreements and all(terms.end_after_days is not None for _, terms in self.agreements):
            ends = [step for step in steps if step.kind == "end"]
            if not ends:
                return ()
        return tuple(steps)

    @property
    def next_step(self) -> DunningStep | None:
        return next((step for step in self.ahead if step.at is not None), None)


def dunning_id(invoice_id: str) -> str:
    return derived_id("dun", invoice_id)


def start(
    invoice: Invoice,
    agreements: Iterable[tuple[str, DunningTerms]],
    *,
    retry_days: Sequence[int],
    is_collected: bool,
    now: datetime,
    traceparent: str | None,
) -> Dunning:
    """The dunning of an issued invoice that is not paid. `retry_days` are the operator's."""
    agreed = tuple(sorted(agreements))
    own = strictest_of(agreed).retry_days
    today = local_date(now, invoice.zone)
    return _on_its_way(
        Dunning(
            id=dunning_id(invoice.id),
            invoice_id=invoice.id,
            customer_id=invoice.customer_id,
            state="running",
            reopened_count=invoice.reopened_count,
            counted_from=today if invoice.reopened_count else invoice.due_on or today,
            zone=invoice.zone,
            agreements=agreed,
            retry_days=tuple(retry_days) if own is None else own,
            is_collected=is_collected,
            created_at=now,
            clock_id=invoice.clock_id,
            traceparent=traceparent,
        )
    )


def start_again(dunning: Dunning, *, reopened_count: int, now: datetime) -> Dunning:
    """A further round, counted from now: the invoice was paid, and the money was taken back."""
    return _on_its_way(
        replace(
            dunning,
            reopened_count=reopened_count,
            counted_from=local_date(now, dunning.zone),
            retries_ended_at=None,
            delay_days=0,
            retry_held_at=None,
            state="paused" if dunning.paused_at is not None else "running",
            version=dunning.version + 1,
        )
    )


def schedule_of(dunning: Dunning) -> tuple[DunningStep, ...]:
    """All steps of the round, in the order of time; where the retries have not ended yet, what waits for that is last.

    Units: n days after a date are at the first instant of the n-th local day after it.
    """
    steps = [*_reminders(dunning), *_suspensions(dunning), *_ends(dunning)]
    if not dunning.is_collected and dunning.reopened_count == 0:
        steps.append(DunningStep("overdue", 1, _day(dunning, OVERDUE_AFTER_DAYS)))
    known = sorted(
        (step for step in steps if step.at is not None),
        key=lambda step: (step.at, _RANK[step.kind], step.number),
    )
    return (*known, *(step for step in steps if step.at is None))


def _day(dunning: Dunning, days: int) -> datetime:
    return start_of_day(dunning.counted_from + timedelta(days=days + dunning.delay_days), dunning.zone)


def _reminders(dunning: Dunning) -> list[DunningStep]:
    """The last of several is the final one."""
    days = dunning.strictest.reminder_days
    last = len(days) if len(days) > 1 else None
    return [
        DunningStep("final_reminder" if number == last else "reminder", number, _day(dunning, day))
        for number, day in enumerate(days, start=1)
    ]


def _suspensions(dunning: Dunning) -> list[DunningStep]:
    """Those of one day together. Where nothing is tried, the retries end when they would have."""
    by_day: dict[int | None, list[str]] = {}
    for subscription_id, terms in dunning.agreements:
        if terms.suspends:
            by_day.setdefault(terms.suspend_after_days, []).append(subscription_id)
    steps = []
    for number, day in enumerate(sorted(by_day, key=lambda day: NEVER_DAYS if day is None else day), start=1):
        at = _retries_end(dunning) if day is None else _day(dunning, day)
        steps.append(DunningStep("suspend", number, at, tuple(by_day[day])))
    return steps


def _retries_end(dunning: Dunning) -> datetime | None:
    if dunning.is_collected and dunning.reopened_count == 0:
        return dunning.retries_ended_at
    return _day(dunning, max(sum(dunning.retry_days), OVERDUE_AFTER_DAYS))


def _ends(dunning: Dunning) -> list[DunningStep]:
    by_day: dict[int, list[str]] = {}
    for subscription_id, terms in dunning.agreements:
        if terms.end_after_days is not None:
            by_day.setdefault(terms.end_after_days, []).append(subscription_id)
    return [
        DunningStep("end", number, _day(dunning, day), tuple(by_day[day]))
        for number, day in enumerate(sorted(by_day), start=1)
    ]


def take_due(dunning: Dunning, *, now: datetime) -> tuple[Dunning, tuple[DunningStep, ...]]:
    """Put behind what is due by now; returned are the steps that count.

    A reminder is overtaken where a later one, or an end, is due as well: nobody gets two letters at once.
    """
    if dunning.state == "paused":
        return dunning, ()
    due = [step for step in dunning.ahead if step.at is not None and step.at <= now]
    if not due:
        return _on_its_way(dunning), ()
    behind, taken = [], []
    for position, step in enumerate(due):
        later = {after.kind for after in due[position + 1 :]}
        is_overtaken = step.kind == "reminder" and bool(later & {"reminder", "final_reminder", "end"})
        is_overtaken |= step.kind == "final_reminder" and "end" in later
        outcome: StepOutcome = "overtaken" if is_overtaken else "taken"
        behind.append(StepBehind(dunning.reopened_count, step.kind, step.number, now, outcome))
        if not is_overtaken:
            taken.append(step)
    after = replace(dunning, behind=(*dunning.behind, *behind), version=dunning.version + 1)
    return _on_its_way(after), tuple(taken)


def retries_ended(dunning: Dunning, *, now: datetime) -> Dunning:
    """The last try of the schedule has failed. One that somebody asked for later changes nothing."""
    if dunning.retries_ended_at is not None or dunning.reopened_count != 0:
        return dunning
    return _on_its_way(replace(dunning, retries_ended_at=now, version=dunning.version + 1))


def skip(dunning: Dunning, step: DunningStep, *, actor: str, reason: str, now: datetime) -> Dunning:
    """A person lets one step pass that lies ahead; the others stay where they are."""
    passed = StepBehind(dunning.reopened_count, step.kind, step.number, now, "skipped", actor, reason)
    after = replace(dunning, behind=(*dunning.behind, passed), version=dunning.version + 1)
    return _on_its_way(after)


def pause(
    dunning: Dunning,
    *,
    until: datetime | None,
    actor: str,
    reason: str,
    retry_at: datetime | None,
    now: datetime,
) -> Dunning:
    """Nothing is tried, and nobody reminded, until then or until somebody resumes it.

    Raises: DunningPaused, DunningOver.
    """
    if dunning.state == "paused":
        raise DunningPaused("it is paused already", remedy="Resume it first, to pause it otherwise.")
    if dunning.state == "exhausted" and retry_at is None:
        raise DunningOver("nothing lies ahead that could be paused")
    return _on_its_way(
        replace(
            dunning,
            state="paused",
            paused_at=now,
            paused_until=until,
            paused_by=actor,
            pause_reason=reason,
            retry_held_at=retry_at,
            version=dunning.version + 1,
        )
    )


def resume(dunning: Dunning, *, now: datetime) -> Dunning:
    """All that lies ahead comes later by the days that the pause lasted.

    Raises: DunningNotPaused.
    """
    if dunning.state != "paused" or dunning.paused_at is None:
        raise DunningNotPaused("it is not paused")
    lasted = local_date(now, dunning.zone) - local_date(dunning.paused_at, dunning.zone)
    return _on_its_way(
        replace(
            dunning,
            state="running",
            delay_days=dunning.delay_days + lasted.days,
            paused_at=None,
            paused_until=None,
            paused_by=None,
            pause_reason=None,
            retry_held_at=None,
            version=dunning.version + 1,
        )
    )


def resumed_retry_at(dunning: Dunning, *, now: datetime) -> datetime | None:
    """When the try is due that a pause held back: later by as long as the pause lasted."""
    if dunning.retry_held_at is None or dunning.paused_at is None:
        return None
    return dunning.retry_held_at + (now - dunning.paused_at)


def come_to_rest(dunning: Dunning) -> Dunning:
    """Nothing is due of the invoice any more: no step will be taken unless it becomes due again."""
    return replace(dunning, due_at=None, version=dunning.version + 1)


def wait_until(dunning: Dunning, at: datetime) -> Dunning:
    """Its next step waits for something else to be over."""
    return replace(dunning, due_at=at, version=dunning.version + 1)


def _on_its_way(dunning: Dunning) -> Dunning:
    if dunning.state == "paused":
        return replace(dunning, due_at=dunning.paused_until)
    ahead = dunning.ahead
    following = next((step.at for step in ahead if step.at is not None), None)
    is_retried = dunning.is_retried and dunning.retries_ended_at is None
    return replace(dunning, state="running" if ahead or is_retried else "exhausted", due_at=following)
