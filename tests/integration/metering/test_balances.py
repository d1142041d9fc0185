"""Balances of usage under way: said soon, once, and not more often than once a second."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from libs.common.clock import SystemClock
from libs.common.contracts.metering import UsageBalanceUpdatedV1
from services.metering.adapters.usage_balances import note_all
from services.metering.entrypoints.scheduler import BalanceTelling
from tests.integration.metering.harness import Metering, Story, flight, utc
from tests.integration.metering.topic_harness import TopicMetering
from tests.support.small_service import eventually


def a_teller(metering: Metering) -> BalanceTelling:
    return BalanceTelling(metering.units, SystemClock(), rest_s=0)


async def make_due(metering: Metering) -> None:
    """As if the second after the last word, or the wait of a new window, were over."""
    async with metering.admin() as admin:
        await admin.execute(
            "UPDATE usage_balance SET due_at = now() - interval '1 s', said_at = said_at - interval '2 s' "
            "WHERE tenant = $1 AND due_at IS NOT NULL",
            metering.tenant,
        )


async def tell(metering: Metering) -> list[tuple[int, int, str]]:
    """(version, period, quantity) of all that was said by now."""
    await make_due(metering)
    await a_teller(metering).run_once()
    return [(e["version"], e["period_index"], e["quantity"]) for e in await balances(metering)]


async def balances(metering: Metering) -> list[dict[str, Any]]:
    said = await metering.said(UsageBalanceUpdatedV1)
    return [{"version": 1, **event} for event in said]  # what is default is left out


async def noted_count(metering: Metering) -> int:
    async with metering.admin() as admin:
        counted = await admin.fetchval(
            "SELECT count(*) FROM usage_balance WHERE tenant = $1 AND due_at <= now()", metering.tenant
        )
    return int(counted)


async def send_and_note(metering: Metering, *events: dict[str, Any], count: int = 1) -> None:
    await metering.send(*events)
    await eventually(lambda: noted_count(metering), count)


async def test_usage_is_said_after_zero_and_only_when_it_changes(metering: Metering, story: Story) -> None:
    await metering.define()
    await metering.hear(story.started(), story.bound())
    assert await tell(metering) == [(1, 0, "0")]
    await send_and_note(metering, flight("a", "2025-01-05T00:00:00Z", 5))
    assert await tell(metering) == [(1, 0, "0"), (2, 0, "5")]
    await send_and_note(metering, flight("last year", "2025-01-01T00:00:01Z", 0))
    assert len(await tell(metering)) == 2
    [_, said] = await balances(metering)
    assert (said["item_id"], said["subscription_id"]) == (story.item_id, story.subscription_id)
    assert (said["period_start"], said["period_end"]) == ("2025-01-01T00:00:00Z", "2025-02-01T00:00:00Z")
    assert utc("2025-02-01") < datetime.fromisoformat(said["as_of"]) <= SystemClock().system_now()


async def test_usage_of_nobody_is_said_of_nobody(metering: Metering, story: Story) -> None:
    await metering.define()
    await metering.hear(story.started(), story.bound("N1", end="2025-01-10"))
    await tell(metering)
    await metering.send(
        flight("unbound", "2025-01-05T00:00:00Z", 5, "N9"), flight("released", "2025-01-11T00:00:00Z", 5)
    )
    await send_and_note(metering, flight("bound", "2025-01-05T00:00:00Z", 1))
    assert await tell(metering) == [(1, 0, "0"), (2, 0, "1")]


async def test_an_item_is_said_once_a_second_however_much_is_used(metering: Metering, story: Story) -> None:
    await metering.define()
    await metering.hear(story.started(), story.bound())
    teller = a_teller(metering)
    began = asyncio.get_running_loop().time()
    n = 0
    while asyncio.get_running_loop().time() < began + 2.5:
        await metering.send(flight(str(n), "2025-01-05T00:00:00Z", 1))
        await teller.run_once()
        n += 1

    async def last_quantity() -> str:
        await teller.run_once()
        return str((await balances(metering))[-1]["quantity"])

    await eventually(last_quantity, str(n))
    said = [datetime.fromisoformat(event["as_of"]) for event in await balances(metering)]
    gaps = [later - earlier for earlier, later in pairwise(said)]
    assert 2 <= len(said) <= 5
    assert all(gap >= timedelta(seconds=0.99) for gap in gaps)


async def test_two_workers_say_a_balance_once(metering: Metering) -> None:
    await metering.define()
    stories = [Story(metering.tenant) for _ in range(30)]
    await metering.hear(*(s.started() for s in stories))
    await metering.hear(*(s.bound(f"N{n}") for n, s in enumerate(stories)))
    await tell(metering)
    events = [flight(str(n), "2025-01-05T00:00:00Z", n + 1, f"N{n}") for n in range(30)]
    await send_and_note(metering, *events, count=30)
    await make_due(metering)
    await asyncio.gather(*(a_teller(metering).run_once() for _ in range(4)))
    said = {(e["item_id"], e["version"]): e["quantity"] for e in await balances(metering)}
    assert len(said) == len(await balances(metering)) == 60
    assert [said[story.item_id, 2] for story in stories] == [str(n + 1) for n in range(30)]


async def test_usage_that_is_stored_while_a_balance_is_said_is_said_the_next_time(
    metering: Metering, story: Story
) -> None:
    """The last word is always the whole truth."""
    await metering.define()
    await metering.hear(story.started(), story.bound())
    teller, done = a_teller(metering), asyncio.Event()

    async def say() -> None:
        while not done.is_set():
            await make_due(metering)
            await teller.run_once()
            await asyncio.sleep(0)

    saying = asyncio.create_task(say())
    for n in range(60):
        await metering.send(flight(str(n), "2025-01-05T00:00:00Z", 1))
    done.set()
    await saying

    async def last_quantity() -> str:
        await make_due(metering)
        await teller.run_once()
        return str((await balances(metering))[-1]["quantity"])

    await eventually(last_quantity, "60")


async def test_a_new_period_begins_with_zero_and_the_old_one_is_silent(
    metering: Metering, story: Story
) -> None:
    await metering.define()
    await metering.hear(story.started(), story.bound())
    await send_and_note(metering, flight("a", "2025-01-05T00:00:00Z", 5))
    await tell(metering)
    await metering.hear(story.renewed(1))
    await send_and_note(metering, flight("late", "2025-01-06T00:00:00Z", 5))
    await send_and_note(metering, flight("new", "2025-02-06T00:00:00Z", 7))
    assert await tell(metering) == [(1, 0, "5"), (2, 1, "7")]


async def test_a_swap_of_bindings_and_a_new_meter_are_said(metering: Metering, story: Story) -> None:
    await metering.send(flight("a", "2025-01-05T00:00:00Z", 5), flight("b", "2025-01-05T00:00:00Z", 7, "N2"))
    await metering.hear(story.started(), story.bound())
    await tell(metering)
    await metering.define()
    await tell(metering)
    await metering.hear(story.bound("N2"))
    assert [quantity for _, _, quantity in await tell(metering)] == ["0", "5", "12"]


async def test_a_clock_that_stands_still_hears_of_usage_and_is_not_kept_waiting(metering: Metering) -> None:
    story = Story(metering.tenant, clock="clk_b" + metering.tenant)
    await metering.define()
    await metering.hear(story.clock_moved("2025-01-02T00:00:00", 1), story.started(), story.bound())
    await send_and_note(metering, flight("a", "2025-01-01T12:00:00Z", 5))
    async with metering.service.client(metering.tenant, "clocks:read") as client:
        dues = (await client.get(f"/v1/metering-operations/clock-dues/{story.clock}")).json()
    assert (dues["busy"], dues["earliest_due_at"]) == (0, None)
    assert await tell(metering) == [(1, 0, "5")]
    [said] = await balances(metering)
    assert (said["test_clock"], said["occurred_at"]) == (story.clock, "2025-01-02T00:00:00Z")


async def test_a_process_that_begins_says_what_the_last_one_left_unsaid(
    metering: Metering, story: Story
) -> None:
    await metering.define()
    await metering.hear(story.started(), story.bound())
    await send_and_note(metering, flight("a", "2025-01-05T00:00:00Z", 5))
    await tell(metering)
    await metering.send(flight("b", "2025-01-05T00:00:00Z", 2))
    async with metering.admin() as admin:  # as if it had been killed before its note
        await asyncio.sleep(1)
        await admin.execute("UPDATE usage_balance SET due_at = NULL WHERE tenant = $1", metering.tenant)
    assert len(await tell(metering)) == 1
    await note_all(metering.service.parts.api_database)
    assert await tell(metering) == [(1, 0, "5"), (2, 0, "7")]


async def test_usage_through_the_topic_is_said_too(through_topic: TopicMetering) -> None:
    story = Story(through_topic.tenant)
    await through_topic.define()
    await through_topic.hear(story.started(), story.bound())
    await tell(through_topic)
    await through_topic.send(flight("a", "2025-01-05T00:00:00Z", 5))
    await through_topic.store_all()
    await eventually(lambda: noted_count(through_topic), 1)
    assert await tell(through_topic) == [(1, 0, "0"), (2, 0, "5")]
