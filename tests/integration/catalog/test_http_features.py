"""Features over HTTP, with real tokens and a real database."""

from __future__ import annotations

from typing import Any

import pytest

from libs.common.web import calls
from services.catalog.domain.known_meter import KnownMeter
from tests.integration.catalog.asking import make, pointers
from tests.integration.catalog.test_events import sent_by
from tests.support.service_under_test import ServiceUnderTest, new_tenant

BOTH = ("catalog:read", "catalog:write")
PATH = "/v1/features"
SWITCH: dict[str, Any] = {"code": "api", "name": "API access", "kind": "switch"}
METERED: dict[str, Any] = {
    "code": "washes",
    "name": "Washes",
    "kind": "metered",
    "meter": "washes",
    "unit": "wash",
    "description": "Completed cycles",
    "metadata": {"a": "b"},
}


async def know_meter(catalog: ServiceUnderTest, tenant: str, code: str) -> None:
    async with catalog.parts.worker_units.open(tenant, "test") as uow:
        await uow.known_meters.put(KnownMeter(code, f"mtr_{code}", "sum", None, 1))


async def test_a_feature_lives_from_making_to_archival(catalog: ServiceUnderTest, tenant: str) -> None:
    await know_meter(catalog, tenant, "washes")
    async with catalog.client(tenant, *BOTH) as client:
        answer = await client.post(PATH, json=METERED)
        made = answer.json()
        path = answer.headers["location"]
        assert (answer.status_code, path) == (201, f"{PATH}/{made['id']}")
        assert made == {
            **METERED,
            "id": made["id"],
            "version": 1,
            "created_at": made["created_at"],
            "archived_at": None,
        }
        assert (await client.get(path)).json() == made
        assert (await client.get(path, headers={"if-none-match": '"1"'})).status_code == 304

        changed = await client.patch(path, json={"name": "W", "unit": None}, headers={"if-match": '"1"'})
        assert changed.json() == {**made, "name": "W", "unit": None, "version": 2}
        assert (await client.patch(path, json={"name": "x"})).status_code == 428
        assert (await client.patch(path, json={"name": "x"}, headers={"if-match": '"1"'})).status_code == 412

        archived = await client.post(f"{path}/archival")
        assert (await client.post(f"{path}/archival")).json() == archived.json()
        refused = await client.patch(path, json={"name": "x"}, headers={"if-match": "*"})
        assert (refused.status_code, refused.json()["code"]) == (409, "feature_archived")
    sent = await sent_by(catalog, tenant)
    assert [delivery.headers["ce_type"] for delivery in sent] == ["perennial.catalog.feature.changed.v1"] * 3
    assert {delivery.key for delivery in sent} == {f"{tenant}/{made['id']}"}


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({**METERED, "meter": None}, "feature_invalid", "/meter"),
        ({**SWITCH, "meter": "washes"}, "feature_invalid", "/meter"),
        ({**SWITCH, "unit": "seat"}, "feature_invalid", "/unit"),
        ({**METERED, "meter": "other"}, "feature_meter_unknown", "/meter"),
        ({**SWITCH, "kind": "counter"}, "invalid_body", "/kind"),
        ({**SWITCH, "code": "Not A Code"}, "invalid_body", "/code"),
        ({**SWITCH, "colour": "blue"}, "invalid_body", "/colour"),
    ],
)
async def test_a_wrong_field_is_pointed_at(
    catalog: ServiceUnderTest,
    tenant: str,
    monkeypatch: pytest.MonkeyPatch,
    body: dict[str, Any],
    code: str,
    pointer: str,
) -> None:
    monkeypatch.setattr(calls, "AWAIT_S", 0.0)
    await know_meter(catalog, tenant, "washes")
    async with catalog.client(tenant, *BOTH) as client:
        answer = await client.post(PATH, json=body)
    assert (answer.status_code, pointers(answer)) == (422, [pointer])
    assert answer.json()["code"] == code


async def test_codes_are_taken_once_and_lists_narrow(catalog: ServiceUnderTest, tenant: str) -> None:
    await know_meter(catalog, tenant, "washes")
    async with catalog.client(tenant, *BOTH) as client:
        switch = await make(client, PATH, SWITCH)
        await make(client, PATH, METERED)
        taken = await client.post(PATH, json={**SWITCH, "kind": "limit"})
        assert (taken.status_code, taken.json()["code"]) == (409, "feature_code_taken")
        assert pointers(taken) == ["/code"]
        await client.post(f"{PATH}/{switch['id']}/archival")

        async def codes(**filters: str) -> list[str]:
            return [f["code"] for f in (await client.get(PATH, params=filters)).json()["data"]]

        assert await codes() == ["api", "washes"]
        assert await codes(code="washes") == ["washes"]
        assert await codes(kind="switch") == ["api"]
        assert await codes(archived="true") == ["api"]
        assert await codes(archived="false") == ["washes"]
    async with catalog.client(new_tenant(), *BOTH) as stranger:
        path = f"{PATH}/{switch['id']}"
        answers = [
            await stranger.get(path),
            await stranger.patch(path, json={"name": "x"}, headers={"if-match": "*"}),
            await stranger.post(f"{path}/archival"),
        ]
        assert (await stranger.get(PATH)).json()["data"] == []
    assert [answer.status_code for answer in answers] == [404, 404, 404]
