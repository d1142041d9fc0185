"""Tell that the usage of a period has reached marks of alerts, each once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from libs.common.clock import Clock
from services.metering.application import events
from services.metering.application.now_of_windows import now_of_windows
from services.metering.application.ports import UnitOfWork
from services.metering.domain.metered_item import MeteredItem, joined
from services.metering.domain.usage_alert import Firing, UsageAlert, firing_id, reached, together
from services.metering.domain.usage_window import UsageWindow


@dataclass(frozen=True, slots=True)
class FireUsageAlerts:
    """Alerts of one tenant whose usage may have changed."""

    alerts: Sequence[UsageAlert]


async def fire_usage_alerts(command: FireUsageAlerts, *, uow: UnitOfWork, clock: Clock) -> int:
    """Fire every mark that usage of the period under way has come to; returns how many fired.

    Whoever else finds the same at the same time, or did before, leaves a firing that is not made again. Alerts with
    nothing left to fire in their period cost no sum.
    Emits: UsageThresholdReached for each mark, ascending.
    """
    as_of = clock.system_now()
    windows = await uow.alerts.find_under_way(sorted({alert.subscription_id for alert in command.alerts}))
    fired = await uow.alerts.find_fired(
        [(alert.id, windows[alert.subscription_id].id) for alert in _of(command.alerts, windows)]
    )
    open_alerts = [
        alert
        for alert in _of(command.alerts, windows)
        if len(fired.get((alert.id, windows[alert.subscription_id].id), ())) < len(alert.marks)
    ]
    now = await now_of_windows(windows.values(), uow=uow, clock=clock)
    used = await _quantities(open_alerts, windows, now, uow)
    found: list[tuple[UsageAlert, Firing]] = []
    for alert in open_alerts:
        window = windows[alert.subscription_id]
        items = [used[key] for key in _watched(alert, window) if key in used]
        if not items:
            continue
        quantity = await _together(alert.meter, [item.quantity for item in items], uow)
        most = max(items, key=lambda item: item.quantity)
        places = reached(alert, quantity, fired.get((alert.id, window.id), ()))
        found += [(alert, _firing(alert, window, place, most.item_id, quantity, as_of)) for place in places]
    made = await uow.alerts.record_firings([firing for _, firing in found])
    for alert, firing in found:
        if firing.id not in made:
            continue
        window = windows[alert.subscription_id]
        event = events.for_firing(alert, firing, window, tenant=uow.tenant, now=now[window.id], as_of=as_of)
        uow.outbox.append(event, key=alert.id)
        uow.record("usage_alert.fired", alert.id, alert.version)
    return len(made)


def _of(alerts: Iterable[UsageAlert], windows: Mapping[str, UsageWindow]) -> Iterable[UsageAlert]:
    return (alert for alert in alerts if alert.subscription_id in windows)


@dataclass(frozen=True, slots=True)
class _Used:
    item_id: str
    quantity: Decimal


async def _quantities(
    alerts: Sequence[UsageAlert],
    windows: Mapping[str, UsageWindow],
    now: Mapping[str, datetime],
    uow: UnitOfWork,
) -> Mapping[tuple[str, str, str], _Used]:
    """By window, item and meter, summed in one statement: what an item used at any price, on that meter alone."""
    wanted: dict[str, dict[tuple[str, str], MeteredItem]] = defaultdict(dict)
    by_id = {window.id: window for window in windows.values()}
    for alert in alerts:
        window = windows[alert.subscription_id]
        for _, item_id, meter in _watched(alert, window):
            wanted[window.id][item_id, meter] = _measured(window, item_id, meter)
    totals = await uow.usage.sum_windows(
        [replace(by_id[id], items=tuple(items.values())) for id, items in wanted.items()], until=now
    )
    return {
        (id, total.item_id, total.meter): _Used(total.item_id, total.quantity)
        for id, of_window in totals.items()
        for total in of_window
    }


def _watched(alert: UsageAlert, window: UsageWindow) -> list[tuple[str, str, str]]:
    items = {
        item.item_id
        for item in window.measured_items
        if item.meter == alert.meter and alert.item_id in (None, item.item_id)
    }
    return [(window.id, item_id, alert.meter) for item_id in sorted(items)]


def _measured(window: UsageWindow, item_id: str, meter: str) -> MeteredItem:
    """The item once, over all the time that one of its prices held."""
    found = [item for item in window.measured_items if (item.item_id, item.meter) == (item_id, meter)]
    if any(not item.spans for item in found):
        return MeteredItem(item_id, meter)
    return MeteredItem(item_id, meter, spans=joined(sorted(span for item in found for span in item.spans)))


async def _together(meter: str, quantities: Sequence[Decimal], uow: UnitOfWork) -> Decimal:
    if len(quantities) == 1:
        return quantities[0]
    defined = await uow.meters.find_by_code(meter)
    return together("sum" if defined is None else defined.aggregation, quantities)


def _firing(
    alert: UsageAlert, window: UsageWindow, place: int, item_id: str, quantity: Decimal, as_of: datetime
) -> Firing:
    return Firing(
        id=firing_id(alert.id, window.id, place),
        alert_id=alert.id,
        window_id=window.id,
        place=place,
        item_id=item_id,
        period_index=window.period_index,
        mark=alert.marks[place],
        quantity=quantity,
        fired_at=as_of,
    )
