"""Subject bindings over HTTP, and two who bind the same subjects at the same time."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import asyncpg
import pytest

from services.subscriptions.adapters import rows
from services.subscriptions.adapters.subject_bindings import SubjectBindingRepository
from services.subscriptions.application.carry_out import carry_out
from services.subscriptions.domain.renewal import DueFacts, Ended, decide_due
from tests.integration.subscriptions.story import Story, a_binding_of, pointers, usage_item, version
from tests.support.service_under_test import new_tenant
from tests.support.subscriptions import a_binding

JAN, FEB, MAR = "2025-01-01T00:00:00Z", "2025-02-01T00:00:00Z", "2025-03-01T00:00:00Z"


async def test_subjects_are_bound_listed_and_released(story: Story) -> None:
    async with story.client() as client:
        made = await story.subscription(client)
        item = usage_item(made)
        asked = [
            a_binding_of(item, "N1", bound_until=FEB),
            a_binding_of(item, "N1", bound_from=FEB, asset_id="ast_engine-7"),
            a_binding_of(item, "N1", bound_from="2025-01-15T00:00:00Z", bound_until=MAR),
            a_binding_of("si_00000000000000000000000009", "N2"),
            {
                "subject": "N3",
                "meter": "flying-minutes",
                "subscription_id": made["id"],
                "bound_from": "2025-01-01T01:00:00+01:00",
            },
        ]
        first, second, third, fourth, fifth = await story.bind(client, *asked)
        assert [result["status"] for result in (first, second, fifth)] == ["created"] * 3
        assert (third["status"], third["conflicts_with"]) == ("conflict", first["binding_id"])
        assert (fourth["status"], fourth["error"]["pointer"]) == ("rejected", "/bindings/3/item_id")

        again = await story.bind(client, *asked)
        assert [result["status"] for result in again] == [
            "unchanged",
            "unchanged",
            "conflict",
            "rejected",
            "unchanged",
        ]

        path = f"/v1/subject-bindings/{second['binding_id']}"
        shown = (await client.get(path)).json()
        assert (shown["subject"], shown["bound_from"], shown["bound_until"]) == ("N1", FEB, None)
        assert shown["asset_id"] == "ast_engine-7"
        [otherwise] = await story.bind(
            client, a_binding_of(item, "N1", bound_from=FEB, asset_id="ast_engine-8")
        )
        assert (otherwise["status"], otherwise["conflicts_with"]) == ("conflict", second["binding_id"])
        passed = await client.post(f"{path}/release", json={"at": MAR}, headers=version(2))
        released = await client.post(f"{path}/release", json={"at": MAR}, headers=version(1))
        repeated = await client.post(f"{path}/release", json={"at": MAR})
        longer = await client.post(f"{path}/release", json={"at": "2025-03-02T00:00:00Z"})
        assert passed.status_code == 412
        assert released.json() == repeated.json() == {**shown, "bound_until": MAR, "version": 2}
        assert (longer.status_code, longer.json()["code"]) == (409, "binding_ends_earlier")

        async def found(**wanted: str) -> list[str]:
            answer = await client.get("/v1/subject-bindings", params=wanted)
            assert answer.status_code == 200, answer.text
            return [binding["id"] for binding in answer.json()["data"]]

        ids = {first["binding_id"], second["binding_id"], fifth["binding_id"]}
        assert set(await found()) == set(await found(subscription_id=made["id"])) == ids
        assert set(await found(item_id=item)) == set(await found(meter="flying-minutes")) == ids
        assert await found(subject="N3") == [fifth["binding_id"]]
        assert await found(subject="N9") == []
        assert await found(asset_id="ast_engine-7") == [second["binding_id"]]
    assert await story.types(*ids) == ["subject.bound"] * 3 + ["subject.released"]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"subject": ""}, "/bindings/1/subject"),
        ({"subject": " x"}, "/bindings/1/subject"),
        ({"meter": "No Meter"}, "/bindings/1/meter"),
        ({"bound_from": "2025-01-01"}, "/bindings/1/bound_from"),
        ({"item_id": None}, "/bindings/1"),
        ({"subscription_id": "sub_00000000000000000000000009"}, "/bindings/1"),
        ({"id": "bnd_1"}, "/bindings/1/id"),
    ],
)
async def test_what_cannot_be_read_is_pointed_at(story: Story, changes: dict[str, Any], pointer: str) -> None:
    item = "si_00000000000000000000000009"
    async with story.client() as client:
        answer = await client.post(
            "/v1/subject-bindings", json={"bindings": [a_binding_of(item), {**a_binding_of(item), **changes}]}
        )
    assert answer.status_code == 422
    assert pointer in pointers(answer)


@pytest.mark.parametrize("count", [0, 1_001])
async def test_a_request_has_from_one_to_a_thousand(story: Story, count: int) -> None:
    bindings = [a_binding_of("si_00000000000000000000000009", f"N{n}") for n in range(count)]
    async with story.client() as client:
        answer = await client.post("/v1/subject-bindings", json={"bindings": bindings})
    assert answer.status_code == 422
    assert "/bindings" in pointers(answer)


async def test_a_thousand_are_bound_in_a_few_statements(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements: list[str] = []

    def noted(kind: str) -> None:
        method = getattr(asyncpg.connection.Connection, kind)

        async def note(self: Any, query: str, *args: Any, **options: Any) -> Any:
            statements.append(query)
            return await method(self, query, *args, **options)

        monkeypatch.setattr(asyncpg.connection.Connection, kind, note)

    async with story.client() as client:
        made = await story.subscription(client)
        item = usage_item(made)
        for kind in ("fetch", "execute", "prepare"):
            noted(kind)
        results = await story.bind(client, *[a_binding_of(item, f"N{n}") for n in range(1_000)])
    assert Counter(result["status"] for result in results) == {"created": 1_000}
    assert len(statements) < 25, statements
    assert len(await story.rows(rows.subject_binding)) == 1_000


async def test_two_who_bind_at_once_share_the_subjects_out(story: Story) -> None:
    """Each subject is bound by one of them; the other is told whose binding is in its way. Nothing fails."""
    async with story.client() as client:
        one, other = await story.subscription(client), await story.subscription(client)
        subjects = [f"N{n}" for n in range(200)]

        def asked(subscription: dict[str, Any], bound_from: str, order: list[str]) -> list[dict[str, Any]]:
            return [a_binding_of(usage_item(subscription), s, bound_from=bound_from) for s in order]

        answers = await asyncio.gather(
            story.bind(client, *asked(one, JAN, subjects)),
            story.bind(client, *asked(other, FEB, subjects[::-1])),
            story.bind(client, *asked(other, MAR, subjects)),
        )
    statuses = Counter(result["status"] for answer in answers for result in answer)
    assert statuses == {"created": 200, "conflict": 400}
    bound = await story.rows(rows.subject_binding)
    assert sorted(row["subject"] for row in bound) == sorted(subjects)
    ids = {row["id"] for row in bound}
    conflicts = {r["conflicts_with"] for answer in answers for r in answer if r["status"] == "conflict"}
    assert conflicts == ids
    assert (await story.types()).count("subject.bound") == 200


async def test_the_constraint_has_the_last_word(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two who saw nothing in their way meet at the insert: the second waits, looks again, and gives way."""
    async with story.client() as client:
        made = await story.subscription(client)
        item = usage_item(made)
        find_in, looks, both_looked = SubjectBindingRepository.find_in, 0, asyncio.Event()

        async def look_together(self: SubjectBindingRepository, spans: Any) -> Any:
            nonlocal looks
            found = await find_in(self, spans)
            looks += 1
            if looks == 2:
                both_looked.set()
            await asyncio.wait_for(both_looked.wait(), 5)
            return found

        monkeypatch.setattr(SubjectBindingRepository, "find_in", look_together)
        [first], [second] = await asyncio.gather(
            story.bind(client, a_binding_of(item, "N1", bound_from=JAN)),
            story.bind(client, a_binding_of(item, "N1", bound_from=FEB)),
        )
    created, conflict = sorted((first, second), key=lambda result: result["status"] != "created")
    assert (created["status"], conflict["status"]) == ("created", "conflict")
    assert conflict["conflicts_with"] == created["binding_id"]
    assert looks == 3


