"""Customers over HTTP, with real tokens and a real database."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.subscriptions.adapters import rows
from tests.integration.subscriptions.story import Story, key, pointers, version
from tests.support.service_under_test import new_tenant


async def test_a_customer_is_made_shown_listed_and_changed(story: Story) -> None:
    async with story.client() as client:
        body = {"name": "AirTran", "external_id": "FL", "country": "US", "currency": "USD"}
        answer = await client.post("/v1/customers", json=body)
        made = answer.json()
        assert answer.status_code == 201
        assert answer.headers["location"] == f"/v1/customers/{made['id']}"
        assert (made["external_id"], made["country"], made["metadata"]) == ("FL", "US", {})
        path = answer.headers["location"]
        assert (await client.get(path)).json() == made
        listed = await client.get("/v1/customers", params={"external_id": "FL"})
        assert listed.json()["data"] == [made]
        nobody = await client.get("/v1/customers", params={"external_id": "DL"})
        assert nobody.json()["data"] == []

        change = {"email": "pay@airtran.example", "country": None}
        assert (await client.patch(path, json=change)).status_code == 428
        changed = await client.patch(path, json=change, headers=version(1))
        assert changed.json() == {**made, **change, "version": 2}
        assert (await client.patch(path, json=change, headers=version(1))).status_code == 412
    assert await story.types(made["id"]) == ["customer.changed", "customer.changed"]


async def test_an_external_id_is_one_customers_only(story: Story) -> None:
    async with story.client() as client:
        await story.customer(client, external_id="FL")
        again = await client.post("/v1/customers", json={"name": "Other", "external_id": "FL"})
        other = await story.customer(client)
        taken = await client.patch(
            f"/v1/customers/{other['id']}", json={"external_id": "FL"}, headers=version(1)
        )
    assert again.status_code == taken.status_code == 409
    assert again.json()["code"] == taken.json()["code"] == "customer_external_id_taken"
    stranger = Story(story.service, new_tenant(), story.clock)
    async with stranger.client() as client:
        await stranger.customer(client, external_id="FL")


async def test_the_same_key_makes_one_customer(story: Story) -> None:
    async with story.client() as client:
        headers = {"idempotency-key": "one"}
        first = await client.post("/v1/customers", json={"name": "Delta"}, headers=headers)
        again = await client.post("/v1/customers", json={"name": "Delta"}, headers=headers)
        listed = await client.get("/v1/customers")
    assert again.content == first.content
    assert len(listed.json()["data"]) == 1


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/name"),
        ({"name": ""}, "/name"),
        ({"name": "x", "zone": "Mars/Olympus"}, "/zone"),
        ({"name": "x", "currency": "XQQ"}, "/currency"),
        ({"name": "x", "country": "ZZ"}, "/country"),
        ({"name": "x", "email": "nobody"}, "/email"),
        ({"name": "x", "metadata": {"a b": "c"}}, "/metadata"),
        ({"name": "x", "id": "cus_1"}, "/id"),
        ({"name": "x", "address": {}}, "/address"),
        ({"name": "x", "address": {"country": "ZZ"}}, "/address/country"),
        ({"name": "x", "address": {"postal_code": "1" * 21}}, "/address/postal_code"),
        ({"name": "x", "locale": "qq"}, "/locale"),
        ({"name": "x", "vat_id": "DE136695977"}, "/vat_id"),
        ({"name": "x", "vat_id": "DE136695976", "country": "AT"}, "/vat_id"),
        ({"name": "x", "payment_terms_days": 366}, "/payment_terms_days"),
        ({"name": "x", "payment_terms_days": -1}, "/payment_terms_days"),
        ({"name": "x", "metadata": {str(n): "" for n in range(51)}}, "/metadata"),
        ({"name": "x", "metadata": {"a": "b" * 501}}, "/metadata"),
    ],
)
async def test_a_wrong_field_is_pointed_at(story: Story, body: dict[str, Any], pointer: str) -> None:
    async with story.client() as client:
        answer = await client.post("/v1/customers", json=body)
    assert answer.status_code == 422
    assert [found for found in pointers(answer) if found.startswith(pointer)]


async def test_another_tenants_customer_is_not_there(story: Story) -> None:
    async with story.client() as client:
        made = await story.customer(client)
    stranger = Story(story.service, new_tenant(), story.clock)
    async with stranger.client() as client:
        shown = await client.get(f"/v1/customers/{made['id']}")
        changed = await client.patch(f"/v1/customers/{made['id']}", json={"name": "x"}, headers=version(1))
        listed = await client.get("/v1/customers")
    assert (shown.status_code, changed.status_code) == (404, 404)
    assert listed.json()["data"] == []


async def test_a_portal_token_sees_its_own_customer(story: Story) -> None:
    async with story.client() as client:
        mine, other = await story.customer(client), await story.customer(client)
    async with story.client("subscriptions:read", customer=mine["id"]) as portal:
        assert (await portal.get(f"/v1/customers/{mine['id']}")).status_code == 200
        assert (await portal.get(f"/v1/customers/{other['id']}")).status_code == 404
        assert (await portal.get("/v1/customers")).status_code == 403


async def test_a_scope_is_needed(story: Story) -> None:
    async with story.client("subscriptions:read") as client:
        answer = await client.post("/v1/customers", json={"name": "x"})
    assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")


NOBODY = "cus_00000000000000000000000000"
EVERYTHING: dict[str, Any] = {
    "name": "Flughafen Wien",
    "legal_name": "Flughafen Wien AG",
    "email": "Accounts@Airport.example",
    "external_id": "VIE",
    "address": {
        "line1": "Flughafenstrasse 1",
        "line2": None,
        "postal_code": "1300",
        "city": "Schwechat",
        "region": None,
        "country": "AT",
    },
    "country": None,
    "vat_id": "U 135 856 27",
    "currency": "EUR",
    "zone": "Europe/Vienna",
    "locale": "de-at",
    "payment_terms_days": 0,
    "metadata": {"a": "b" * 500},
}


async def test_all_that_is_known_of_a_customer_comes_back(story: Story) -> None:
    async with story.client() as client:
        parent = await story.customer(client)
        made = await story.customer(client, **EVERYTHING, parent_id=parent["id"])
        spelled = {**EVERYTHING, "vat_id": "ATU13585627", "locale": "de-AT", "parent_id": parent["id"]}
        assert {name: made[name] for name in spelled} == spelled
        path = f"/v1/customers/{made['id']}"
        assert (await client.get(path)).json() == made
        moved = {"address": {"city": "Wien"}, "country": "AT", "parent_id": None, "payment_terms_days": 365}
        changed = (await client.patch(path, json=moved, headers=version(1))).json()
        assert changed["address"] == {**dict.fromkeys(EVERYTHING["address"]), "city": "Wien"}
        assert (changed["parent_id"], changed["payment_terms_days"]) == (None, 365)
        gone = (await client.patch(path, json={"address": None}, headers=version(2))).json()
    assert gone["address"] is None


async def test_customers_are_found_by_what_is_known_of_them(story: Story) -> None:
    async with story.client() as client:
        parent = await story.customer(client, name="Öbb Holding")
        child = await story.customer(
            client, name="ÖBB Rail", email="Pay@Rail.example", parent_id=parent["id"]
        )
        await story.customer(client, name="Obbligato")

        async def found(**query: str) -> list[str]:
            answer = await client.get("/v1/customers", params=query)
            assert answer.status_code == 200, answer.text
            return [each["id"] for each in answer.json()["data"]]

        assert await found(name_prefix="öbb") == [parent["id"], child["id"]]
        assert await found(name_prefix="ÖBB r") == [child["id"]]
        assert await found(name_prefix="öbb%") == []
        assert await found(email="pay@rail.EXAMPLE") == [child["id"]]
        assert await found(parent_id=parent["id"]) == [child["id"]]
        assert await found(parent_id=child["id"]) == []
        assert await found(created_to=parent["created_at"]) == []
        assert len(await found(created_from=parent["created_at"])) == 3
        too_short = await client.get("/v1/customers", params={"name_prefix": "ö"})
    assert too_short.status_code == 422


async def test_filters_are_answered_from_an_index(story: Story) -> None:
    """A row policy lets an index serve only what can leak nothing: hence the folded columns."""
    await story.as_admin(
        """INSERT INTO customer (id, tenant, name, name_key, email_key, parent_id, metadata, created_at)
           SELECT 'cus_' || :tenant || n, CAST(:tenant AS uuid), n, n, n, NULL, '{}', now()
           FROM (SELECT generate_series(1, 3000)::text AS n) AS numbers""",
        tenant=story.tenant,
    )
    await story.as_admin("ANALYZE customer")
    for condition in ("email_key = '17'", "name_key >= '17' AND name_key < '18'", "parent_id = 'cus_1'"):
        plan = await story.plan_of(f"SELECT * FROM customer WHERE {condition}")
        column = condition.split()[0]
        assert [line for line in plan if "Index Cond" in line and column in line], "\n".join(plan)


async def test_a_parent_is_there_and_makes_no_circle(story: Story) -> None:
    async with story.client() as client:
        root = await story.customer(client)
        child = await story.customer(client, parent_id=root["id"])
        unknown = await client.post("/v1/customers", json={"name": "x", "parent_id": NOBODY})
        assert (unknown.status_code, pointers(unknown)) == (404, ["/parent_id"])
        path = f"/v1/customers/{root['id']}"
        for id in (root["id"], child["id"]):
            circle = await client.patch(path, json={"parent_id": id}, headers=version(1))
            assert (circle.status_code, circle.json()["code"]) == (422, "payer_in_circle")
    stranger = Story(story.service, new_tenant(), story.clock)
    async with stranger.client() as client:
        foreign = await client.post("/v1/customers", json={"name": "x", "parent_id": root["id"]})
    assert foreign.status_code == 404


async def test_two_changes_at_once_make_no_circle(story: Story) -> None:
    """Each of them alone is right, and they change different customers."""
    for _ in range(5):
        async with story.client() as client:
            one, two = await story.customer(client), await story.customer(client)
            child = await story.customer(client, parent_id=one["id"])
            answers = await asyncio.gather(
                *(
                    client.patch(f"/v1/customers/{a['id']}", json={"parent_id": b["id"]}, headers=version(1))
                    for a, b in ((one, two), (two, child))
                )
            )
        assert sorted(answer.status_code for answer in answers) == [200, 422]


async def test_an_erased_customer_is_gone_from_everywhere_here(story: Story) -> None:
    async with story.client() as client:
        made = await story.customer(client, **EVERYTHING)
        path = f"/v1/customers/{made['id']}"
        assert (await client.post(f"{path}/erasure")).json()["code"] == "idempotency_key_required"
        stale = await client.post(f"{path}/erasure", headers={**key(), **version(2)})
        assert stale.status_code == 412
        headers = key()
        erased = await client.post(f"{path}/erasure", headers={**headers, **version(1)})
        assert erased.status_code == 200, erased.text
        assert erased.json()["kept"]
        left = erased.json()["customer"]
        again = await client.post(f"{path}/erasure", headers=key())
        assert again.json()["customer"] == left == (await client.get(path)).json()
        assert (left["name"], left["is_erased"], left["country"]) == ("Erased customer", True, "AT")
        assert [left[name] for name in ("email", "address", "vat_id", "external_id", "legal_name")] == [
            None
        ] * 5
        changed = await client.patch(path, json={"name": "Back"}, headers=version(2))
        assert (changed.status_code, changed.json()["code"]) == (409, "customer_erased")
        body = {"name": "x", "parent_id": made["id"]}
        assert (await client.post("/v1/customers", json=body)).json()["code"] == "customer_erased"
        agreed = await client.post(
            "/v1/subscriptions", json={"customer_id": made["id"], "plan": story.plan.code}, headers=key()
        )
        assert (agreed.status_code, agreed.json()["code"]) == (409, "customer_erased")
        assert pointers(agreed) == ["/customer_id"]
        # The external id is free again.
        await story.customer(client, external_id="VIE")
        for query in ({"external_id": "VIE"}, {"email": "accounts@airport.example"}, {"name_prefix": "flug"}):
            found = (await client.get("/v1/customers", params=query)).json()["data"]
            assert made["id"] not in [each["id"] for each in found]
    assert await story.types(made["id"]) == ["customer.changed", "customer.changed"]
    kept = [*await story.rows(rows.customer), *await story.rows(rows.shared.change_log)]
    about = [row for row in kept if made["id"] in (row.get("id"), row.get("aggregate_id"))]
    assert len(about) == 3
    assert not [word for word in ("Flughafen", "flughafen", "ATU1", "VIE") if word in str(about)]


async def test_erasure_is_refused_with_what_stands_in_the_way(story: Story) -> None:
    async with story.client() as client:
        made = await story.customer(client)
        agreed = await story.subscription(client, customer_id=made["id"])
        child = await story.customer(client, parent_id=made["id"])
        await story.hear(story.failed(agreed["id"], "inv_1"))
        refused = await client.post(f"/v1/customers/{made['id']}/erasure", headers=key())
    assert (refused.status_code, refused.json()["code"]) == (409, "customer_not_erasable")
    told = refused.json()
    assert told["facts"] == {"subscriptions": 1, "children": 1, "unpaid_invoices": 1}
    assert [id for id in (agreed["id"], child["id"], "inv_1") if id not in told["detail"]] == []


async def test_whoever_pays_for_a_subscription_is_not_erased_before_its_end(story: Story) -> None:
    async with story.client() as client:
        payer = await story.customer(client)
        agreed = await story.subscription(client, payer_id=payer["id"])
        refused = await client.post(f"/v1/customers/{payer['id']}/erasure", headers=key())
    assert (refused.status_code, refused.json()["code"]) == (409, "customer_not_erasable")
    assert agreed["id"] in refused.json()["detail"]


async def test_whoever_agrees_while_the_customer_is_erased_is_told(story: Story) -> None:
    """Either the agreement is there first and the erasure is refused, or the other way round."""
    for _ in range(5):
        async with story.client() as client:
            made = await story.customer(client)
            body = {"customer_id": made["id"], "plan": story.plan.code, "starts_on": "2025-01-31"}
            agreed, erased = await asyncio.gather(
                client.post("/v1/subscriptions", json=body, headers=key()),
                client.post(f"/v1/customers/{made['id']}/erasure", headers=key()),
            )
        assert (agreed.status_code, erased.status_code) in ((201, 409), (409, 200)), (
            agreed.text,
            erased.text,
        )
