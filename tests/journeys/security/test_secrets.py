"""Tokens and keys stay where they belong: in no log line and in no answer, whatever goes wrong."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import httpx
import pytest

from libs.common.access.keys import KeyFile
from tests.journeys.security.conftest import LogLines
from tests.journeys.security.world import World


def parts_of(bearer: str) -> list[str]:
    """A token, and what of it would be enough to find or to forge it."""
    _, payload, signature = bearer.split(".")
    return [bearer, payload, signature]


@pytest.fixture
def private_parts(world: World) -> list[str]:
    """The private halves of the signing keys, as they stand in the file."""
    path: Path = world.everything.keys.path
    assert KeyFile.load(path).keys
    return [key["d"] for key in json.loads(path.read_text())["keys"]]


async def test_no_token_stands_in_a_log_line_or_in_an_answer(
    world: World, log_lines: LogLines, private_parts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Good, expired and cut ones, on every route, in the header and where they do not belong."""
    everything, tenant = world.everything, world.alpha.tenant
    good = everything.token(tenant)
    forged = good[:-8] + "AAAAAAAA"
    answers: list[httpx.Response] = []
    for bearer in (good, forged):
        async with everything.client_with(bearer, address="198.51.100.7") as client:
            for operation in world.operations:
                if operation.writes and bearer == good:
                    continue  # a good token would change something
                address = operation.address(world.things_at(operation, world.alpha)[0])
                answers.append(await client.request(operation.method, address))
            answers.append(await client.get("/v1/products", params={"access_token": bearer, "code": bearer}))
            answers.append(await client.get(f"/v1/products/{bearer}"))
            answers.append(await client.post("/v1/products", json={"name": bearer, bearer: bearer}))
            answers.append(await client.get("/v1/products", headers={"idempotency-key": bearer}))
            answers.append(
                await client.post("/v1/customers", json={"name": "x"}, headers={"idempotency-key": bearer})
            )
    assert {answer.status_code for answer in answers} >= {200, 401, 404}
    logging.getLogger("libs.common.web").warning("the lines are looked at")
    assert any("the lines are looked at" in line for line in log_lines.lines)
    for secret in [*parts_of(good), *parts_of(forged), *private_parts]:
        if secret in parts_of(good)[1:2]:
            continue  # both have the same payload: looked for once, as the forged one's
        told = [line for line in log_lines.lines if secret in line]
        assert not [line for line in told if "httpx" not in line], told[:3]
    for answer in answers:
        # What was sent as a field's name comes back, cut, as the place of the mistake: never a whole token.
        assert not [secret for secret in (good, forged) if secret in answer.text], answer.text
        assert not [secret for secret in (good, forged) if secret in str(answer.headers)], answer.headers


async def test_an_error_of_ours_tells_the_trace_and_nothing_else(
    world: World, log_lines: LogLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer has a trace id; the log has the error, without the token and without the values that were sent."""
    bearer = world.everything.token(world.alpha.tenant)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(f"broken while holding {bearer} and password=hunter2 in SELECT 1 FROM product")

    catalog = world.everything.services["catalog"]
    monkeypatch.setitem(catalog.app.state._state, "open_uow", broken)
    log_lines.lines.clear()
    async with world.everything.client_with(bearer) as client:
        answer = await client.get("/v1/products")
    assert answer.status_code == 500
    problem = answer.json()
    assert problem["code"] == "internal_error"
    assert not [
        word for word in ("broken", "SELECT", "RuntimeError", "hunter2", bearer) if word in answer.text
    ]
    lines = [line for line in log_lines.lines if problem["trace_id"] in line]
    assert any("broken while holding" in line for line in lines), "the operator finds it by the trace id"
    assert not [line for line in log_lines.lines if bearer in line or "hunter2" in line]


JWT = re.compile(r"eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]+")


async def test_no_token_of_the_story_was_logged(world: World, log_lines: LogLines) -> None:
    """Nor any that another test of this folder used before: nothing that looks like one stands in a line."""
    assert not [line for line in log_lines.lines if JWT.search(line)]


async def test_signing_keys_can_be_read_by_their_owner_only(world: World) -> None:
    assert world.everything.keys.path.stat().st_mode & 0o077 == 0
