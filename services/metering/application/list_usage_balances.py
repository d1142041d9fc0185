"""Where the usage of each item stands in the period under way: as it is now, and as it was said last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from libs.common.clock import Clock
from libs.common.paging import PageRequest, Slice
from services.metering.application.now_of_windows import now_of_windows
from services.metering.application.ports import UnitOfWork
from services.metering.application.reads import AnswerPosition, WindowFilter
from services.metering.application.usage_question import filled_until
from services.metering.domain.usage_balance import narrowed
from services.metering.domain.usage_window import UsageTotal, UsageWindow


@dataclass(frozen=True, slots=True)
class BalanceFilter:
    item_id: str | None = None
    subscription_id: str | None = None
    customer_id: str | None = None


@dataclass(frozen=True, slots=True)
class BalanceNow:
    """`said_quantity` is what others were told last of this period, at `said_at`; both None if nothing was yet."""

    window: UsageWindow
    total: UsageTotal
    said_quantity: Decimal | None
    said_at: datetime | None
    filled_until: datetime | None


@dataclass(frozen=True, slots=True)
class BalancesNow:
    balances: Slice[BalanceNow]
    position: AnswerPosition


async def list_usage_balances(
    wanted: BalanceFilter, page: PageRequest, *, of: str | None, uow: UnitOfWork, clock: Clock
) -> BalancesNow:
    """A page is of so many periods, each with all its items. A customer who asks for himself sees his own."""
    position = await uow.reads.position()
    if of is not None and wanted.customer_id not in (None, of):
        return BalancesNow(Slice(items=()), position)
    found = await uow.reads.list_windows(
        WindowFilter(
            subscription_id=wanted.subscription_id,
            customer_id=of or wanted.customer_id,
            state="open",
            item_id=wanted.item_id,
        ),
        page,
    )
    windows = [_of_items(window, wanted.item_id) for window in found.items if window.is_under_way]
    now = await now_of_windows(windows, uow=uow, clock=clock)
    balances = await _balances(windows, now, uow)
    return BalancesNow(Slice(items=tuple(balances), next=found.next), position)


def _of_items(window: UsageWindow, item_id: str | None) -> UsageWindow:
    known = {item.item_id for item in window.measured_items}
    return narrowed(window, known if item_id is None else known & {item_id})


async def _balances(
    windows: Sequence[UsageWindow], now: Mapping[str, datetime], uow: UnitOfWork
) -> list[BalanceNow]:
    totals = await uow.usage.sum_windows(windows, until=now)
    item_ids = [total.item_id for window in windows for total in totals[window.id]]
    said = {balance.item_id: balance for balance in await uow.balances.load(item_ids)}
    codes = {total.meter for window in windows for total in totals[window.id]}
    versions = {code: await uow.reads.list_meter_versions(code) for code in sorted(codes)}
    found = []
    for window in windows:
        for total in totals[window.id]:
            balance = said.get(total.item_id)
            is_said = balance is not None and balance.window_id == window.id
            found.append(
                BalanceNow(
                    window=window,
                    total=total,
                    said_quantity=balance.quantity if balance is not None and is_said else None,
                    said_at=balance.said_at if balance is not None and is_said else None,
                    filled_until=filled_until(versions[total.meter], window.window_start, window.window_end),
                )
            )
    return found
