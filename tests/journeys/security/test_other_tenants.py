"""No read or write crosses tenants: every route with every id of another tenant, wherever an id can stand.

Generated from the routes. A route, a parameter or a field that is new fails here until it is told what it names.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.journeys.security.routes import (
    ACCOUNT,
    LISTING,
    MESSAGE,
    NOT_HAD,
    NUMBER,
    OF_EVERYBODY,
    OF_ISSUED,
    PATH_KINDS,
    PLAIN_FIELDS,
    PLAIN_QUERIES,
    QUERY_KINDS,
    QUERY_SENT_TOGETHER,
    REFERENCES,
    REPLAY,
    TENANT,
    UNCHECKED,
    WORDS,
)
from tests.journeys.security.snapshots import changed, rows_of
from tests.journeys.security.story import Asked, Story, send
from tests.journeys.security.trying import REFUSED, ask_for, assert_empty, mixtures, names_in
from tests.journeys.security.world import World
from tests.support.all_services import AllServices

SEVERAL = 2  # of all things of a kind: their routes are the same


async def test_every_parameter_and_every_field_is_known(world: World) -> None:
    unknown = [
        f"{operation}: {name}"
        for operation in world.operations
        for name, known in (
            *((name, name in PATH_KINDS) for name in operation.path_parameters),
            *((name, name in QUERY_KINDS or name in PLAIN_QUERIES) for name in operation.queries),
            *((name, name in REFERENCES or name in PLAIN_FIELDS) for name in operation.body_fields()),
        )
        if not known
    ]
    assert unknown == [], "say in routes.py what these name, so that they are tried with foreign ids"


async def test_the_story_has_something_of_every_kind_and_has_done_every_write(world: World) -> None:
    special = {TENANT, MESSAGE, REPLAY, NUMBER, ACCOUNT, LISTING, WORDS}
    kinds = {PATH_KINDS[name] for operation in world.operations for name in operation.path_parameters}
    for story in (world.alpha, world.beta):
        assert not [kind for kind in kinds - special if not story.ids[kind]]
        told = {asked.route for asked in [*story.asked, *story.refused, *world.operators.asked]}
        untold = {str(o) for o in world.operations if o.writes and (o.method, o.path) not in told}
        assert not untold, "tell these in story.py"
    known = {name for operation in world.operations for name in operation.body_fields()} & REFERENCES
    made = {name_of(place) for _, place, _ in references_of(world.alpha)}
    assert known == made, "a reference is never made"


async def test_the_owner_sees_all_of_it(world: World) -> None:
    """So that the 404s below are not 404s for everybody."""
    seen = 0
    async with world.everything.client(world.alpha.tenant) as owner:
        for operation in world.operations:
            if operation.writes or operation.for_operators or not operation.path_parameters:
                continue
            if operation.path_parameters in OF_EVERYBODY:  # of several currencies one must be named
                continue
            for values in world.things_at(operation, world.alpha):
                query = world.query_at(operation, world.alpha, values)
                answer = await owner.get(operation.address(values), params=query)
                if operation.path in OF_ISSUED and answer.status_code in (409, 422):
                    assert answer.json()["code"] in NOT_HAD, answer.text
                    continue
                assert answer.status_code == 200, f"{operation} {values}: {answer.text}"
            seen += 1
    assert seen > 15


async def test_every_route_with_every_foreign_id_in_its_path_is_not_found(world: World) -> None:
    alpha, beta = world.alpha, world.beta
    before = [await rows_of(world.everything, story.tenant) for story in (alpha, beta)]
    tried = 0
    async with world.everything.client(beta.tenant) as stranger:
        for operation in world.operations:
            if not operation.path_parameters or operation.path_parameters in OF_EVERYBODY:
                continue
            body = next((asked for asked in world.told(beta, operation)), None)
            mine = world.things_at(operation, beta)[0]
            for foreign in world.things_at(operation, alpha)[:SEVERAL]:
                for values in mixtures(mine, foreign) if mine != foreign else [foreign]:
                    answer = await ask_for(stranger, operation, body, values)
                    expected = 403 if operation.for_operators else 404
                    assert answer.status_code == expected, f"{operation} {values}: {answer.text}"
                    assert not names_in(alpha, answer), f"{operation}: {answer.text}"
                    tried += 1
    assert tried >= 80
    for story, then in zip((alpha, beta), before, strict=True):
        assert not changed(then, await rows_of(world.everything, story.tenant))


async def test_every_list_shows_nothing_of_others_whatever_it_is_asked_for(world: World) -> None:
    """Without filters, and with each filter that can name something of another tenant."""
    alpha, beta = world.alpha, world.beta
    tried = 0
    async with world.everything.client(beta.tenant) as stranger:
        for operation in world.operations:
            if operation.writes or operation.for_operators or operation.path_parameters in OF_EVERYBODY:
                continue
            mine = world.things_at(operation, beta)[0]
            address, needed = operation.address(mine), world.query_at(operation, beta, mine)
            if operation.is_list:
                answer = await stranger.get(address, params={**needed, "limit": "200"})
                assert answer.status_code == 200, f"{operation}: {answer.text}"
                assert answer.json()["data"], f"{operation}: nothing of one's own is there"
                assert not names_in(alpha, answer), operation
            for name in operation.queries:
                if name in PLAIN_QUERIES:
                    continue
                together = {
                    also: alpha.first(QUERY_KINDS[also]) for also in QUERY_SENT_TOGETHER.get(name, ())
                }
                query = {**needed, **together, name: alpha.first(operation.query_kind(name))}
                answer = await stranger.get(address, params=query)
                assert_empty(operation, query, answer)
                assert not names_in(alpha, answer), f"{operation} {query}: {answer.text}"
                tried += 1
    assert tried >= 25


async def test_a_cursor_of_another_tenant_is_refused(world: World) -> None:
    tried = 0
    async with (
        world.everything.client(world.alpha.tenant) as owner,
        world.everything.client(world.beta.tenant) as stranger,
    ):
        for operation in world.operations:
            if not operation.is_list or operation.for_operators or operation.path_parameters:
                continue
            query = {**operation.needs(world.alpha), "limit": "1"}
            cursor = (await owner.get(operation.path, params=query)).json()["next_cursor"]
            if cursor is not None:
                answer = await stranger.get(operation.path, params={**query, "cursor": cursor})
                assert answer.status_code == 400, f"{operation}: {answer.text}"
                tried += 1
    assert tried >= 8


Place = tuple[Any, ...]


def references_of(story: Story) -> list[tuple[Asked, Place, str]]:
    """Every place in every body of the story at which a thing that was there already is named."""
    return [
        (asked, place, value)
        for asked in story.asked
        if isinstance(asked.json, dict | list)
        for place, value in _leaves(asked.json, ())
        if name_of(place) in REFERENCES and value is not None and not is_unchecked(asked, place)
    ]


def is_unchecked(asked: Asked, place: Place) -> bool:
    return (*asked.route, name_of(place)) in UNCHECKED


def name_of(place: Place) -> str:
    """The field; of a value in a list, that of the list."""
    return next(part for part in reversed(place) if isinstance(part, str))


def _leaves(value: Any, place: Place) -> Iterator[tuple[Place, Any]]:
    if isinstance(value, dict | list):
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(inner, (*place, name))
    else:
        yield place, value


def put_at(body: Any, place: Place, value: Any) -> Any:
    """A copy of the body with another value at one place."""
    copied = json.loads(json.dumps(body))
    inner = copied
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    return copied


async def test_every_reference_to_a_foreign_thing_in_a_body_is_refused(world: World) -> None:
    """The rest of each body is right: the same request with one's own things has succeeded before."""
    alpha, beta = world.alpha, world.beta
    mine, foreign = references_of(beta), references_of(alpha)
    assert len(mine) == len(foreign) >= 15
    before = [await rows_of(world.everything, story.tenant) for story in (alpha, beta)]
    async with world.everything.client(beta.tenant) as stranger:

        async def refused(asked: Asked, place: Place, other: str) -> None:
            body = put_at(asked.json, place, other)
            if "code" in body:
                body["code"] = f"{body['code']}-again"
            if "external_id" in body:
                body["external_id"] = None
            answer = await send(stranger, asked, json=body)
            told = f"{asked.method} {asked.path} {place}={other}: {answer.status_code} {answer.text}"
            if "results" in body_of(answer):
                # Many at once: this one is rejected, the others stay as they are.
                number = next(part for part in place if isinstance(part, int))
                statuses = [result["status"] for result in answer.json()["results"]]
                assert statuses.pop(number) == "rejected", told
                assert set(statuses) <= {"unchanged", "duplicate", "conflict"}, told
            else:
                assert answer.status_code in REFUSED, told
            assert not names_in(alpha, answer), told

        # Something that was made a moment ago elsewhere is waited for, hence all at once.
        pairs = zip(mine, foreign, strict=True)
        await asyncio.gather(*(refused(asked, place, other) for (asked, place, _), (_, _, other) in pairs))
    for story, then in zip((alpha, beta), before, strict=True):
        assert not changed(then, await rows_of(world.everything, story.tenant))


