"""How a customer is billed: said over HTTP, kept by the documents that it is said for, and forgotten with a person."""

from __future__ import annotations

import asyncio

from libs.common.ids import new_id
from tests.integration.billing.workbench import Workbench
from tests.support.billing import Story
from tests.support.service_under_test import ServiceUnderTest

BOTH = ("billing:read", "billing:write")


async def test_a_profile_is_said_changed_and_listed(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    story = Story(tenant)
    await bench.know_customer(story)
    path = f"/v1/billing-profiles/{story.customer.customer_id}"
    body = {
        "purchase_order": "PO-7",
        "gathers": True,
        "tax_status": "exempt",
        "tax_exemption_reason": "School",
    }
    async with billing.client(tenant, *BOTH) as client:
        at_first = await client.get(path)
        unnamed = await client.put(path, json=body)
        made = await client.put(path, json=body, headers={"if-match": at_first.headers["etag"]})
        same = await client.put(path, json=body, headers={"if-match": '"1"'})
        stale = await client.put(path, json={}, headers={"if-match": '"0"'})
        listed = (await client.get("/v1/billing-profiles", params={"gathers": True})).json()["data"]
        others = (await client.get("/v1/billing-profiles", params={"seller_id": new_id("sel")})).json()[
            "data"
        ]
        emptied = await client.put(path, json={}, headers={"if-match": '"1"'})
    assert (at_first.json()["version"], at_first.json()["created_at"]) == (0, None)
    assert (unnamed.status_code, stale.status_code) == (428, 412)
    assert {name: made.json()[name] for name in body} == body
    assert (made.json()["version"], same.json()) == (1, made.json())
    assert (listed, others) == ([made.json()], [])
    assert (emptied.json()["purchase_order"], emptied.json()["version"]) == (None, 2)


async def test_what_is_not_there_cannot_be_named(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    story = Story(tenant)
    await bench.know_customer(story)
    async with billing.client(tenant, *BOTH) as client:
        path = f"/v1/billing-profiles/{story.customer.customer_id}"
        seller = await client.put(path, json={"seller_id": new_id("sel")}, headers={"if-match": "*"})
        nobody = await client.get(f"/v1/billing-profiles/{new_id('cus')}")
    assert (seller.status_code, seller.json()["code"]) == (404, "seller_not_found")
    assert (nobody.status_code, nobody.json()["code"]) == (404, "customer_not_found")


async def test_of_two_who_say_the_first_thing_one_is_told_to_read_again(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    story = Story(tenant)
    await bench.know_customer(story)
    path = f"/v1/billing-profiles/{story.customer.customer_id}"
    async with billing.client(tenant, *BOTH) as client:
        answers = await asyncio.gather(
            *[client.put(path, json={"notes": n}, headers={"if-match": '"0"'}) for n in ("a", "b")]
        )
    assert sorted(answer.status_code for answer in answers) == [200, 412]


async def test_a_customer_made_a_moment_ago_is_waited_for(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    story = Story(tenant)
    path = f"/v1/billing-profiles/{story.customer.customer_id}"
    async with billing.client(tenant, *BOTH) as client:
        asked = asyncio.create_task(client.put(path, json={"notes": "a"}, headers={"if-match": "*"}))
        await asyncio.sleep(0.1)
        assert not asked.done()
        await bench.know_customer(story)
        assert (await asked).status_code == 200


async def test_an_issued_document_keeps_the_profile_and_an_erased_customer_does_not(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    await bench.add_seller(tenant)
    story = Story(tenant, metered=False)
    await bench.know_customer(story)
    path = f"/v1/billing-profiles/{story.customer.customer_id}"
    said = {
        "buyer_reference": "Mr Brown",
        "notes": "To Mr Brown",
        "purchase_order": "Brown 1",
        "gathers": False,
    }
    async with billing.client(tenant, *BOTH) as client:
        await client.put(path, json=said, headers={"if-match": "*"})
        await bench.hear(story.started())
        story.customer = story.customer.model_copy(
            update={"customer_version": 2, "name": "Erased", "is_erased": True}
        )
        await bench.know_customer(story)
        profile = (await client.get(path)).json()
        again = await client.put(path, json=said, headers={"if-match": "*"})
        one_off = {"customer_id": story.customer.customer_id, "currency": "EUR"}
        billed = await client.post("/v1/invoices", json=one_off, headers={"idempotency-key": new_id("key")})
        (listed,) = (await client.get("/v1/invoices")).json()["data"]
        invoice = (await client.get(f"/v1/invoices/{listed['id']}")).json()
    assert {profile[name] for name in ("buyer_reference", "notes", "purchase_order")} == {None}
    assert profile["version"] == 2
    assert [(x.status_code, x.json()["code"]) for x in (again, billed)] == [(409, "customer_erased")] * 2
    assert (invoice["buyer_reference"], invoice["notes"]) == ("Mr Brown", "To Mr Brown")
