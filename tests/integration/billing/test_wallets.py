"""Prepaid credits on a real database: drawn once whoever races, expired, given back, bought again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from typing import Any

import asyncpg
import httpx
import pytest

from libs.common.contracts.subscriptions import CustomerV1, SubscriptionChangedV1
from libs.common.ids import new_id
from libs.common.money import Money
from services.billing.application.give_back import give_back
from services.billing.application.grant_credits import GrantCredits, grant_credits, void_grant
from services.billing.application.open_wallet import OpenWallet, WalletSettings, open_wallet
from services.billing.domain.wallet import Scope, TopUpRule
from services.billing.domain.wallet_top_up import TopUpUsed
from services.billing.entrypoints.wallet_job import wallet_job
from tests.integration.billing.test_changes import segment, terms
from tests.integration.billing.test_coupons import redeemed
from tests.integration.billing.test_customer_balances import BOTH, a_fee, audit_is_clean, ledger
from tests.integration.billing.workbench import Workbench, after
from tests.support.billing import Story, a_customer
from tests.support.service_under_test import ServiceUnderTest


async def a_wallet(
    bench: Workbench, story: Story, *, unit: str | None = None, now: datetime | None = None, **settings: Any
) -> str:
    await bench.know_customer(story)
    id = new_id("wal")
    command = OpenWallet(
        id, story.customer.customer_id, "USD", unit, WalletSettings(name="Credits", **settings)
    )
    async with bench.open(story.tenant) as uow:
        await open_wallet(command, clock_id=None, now=now or story.boundary(0), uow=uow)
    return id


async def give(bench: Workbench, story: Story, wallet_id: str, amount: str, cost: int = 0, **of: Any) -> str:
    command = GrantCredits(Decimal(amount), Money(cost, "USD"), **of)
    async with bench.open(story.tenant) as uow:
        wallet = await uow.wallets.get_for_update(wallet_id)
        return grant_credits(command, wallet, now=story.boundary(0) - timedelta(days=1), uow=uow).id


async def keep(bench: Workbench, at: datetime, **time: float) -> int:
    return await wallet_job(bench.units, after(at, **time)).run_once()


async def balance(bench: Workbench, wallet_id: str) -> Decimal:
    (row,) = await bench.rows("SELECT balance FROM wallet WHERE id = $1", wallet_id)
    found: Decimal = row["balance"]
    return found


async def entries(bench: Workbench, wallet_id: str) -> list[tuple[str, Decimal, int]]:
    found = await bench.rows("SELECT * FROM wallet_entry WHERE wallet_id = $1 ORDER BY ordinal", wallet_id)
    return [(row["kind"], row["amount"], row["cost_minor"]) for row in found]


async def paid_with_credits(bench: Workbench, tenant: str) -> list[tuple[int, int]]:
    found = [row for row in await bench.invoices(tenant) if row["document_kind"] != "top_up"]
    return [(row["total_minor"], row["credits_applied_minor"]) for row in found]


async def test_money_pays_before_the_balance_and_before_anybody_is_asked(
    own_bench: Workbench, tenant: str
) -> None:
    bench = own_bench
    await bench.add_seller(tenant)
    customer = a_customer()
    story = a_fee("100", customer, tenant)
    wallet = await a_wallet(bench, story)
    await give(bench, story, wallet, "30", 3000)
    await give(bench, story, wallet, "60", 0, priority=1, reason="welcome")
    await bench.hear(a_fee("-25", customer, tenant).started())
    await bench.hear(story.started(), story.renewed(1))
    rows = [row for row in await bench.invoices(tenant) if row["total_minor"] > 0]
    assert [(r["credits_applied_minor"], r["balance_applied_minor"], r["status"]) for r in rows] == [
        (9000, 1000, "paid"),
        (0, 1500, "finalized"),
    ]
    assert [(kind, amount) for kind, amount, _ in await entries(bench, wallet)] == [
        ("granted", Decimal(30)),
        ("granted", Decimal(60)),
        ("drawn", Decimal(-30)),
        ("drawn", Decimal(-60)),
    ]
    books = await ledger(bench, tenant)
    assert "prepaid_credits" not in books, "all that was paid for is used"
    assert (books["cash"], books["promotional_credits"]) == (3000, 6000)
    told = [row["type"] for row in await bench.told(tenant) if "wallet" in row["type"]]
    assert told == ["perennial.billing.wallet.changed.v1"] * 3
    await audit_is_clean(bench)


async def test_units_cover_usage_at_its_price_before_tax(bench: Workbench, tenant: str) -> None:
    """What was paid for the units becomes revenue as they are used, to the cent."""
    await bench.add_seller(tenant)
    story = Story(tenant, quantity=None)
    wallet = await a_wallet(bench, story, unit="minute")
    await give(bench, story, wallet, "150", 10000)
    await bench.hear(story.started(), story.window_closed(0, "100"), story.renewed(1))
    await bench.hear(story.window_closed(1, "100"), story.renewed(2))
    rows = [row for row in await bench.invoices(tenant) if row["subtotal_minor"]]
    assert [(r["subtotal_minor"], r["prepaid_minor"], r["total_minor"]) for r in rows] == [
        (52000, 52000, 0),
        (52000, 26000, 26000),
    ]
    assert await balance(bench, wallet) == 0
    books = await ledger(bench, tenant)
    assert books == {"cash": 10000, "revenue": -36000, "accounts_receivable": 26000}
    assert [cost for _, _, cost in await entries(bench, wallet)] == [10000, -6667, -3333]


async def test_two_workers_draw_on_one_wallet_once(bench: Workbench, tenant: str) -> None:
    await bench.add_seller(tenant)
    customer = a_customer()
    stories = [a_fee("40", customer, tenant) for _ in range(4)]
    wallet = await a_wallet(bench, stories[0])
    await give(bench, stories[0], wallet, "100", 10000)
    await asyncio.gather(
        bench.hear(stories[0].started(), stories[1].started()),
        bench.hear(stories[2].started(), stories[3].started()),
    )
    assert sorted(applied for _, applied in await paid_with_credits(bench, tenant)) == [0, 2000, 4000, 4000]
    assert await balance(bench, wallet) == 0
    async with bench.admin() as admin:
        with pytest.raises(asyncpg.CheckViolationError):
            await admin.execute("UPDATE wallet_grant SET remaining = -1 WHERE wallet_id = $1", wallet)
        with pytest.raises(asyncpg.CheckViolationError):
            await admin.execute("UPDATE wallet SET balance = -1 WHERE id = $1", wallet)


async def test_what_expires_is_breakage_and_pays_nothing(bench: Workbench, tenant: str) -> None:
    await bench.add_seller(tenant)
    story = a_fee("40", a_customer(), tenant)
    wallet = await a_wallet(bench, story)
    over = story.boundary(0) + timedelta(days=10)
    await give(bench, story, wallet, "100", 10000, expires_at=over)
    await bench.hear(story.started())
    assert await keep(bench, over, seconds=-1) == 0
    assert await asyncio.gather(keep(bench, over), keep(bench, over)) in ([0, 1], [1, 0], [1, 1])
    assert await entries(bench, wallet) == [
        ("granted", Decimal(100), 10000),
        ("drawn", Decimal(-40), -4000),
        ("expired", Decimal(-60), -6000),
    ]
    await bench.hear(story.renewed(1))
    assert await paid_with_credits(bench, tenant) == [(4000, 4000), (4000, 0)]
    assert (await ledger(bench, tenant))["breakage"] == -6000


async def test_what_a_voided_invoice_drew_comes_back(bench: Workbench, tenant: str) -> None:
    """To the grants that it came from, and into the books; a repeat gives nothing back."""
    await bench.add_seller(tenant)
    story = Story(tenant, quantity="1")
    money, units = await a_wallet(bench, story), await a_wallet(bench, story, unit="minute")
    await give(bench, story, money, "300", 10000)
    await give(bench, story, units, "10", 1000, expires_at=story.boundary(1) + timedelta(days=1))
    await bench.hear(story.started(), story.window_closed(0, "100"), story.renewed(1))
    before = await ledger(bench, tenant)
    row = (await bench.invoices(tenant))[1]
    assert (row["prepaid_minor"], row["credits_applied_minor"]) == (5200, 0)
    first = (await bench.invoices(tenant))[0]
    assert first["credits_applied_minor"] == 30000
    for id in (row["id"], first["id"], row["id"]):
        async with bench.open(tenant) as uow:
            invoice = await uow.invoices.get_for_update(id)
            await give_back(invoice, now=story.boundary(1) + timedelta(days=2), uow=uow)
    assert (await balance(bench, money), await balance(bench, units)) == (Decimal(300), Decimal(10))
    after_all = await ledger(bench, tenant)
    assert after_all["prepaid_credits"] == -11000
    assert after_all["accounts_receivable"] - before["accounts_receivable"] == 30000
    assert await keep(bench, story.boundary(1), days=3) == 1, "what came back had expired"
    assert (await entries(bench, units))[-1] == ("expired", Decimal(-10), -1000)


async def test_a_credit_gives_units_back_and_no_money_for_them(own_bench: Workbench, tenant: str) -> None:
    """One of two aircraft is covered, 10 % are off the other; both go after ten days of thirty-one.

    What is given back is what was paid; and the same for units.
    """
    bench = own_bench
    await bench.add_seller(tenant)
    story = Story(tenant, quantity="2", metered=False)
    wallet = await a_wallet(bench, story, unit="aircraft")
    await give(bench, story, wallet, "1", 100_000)
    await bench.hear(redeemed(story, duration="once"))
    await bench.hear(story.started())
    assert await balance(bench, wallet) == 0
    period = story.period(0)
    gone = SubscriptionChangedV1(
        **story._about(2, period.start + timedelta(days=10)),
        subscription=story.snapshot(),
        terms=(terms(story, 0, segment(story, period, "2", days=(0, 10))),),
        settles_at=period.start + timedelta(days=10),
    )
    await bench.hear(gone)
    first, second = await bench.invoices(tenant)
    told = ("subtotal_minor", "prepaid_minor", "discount_minor", "total_minor")
    assert [first[name] for name in told] == [240_000, 120_000, 12_000, 108_000]
    assert [second[name] for name in told] == [-162_581, -81_291, -8_129, -73_161]
    part = Decimal(81_291) / 120_000
    assert await balance(bench, wallet) == part.quantize(Decimal("1e-12"), rounding=ROUND_DOWN)
    assert sum(cost for _, _, cost in await entries(bench, wallet)) == 67_742
    await audit_is_clean(bench)


async def a_topped_up(
    bench: Workbench, customer: CustomerV1, tenant: str, **settings: Any
) -> tuple[Story, str]:
    story = a_fee("60", customer, tenant)
    rule = TopUpRule(Decimal(50), Decimal(100), Money(20000, "USD"))
    wallet = await a_wallet(bench, story, top_up=rule, **settings)
    return story, wallet


async def top_ups(bench: Workbench, wallet: str) -> list[Mapping[str, Any]]:
    return await bench.rows(
        """SELECT t.*, i.status, i.document_kind, i.total_minor, i.customer_id FROM wallet_top_up t
           JOIN invoice i ON i.id = t.invoice_id WHERE t.wallet_id = $1 ORDER BY t.requested_at, t.id""",
        wallet,
    )


async def test_below_the_threshold_one_top_up_is_made_whoever_races(
    own_bench: Workbench, tenant: str
) -> None:
    """It is granted when it is paid, once; then, below the threshold again, another is made, up to the month's limit."""
    bench = own_bench
    await bench.add_seller(tenant)
    story, wallet = await a_topped_up(bench, a_customer(), tenant)
    await bench.add_method(story)
    at = story.boundary(0)
    await asyncio.gather(*(keep(bench, at, minutes=1) for _ in range(3)))
    (made,) = await top_ups(bench, wallet)
    assert (made["state"], made["status"], made["total_minor"]) == ("open", "finalized", 10000)
    assert await keep(bench, at, minutes=2) == 0, "one is under way"
    await bench.collect(clock=after(at, minutes=3))
    assert [row["state"] for row in await top_ups(bench, wallet)] == ["granted"]
    assert await balance(bench, wallet) == 100
    await bench.hear(story.started())
    assert await balance(bench, wallet) == 40
    assert await keep(bench, at, minutes=4) == 1
    await bench.collect(clock=after(at, minutes=5))
    assert await balance(bench, wallet) == 140
    others = [a_fee("60", story.customer, tenant) for _ in range(2)]
    await bench.hear(*(other.started() for other in others))
    assert await balance(bench, wallet) == 20
    assert await keep(bench, at, minutes=6) == 1
    assert len(await top_ups(bench, wallet)) == 2, "more would be beyond what the month allows"
    assert await keep(bench, story.boundary(1), days=1) == 1
    assert [row["state"] for row in await top_ups(bench, wallet)] == ["granted", "granted", "open"]
    (left,) = await bench.rows("SELECT id FROM wallet_grant WHERE wallet_id = $1 AND remaining > 0", wallet)
    async with bench.open(tenant) as uow:
        await void_grant(wallet, left["id"], reason="closing", now=story.boundary(1), uow=uow)
    (owed,) = await bench.rows("SELECT balance_minor FROM customer_balance WHERE tenant = $1", tenant)
    assert (await balance(bench, wallet), owed["balance_minor"]) == (0, 2000), "what was paid is owed"
    told = [row["type"].split(".")[-2] for row in await bench.told(tenant) if "top_up" in row["type"]]
    assert told == ["top_up_requested"] * 3
    await audit_is_clean(bench)


