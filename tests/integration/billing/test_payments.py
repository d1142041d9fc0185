"""Collecting invoices: claimed, asked for outside of transactions, recorded once, tried again by the schedule."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from libs.common.ids import new_id
from libs.common.money import Money
from libs.common.stopping import Stopping
from services.billing.adapters.sandbox_gateway import SandboxGateway
from services.billing.application.gateway_ports import PaymentGateway
from services.billing.application.try_payment_again import TryPaymentAgain, try_payment_again
from services.billing.domain.payment import Outcome, PaymentMethod, PaymentUnderWay
from tests.integration.billing.workbench import RETRY_DAYS, Workbench, after
from tests.support.billing import Story
from tests.support.clocks import FixedClock

CLAIM_S = 30


class Watched(PaymentGateway):
    """A gateway that notes what it is asked, and may be slow, or silent."""

    def __init__(self, gateway: SandboxGateway, *, pause_s: float = 0.0, silent: bool = False) -> None:
        self._gateway, self._pause_s, self._silent = gateway, pause_s, silent
        self.asked: list[str] = []
        self.collected: list[str] = []

    async def collect(
        self, *, tenant: str, idempotency_key: str, method: PaymentMethod, amount: Money, at: datetime
    ) -> Outcome:
        self.collected.append(idempotency_key)
        await asyncio.sleep(self._pause_s)
        outcome = await self._gateway.collect(
            tenant=tenant, idempotency_key=idempotency_key, method=method, amount=amount, at=at
        )
        if self._silent:
            raise ConnectionResetError("the line went dead")
        return outcome

    async def find_outcome(self, *, idempotency_key: str, **known: Any) -> Outcome | None:
        self.asked.append(idempotency_key)
        return await self._gateway.find_outcome(idempotency_key=idempotency_key, **known)


async def a_story(bench: Workbench, tenant: str, behaviour: str | None = "succeeds", **options: Any) -> Story:
    """One finalized invoice, whose first attempt is due at once."""
    await bench.add_seller(tenant)
    story = Story(tenant, metered=False, **options)
    await bench.hear(story.started())
    if behaviour is not None:
        await bench.add_method(story, behaviour)
    return story


async def states(bench: Workbench, tenant: str) -> list[str]:
    return [row["state"] for row in await bench.attempts(tenant)]


async def told(bench: Workbench, tenant: str) -> list[str]:
    """Of invoices and their payments."""
    types = [row["type"].split(".", 2)[2] for row in await bench.told(tenant)]
    return [told for told in types if told != "payment_method.changed.v1"]


async def money_taken(bench: Workbench, tenant: str) -> list[int]:
    """What the gateway, which is not ours, says that it took."""
    found = await bench.rows(
        """SELECT g.amount_minor FROM sandbox_gateway_payment g JOIN payment_attempt a
           ON a.id = g.idempotency_key WHERE a.tenant = $1 AND g.succeeded""",
        tenant,
    )
    return [row["amount_minor"] for row in found]


async def balance(bench: Workbench, tenant: str) -> dict[str, int]:
    """Without what is earned later."""
    found = await bench.rows(
        """SELECT account, sum(amount_minor)::bigint AS minor FROM ledger_entry
           WHERE tenant = $1 AND posting_key NOT LIKE '%:earned:%' GROUP BY 1""",
        tenant,
    )
    return {row["account"]: row["minor"] for row in found}


async def test_an_invoice_is_paid(bench: Workbench, tenant: str) -> None:
    story = await a_story(bench, tenant)
    clock = after(story.boundary(0), minutes=5)
    await bench.collect(clock=clock)
    (invoice,) = await bench.invoices(tenant)
    (attempt,) = await bench.attempts(tenant)
    assert (invoice["status"], invoice["paid_minor"], invoice["paid_at"]) == ("paid", 240000, clock.now)
    assert (attempt["state"], attempt["due_at"], attempt["ended_at"]) == ("succeeded", None, clock.now)
    assert attempt["gateway_reference"] == f"sandbox-{attempt['id']}"
    assert await told(bench, tenant) == ["invoice.finalized.v1", "invoice.paid.v1", "payment.received.v1"]
    assert await balance(bench, tenant) == {
        "accounts_receivable": 0,
        "cash": 240000,
        "contract_liability": -240000,
    }
    assert await bench.collect(clock=clock) == 0


async def test_nothing_is_asked_before_it_is_due(bench: Workbench, tenant: str) -> None:
    story = await a_story(bench, tenant)
    await bench.collect(clock=FixedClock(story.boundary(0) - timedelta(microseconds=1)))
    assert await states(bench, tenant) == ["pending"]
    await bench.collect(clock=FixedClock(story.boundary(0)))
    assert await states(bench, tenant) == ["succeeded"]


async def test_two_schedulers_at_once_charge_once(bench: Workbench, tenant: str) -> None:
    await bench.add_seller(tenant)
    stories = [Story(tenant, metered=False) for _ in range(20)]
    await bench.hear(*[story.started() for story in stories])
    for story in stories:
        await bench.add_method(story)
    watched = Watched(bench.gateway, pause_s=0.01)
    workers = [bench.jobs(gateways={"sandbox": watched})[1] for _ in range(4)]
    await asyncio.gather(*[worker.run_once() for worker in workers for _ in range(2)])
    mine = {row["id"] for row in await bench.attempts(tenant)}
    assert sorted(key for key in watched.collected if key in mine) == sorted(mine)
    assert await money_taken(bench, tenant) == [240000] * 20
    assert {row["status"] for row in await bench.invoices(tenant)} == {"paid"}
    assert (await balance(bench, tenant))["cash"] == 20 * 240000


async def test_a_time_out_after_the_money_was_taken(bench: Workbench, tenant: str) -> None:
    """The outcome is unknown until the claim has run out; then the gateway is asked, and not charged again."""
    story = await a_story(bench, tenant, "times_out_once")
    clock = after(story.boundary(0), minutes=5)
    watched = Watched(bench.gateway)
    await bench.collect(clock=clock, gateways={"sandbox": watched})
    assert await states(bench, tenant) == ["calling"]
    clock.advance(timedelta(seconds=CLAIM_S - 1))
    assert await bench.collect(clock=clock, gateways={"sandbox": watched}) == 0
    assert watched.asked == []
    clock.advance(timedelta(seconds=1))
    await bench.collect(clock=clock, gateways={"sandbox": watched})
    (attempt,) = await bench.attempts(tenant)
    assert (watched.collected, watched.asked) == ([attempt["id"]], [attempt["id"]])
    assert (attempt["state"], attempt["number"]) == ("succeeded", 1)
    assert await money_taken(bench, tenant) == [240000]
    assert await told(bench, tenant) == ["invoice.finalized.v1", "invoice.paid.v1", "payment.received.v1"]


async def test_a_call_that_never_arrived_is_made_again_with_the_same_method(
    bench: Workbench, tenant: str
) -> None:
    story = await a_story(bench, tenant)
    clock = after(story.boundary(0), minutes=5)

    class Dead(Watched):
        async def collect(self, **asked: Any) -> Outcome:
            raise ConnectionRefusedError("nobody there")

    await bench.collect(clock=clock, gateways={"sandbox": Dead(bench.gateway)})
    (calling,) = await bench.attempts(tenant)
    other = await bench.add_method(story)
    clock.advance(timedelta(seconds=CLAIM_S))
    await bench.collect(clock=clock)
    (attempt,) = await bench.attempts(tenant)
    assert attempt["state"] == "succeeded"
    assert attempt["payment_method_id"] == calling["payment_method_id"] != other.id
    methods = await bench.rows(
        "SELECT payment_method_id AS id FROM sandbox_gateway_payment WHERE idempotency_key = $1",
        attempt["id"],
    )
    assert [row["id"] for row in methods] == [attempt["payment_method_id"]]


async def test_who_lost_his_claim_writes_nothing(bench: Workbench, tenant: str) -> None:
    """A slow worker without a payment method must not overrule the one that took up his claim."""
    story = await a_story(bench, tenant, None)
    clock = after(story.boundary(0), minutes=5)
    slow, quick = bench.jobs(clock=clock)[1], bench.jobs(clock=clock)[1]
    claims = slow._claims
    await slow._due.run_once()
    (claim,) = claims.take()
    assert claim.method is None
    await bench.add_method(story)
    clock.advance(timedelta(seconds=CLAIM_S))
    await quick.run_once()
    answer = await slow._in_turn(claim)
    assert answer is None or await slow._record([answer]) is None
    assert await states(bench, tenant) == ["succeeded"]
    assert await told(bench, tenant) == ["invoice.finalized.v1", "invoice.paid.v1", "payment.received.v1"]


async def test_a_payment_that_fails_once_is_tried_again_by_the_schedule(
    bench: Workbench, tenant: str
) -> None:
    story = await a_story(bench, tenant, "fails_once")
    clock = after(story.boundary(0), minutes=5)
    await bench.collect(clock=clock)
    (failed, following) = await bench.attempts(tenant)
    assert (failed["state"], failed["reason"], failed["due_at"]) == ("failed", "declined_by_sandbox", None)
    due_at = clock.now + timedelta(days=RETRY_DAYS[0])
    assert (following["state"], following["number"], following["due_at"]) == ("pending", 2, due_at)
    event = (await bench.told(tenant))[-1]
    assert event["type"] == "perennial.billing.payment.failed.v1"
    assert f'"next_attempt_at":"{due_at:%Y-%m-%dT%H:%M:%SZ}"' in event["data"].decode()

    clock.advance(timedelta(days=RETRY_DAYS[0], microseconds=-1))
    assert await bench.collect(clock=clock) == 0
    clock.advance(timedelta(microseconds=1))
    await bench.collect(clock=clock)
    assert await states(bench, tenant) == ["failed", "succeeded"]
    assert (await bench.invoices(tenant))[0]["status"] == "paid"
    assert await money_taken(bench, tenant) == [240000]


async def test_a_test_clocks_invoice_is_paid_in_its_own_time(bench: Workbench, tenant: str) -> None:
    """The wall says nothing about it; the schedule counts the clock's days."""
    clock_id = new_id("clk")
    story = await a_story(bench, tenant, "fails_once", clock=clock_id)
    assert await bench.collect() == 0  # the clock is not known yet
    await bench.hear(story.clock_moved(story.boundary(0)))
    await bench.collect()
    (failed, following) = await bench.attempts(tenant)
    assert (failed["ended_at"], failed["clock_id"]) == (story.boundary(0), clock_id)
    assert following["due_at"] == story.boundary(0) + timedelta(days=1)
    assert await bench.collect() == 0
    await bench.hear(story.clock_moved(following["due_at"], version=2))
    await bench.collect()
    (invoice,) = await bench.invoices(tenant)
    assert (invoice["status"], invoice["paid_at"]) == ("paid", following["due_at"])


