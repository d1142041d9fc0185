"""Unpaid invoices step by step, against a real database: whoever does not pay is reminded, suspended and ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from libs.common.contracts.catalog import DunningV1
from libs.common.ids import new_id
from services.billing.application.change_dunning import (
    PauseDunning,
    ResumeDunning,
    SkipStep,
    pause_dunning,
    resume_dunning,
    skip_step,
)
from services.billing.application.dun_invoice import start_dunning
from services.billing.application.reverse_payment import ReversePayment, reverse_payment
from services.billing.application.try_payment_again import TryPaymentAgain, try_payment_again
from services.billing.application.void_invoice import VoidInvoice, void_invoice
from services.billing.application.write_off_invoice import WriteOffInvoice, write_off_invoice
from tests.integration.billing.crediting import BOTH, get, listed, post
from tests.integration.billing.workbench import Workbench
from tests.support.billing import Story
from tests.support.clocks import FixedClock
from tests.support.service_under_test import ServiceUnderTest, new_tenant

STRICT = DunningV1(
    retry_days=(2,), reminder_days=(3, 10), suspend_after_days=14, end_after_days=30, writes_off=True
)
DUE_AFTER = 14  # what the seller's terms say
DAY = timedelta(days=1)


async def an_unpaid(
    bench: Workbench, tenant: str, dunning: DunningV1 = STRICT, behaviour: str | None = None
) -> tuple[Story, FixedClock]:
    """An invoice whose first try has failed, at its boundary."""
    await bench.add_seller(tenant)
    story = Story(tenant, metered=False, dunning=dunning)
    await bench.hear(story.started())
    if behaviour is not None:
        await bench.add_method(story, behaviour)
    clock = FixedClock(story.boundary(0))
    await bench.run_job("collect_payments", clock=clock)
    return story, clock


async def go_on(bench: Workbench, clock: FixedClock, days: int) -> None:
    """Day by day, as a worker would live through them."""
    for _ in range(days):
        clock.advance(DAY)
        await bench.run_job("collect_payments", clock=clock)
        await bench.run_job("advance_dunning", clock=clock)


async def steps(bench: Workbench, tenant: str, story: Story) -> list[tuple[int, str]]:
    """What was told of dunning, by days after the due date."""
    due = story.boundary(0) + DUE_AFTER * DAY
    found = [row for row in await bench.told(tenant) if row["type"].endswith("dunning.step_taken.v1")]
    return [(round((row["occurred_at"] - due) / DAY), json.loads(row["data"])["kind"]) for row in found]


async def dunning_of(bench: Workbench, tenant: str) -> Mapping[str, Any]:
    (row,) = await bench.rows("SELECT * FROM dunning WHERE tenant = $1", tenant)
    return row


async def invoice_of(bench: Workbench, tenant: str) -> Mapping[str, Any]:
    (row,) = await bench.invoices(tenant)
    return row


ALL_STEPS = [(3, "reminder"), (10, "final_reminder"), (14, "suspend"), (30, "end")]


async def test_whoever_has_no_payment_method_reaches_the_end(own_bench: Workbench, tenant: str) -> None:
    bench = own_bench
    story, clock = await an_unpaid(bench, tenant)
    await go_on(bench, clock, 60)
    assert await steps(bench, tenant, story) == ALL_STEPS
    assert (await dunning_of(bench, tenant))["state"] == "exhausted"
    assert (await invoice_of(bench, tenant))["status"] == "uncollectible"
    assert [row["reason"] for row in await bench.attempts(tenant)] == ["no_payment_method"] * 2
    ended = json.loads((await bench.told(tenant))[-2]["data"])
    assert (ended["kind"], ended["days_overdue"], ended["due_minor"], ended["subscription_ids"]) == (
        "end",
        30,
        240000,
        [story.subscription_id],
    )
    assert await bench.what_is_wrong() == []


async def test_by_default_it_is_suspended_when_the_retries_end(bench: Workbench, tenant: str) -> None:
    story, clock = await an_unpaid(bench, tenant, DunningV1(), "always_fails")
    await go_on(bench, clock, 40)
    assert await steps(bench, tenant, story) == [(1 + 3 - DUE_AFTER, "suspend")]
    assert (await dunning_of(bench, tenant))["due_at"] is None


async def test_what_is_paid_at_once_is_never_dunned(bench: Workbench, tenant: str) -> None:
    await an_unpaid(bench, tenant, behaviour="succeeds")
    assert await bench.rows("SELECT * FROM dunning WHERE tenant = $1", tenant) == []


async def test_it_stops_when_the_invoice_is_paid(bench: Workbench, tenant: str) -> None:
    story, clock = await an_unpaid(bench, tenant, behaviour="always_fails")
    await go_on(bench, clock, DUE_AFTER + 4)
    await bench.add_method(story)
    async with bench.open(tenant) as uow:
        await try_payment_again(TryPaymentAgain((await invoice_of(bench, tenant))["id"], clock.now), uow=uow)
    await go_on(bench, clock, 60)
    assert await steps(bench, tenant, story) == ALL_STEPS[:1]
    assert (await invoice_of(bench, tenant))["status"] == "paid"
    assert (await dunning_of(bench, tenant))["due_at"] is None


async def test_it_stops_when_the_invoice_is_void_or_given_up(bench: Workbench, tenant: str) -> None:
    story, clock = await an_unpaid(bench, tenant, DunningV1(reminder_days=(3, 10)))
    await go_on(bench, clock, DUE_AFTER + 4)
    invoice_id = (await invoice_of(bench, tenant))["id"]
    async with bench.open(tenant) as uow:
        given_up = WriteOffInvoice(invoice_id, "gone", clock.now)
        await write_off_invoice(given_up, uow=uow, check_version=lambda version: None)
    await go_on(bench, clock, 10)
    assert [kind for _, kind in await steps(bench, tenant, story)] == ["suspend", "reminder"]
    other = Story(tenant, metered=False, dunning=DunningV1(reminder_days=(3,)))
    await bench.hear(other.started())
    await bench.run_job("collect_payments", clock=(again := FixedClock(other.boundary(0))))
    other_id = next(row["id"] for row in await bench.invoices(tenant) if row["id"] != invoice_id)
    async with bench.open(tenant) as uow:
        void = VoidInvoice(other_id, "wrong", again.now)
        await void_invoice(void, uow=uow, check_version=lambda version: None)
    await go_on(bench, again, DUE_AFTER + 10)
    assert len(await steps(bench, tenant, story)) == 2


async def test_a_worker_that_was_away_sends_one_letter(bench: Workbench, tenant: str) -> None:
    story, clock = await an_unpaid(bench, tenant)
    clock.advance((DUE_AFTER + 12) * DAY)
    await bench.run_job("advance_dunning", clock=clock)
    assert await steps(bench, tenant, story) == [(12, "final_reminder")]
    behind = json.loads((await dunning_of(bench, tenant))["behind"])
    assert [one["outcome"] for one in behind] == ["overtaken", "taken"]


async def test_an_invoice_that_somebody_holds_is_looked_at_again(bench: Workbench, tenant: str) -> None:
    """Whoever holds it may be writing down its payment: nobody waits, and no step is taken meanwhile."""
    story, clock = await an_unpaid(bench, tenant)
    clock.advance((DUE_AFTER + 3) * DAY)
    async with bench.admin() as admin, admin.transaction():
        await admin.execute("SELECT FROM invoice WHERE tenant = $1 FOR UPDATE", tenant)
        await bench.run_job("advance_dunning", clock=clock)
        assert await steps(bench, tenant, story) == []
    clock.advance(timedelta(seconds=2))
    await bench.run_job("advance_dunning", clock=clock)
    assert await steps(bench, tenant, story) == ALL_STEPS[:1]


async def test_a_pause_holds_everything_back_and_moves_it(bench: Workbench, tenant: str) -> None:
    story, clock = await an_unpaid(bench, tenant)
    invoice_id = (await invoice_of(bench, tenant))["id"]
    async with bench.open(tenant) as uow:
        command = PauseDunning(invoice_id, "promised to pay", None, clock.now)
        await pause_dunning(command, uow=uow, check_version=lambda version: None)
    await go_on(bench, clock, 20)
    assert (len(await bench.attempts(tenant)), await steps(bench, tenant, story)) == (2, [])
    async with bench.open(tenant) as uow:
        await resume_dunning(
            ResumeDunning(invoice_id, clock.now), uow=uow, check_version=lambda version: None
        )
    (_, held) = await bench.attempts(tenant)
    assert held["due_at"] == story.boundary(0) + 22 * DAY
    await go_on(bench, clock, 60)
    assert await steps(bench, tenant, story) == [(20 + day, kind) for day, kind in ALL_STEPS]


async def test_a_pause_ends_by_itself(bench: Workbench, tenant: str) -> None:
    story, clock = await an_unpaid(bench, tenant)
    invoice_id = (await invoice_of(bench, tenant))["id"]
    async with bench.open(tenant) as uow:
        command = PauseDunning(invoice_id, "on holiday", clock.now + 7 * DAY, clock.now)
        await pause_dunning(command, uow=uow, check_version=lambda version: None)
    await go_on(bench, clock, 60)
    assert await steps(bench, tenant, story) == [(7 + day, kind) for day, kind in ALL_STEPS]


async def test_a_step_that_is_skipped_is_left_out(bench: Workbench, tenant: str) -> None:
    story, clock = await an_unpaid(bench, tenant)
    invoice_id = (await invoice_of(bench, tenant))["id"]
    async with bench.open(tenant) as uow:
        command = SkipStep(invoice_id, "suspend", 1, "a good customer", clock.now)
        await skip_step(command, uow=uow, check_version=lambda version: None)
    await go_on(bench, clock, 50)
    assert await steps(bench, tenant, story) == [step for step in ALL_STEPS if step[1] != "suspend"]


async def test_what_nobody_collects_is_overdue_after_its_day(own_bench: Workbench, tenant: str) -> None:
    bench = own_bench  # an attempt is lost, which the audit of others would find
    story, clock = await not_collected(bench, tenant)
    await go_on(bench, clock, 60)
    assert await steps(bench, tenant, story) == [(1, "overdue"), *ALL_STEPS]
    assert await bench.attempts(tenant) == []


async def not_collected(bench: Workbench, tenant: str) -> tuple[Story, FixedClock]:
    """Issued, with nobody trying to collect it."""
    await bench.add_seller(tenant)
    story = Story(tenant, metered=False, dunning=STRICT)
    await bench.hear(story.started())
    clock = FixedClock(story.boundary(0))
    async with bench.admin() as admin:
        await admin.execute("DELETE FROM payment_attempt WHERE tenant = $1", tenant)
    async with bench.open(tenant) as uow:
        invoice = await uow.invoices.get_for_update((await invoice_of(bench, tenant))["id"])
        await start_dunning(invoice, now=clock.now, uow=uow)
        await start_dunning(invoice, now=clock.now, uow=uow)  # a repeat changes nothing
    return story, clock


async def test_money_that_was_taken_back_is_dunned_anew_and_not_retried(
    bench: Workbench, tenant: str
) -> None:
    story, clock = await an_unpaid(bench, tenant, behaviour="fails_once")
    await go_on(bench, clock, 20)
    assert (await invoice_of(bench, tenant))["status"] == "paid"
    (payment,) = await bench.rows("SELECT id FROM payment WHERE tenant = $1", tenant)
    async with bench.open(tenant) as uow:
        taken_back = ReversePayment(payment["id"], None, "dispute", "not his card", clock.now)
        await reverse_payment(taken_back, uow=uow)
    assert (await invoice_of(bench, tenant))["status"] == "finalized"
    await go_on(bench, clock, 40)
    since = 20 - DUE_AFTER
    assert await steps(bench, tenant, story) == [(since + day, kind) for day, kind in ALL_STEPS]
    assert len(await bench.attempts(tenant)) == 2


async def test_by_a_test_clock_steps_come_in_its_time(bench: Workbench, tenant: str) -> None:
    await bench.add_seller(tenant)
    story = Story(tenant, metered=False, dunning=STRICT, clock=new_id("clk"))
    await bench.hear(story.started(), story.clock_moved(story.boundary(0)))
    await bench.run_job("collect_payments")
    assert await bench.run_job("advance_dunning") == 0
    at: datetime = story.boundary(0) + (DUE_AFTER + 3) * DAY
    await bench.hear(story.clock_moved(at, version=2))
    await bench.run_job("advance_dunning")
    assert await steps(bench, tenant, story) == ALL_STEPS[:1]


async def test_a_person_has_a_say_over_http(billing: ServiceUnderTest, bench: Workbench, tenant: str) -> None:
    story, _ = await an_unpaid(bench, tenant)
    invoice_id = (await invoice_of(bench, tenant))["id"]
    path = f"/v1/invoices/{invoice_id}/dunning"
    async with billing.client(tenant, *BOTH) as client:
        shown = await get(client, path)
        assert [(step["kind"], step["number"]) for step in shown["ahead"]] == [
            ("reminder", 1),
            ("final_reminder", 2),
            ("suspend", 1),
            ("end", 1),
        ]
        assert (shown["state"], shown["amount_due"]["amount"], shown["behind"]) == ("running", "2400.00", [])
        paused = await post(client, f"{path}/pauses", {"reason": "promised", "until": "2099-01-01T00:00:00Z"})
        assert (paused["state"], paused["pause"]["reason"]) == ("paused", "promised")
        assert [one["id"] for one in await listed(client, "/v1/dunning", state="paused")] == [shown["id"]]
        twice = await post(client, f"{path}/pauses", {"reason": "again"}, expecting=409)
        assert twice["code"] == "dunning_paused"
        assert (await post(client, f"{path}/resumptions", {}))["pause"] is None
        skipped = await post(
            client, f"{path}/skipped-steps", {"kind": "suspend", "number": 1, "reason": "a good customer"}
        )
        assert [step["kind"] for step in skipped["ahead"]] == ["reminder", "final_reminder", "end"]
        assert [(one["outcome"], one["reason"]) for one in skipped["behind"]] == [
            ("skipped", "a good customer")
        ]
        gone = await post(
            client, f"{path}/skipped-steps", {"kind": "suspend", "number": 1, "reason": "x"}, expecting=409
        )
        assert gone["code"] == "dunning_step_not_ahead"
        assert gone["facts"]["ahead"] == ["reminder 1", "final_reminder 2", "end 1"]
        past = await post(
            client, f"{path}/pauses", {"reason": "late", "until": "2001-01-01T00:00:00Z"}, expecting=422
        )
        assert past["code"] == "dunning_pause_in_the_past"
        stale = {"if-match": f'"{shown["version"]}"', "idempotency-key": new_id("key")}
        refused = await client.post(f"{path}/pauses", json={"reason": "stale"}, headers=stale)
        assert refused.status_code == 412
        await post(client, f"/v1/invoices/{invoice_id}/write-offs", {"reason": "gone"})
        settled = await get(client, path)
        assert (settled["state"], settled["ahead"]) == ("settled", [])
        assert [one["id"] for one in await listed(client, "/v1/dunning", state="settled")] == [shown["id"]]
        assert await listed(client, "/v1/dunning", due_until="2098-01-01T00:00:00Z") == []
        over = await post(client, f"{path}/pauses", {"reason": "late"}, expecting=409)
        assert over["code"] == "dunning_over"
        customer = {"customer_id": story.customer.customer_id}
        assert len(await listed(client, "/v1/dunning", **customer)) == 1
    async with billing.client(new_tenant(), *BOTH) as stranger:
        assert (await stranger.get(path)).status_code == 404
        assert await listed(stranger, "/v1/dunning") == []
