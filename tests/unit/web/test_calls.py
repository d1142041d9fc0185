"""What routes get from `Call`: reading, making, changing, pages, and who may."""

from typing import Any

import httpx
import pytest

from libs.common.errors import TransientError
from libs.common.web.calls import ATTEMPTS_MAX
from tests.unit.web.small_app import OTHER_TENANT, NoteNotFound, SmallApp, a_deadlock

CUSTOMER = {"customer": "cus_1", "scopes": ["catalog:read", "catalog:write"]}


def problem(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    told = response.json()
    assert told["status"] == response.status_code
    assert told["type"] == f"/problems/{told['code']}"
    assert told["trace_id"] == response.headers["x-trace-id"]
    return response.status_code, told["code"]


async def test_a_made_thing_can_be_read_where_location_says(client: httpx.AsyncClient) -> None:
    made = await client.post("/v1/notes", json={"name": "first"})
    assert made.status_code == 201
    assert made.headers["etag"] == '"1"'
    read = await client.get(made.headers["location"])
    assert read.json() == made.json()


async def test_the_actor_is_the_token(small: SmallApp) -> None:
    async with small.client(token_id="tok_7") as client:
        await client.post("/v1/notes", json={"name": "first"})
    assert small.store.actors == ["token:tok_7"]


@pytest.mark.parametrize("tag", ['"1"', 'W/"1"', '"7", "1"', "*"])
async def test_a_reader_who_has_this_version_gets_304(
    small: SmallApp, client: httpx.AsyncClient, tag: str
) -> None:
    note = small.store.add("first")
    answer = await client.get(f"/v1/notes/{note.id}", headers={"if-none-match": tag})
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", '"1"')


async def test_a_reader_of_another_version_gets_all(small: SmallApp, client: httpx.AsyncClient) -> None:
    note = small.store.add("first")
    answer = await client.get(f"/v1/notes/{note.id}", headers={"if-none-match": '"2"'})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, (428, "version_required")),
        ({"if-match": '"2"'}, (412, "version_changed")),
        ({"if-match": 'W/"1"'}, (412, "version_changed")),
        ({"if-match": "1"}, (400, "precondition_malformed")),
        ({"if-match": '"'}, (400, "precondition_malformed")),
    ],
)
@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_a_change_must_name_the_version_as_it_stands(
    small: SmallApp,
    client: httpx.AsyncClient,
    method: str,
    headers: dict[str, str],
    expected: tuple[int, str],
) -> None:
    note = small.store.add("first")
    body = {"json": {"name": "second"}} if method == "PATCH" else {}
    answer = await client.request(method, f"/v1/notes/{note.id}", headers=headers, **body)  # type: ignore[arg-type]
    assert problem(answer) == expected
    assert small.store.notes[note.id].name == "first"


@pytest.mark.parametrize("tag", ['"1"', "*", '"9", "1"'])
async def test_a_change_that_names_the_version_is_made(
    small: SmallApp, client: httpx.AsyncClient, tag: str
) -> None:
    note = small.store.add("first")
    answer = await client.patch(f"/v1/notes/{note.id}", json={"name": "second"}, headers={"if-match": tag})
    assert (answer.status_code, answer.headers["etag"], answer.json()["name"]) == (200, '"2"', "second")


async def test_a_deletion_answers_204_without_a_body(small: SmallApp, client: httpx.AsyncClient) -> None:
    note = small.store.add("first")
    answer = await client.delete(f"/v1/notes/{note.id}", headers={"if-match": '"1"'})
    assert (answer.status_code, answer.content) == (204, b"")


