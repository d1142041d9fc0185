"""A plan overlay: what one customer has otherwise than the plan says, without a copy of the plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from libs.common.errors import Conflict, InputError, InvalidInput, NotFound
from libs.common.periods import Interval
from services.catalog.domain.interval_nesting import length_faults
from services.catalog.domain.plan_draft import PlanDraft
from services.catalog.domain.price import Price, price_id
from services.catalog.domain.price_faults import price_faults

# What an overlay may change: how much, never how. Another way to charge is another plan.
OVERRIDABLE = (
    "unit_amount",
    "tiers",
    "rate_percent",
    "fixed_amount_per_event",
    "free_events",
    "free_amount",
    "minimum_amount_per_event",
    "maximum_amount_per_event",
    "cells",
    "included_quantity",
    "minimum_amount",
    "maximum_amount",
)


class PlanOverlayNotFound(NotFound):
    """No overlay of this tenant has this id."""

    code = "plan_overlay_not_found"
    title = "There is no such plan overlay"


class PlanOverlayExists(Conflict):
    """A customer has one overlay of a plan version at a time, so that nobody has to guess which one holds."""

    code = "plan_overlay_exists"
    title = "The customer has an overlay already"


class PlanOverlayInvalid(InvalidInput):
    """The overlay does not fit its plan. All that is wrong is listed, each with its place and what to do."""

    code = "plan_overlay_invalid"
    title = "The plan overlay is invalid"


@dataclass(frozen=True, slots=True)
class PriceOverride:
    """The price of this code and currency, with `changes` in place of its own fields."""

    code: str
    currency: str
    changes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PlanOverlay:
    """Of one plan version, for one customer. `term` is how long it is agreed for, None for as long as it lasts.

    It never changes: it is withdrawn, and another one is made.
    """

    id: str
    customer_id: str
    plan_id: str
    plan_version_id: str
    overrides: tuple[PriceOverride, ...]
    term: Interval | None
    description: str
    version: int
    created_at: datetime
    withdrawn_at: datetime | None = None

    @property
    def withdrawn(self) -> bool:
        return self.withdrawn_at is not None

    def id_of(self, price: Price, plan_version_id: str, *, currency: str) -> str:
        """An overridden price has an id of its own, derived from overlay and code; the others keep theirs."""
        is_overridden = price.key in {(override.code, override.currency) for override in self.overrides}
        return price_id(self.id if is_overridden else plan_version_id, price, currency=currency)


def overlaid(content: PlanDraft, overrides: Sequence[PriceOverride]) -> PlanDraft:
    """The whole plan as the customer has it."""
    changes = {(override.code, override.currency): override.changes for override in overrides}
    return replace(
        content, prices=tuple(replace(price, **changes.get(price.key, {})) for price in content.prices)
    )


def check_overlay(overrides: Sequence[PriceOverride], term: Interval | None, content: PlanDraft) -> None:
    """Refuse what does not fit the plan version.

    Raises: PlanOverlayInvalid, with every fault and not only the first.
    """
    faults = list(overlay_faults(overrides, term, content))
    if faults:
        count = len(faults)
        raise PlanOverlayInvalid(
            f"the overlay has {count} fault{'s' if count > 1 else ''}: see errors",
            errors=faults,
            remedy="Correct what is listed and send it again.",
        )


def overlay_faults(
    overrides: Sequence[PriceOverride], term: Interval | None, content: PlanDraft
) -> Iterator[InputError]:
    """Everything wrong with it, each with its place and what to do."""
    if not overrides and term is None:
        yield {"pointer": "", "detail": "changes nothing: override a price, or give a term"}
    if term is not None:
        yield from length_faults(term, "/term")
    prices = {price.key: price for price in content.prices}
    first_with: dict[tuple[str, str], int] = {}
    for position, override in enumerate(overrides):
        at, key = f"/prices/{position}", (override.code, override.currency)
        price = prices.get(key)
        if price is None:
            detail = f"the plan has no price {override.code} in {override.currency}: name one that it has"
            yield {"pointer": f"{at}/code", "detail": detail}
            continue
        first = first_with.setdefault(key, position)
        if first != position:
            detail = f"/prices/{first} overrides this price already: leave one of the two out"
            yield {"pointer": f"{at}/code", "detail": detail}
        if not override.changes:
            yield {"pointer": at, "detail": "changes nothing of the price: say what is otherwise"}
        yield from price_faults(replace(price, **override.changes), at)


def withdraw(overlay: PlanOverlay, now: datetime) -> PlanOverlay:
    """It is no longer offered; a subscription that has it keeps it. Withdrawing twice is harmless."""
    if overlay.withdrawn:
        return overlay
    return replace(overlay, withdrawn_at=now, version=overlay.version + 1)
