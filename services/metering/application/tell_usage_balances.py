"""Say how much was used so far in the period under way, of items whose usage may have changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from libs.common.clock import Clock
from services.metering.application import events
from services.metering.application.now_of_windows import now_of_windows
from services.metering.application.ports import UnitOfWork
from services.metering.domain.meter import Aggregation
from services.metering.domain.usage_balance import narrowed, say
from services.metering.domain.usage_window import UsageTotal


@dataclass(frozen=True, slots=True)
class TellUsageBalances:
    """Items of one tenant whose balances are held by this transaction, and by no other."""

    item_ids: Sequence[str]


async def tell_usage_balances(command: TellUsageBalances, *, uow: UnitOfWork, clock: Clock) -> int:
    """Sum the items in one statement, and say what differs from what was said last; returns how many did.

    An item whose period is over, or that is not measured in it, has no balance. Told again, nothing is said.
    Emits: UsageBalanceUpdated for each item whose period or quantity is another.
    """
    as_of = clock.system_now()
    balances = {balance.item_id: balance for balance in await uow.balances.load(command.item_ids)}
    windows = {}
    items_by_window: defaultdict[str, set[str]] = defaultdict(set)
    for item_id, window in (await uow.balances.find_under_way(list(balances))).items():
        windows[window.id] = window
        items_by_window[window.id].add(item_id)
    now = await now_of_windows(windows.values(), uow=uow, clock=clock)
    totals = await uow.usage.sum_windows(
        [narrowed(windows[id], items) for id, items in items_by_window.items()], until=now
    )
    aggregations = await _aggregations(totals.values(), uow)
    said_count = 0
    for id, window in windows.items():
        for total in totals[id]:
            said = say(balances[total.item_id], window_id=id, quantity=total.quantity, system_now=as_of)
            if said is None:
                continue
            said_count += 1
            balances[total.item_id] = said
            event = events.for_balance(
                said,
                window,
                total,
                aggregation=aggregations[total.meter],
                tenant=uow.tenant,
                now=now[id],
                as_of=as_of,
            )
            uow.outbox.append(event, key=said.item_id)
    await uow.balances.settle(list(balances.values()))
    return said_count


async def _aggregations(totals: Iterable[Sequence[UsageTotal]], uow: UnitOfWork) -> Mapping[str, Aggregation]:
    """By the code of the meter. Of one that is not defined yet nothing is used, however that is counted."""
    codes = {total.meter for of_window in totals for total in of_window}
    meters = {code: await uow.meters.find_by_code(code) for code in sorted(codes)}
    return {code: "sum" if meter is None else meter.aggregation for code, meter in meters.items()}
