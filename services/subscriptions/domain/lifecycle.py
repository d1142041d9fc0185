"""The states of a subscription, and every step from one to another: the one table of what may follow what.

A subscription's state is read off its facts (`standing_of` in subscription.py); whatever changes a fact is checked
against this table, so that nothing gets into a state by a way that is not written down here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Literal


class SubscriptionState(StrEnum):
    SCHEDULED = "scheduled"
    AWAITING_ACTIVATION = "awaiting_activation"
    TRIALING = "trialing"
    ACTIVE = "active"
    PAUSED = "paused"
    PAST_DUE = "past_due"
    SUSPENDED = "suspended"
    ENDING = "ending"
    ENDED = "ended"
    CANCELED = "canceled"


Cause = Literal["caller", "clock", "payment"]


@dataclass(frozen=True, slots=True)
class Transition:
    """`by` is who may cause it: a caller of the API, the subscription's own clock, or news of a payment."""

    before: SubscriptionState
    after: SubscriptionState
    when: str
    by: Cause
    event: str


_S = SubscriptionState

TRANSITIONS: tuple[Transition, ...] = (
    Transition(_S.SCHEDULED, _S.ACTIVE, "its start has come", "clock", "SubscriptionStarted"),
    Transition(_S.SCHEDULED, _S.TRIALING, "its start has come, with a trial", "clock", "SubscriptionStarted"),
    Transition(
        _S.SCHEDULED, _S.ENDING, "its start has come, and its end is set", "clock", "SubscriptionStarted"
    ),
    Transition(_S.SCHEDULED, _S.CANCELED, "canceled for its start or before", "caller", "SubscriptionEnded"),
    Transition(
        _S.AWAITING_ACTIVATION, _S.SCHEDULED, "activated, to begin later", "caller", "SubscriptionScheduled"
    ),
    Transition(_S.AWAITING_ACTIVATION, _S.ACTIVE, "activated", "caller", "SubscriptionStarted"),
    Transition(
        _S.AWAITING_ACTIVATION, _S.TRIALING, "activated, with a trial", "caller", "SubscriptionStarted"
    ),
    Transition(_S.AWAITING_ACTIVATION, _S.CANCELED, "canceled", "caller", "SubscriptionEnded"),
    Transition(_S.TRIALING, _S.ACTIVE, "the trial is over", "clock", "SubscriptionRenewed"),
    Transition(
        _S.TRIALING, _S.ENDING, "the trial is over, and its end is set", "clock", "SubscriptionRenewed"
    ),
    Transition(
        _S.TRIALING,
        _S.PAUSED,
        "paused, or the trial ended without payment method",
        "clock",
        "SubscriptionPaused",
    ),
    Transition(_S.TRIALING, _S.PAST_DUE, "a payment failed", "payment", "SubscriptionPastDue"),
    Transition(
        _S.TRIALING, _S.SUSPENDED, "an invoice was still not paid", "payment", "SubscriptionSuspended"
    ),
    Transition(_S.TRIALING, _S.ENDED, "its end has come", "clock", "SubscriptionEnded"),
    Transition(_S.ACTIVE, _S.PAUSED, "paused", "caller", "SubscriptionPaused"),
    Transition(_S.ACTIVE, _S.PAST_DUE, "a payment failed", "payment", "SubscriptionPastDue"),
    Transition(_S.ACTIVE, _S.SUSPENDED, "an invoice was still not paid", "payment", "SubscriptionSuspended"),
    Transition(_S.ACTIVE, _S.ENDING, "canceled, for later", "caller", "SubscriptionChanged"),
    Transition(_S.ACTIVE, _S.ENDED, "its end has come", "clock", "SubscriptionEnded"),
    Transition(_S.PAUSED, _S.ACTIVE, "resumed", "caller", "SubscriptionResumed"),
    Transition(_S.PAUSED, _S.TRIALING, "resumed, within its trial", "caller", "SubscriptionResumed"),
    Transition(_S.PAUSED, _S.ENDING, "resumed, and its end is set", "caller", "SubscriptionResumed"),
    Transition(_S.PAUSED, _S.PAST_DUE, "resumed, with an overdue invoice", "caller", "SubscriptionResumed"),
    Transition(_S.PAUSED, _S.SUSPENDED, "resumed, while suspended", "caller", "SubscriptionResumed"),
    Transition(_S.PAUSED, _S.ENDED, "its end has come", "clock", "SubscriptionEnded"),
    Transition(_S.PAST_DUE, _S.ACTIVE, "all that was overdue is paid", "payment", "SubscriptionRecovered"),
    Transition(_S.PAST_DUE, _S.TRIALING, "all is paid, within its trial", "payment", "SubscriptionRecovered"),
    Transition(_S.PAST_DUE, _S.ENDING, "all is paid, and its end is set", "payment", "SubscriptionRecovered"),
    Transition(
        _S.PAST_DUE, _S.SUSPENDED, "an invoice was still not paid", "payment", "SubscriptionSuspended"
    ),
    Transition(_S.PAST_DUE, _S.PAUSED, "paused", "caller", "SubscriptionPaused"),
    Transition(_S.PAST_DUE, _S.ENDED, "its end has come", "clock", "SubscriptionEnded"),
    Transition(
        _S.SUSPENDED,
        _S.PAST_DUE,
        "what was given up is paid, another invoice is overdue",
        "payment",
        "SubscriptionPastDue",
    ),
    Transition(_S.SUSPENDED, _S.ACTIVE, "all that was overdue is paid", "payment", "SubscriptionRecovered"),
    Transition(
        _S.SUSPENDED, _S.TRIALING, "all is paid, within its trial", "payment", "SubscriptionRecovered"
    ),
    Transition(
        _S.SUSPENDED, _S.ENDING, "all is paid, and its end is set", "payment", "SubscriptionRecovered"
    ),
    Transition(_S.SUSPENDED, _S.PAUSED, "paused", "caller", "SubscriptionPaused"),
    Transition(_S.SUSPENDED, _S.ENDED, "its end has come", "clock", "SubscriptionEnded"),
    Transition(_S.ENDING, _S.ACTIVE, "the cancellation is withdrawn", "caller", "SubscriptionChanged"),
    Transition(_S.ENDING, _S.PAUSED, "paused", "caller", "SubscriptionPaused"),
    Transition(_S.ENDING, _S.PAST_DUE, "a payment failed", "payment", "SubscriptionPastDue"),
    Transition(_S.ENDING, _S.SUSPENDED, "an invoice was still not paid", "payment", "SubscriptionSuspended"),
    Transition(_S.ENDING, _S.ENDED, "its end has come", "clock", "SubscriptionEnded"),
)