def body_of(answer: httpx.Response) -> dict[str, Any]:
    found: dict[str, Any] = answer.json()
    return found


async def test_the_same_names_in_two_tenants_are_two_things(world: World) -> None:
    """Codes, external ids, subjects, event ids and idempotency keys are each tenant's own."""
    everything, alpha = world.everything, world.alpha
    before = await rows_of(everything, alpha.tenant)
    third = await everything.make_tenant("gamma tenant")
    told = {asked.path: asked for asked in reversed(alpha.asked) if asked.method == "POST"}  # each first one
    makers = ("/v1/sellers", "/v1/products", "/v1/meters", "/v1/customers", "/v1/test-clocks")
    async with everything.client(third) as client:
        for path in makers:
            answer = await send(client, told[path])
            assert answer.status_code == 201, f"{path}: {answer.text}"
        stored = (await send(client, told["/v1/usage-events"])).json()
    assert (stored["stored"], stored["rejected"], stored["conflict"]) == (6, 1, 1), stored
    assert not changed(before, await rows_of(everything, alpha.tenant))


async def test_an_idempotency_key_is_its_tenants_own(world: World) -> None:
    """The same key, body and route give a stranger no answer that was kept for another."""
    headers = {"idempotency-key": "the-same-key"}
    body = {"name": "The same clock", "starts_at": "2024-01-01T00:00:00Z"}
    ids = set()
    for tenant in (world.alpha.tenant, world.beta.tenant):
        async with world.everything.client(tenant) as client:
            first, again = [await client.post("/v1/test-clocks", json=body, headers=headers) for _ in "12"]
        assert first.status_code == 201, first.text
        assert "idempotent-replayed" not in first.headers
        assert again.headers["idempotent-replayed"] == "true"
        ids |= {first.json()["id"], again.json()["id"]}
    assert len(ids) == 2


@pytest.mark.parametrize("operator", [False, True])
async def test_a_token_of_one_tenant_with_an_operators_scope_stays_within_its_tenant(
    everything: AllServices, world: World, operator: bool
) -> None:
    """The tenant comes from the token; no scope widens it."""
    scopes = ("operate", "catalog:read") if operator else ("catalog:read",)
    async with everything.client(world.beta.tenant, *scopes) as client:
        answer = await client.get(f"/v1/products/{world.alpha.first('prd')}")
        listed = await client.get("/v1/products")
    assert answer.status_code == 404
    assert not names_in(world.alpha, listed)
