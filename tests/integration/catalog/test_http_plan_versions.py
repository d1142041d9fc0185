"""Published versions over HTTP: within their bounds, withdrawn, sold again, archived, and never changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from libs.common.web.bodies import instant_text
from tests.integration.catalog.asking import FEE, a_plan_body, make, make_plan, publish
from tests.support.service_under_test import ServiceUnderTest, new_tenant

BOTH = ("catalog:read", "catalog:write")
NOW = datetime.now(UTC)


def at(**distance: int) -> str:
    return instant_text(NOW + timedelta(**distance))


@pytest.mark.parametrize(
    ("bounds", "status"),
    [
        ({}, "on_sale"),
        ({"valid_from": at(days=1)}, "scheduled"),
        ({"valid_from": at(days=-1), "valid_until": at(days=1)}, "on_sale"),
        ({"valid_until": at(days=-1)}, "expired"),
    ],
)
async def test_a_version_is_on_sale_within_its_bounds(
    catalog: ServiceUnderTest, tenant: str, bounds: dict[str, str], status: str
) -> None:
    async with catalog.client(tenant, *BOTH) as client:
        plan = await make_plan(client)
        version = (await publish(client, plan["id"], **bounds))["plan_version"]
        assert version["status"] == status
        assert (version["valid_from"], version["valid_until"]) == (
            bounds.get("valid_from"),
            bounds.get("valid_until"),
        )
        assert (await publish(client, plan["id"], **bounds))["outcome"] == "unchanged"
        again = await publish(client, plan["id"], valid_from=at(days=2))
    assert (again["outcome"], again["plan_version"]["number"]) == ("published", 2)


async def test_bounds_that_let_nobody_in_are_refused(catalog: ServiceUnderTest, tenant: str) -> None:
    async with catalog.client(tenant, *BOTH) as client:
        plan = await make_plan(client)
        bounds = {"valid_from": at(days=1), "valid_until": at(days=1)}
        answer = await client.post(f"/v1/plans/{plan['id']}/publications", json=bounds)
        nothing = await client.post(f"/v1/plans/{plan['id']}/publications", json={})
    assert (answer.status_code, answer.json()["code"]) == (422, "validity_reversed")
    assert answer.json()["errors"][0]["pointer"] == "/valid_until"
    assert nothing.json()["plan_version"]["status"] == "on_sale"


async def test_a_version_is_withdrawn_sold_again_and_archived(catalog: ServiceUnderTest, tenant: str) -> None:
    async with catalog.client(tenant, *BOTH) as client:
        plan = await make_plan(client)
        published = (await publish(client, plan["id"]))["plan_version"]
        path = f"/v1/plans/{plan['id']}/versions/1"
        first = await client.get(path)

        async def post(what: str, **headers: str) -> Any:
            return await client.post(f"{path}/{what}", headers=headers)

        withdrawn = await post("withdrawal", **{"if-match": first.headers["etag"]})
        assert withdrawn.json() == {**published, "status": "withdrawn"}
        assert withdrawn.headers["etag"] != first.headers["etag"]
        again = await post("withdrawal", **{"if-match": first.headers["etag"]})
        assert (again.status_code, again.json()["code"]) == (412, "version_changed")
        assert (await post("withdrawal")).json() == withdrawn.json()

        shown = await client.get(path, headers={"if-none-match": first.headers["etag"]})
        assert (shown.status_code, shown.json()["status"]) == (200, "withdrawn")
        kept = await client.get(path, headers={"if-none-match": shown.headers["etag"]})
        assert kept.status_code == 304
        listed = (await client.get(f"/v1/plans/{plan['id']}/versions")).json()["data"]
        assert [version["status"] for version in listed] == ["withdrawn"]

        assert (await post("reinstatement")).json() == published
        assert (await post("archival")).json()["status"] == "archived"
        assert (await post("archival")).json()["status"] == "archived"
        for what in ("withdrawal", "reinstatement"):
            refused = await post(what)
            assert (refused.status_code, refused.json()["code"]) == (409, "plan_version_archived")
            assert refused.json()["remedy"]
        assert (await client.get(f"/v1/plans/{plan['id']}")).json()["version"] == 5
        assert (await publish(client, plan["id"]))["plan_version"]["number"] == 2
        for what in ("withdrawal", "reinstatement", "archival"):
            missing = await client.post(f"/v1/plans/{plan['id']}/versions/3/{what}")
            assert (missing.status_code, missing.json()["code"]) == (404, "plan_version_not_found")


async def test_a_version_of_a_retired_plan_is_not_sold_again(catalog: ServiceUnderTest, tenant: str) -> None:
    async with catalog.client(tenant, *BOTH) as client:
        plan = await make_plan(client)
        await publish(client, plan["id"])
        path = f"/v1/plans/{plan['id']}"
        await client.post(f"{path}/versions/1/withdrawal")
        await client.post(f"{path}/retirement")
        answer = await client.post(f"{path}/versions/1/reinstatement")
    assert (answer.status_code, answer.json()["code"]) == (409, "plan_retired")


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_a_published_version_never_changes_whoever_asks(
    catalog: ServiceUnderTest, tenant: str, method: str
) -> None:
    async with catalog.client(tenant, *BOTH) as client:
        plan = await make_plan(client)
        before = await publish(client, plan["id"])
        path = f"/v1/plans/{plan['id']}/versions/1"
        bodies: list[dict[str, Any]] = [{}, {"json": {"name": "x", "prices": [FEE]}}]
        for body in bodies:
            answer = await client.request(method, path, headers={"if-match": "*"}, **body)
            assert (answer.status_code, answer.json()["code"]) == (409, "plan_version_immutable")
            assert "draft" in answer.json()["remedy"]
        missing = await client.request(method, f"/v1/plans/{plan['id']}/versions/2")
        assert (missing.status_code, missing.json()["code"]) == (404, "plan_version_not_found")
        assert (await client.get(path)).json() == before["plan_version"]


async def test_another_tenants_versions_are_not_there(catalog: ServiceUnderTest, tenant: str) -> None:
    async with catalog.client(tenant, *BOTH) as client:
        plan = await make_plan(client)
        await publish(client, plan["id"])
        path = f"/v1/plans/{plan['id']}/versions/1"
        assert (await client.get(path)).status_code == 200  # so that it is at hand
    async with catalog.client(new_tenant(), *BOTH) as stranger:
        answers = [
            await stranger.get(path),
            await stranger.patch(path),
            *[await stranger.post(f"{path}/{what}") for what in ("withdrawal", "reinstatement", "archival")],
        ]
    assert [answer.status_code for answer in answers] == [404] * 5


async def test_versions_are_listed_with_where_each_stands(catalog: ServiceUnderTest, tenant: str) -> None:
    async with catalog.client(tenant, *BOTH) as client:
        plan = await make_plan(client)
        for bounds in ({}, {"valid_until": at(days=-1)}, {"valid_from": at(days=1)}):
            await publish(client, plan["id"], **bounds)
        await client.post(f"/v1/plans/{plan['id']}/versions/1/archival")
        listed = (await client.get(f"/v1/plans/{plan['id']}/versions")).json()["data"]
        other = await make(client, "/v1/plans", a_plan_body(code="other"))
        assert (await client.get(f"/v1/plans/{other['id']}/versions")).json()["data"] == []
    assert [(version["number"], version["status"]) for version in listed] == [
        (1, "archived"),
        (2, "expired"),
        (3, "scheduled"),
    ]


async def test_what_changes_between_two_versions_is_told(catalog: ServiceUnderTest, tenant: str) -> None:
    async with catalog.client(tenant, *BOTH) as client:
        plan = await make_plan(client)
        path = f"/v1/plans/{plan['id']}"
        unpublished = await client.get(f"{path}/diff")
        assert (unpublished.status_code, unpublished.json()["code"]) == (404, "plan_version_not_found")
        await publish(client, plan["id"])
        dearer = {"prices": [{**FEE, "unit_amount": "1300"}]}
        await client.patch(path, json=dearer, headers={"if-match": "*"})
        drafted = (await client.get(f"{path}/diff")).json()
        change = {
            "pointer": "/prices/0/unit_amount",
            "price": "aircraft",
            "what": "changed",
            "before": "1200",
            "after": "1300",
            "words": "the price aircraft in USD: the unit amount goes from 1200 to 1300, 8.33 % more",
        }
        assert drafted == {
            "plan_id": plan["id"],
            "from": 1,
            "to": "draft",
            "changes": [change],
            "words": f"{change['words'][0].upper()}{change['words'][1:]}.",
        }
        await publish(client, plan["id"], valid_from="2030-01-01T00:00:00Z")

        async def diff(**sides: Any) -> Any:
            return (await client.get(f"{path}/diff", params=sides)).json()

        between = await diff(**{"from": 1, "to": 2})
        assert [change["pointer"] for change in between["changes"]] == [
            "/valid_from",
            "/prices/0/unit_amount",
        ]
        back = await diff(**{"from": "draft", "to": 1})
        assert back["words"] == (
            "The price aircraft in USD: the unit amount goes from 1300 to 1200, 7.69 % less."
        )
        assert await diff() == {
            "plan_id": plan["id"],
            "from": 2,
            "to": "draft",
            "changes": [],
            "words": "Nothing changes.",
        }
        assert (await diff(to="3"))["code"] == "plan_version_not_found"
        for side in ("0", "-1", "newest", "1.0", "9" * 10, ""):
            assert (await diff(to=side))["code"] == "invalid_parameters", side
    async with catalog.client(new_tenant(), *BOTH) as stranger:
        assert (await stranger.get(f"{path}/diff")).status_code == 404