async def test_a_voided_top_up_takes_its_credits_along(bench: Workbench, tenant: str) -> None:
    await bench.add_seller(tenant)
    story, wallet = await a_topped_up(bench, a_customer(), tenant, grants_on="issue")
    await keep(bench, story.boundary(0))
    assert await balance(bench, wallet) == 100
    (made,) = await top_ups(bench, wallet)
    async with bench.open(tenant) as uow:
        await give_back(await uow.invoices.get_for_update(made["invoice_id"]), now=story.boundary(0), uow=uow)
    assert await balance(bench, wallet) == 0
    assert [row["state"] for row in await top_ups(bench, wallet)] == ["void"]
    assert await keep(bench, story.boundary(0), minutes=1) == 1, "it is below its threshold again"
    await bench.hear(story.started())
    second = (await top_ups(bench, wallet))[1]
    async with bench.open(tenant) as uow:
        invoice = await uow.invoices.get_for_update(second["invoice_id"])
        with pytest.raises(TopUpUsed):
            await give_back(invoice, now=story.boundary(0), uow=uow)


@pytest.fixture
def client(billing: ServiceUnderTest, tenant: str) -> httpx.AsyncClient:
    return billing.client(tenant, *BOTH)


async def test_over_http(
    bench: Workbench, billing: ServiceUnderTest, tenant: str, client: httpx.AsyncClient
) -> None:
    await bench.add_seller(tenant)
    story = a_fee("60", a_customer(), tenant)
    await bench.know_customer(story)
    customer_id = story.customer.customer_id
    async with client:

        async def post(path: str, body: dict[str, Any], key: str | None = None) -> httpx.Response:
            return await client.post(path, json=body, headers={"idempotency-key": key or new_id("key")})

        new = {"customer_id": customer_id, "name": "Minutes", "currency": "USD", "unit": "minute"}
        made = await post("/v1/wallets", {**new, "unit_amount": "0.125"})
        assert made.status_code == 201, made.text
        at = f"/v1/wallets/{made.json()['id']}"
        # Twice with one key is one top-up.
        asked = [await post(f"{at}/top-ups", {"amount": "1000"}, "one-key-for-both") for _ in range(2)]
        assert [one.status_code for one in asked] == [201, 201]
        assert asked[0].json() == asked[1].json()
        top_up = asked[0].json()
        assert (top_up["state"], top_up["price"]["amount"]) == ("open", "125.00")
        assert len((await client.get(f"{at}/top-ups")).json()["data"]) == 1
        invoice = (await client.get(f"/v1/invoices/{top_up['invoice_id']}")).json()
        assert invoice["document_kind"] == "top_up"
        granted = await post(
            f"{at}/grants",
            {"amount": "20.5", "priority": 3, "scope": {"meters": ["flying-minutes"]}, "reason": "sorry"},
        )
        assert granted.status_code == 201, granted.text
        shown = await client.get(at)
        assert (shown.json()["balance"], shown.json()["unit"]) == ("20.5", "minute")
        changed = await client.patch(
            at,
            json={"top_up": {"threshold": "5", "amount": "100"}, "grants_on": "issue"},
            headers={"if-match": shown.headers["etag"]},
        )
        assert changed.status_code == 200, changed.text
        assert (changed.json()["name"], changed.json()["top_up"]["amount"]) == ("Minutes", "100")
        stale = await client.patch(at, json={"name": "x"}, headers={"if-match": shown.headers["etag"]})
        assert stale.status_code == 412
        void = await post(f"{at}/grants/{granted.json()['id']}/voids", {"reason": "a mistake"})
        assert (void.status_code, void.json()["remaining"]) == (201, "0")
        again = await post(f"{at}/grants/{granted.json()['id']}/voids", {"reason": "a mistake"})
        assert (again.status_code, again.json()["code"]) == (409, "wallet_grant_used_up")
        listed = (await client.get(f"{at}/entries")).json()["data"]
        assert [(entry["kind"], entry["amount"]) for entry in listed] == [
            ("granted", "20.5"),
            ("voided", "-20.5"),
        ]
        refusals = [
            ("/v1/wallets", {**new, "currency": "EUR", "unit": None, "unit_amount": "1"}, 422),
            ("/v1/wallets", {**new, "customer_id": new_id("cus")}, 404),
            (f"{at}/top-ups", {"amount": "1", "price": {"amount": "1.00", "currency": "EUR"}}, 422),
            (f"{at}/top-ups", {"amount": "0.001"}, 422),
            (f"{at}/grants", {"amount": "1", "expires_at": "2020-01-01T00:00:00Z"}, 422),
            (f"{at}/grants", {"amount": "0"}, 422),
        ]
        for path, body, status in refusals:
            refused = await post(path, body)
            assert refused.status_code == status, (path, body, refused.text)
            assert refused.json()["detail"]
    async with billing.client(tenant, "billing:read", customer=customer_id) as portal:
        assert [one["id"] for one in (await portal.get("/v1/wallets")).json()["data"]] == [made.json()["id"]]
        assert (await portal.get(f"{at}/entries")).status_code == 200
        assert (await portal.post(f"{at}/top-ups", json={"amount": "1"})).status_code == 403
    async with billing.client(tenant, "billing:read", customer=new_id("cus")) as other:
        assert (await other.get(at)).status_code == 404
        assert (await other.get("/v1/wallets")).json()["data"] == []


async def test_a_scope_holds_on_real_lines(bench: Workbench, tenant: str) -> None:
    await bench.add_seller(tenant)
    story = Story(tenant, quantity="1")
    wallet = await a_wallet(bench, story)
    await give(bench, story, wallet, "10000", 0, scope=Scope(price_codes=("minutes",)))
    await bench.hear(story.started(), story.window_closed(0, "100"), story.renewed(1))
    assert await paid_with_credits(bench, tenant) == [(120000, 0), (172000, 52000)]