async def test_the_constraint_itself_refuses_an_overlap(story: Story) -> None:
    async with story.client() as client:
        made = await story.subscription(client)
        await story.bind(client, a_binding_of(usage_item(made), "N1"))
    rival = a_binding(
        subject="N1",
        bound_from=a_binding().bound_from.replace(month=6),
        subscription_id=made["id"],
        item_id=usage_item(made),
    )
    with pytest.raises(Exception, match="ex_subject_binding_one_item"):
        async with story.service.parts.worker_units.open(story.tenant, "test") as uow:
            uow.bindings.add(rival)


async def test_a_binding_waits_for_an_end_that_is_under_way(story: Story) -> None:
    """The subscription ends while a subject is being bound to it: the binding does not outlive it."""
    async with story.client() as client:
        made = await story.subscription(client)
        async with story.service.parts.worker_units.open(story.tenant, "test") as ending:
            subscription = await ending.subscriptions.get_for_update(made["id"])
            binding = asyncio.create_task(story.bind(client, a_binding_of(usage_item(made))))
            await asyncio.sleep(0.2)
            assert not binding.done()
            at = subscription.period.end
            outcome = decide_due(subscription.changed(term_ends_at=at), at, DueFacts(story.tenant))
            assert isinstance(outcome, Ended)
            await carry_out(outcome, uow=ending, now=at)
        [result] = await binding
    assert (result["status"], result["error"]["code"]) == ("rejected", "binding_outlives_subscription")


async def test_another_tenants_and_another_customers_bindings_are_not_there(story: Story) -> None:
    async with story.client() as client:
        mine, other = await story.subscription(client), await story.subscription(client)
        [my_result, other_result] = await story.bind(
            client, a_binding_of(usage_item(mine), "N1"), a_binding_of(usage_item(other), "N2")
        )
    path = "/v1/subject-bindings"
    async with story.client("subscriptions:read", customer=mine["customer_id"]) as portal:
        assert (await portal.get(f"{path}/{my_result['binding_id']}")).status_code == 200
        assert (await portal.get(f"{path}/{other_result['binding_id']}")).status_code == 404
        listed = (await portal.get(path)).json()["data"]
    assert [binding["id"] for binding in listed] == [my_result["binding_id"]]
    stranger = Story(story.service, new_tenant(), story.clock)
    async with stranger.client() as client:
        shown = await client.get(f"{path}/{my_result['binding_id']}")
        released = await client.post(f"{path}/{my_result['binding_id']}/release", json={"at": MAR})
        listed = (await client.get(path)).json()["data"]
        # The same subject, meter and instant of another tenant is another binding.
        await stranger.hear_of_plan()
        theirs = await stranger.subscription(client)
        [result] = await stranger.bind(client, a_binding_of(usage_item(theirs), "N1"))
    assert (shown.status_code, released.status_code, listed) == (404, 404, [])
    assert result["status"] == "created"
    assert result["binding_id"] != my_result["binding_id"]
