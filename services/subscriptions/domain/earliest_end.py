"""When a subscription may end: after notice, and not before its term is over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from libs.common.errors import Conflict
from libs.common.periods import local_date, start_of_day
from services.subscriptions.domain.agreed_term import AgreedTerm
from services.subscriptions.domain.lifecycle import SubscriptionState
from services.subscriptions.domain.subscription import Subscription, extends

EndBound = Literal["none", "not_begun", "notice", "term", "renewed_term", "agreed_end", "over"]

WORDS: dict[EndBound, str] = {
    "none": "Nothing holds it: it may end on the day on which it is canceled.",
    "not_begun": "Its term has not begun: it may end on the day on which it is canceled.",
    "notice": "It ends with the notice period.",
    "term": "It ends with its term, which is the end of the notice period or later.",
    "renewed_term": "The notice comes too late for the end of the term that runs then: it ends with a renewed term.",
    "agreed_end": "It ends then by itself.",
    "over": "It is over.",
}


class EndsTooEarly(Conflict):
    """The term, or the notice period, is not over by then."""

    code = "ends_before_term"
    title = "The subscription is bound for longer"


@dataclass(frozen=True, slots=True)
class EarliestEnd:
    """For a cancellation received on `received_on`: the first day after the agreement, and what it is bound by."""

    on: date
    at: datetime
    received_on: date
    notice_ends_on: date
    bound_by: EndBound

    @property
    def words(self) -> str:
        return WORDS[self.bound_by]


def earliest_end(subscription: Subscription, received_on: date) -> EarliestEnd:
    """The earliest end for a cancellation received on that local date, at no cost.

    Until the term begins (before the start, in a trial) nothing binds. A term under way binds until its end, or that of
    the term agreed on to follow it; one that renews itself binds again unless the notice came in time. After the last
    term only the notice does. Where ending early costs nothing, so does it all the time.
    Source: "Minimum term, notice" in DOMAIN: both in calendar months, or days.
    """
    zone = subscription.calendar.zone
    if subscription.ended_at is not None:
        ended_on = local_date(subscription.ended_at, zone)
        return EarliestEnd(ended_on, subscription.ended_at, received_on, received_on, "over")
    term = _standing_term(subscription, received_on)
    on = notice_ends_on = received_on
    bound_by: EndBound = "none"
    if term is not None and _has_not_begun(subscription, term, received_on):
        bound_by = "not_begun"
    elif term is not None:
        notice_ends_on = term.notice_ends_on(received_on)
        on, bound_by = _bound(term, notice_ends_on, received_on)
    agreed = subscription.agreed_end
    if agreed is not None and local_date(agreed, zone) <= on:
        on, bound_by = local_date(agreed, zone), "agreed_end"
    return EarliestEnd(on, start_of_day(on, zone), received_on, notice_ends_on, bound_by)


def refuse_too_early(subscription: Subscription, at: datetime, received_on: date) -> None:
    """Refuse an end that the term or the notice does not allow, at no cost.

    Raises: EndsTooEarly, with the earliest end and how an earlier one may be had.
    """
    if may_end(subscription, at, received_on):
        return
    assert subscription.term is not None, "only a term binds"
    earliest = earliest_end(subscription, received_on)
    quote = "an earlier end is not possible"
    if has_early_termination(subscription.term):
        quote = (
            "for an earlier end ask for a quote (POST /v1/subscriptions/{id}/termination-quotes) "
            "and send its quote_id"
        )
    raise EndsTooEarly(
        "the subscription is bound until its earliest end, and by whole terms from there on"
        if subscription.term.last.on_end == "renew"
        else "the subscription is bound until its earliest end",
        earliest_end_on=earliest.on,
        earliest_end_at=earliest.at,
        bound_by=earliest.bound_by,
        early_termination=subscription.term.early_termination.kind,
        remedy=f"Cancel for {earliest.on}; {quote}.",
    )


def has_early_termination(term: AgreedTerm) -> bool:
    """Whether there is a price at which an end before the term's can be had."""
    return not term.is_over and term.early_termination.kind not in ("none", "forbidden")


def early_end_words(term: AgreedTerm | None) -> str:
    """How an end before the earliest one at no cost may be had."""
    if term is None or term.is_over:
        return "Nothing is to be paid for an end: only the notice period holds."
    match term.early_termination.kind:
        case "none":
            return "The term does not bind: only the notice period holds."
        case "forbidden":
            return "The agreement does not allow for an earlier end."
        case _:
            return "An earlier end has its price: ask for a quote, and cancel with it."


def may_end(subscription: Subscription, at: datetime, received_on: date) -> bool:
    """Whether it may end at `at`, at no cost, by a cancellation received on that local date."""
    term = _standing_term(subscription, received_on)
    if term is None:
        return True
    zone = subscription.calendar.zone
    on = local_date(at, zone)
    agreed = subscription.agreed_end
    if agreed is not None and at >= agreed:
        return True
    if _has_not_begun(subscription, term, received_on) and at <= start_of_day(term.starts_on, zone):
        return True
    if on < term.notice_ends_on(received_on):
        return False
    if not term.is_binding:
        return True
    last = term.last
    if on < last.ends_on:
        return False
    return last.on_end != "renew" or last.end_from(on) == on


def _has_not_begun(subscription: Subscription, term: AgreedTerm, received_on: date) -> bool:
    """Whether nobody is bound yet, because what was agreed on has yet to begin."""
    if subscription.state is SubscriptionState.AWAITING_ACTIVATION:
        return True
    return term.renewals == 0 and not term.is_over and received_on < term.starts_on


def _standing_term(subscription: Subscription, received_on: date) -> AgreedTerm | None:
    """The term with the days of a pause under way that makes it longer, as far as they are known."""
    term, pause = subscription.term, subscription.pause
    if term is None or pause is None or pause.status != "running" or not extends(pause, term):
        return term
    until = pause.end_on or max(received_on, pause.start_on)
    return term.extended((until - pause.start_on).days)


def _bound(term: AgreedTerm, notice_ends_on: date, received_on: date) -> tuple[date, EndBound]:
    if term.is_binding:
        last = term.last
        if last.on_end == "renew":
            end_on = last.end_from(notice_ends_on)
            return end_on, "term" if end_on == last.end_from(received_on) else "renewed_term"
        if notice_ends_on <= last.ends_on:
            return last.ends_on, "term"
    return notice_ends_on, "notice" if notice_ends_on > received_on else "none"
