"""Numbers in the database: by seller, by year, by what stands before them, whatever changes midway and whoever races."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.common.ids import new_id
from services.billing.adapters.numbers import NumberWanted, take_numbers
from tests.integration.billing.workbench import Workbench
from tests.support.billing import Story
from tests.support.service_under_test import ServiceUnderTest, new_tenant

BOTH = ("billing:read", "billing:write")

heads = st.sampled_from(["F-", "F-2026-", "F-2027-", "CN-"])
batches = st.lists(
    st.tuples(st.lists(st.tuples(heads, st.sampled_from(["main", "clk_1"])), max_size=4), st.booleans()),
    max_size=6,
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches)
async def test_batches_at_once_leave_no_gap_wherever_one_rolls_back(
    bench: Workbench, asked: Sequence[tuple[list[tuple[str, str]], bool]]
) -> None:
    tenant, seller_id = new_tenant(), new_id("sel")
    taken: dict[tuple[str, str], list[str]] = defaultdict(list)

    async def take(wanted: list[tuple[str, str]], fails: bool) -> None:
        documents = [
            NumberWanted(new_id("inv"), seller_id, series, head, (place,))
            for place, (head, series) in enumerate(wanted)
        ]
        try:
            async with bench.open(tenant) as uow:
                numbers = await take_numbers(documents, uow=uow)
                if fails:
                    raise InterruptedError
        except InterruptedError:
            return
        for document in documents:
            taken[document.series, document.head].append(numbers[document.id])

    await asyncio.gather(*[take(wanted, fails) for wanted, fails in asked])
    for (_, head), numbers in taken.items():
        assert sorted(numbers) == [f"{head}{n:06d}" for n in range(1, len(numbers) + 1)]


async def issue(bench: Workbench, tenant: str, now: datetime | None = None) -> str:
    """One more invoice, as the seller numbers now."""
    story = Story(tenant, metered=False)
    event = story.started()
    await bench.hear(event if now is None else event.model_copy(update={"occurred_at": now}))
    (row,) = [r for r in await bench.invoices(tenant) if r["subscription_id"] == story.subscription_id]
    number: str = row["number"]
    return number


async def test_a_prefix_and_a_reset_may_change_midway(
    own_billing: ServiceUnderTest, own_bench: Workbench, tenant: str
) -> None:
    seller = await own_bench.add_seller(tenant)
    path = f"/v1/sellers/{seller.id}"
    numbers = []
    steps: list[tuple[dict[str, Any], str]] = [
        ({}, "2025-12-30T12:00:00Z"),
        ({"number_prefix": "F-"}, "2025-12-30T12:00:00Z"),
        ({"number_reset": "year"}, "2025-12-30T12:00:00Z"),
        ({}, "2026-01-01T04:59:59Z"),  # still last year in New York
        ({}, "2026-01-01T05:00:00Z"),
        ({"number_prefix": "F-2026-", "number_reset": "never"}, "2026-06-01T00:00:00Z"),
        ({"number_prefix": "INV-"}, "2026-06-01T00:00:00Z"),
        ({"number_prefix": "F-", "number_reset": "year"}, "2026-06-01T00:00:00Z"),
    ]
    async with own_billing.client(tenant, *BOTH) as client:
        for change, at in steps:
            if change:
                answer = await client.patch(path, json=change, headers={"if-match": "*"})
                assert answer.status_code == 200, answer.text
            numbers.append(await issue(own_bench, tenant, datetime.fromisoformat(at)))
    assert numbers == [
        "INV-000001",
        "F-000001",
        "F-2025-000001",
        "F-2025-000002",
        "F-2026-000001",
        "F-2026-000002",  # the same head, hence the same count
        "INV-000002",
        "F-2026-000003",
    ]
    (check,) = [check for check in (await own_bench.audit()).checks if check.name == "numbers_without_gap"]
    assert (check.ok, check.checked_count) == (True, 4)


async def test_each_seller_has_numbers_of_its_own(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    main, other = await bench.add_seller(tenant), await bench.add_seller(tenant, "other")
    story = Story(tenant, metered=False)
    await bench.know_customer(story)
    async with billing.client(tenant, *BOTH) as client:
        profile = f"/v1/billing-profiles/{story.customer.customer_id}"
        await client.put(profile, json={"seller_id": other.id}, headers={"if-match": "*"})
        await issue(bench, tenant)
        await bench.hear(story.started())
        chosen = await client.post(f"/v1/sellers/{other.id}/default", headers={"if-match": '"1"'})
        again = await client.post(f"/v1/sellers/{other.id}/default")
        await issue(bench, tenant)
        sellers = (await client.get("/v1/sellers")).json()["data"]
        of_other = (await client.get("/v1/invoices", params={"seller_id": other.id})).json()["data"]
    assert Counter((row["seller_id"], row["number"]) for row in await bench.invoices(tenant)) == {
        (main.id, "INV-000001"): 1,
        (other.id, "INV-000001"): 1,
        (other.id, "INV-000002"): 1,
    }
    assert (chosen.status_code, chosen.json()["is_default"]) == (200, True)
    assert again.json() == chosen.json()
    assert {s["id"]: (s["is_default"], s["version"]) for s in sellers} == {
        main.id: (False, 2),
        other.id: (True, 2),
    }
    assert sorted(row["number"] for row in of_other) == ["INV-000001", "INV-000002"]


async def test_two_who_choose_another_default_leave_one(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    sellers = [await bench.add_seller(tenant, f"seller-{n}") for n in range(4)]
    async with billing.client(tenant, *BOTH) as client:
        answers = await asyncio.gather(
            *[client.post(f"/v1/sellers/{seller.id}/default") for seller in sellers[1:]]
        )
    rows = await bench.rows("SELECT is_default FROM seller WHERE tenant = $1", tenant)
    assert [answer.status_code for answer in answers] == [200] * 3
    assert sum(row["is_default"] for row in rows) == 1


async def test_what_is_due_on_a_free_day_is_due_on_the_next_business_day(
    bench: Workbench, tenant: str
) -> None:
    await bench.add_seller(
        tenant, country="NL", payment_terms_days=3, due_day_rule="next_business_day"
    )  # the Friday before Easter, and three days
    await issue(bench, tenant, datetime(2026, 4, 3, 12, tzinfo=UTC))
    (row,) = await bench.invoices(tenant)
    assert str(row["due_on"]) == "2026-04-07"  # Easter Monday is free


async def test_a_sellers_settings_are_checked_and_kept(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    seller = await bench.add_seller(tenant)
    path = f"/v1/sellers/{seller.id}"
    async with billing.client(tenant, *BOTH) as client:
        named = {"if-match": '"1"'}
        unnamed = await client.patch(path, json={"name": "x"})
        digits = await client.patch(path, json={"number_prefix": "F2026"}, headers=named)
        nothing = await client.patch(path, json={"name": None}, headers=named)
        code = await client.patch(path, json={"code": "x"}, headers=named)
        changed = await client.patch(
            path, json={"footer": "IBAN NL00", "payment_terms_from": "month_end"}, headers=named
        )
        stale = await client.patch(path, json={"name": "x"}, headers=named)
        same = await client.patch(path, json={"footer": "IBAN NL00"}, headers={"if-match": '"2"'})
        cleared = await client.patch(path, json={"footer": None}, headers={"if-match": '"2"'})
    assert (unnamed.status_code, stale.status_code) == (428, 412)
    for answer, pointer in ((digits, "/number_prefix"), (nothing, "/name"), (code, "/code")):
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
    assert (changed.json()["payment_terms_from"], changed.json()["version"]) == ("month_end", 2)
    assert (same.json()["version"], cleared.json()["footer"]) == (2, None)