async def test_a_put_may_say_that_nothing_is_there_yet(small: SmallApp, client: httpx.AsyncClient) -> None:
    path = f"/v1/notes/{small.store.add('first').id}/draft"
    for headers, status in [({"if-none-match": "*"}, 200), ({"if-match": "*"}, 412), ({}, 428)]:
        assert (await client.put(path, json={"name": "x"}, headers=headers)).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"), [({}, 200), ({"if-match": '"1"'}, 200), ({"if-match": '"2"'}, 412)]
)
async def test_an_action_honours_a_version_without_asking_for_one(
    small: SmallApp,
    client: httpx.AsyncClient,
    headers: dict[str, str],
    status: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    note = small.store.add("first")

    async def run_once(uow: Any, *, work: Any, **_: Any) -> Any:
        return await work()

    monkeypatch.setattr("libs.common.web.calls.run_once", run_once)
    path = f"/v1/notes/{note.id}/signature"
    assert (await client.post(path, headers={"idempotency-key": "k", **headers})).status_code == status


async def test_a_required_key_is_asked_for(small: SmallApp, client: httpx.AsyncClient) -> None:
    path = f"/v1/notes/{small.store.add('first').id}/signature"
    assert problem(await client.post(path)) == (400, "idempotency_key_required")
    two = [("idempotency-key", "a"), ("idempotency-key", "b")]
    assert problem(await client.post(path, headers=two)) == (400, "idempotency_key_invalid")


async def test_a_deadlock_repeats_the_whole(small: SmallApp, client: httpx.AsyncClient) -> None:
    small.store.failures = [a_deadlock(), a_deadlock()]
    assert (await client.post("/v1/notes", json={"name": "first"})).status_code == 201
    assert (small.store.works, len(small.store.notes)) == (3, 1)


async def test_endless_deadlocks_are_given_up(small: SmallApp, client: httpx.AsyncClient) -> None:
    small.store.failures = [a_deadlock() for _ in range(ATTEMPTS_MAX)]
    answer = await client.post("/v1/notes", json={"name": "first"})
    assert problem(answer) == (503, "lost_race")
    assert answer.headers["retry-after"] == "1"
    assert small.store.works == ATTEMPTS_MAX


async def test_news_of_another_service_is_awaited(small: SmallApp, client: httpx.AsyncClient) -> None:
    small.store.failures = [NoteNotFound("not yet"), NoteNotFound("not yet")]
    assert (await client.post("/v1/notes", json={"name": "first"})).status_code == 201


async def test_news_that_never_arrives_is_believed_missing(
    small: SmallApp, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("libs.common.web.calls.AWAIT_S", 0.0)
    small.store.failures = [NoteNotFound("not yet")]
    assert problem(await client.post("/v1/notes", json={"name": "first"})) == (404, "note_not_found")


async def test_a_commit_that_fails_is_answered_and_nothing_is_kept(
    small: SmallApp, client: httpx.AsyncClient
) -> None:
    small.store.failures = [TransientError("the disk is full", address="10.0.0.5")]
    answer = await client.post("/v1/notes", json={"name": "first"})
    assert problem(answer) == (503, "temporarily_unavailable")
    assert "10.0.0.5" not in answer.text
    assert small.store.notes == {}


async def test_the_things_of_another_tenant_are_not_there(small: SmallApp) -> None:
    note = small.store.add("first")
    async with small.client(tenant=OTHER_TENANT) as stranger:
        assert problem(await stranger.get(f"/v1/notes/{note.id}")) == (404, "note_not_found")


@pytest.mark.parametrize("id", ["zzz", "inv_01jgfjjz00s9erq6yvj0zt00c0", "note_" + "0" * 27, "note_%2e%2e"])
async def test_an_id_that_cannot_be_is_not_there_either(client: httpx.AsyncClient, id: str) -> None:
    assert problem(await client.get(f"/v1/notes/{id}")) == (404, "not_found")


async def test_a_portal_token_sees_its_customers_own_only(small: SmallApp) -> None:
    own, foreign = small.store.add("own"), small.store.add("foreign", customer="cus_2")
    async with small.client(**CUSTOMER) as client:
        assert (await client.get(f"/v1/notes/{own.id}")).status_code == 200
        assert problem(await client.get(f"/v1/notes/{foreign.id}")) == (404, "note_not_found")


async def test_a_portal_token_is_refused_where_it_may_not_be_at_all(small: SmallApp) -> None:
    note = small.store.add("own")
    async with small.client(**CUSTOMER) as client:
        assert problem(await client.post("/v1/notes", json={"name": "x"})) == (403, "portal_forbidden")
        answer = await client.delete(f"/v1/notes/{note.id}", headers={"if-match": '"1"'})
        assert problem(answer) == (403, "portal_forbidden")


async def test_a_missing_scope_is_named(small: SmallApp) -> None:
    async with small.client(scopes=["catalog:read"]) as client:
        answer = await client.post("/v1/notes", json={"name": "x"})
    assert problem(answer) == (403, "scope_missing")
    assert answer.json()["facts"] == {"scope": "catalog:write"}
    assert answer.headers["www-authenticate"] == 'Bearer error="insufficient_scope", scope="catalog:write"'


async def test_operators_work_without_a_tenant_and_see_no_tenants_things(small: SmallApp) -> None:
    async with small.client(tenant=None, scopes=["operate", "catalog:read"]) as client:
        answer = await client.get("/v1/notes-operations/audit")
        assert answer.json() == {"tenant": "00000000-0000-0000-0000-000000000000"}
        assert problem(await client.get("/v1/notes")) == (403, "tenant_needed")


async def test_pages_tile_the_list_while_it_grows(small: SmallApp, client: httpx.AsyncClient) -> None:
    names = [small.store.add(f"note {n}").name for n in range(7)]
    seen: list[str] = []
    url: str | None = "/v1/notes?limit=3"
    while url:
        answer = await client.get(url)
        seen += [note["name"] for note in answer.json()["data"]]
        if len(seen) == 3:
            names.append(small.store.add("late").name)
        url = answer.links["next"]["url"] if "next" in answer.links else None
        assert (answer.json()["next_cursor"] is None) == (url is None)
    assert seen == names


async def test_the_next_link_keeps_the_filters(small: SmallApp, client: httpx.AsyncClient) -> None:
    for n in range(4):
        small.store.add(f"note {n}")
    bounds = "created_from=2025-01-01T00:01:00Z&created_to=2025-01-01T01:03:00%2B01:00"
    first = await client.get(f"/v1/notes?limit=1&{bounds}")
    second = await client.get(first.links["next"]["url"])
    names = [note["name"] for note in first.json()["data"] + second.json()["data"]]
    assert names == ["note 1", "note 2"]
    assert "next" not in second.links


@pytest.mark.parametrize("cursor", ["", "x", "a.b", "a.b.c", "!!.!!", "W10.W10", "é.é"])
async def test_an_invented_cursor_is_refused(client: httpx.AsyncClient, cursor: str) -> None:
    assert problem(await client.get("/v1/notes", params={"cursor": cursor})) == (400, "cursor_invalid")


async def test_a_cursor_is_good_for_its_own_list_only(small: SmallApp, client: httpx.AsyncClient) -> None:
    for n in range(3):
        small.store.add(f"note {n}")
    cursor = (await client.get("/v1/notes?limit=1")).json()["next_cursor"]
    tampered = cursor[:-1] + ("A" if cursor[-1] != "A" else "Q")
    assert problem(await client.get("/v1/notes", params={"cursor": tampered})) == (400, "cursor_invalid")
    async with small.client(tenant=OTHER_TENANT) as stranger:
        answer = await stranger.get("/v1/notes", params={"cursor": cursor})
    assert problem(answer) == (400, "cursor_invalid")


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=x", "created_from=2025-01-01", "cursor=" + "x" * 513]
)
async def test_parameters_are_bounded(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.get(f"/v1/notes?{query}")
    assert problem(answer) == (422, "invalid_parameters")
    (error,) = answer.json()["errors"]
    assert (error["in"], error["parameter"]) == ("query", query.partition("=")[0])