async def test_when_the_schedule_is_exhausted_somebody_may_ask_again(bench: Workbench, tenant: str) -> None:
    story = await a_story(bench, tenant, "always_fails")
    clock = after(story.boundary(0), minutes=5)
    for _ in range(5):
        await bench.collect(clock=clock)
        clock.advance(timedelta(days=10))
    assert await states(bench, tenant) == ["failed"] * 3
    failed, suspended = (await bench.told(tenant))[-2:]
    assert "next_attempt_at" not in json.loads(failed["data"])
    assert json.loads(suspended["data"])["kind"] == "suspend"
    await bench.add_method(story)
    (invoice,) = await bench.invoices(tenant)
    async with bench.open(tenant) as uow:
        await try_payment_again(TryPaymentAgain(invoice["id"], clock.now), uow=uow)
    await bench.collect(clock=clock)
    assert await states(bench, tenant) == ["failed"] * 3 + ["succeeded"]
    assert (await bench.invoices(tenant))[0]["status"] == "paid"


async def test_without_a_payment_method_the_invoice_fails_and_is_tried_again(
    bench: Workbench, tenant: str
) -> None:
    story = await a_story(bench, tenant, None)
    clock = after(story.boundary(0), minutes=5)
    await bench.collect(clock=clock)
    (failed, following) = await bench.attempts(tenant)
    assert (failed["state"], failed["reason"]) == ("failed", "no_payment_method")
    await bench.add_method(story)
    await bench.collect(clock=FixedClock(following["due_at"]))
    assert await states(bench, tenant) == ["failed", "succeeded"]


