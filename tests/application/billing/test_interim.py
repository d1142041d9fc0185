"""Usage is invoiced before its period is over, and all its invoices together are what one would have been (T19)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.contracts.catalog import PriceTierV1, PriceV1
from libs.common.contracts.subscriptions import SubscriptionItemV1
from libs.common.ids import new_id
from libs.common.money import Money
from services.billing.application.bill_interim import BillInterim, bill_interim
from services.billing.application.set_spend_threshold import SetSpendThreshold, set_spend_threshold
from services.billing.domain.charge import ItemUsage
from services.billing.domain.invoice import Invoice
from services.billing.domain.usage_difference import billed_lines
from tests.application.billing.telling import renew, start, use
from tests.support.billing import MINUTES, MemoryBilling, Story

EVERY = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class SoFar:
    """What metering would say of the window under way."""

    window_id: str
    period_index: int
    window_start: datetime
    window_end: datetime
    counted_until: datetime
    totals: tuple[ItemUsage, ...]


def so_far(story: Story, minutes: str, *, at: datetime, index: int = 0) -> SoFar:
    usage = story.usage(index, minutes)
    return SoFar(usage.window_id, index, usage.window_start, usage.window_end, at, usage.totals)


async def with_threshold(story: Story, uow: MemoryBilling, amount_minor: int) -> None:
    await set_spend_threshold(
        SetSpendThreshold(story.subscription_id, Money(amount_minor, "USD")),
        now=story.boundary(0),
        uow=uow,
        check_version=lambda version: None,
    )


async def look(story: Story, uow: MemoryBilling, minutes: str, *, day: int = 10) -> Invoice | None:
    at = story.boundary(0) + timedelta(days=day)
    window = so_far(story, minutes, at=at)
    return await bill_interim(BillInterim(story.subscription_id, [window], at, EVERY), uow=uow)


def usage_minor(uow: MemoryBilling) -> int:
    return sum(c.amount.amount_minor for c in uow.charges.by_id.values() if c.kind == "usage")


async def test_usage_at_the_threshold_is_invoiced_at_once_and_the_rest_at_the_end(
    uow: MemoryBilling, story: Story
) -> None:
    await start(story, uow)
    await with_threshold(story, uow, 1_000_00)
    assert await look(story, uow, "192") is None  # 998.40
    interim = await look(story, uow, "193")
    assert interim is not None
    assert (interim.document_kind, interim.status, interim.total) == (
        "interim",
        "finalized",
        Money(1_003_60, "USD"),
    )
    (line,) = uow.invoices.lines[interim.id]
    assert (line.service_start_on, line.service_end_on) == (
        story.period(0).start_on,
        (story.boundary(0) + timedelta(days=10)).date(),
    )
    assert await look(story, uow, "385") is None  # 998.40 more
    assert (await look(story, uow, "386")) is not None
    await renew(story, uow, 1)
    last = await use(story, uow, 0, "400")
    assert last is not None
    assert last.status == "finalized"
    lines = [line.amount for line in uow.invoices.lines[last.id] if line.item_id == story.minutes_item]
    assert lines == [Money(72_80, "USD")]
    assert usage_minor(uow) == 400 * 5_20


async def test_a_look_repeated_charges_nothing_and_what_was_voided_comes_back_at_the_end(
    uow: MemoryBilling, story: Story
) -> None:
    await start(story, uow)
    await with_threshold(story, uow, 100_00)
    assert await look(story, uow, "100") is not None
    assert await look(story, uow, "100") is None
    assert await look(story, uow, "60") is None  # voids: less than nothing is left to charge
    assert usage_minor(uow) == 520_00
    await renew(story, uow, 1)
    await use(story, uow, 0, "60")
    assert usage_minor(uow) == 312_00


async def test_what_is_told_after_the_window_has_closed_is_not_charged(
    uow: MemoryBilling, story: Story
) -> None:
    await start(story, uow)
    await with_threshold(story, uow, 1_00)
    await renew(story, uow, 1)
    await use(story, uow, 0, "10")
    assert await look(story, uow, "1000") is None
    assert usage_minor(uow) == 52_00


async def test_a_subscription_without_threshold_or_that_has_ended_is_let_alone(
    uow: MemoryBilling, story: Story
) -> None:
    await start(story, uow)
    assert await look(story, uow, "1000") is None
    await with_threshold(story, uow, 1_00)
    (agreement,) = uow.agreements.by_id.values()
    uow.agreements.save(replace(agreement, next_boundary_at=None))
    assert await look(story, uow, "1000") is None
    assert uow.spend_thresholds.by_id[story.subscription_id].due_at is None


amounts = st.decimals("0", "20", places=3)
quantities = st.integers(0, 400).map(lambda n: Decimal(n) / 4)


@st.composite
def usage_prices(draw: st.DrawFn) -> PriceV1:
    """A price in tiers, per unit or by the package; with what is free, a minimum and a maximum, or without."""
    terms: dict[str, Any] = {"id": new_id("prc"), "code": "used", "currency": "USD"}
    model = draw(st.sampled_from(["graduated", "volume", "per_unit", "package"]))
    if model in ("graduated", "volume"):
        bounds = sorted(draw(st.sets(st.integers(1, 80), max_size=3)))
        tiers = [
            PriceTierV1(up_to=None if bound is None else Decimal(bound), unit_amount=draw(amounts))
            for bound in [*bounds, None]
        ]
        terms |= {"tiers": tuple(tiers), "unit_amount": None}
    else:
        terms |= {"tiers": (), "unit_amount": draw(amounts)}
    if model == "package":
        terms["package_size"] = Decimal(draw(st.integers(1, 10)))
    terms["included_quantity"] = Decimal(draw(st.sampled_from([0, 0, 7])))
    terms["minimum_amount"] = draw(st.sampled_from([None, None, Decimal("25")]))
    terms["maximum_amount"] = draw(st.sampled_from([None, None, Decimal("300")]))
    return MINUTES.model_copy(update={**terms, "model": model})


@settings(max_examples=40, deadline=None)
@given(
    price=usage_prices(),
    threshold=st.integers(1, 400_00),
    looks=st.lists(quantities, max_size=6),
    total=quantities,
)
def test_lines_split_by_a_threshold_sum_to_the_unsplit_rating(
    price: PriceV1, threshold: int, looks: Sequence[Decimal], total: Decimal
) -> None:
    """However usage grows or is taken back, and whatever the threshold: line by line, and to the cent."""

    async def life(looks: Sequence[Decimal]) -> tuple[dict[str, int], int, list[Invoice]]:
        uow, story = MemoryBilling(), Story(metered=False)
        story.items.append(SubscriptionItemV1(item_id=story.minutes_item, price=price))
        await start(story, uow)
        await with_threshold(story, uow, threshold)
        issued = [await look(story, uow, str(used), day=day) for day, used in enumerate(looks, start=1)]
        await renew(story, uow, 1)
        await use(story, uow, 0, str(total))
        lines = [line for lines in uow.invoices.lines.values() for line in lines]
        billed = sum(line.amount.amount_minor for line in lines if line.item_id == story.minutes_item)
        charged = billed_lines(sorted(uow.charges.by_id.values(), key=lambda charge: charge.revision))
        by_line = {line.key: line.amount.amount_minor for line in charged if line.amount.amount_minor}
        return by_line, billed, [invoice for invoice in issued if invoice is not None]

    split, split_minor, interims = asyncio.run(life(looks))
    unsplit, unsplit_minor, none = asyncio.run(life([]))
    assert none == []
    assert split_minor == unsplit_minor
    assert split == unsplit
    assert all(invoice.total.amount_minor >= threshold for invoice in interims)
