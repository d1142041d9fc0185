"""The page on the states of a subscription, written from the one table of them: `make contracts`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from services.subscriptions.domain.lifecycle import MOVES, TRANSITIONS, SubscriptionState, drawing

PAGE = Path(__file__).resolve().parents[1] / "docs" / "subscription-states.md"

WHO = {"caller": "a caller", "clock": "its clock", "payment": "news of a payment"}


def page() -> str:
    """The drawing, every step with its cause and event, and what a caller may ask for in each state."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# The states of a subscription"
    yield ""
    yield "A subscription is in one of these states, and goes from one to another by these steps only; whatever"
    yield "else is asked for is refused with `transition_not_allowed` and the moves that are allowed. This page is"
    yield "written from the table in `services/subscriptions/domain/lifecycle.py` by `make contracts`."
    yield ""
    yield "```mermaid"
    yield drawing()
    yield "```"
    yield ""
    yield "| from | to | when | by | event |"
    yield "|---|---|---|---|---|"
    for step in TRANSITIONS:
        yield f"| `{step.before}` | `{step.after}` | {step.when} | {WHO[step.by]} | {step.event} |"
    yield ""
    yield "| state | a caller may |"
    yield "|---|---|"
    for state in SubscriptionState:
        yield f"| `{state}` | {', '.join(MOVES[state])} |"