async def test_asking_twice_at_once_makes_one_further_attempt(bench: Workbench, tenant: str) -> None:
    story = await a_story(bench, tenant, "always_fails")
    clock = after(story.boundary(0), minutes=5)
    for _ in range(3):
        await bench.collect(clock=clock)
        clock.advance(timedelta(days=10))
    (invoice,) = await bench.invoices(tenant)

    async def ask() -> str:
        async with bench.open(tenant) as uow:
            return (await try_payment_again(TryPaymentAgain(invoice["id"], clock.now), uow=uow)).id

    assert len(set(await asyncio.gather(*[ask() for _ in range(4)]))) == 1
    assert await states(bench, tenant) == ["failed"] * 3 + ["pending"]


async def test_nobody_asks_beside_a_call_that_is_under_way(bench: Workbench, tenant: str) -> None:
    story = await a_story(bench, tenant)
    clock = after(story.boundary(0), minutes=5)
    await bench.collect(clock=clock, gateways={"sandbox": Watched(bench.gateway, silent=True)})
    (invoice,) = await bench.invoices(tenant)
    async with bench.open(tenant) as uow:
        with pytest.raises(PaymentUnderWay):
            await try_payment_again(TryPaymentAgain(invoice["id"], clock.now), uow=uow)


async def test_an_outcome_that_cannot_be_recorded_keeps_nobody_back(
    own_bench: Workbench, tenant: str
) -> None:
    bench = own_bench
    await bench.add_seller(tenant)
    stories = [Story(tenant, metered=False) for _ in range(3)]
    await bench.hear(*[story.started() for story in stories])
    for story in stories:
        await bench.add_method(story)
    (broken, *_) = await bench.invoices(tenant)
    clock = after(stories[0].boundary(0), minutes=5)
    async with bench.admin() as admin:
        await admin.execute(
            f"""CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN RAISE EXCEPTION 'this one cannot be posted'; END $$;
                CREATE TRIGGER refuse BEFORE INSERT ON ledger_entry FOR EACH ROW
                WHEN (NEW.invoice_id = '{broken["id"]}') EXECUTE FUNCTION refuse()"""
        )
        await bench.collect(clock=clock)
        assert [row["status"] for row in await bench.invoices(tenant)].count("paid") == 2
        (stuck,) = [row for row in await bench.attempts(tenant) if row["state"] == "calling"]
        assert (stuck["invoice_id"], stuck["attempts"]) == (broken["id"], 1)
        assert "this one cannot be posted" in stuck["last_error"]
        assert stuck["retry_at"] == clock.now + timedelta(seconds=60)
        await admin.execute("DROP TRIGGER refuse ON ledger_entry")
    clock.advance(timedelta(seconds=60))
    await bench.collect(clock=clock)
    assert {row["status"] for row in await bench.invoices(tenant)} == {"paid"}
    assert await money_taken(bench, tenant) == [240000] * 3


