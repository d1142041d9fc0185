"""What was said last of the usage of one item in the period under way, and when it is to be said again."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from services.metering.domain.metered_item import MeteredItem, joined
from services.metering.domain.usage_window import UsageWindow

SAID_AT_MOST_EVERY = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class UsageBalance:
    """`version` counts how often it was said; nothing else is kept of a balance that never was."""

    item_id: str
    version: int = 0
    window_id: str | None = None
    quantity: Decimal | None = None
    said_at: datetime | None = None


def say(
    balance: UsageBalance, *, window_id: str, quantity: Decimal, system_now: datetime
) -> UsageBalance | None:
    """The balance with what there is to say; None when just that was said of this window already."""
    if (balance.window_id, balance.quantity) == (window_id, quantity):
        return None
    return replace(
        balance, version=balance.version + 1, window_id=window_id, quantity=quantity, said_at=system_now
    )


def narrowed(window: UsageWindow, item_ids: Collection[str]) -> UsageWindow:
    """The window with these items alone, each once whatever its prices: on the meter that measured it last."""
    items: dict[str, MeteredItem] = {}
    for item in window.measured_items:
        if item.item_id not in item_ids:
            continue
        known = items.get(item.item_id)
        if known is None or not item.spans or not known.spans:
            items[item.item_id] = MeteredItem(item.item_id, item.meter, spans=item.spans)
        elif known.meter == item.meter:
            items[item.item_id] = MeteredItem(
                item.item_id, item.meter, spans=joined(sorted((*known.spans, *item.spans)))
            )
        elif item.spans[-1].end > known.spans[-1].end:
            items[item.item_id] = MeteredItem(item.item_id, item.meter, spans=item.spans)
    return replace(window, items=tuple(items.values()))