NEXT: Mapping[SubscriptionState, frozenset[SubscriptionState]] = MappingProxyType(
    {
        state: frozenset(step.after for step in TRANSITIONS if step.before is state)
        for state in SubscriptionState
    }
)

WAITING = frozenset({_S.SCHEDULED, _S.AWAITING_ACTIVATION})
OVER = frozenset({_S.ENDED, _S.CANCELED})
RUNNING = frozenset(SubscriptionState) - WAITING - OVER
"""Those that have a period: time goes on, whatever else holds."""

MOVES: Mapping[SubscriptionState, tuple[str, ...]] = MappingProxyType(
    {
        _S.SCHEDULED: ("change", "cancel"),
        _S.AWAITING_ACTIVATION: ("activate", "change", "cancel"),
        _S.TRIALING: ("change", "pause", "cancel", "withdraw cancellation"),
        _S.ACTIVE: ("change", "pause", "cancel"),
        _S.PAUSED: ("change", "resume", "cancel", "withdraw cancellation"),
        _S.PAST_DUE: ("change", "pause", "cancel", "withdraw cancellation", "pay"),
        _S.SUSPENDED: ("change", "pause", "cancel", "withdraw cancellation", "pay"),
        _S.ENDING: ("change", "pause", "cancel", "withdraw cancellation"),
        _S.ENDED: ("win back",),
        _S.CANCELED: ("win back",),
    }
)
"""What a caller may ask for in each state; named where something else is refused."""


def drawing() -> str:
    """The table as a Mermaid state diagram, as it stands in the documentation."""
    lines = [
        "stateDiagram-v2",
        "    [*] --> scheduled",
        "    [*] --> awaiting_activation",
        "    [*] --> trialing",
    ]
    lines += ["    [*] --> active"]
    lines += [f"    {step.before} --> {step.after}: {step.when} ({step.by})" for step in TRANSITIONS]
    return "\n".join([*lines, "    ended --> [*]", "    canceled --> [*]"])