@pytest.mark.parametrize("error", ["serialization_failure", "raise_exception"])
async def test_a_claim_that_was_not_committed_is_not_called(
    own_bench: Workbench, tenant: str, error: str
) -> None:
    """The first commit of a claim fails, as a lost race or by a mistake: that claim counts for nothing."""
    bench = own_bench
    story = await a_story(bench, tenant)
    async with bench.admin() as admin:
        await admin.execute(
            f"""CREATE SEQUENCE commits; GRANT ALL ON commits TO PUBLIC;
                CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN IF nextval('commits') = 1 THEN RAISE EXCEPTION 'no' USING ERRCODE = '{error}'; END IF;
                RETURN NULL; END $$;
                CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON payment_attempt
                DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()"""
        )
    watched = Watched(bench.gateway)
    clock = after(story.boundary(0), minutes=5)
    await bench.collect(clock=clock, gateways={"sandbox": watched})
    (attempt,) = await bench.attempts(tenant)
    was_lost_race = error == "serialization_failure"
    assert watched.collected == ([attempt["id"]] if was_lost_race else [])
    assert attempt["state"] == ("succeeded" if was_lost_race else "pending")
    clock.advance(timedelta(seconds=10))
    await bench.collect(clock=clock, gateways={"sandbox": watched})
    assert await states(bench, tenant) == ["succeeded"]
    assert watched.collected == [attempt["id"]]


async def test_the_newest_method_is_the_customers_default(bench: Workbench, tenant: str) -> None:
    story = await a_story(bench, tenant, "always_fails")
    await asyncio.gather(*[bench.add_method(story, "succeeds") for _ in range(4)])
    methods = await bench.rows("SELECT is_default FROM payment_method WHERE tenant = $1", tenant)
    assert [row["is_default"] for row in methods].count(True) == 1
    assert len(methods) == 5


# Told to stop


async def test_whoever_is_told_to_stop_ends_its_calls_and_gives_back_the_others(
    bench: Workbench, tenant: str
) -> None:
    await bench.add_seller(tenant)
    stories = [Story(tenant, metered=False) for _ in range(12)]
    await bench.hear(*[story.started() for story in stories])
    for story in stories:
        await bench.add_method(story)
    stopping, watched = Stopping(), Watched(bench.gateway, pause_s=0.3)
    gateways = {"sandbox": watched}
    clock = after(stories[0].boundary(0), minutes=5)
    worker = bench.jobs(clock=clock, gateways=gateways, calls_at_once=3, stopping=stopping)[1]
    turn = asyncio.create_task(worker.run_once())
    while len(watched.collected) < 3:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    stopping.set()
    await turn
    assert len(watched.collected) == 3
    attempts = await bench.attempts(tenant)
    assert sorted(row["state"] for row in attempts) == ["pending"] * 9 + ["succeeded"] * 3
    assert {(row["claimed_until"], row["retry_at"]) for row in attempts} == {(None, None)}
    assert {row["payment_method_id"] for row in attempts if row["state"] == "pending"} == {None}
    # By the same wall clock: nobody waits until a claim runs out.
    await bench.collect(clock=clock, gateways=gateways)
    assert await states(bench, tenant) == ["succeeded"] * 12
    assert watched.asked == []
    assert await money_taken(bench, tenant) == [240000] * 12


async def test_an_unknown_outcome_stays_unknown_when_its_new_claim_is_given_back(
    bench: Workbench, tenant: str
) -> None:
    """The money may have been taken: whoever is next has to ask before it collects."""
    story = await a_story(bench, tenant, "times_out_once")
    clock = after(story.boundary(0), minutes=5)
    watched = Watched(bench.gateway)
    await bench.collect(clock=clock, gateways={"sandbox": watched})
    clock.advance(timedelta(seconds=CLAIM_S))
    stopping = Stopping()
    stopping.set()
    await bench.jobs(clock=clock, gateways={"sandbox": watched}, stopping=stopping)[1].run_once()
    assert await states(bench, tenant) == ["calling"]
    assert watched.asked == []
    await bench.collect(clock=clock, gateways={"sandbox": watched})
    (attempt,) = await bench.attempts(tenant)
    assert (watched.collected, watched.asked) == ([attempt["id"]], [attempt["id"]])
    assert await money_taken(bench, tenant) == [240000]


async def test_a_claim_that_is_taken_up_again_keeps_what_went_wrong_before(
    bench: Workbench, tenant: str
) -> None:
    """To claim an attempt is not to have done it: it counts on, and is asked about later each time."""
    story = await a_story(bench, tenant, "times_out_once")
    clock = after(story.boundary(0), minutes=5)
    async with bench.admin() as admin:
        await admin.execute(
            "UPDATE payment_attempt SET attempts = 3, last_error = 'before', retry_at = $1 WHERE tenant = $2",
            clock.now,
            tenant,
        )
    await bench.collect(clock=clock)
    (attempt,) = await bench.attempts(tenant)
    assert (attempt["state"], attempt["attempts"]) == ("calling", 4)
    assert attempt["last_error"].startswith("GatewayTimedOut")
    assert attempt["retry_at"] == clock.now + timedelta(seconds=CLAIM_S * 2**3)
