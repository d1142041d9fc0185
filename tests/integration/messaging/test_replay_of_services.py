"""`perennial replay` on the four services: they hear all of a tenant's story again, and nothing changes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from libs.common.contracts import HEARS, SERVICES, group_of, topic_of
from tests.journeys.security.story import Story, tell
from tests.support.all_services import AllServices, all_services
from tests.support.postgres import PostgresForTests
from tests.support.small_service import eventually

# What a replay may touch: its own rows, the log that says who asked for it, and the times of copies that are
# renewed. All else has to stay as it is, to the byte.
NOT_COMPARED = {"replay_request", "replay_partition", "change_log", "alembic_version", "idempotency_key"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def everything(postgres: PostgresForTests, tmp_path_factory: Any) -> AsyncIterator[AllServices]:
    folder = tmp_path_factory.mktemp("replay")
    mails = {"PERENNIAL_BILLING_MAIL_FOLDER": str(folder / "mail")}
    async with all_services(postgres, folder=folder, environment=mails) as services:
        yield services


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def story(everything: AllServices) -> Story:
    """From the seller to the paid invoice, and an unpaid one; everything is handled by everybody."""
    story = await tell(everything, "gamma")
    await eventually(lambda: all_is_handled(everything), timeout_s=60)
    return story


async def all_is_handled(everything: AllServices) -> bool:
    for service in SERVICES:
        async with everything.admin(service) as admin:
            if await admin.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NULL"):
                return False
        for heard in HEARS[service]:
            handled = await everything.bus.committed(group_of(service), topic_of(heard))
            if handled != await everything.bus.end_offsets(topic_of(heard)):
                return False
    async with everything.admin("metering") as admin:  # balances are said by the wall, a moment later
        return not await admin.fetchval("SELECT count(*) FROM usage_balance WHERE due_at IS NOT NULL")


async def state_of(everything: AllServices, service: str) -> dict[str, list[Any]]:
    """Every row of every table: invoices, ledger and outbox too, and the inbox itself."""
    async with everything.admin(service) as admin:
        tables = [
            row["relname"]
            for row in await admin.fetch(
                "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
            )
        ]
        return {
            table: sorted(repr(tuple(row)) for row in await admin.fetch(f'SELECT * FROM "{table}"'))
            for table in tables
            if table not in NOT_COMPARED
        }


async def perennial(everything: AllServices, *arguments: str) -> tuple[int, str, str]:
    """The command, as an operator runs it."""
    environment = {"PERENNIAL_URL": everything.base_url, "PERENNIAL_TOKEN": everything.token(None)}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "libs.cli.main",
        *arguments,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_all_services_hear_everything_again_and_nothing_changes(
    everything: AllServices, story: Story
) -> None:
    before = {service: await state_of(everything, service) for service in SERVICES}
    assert before["billing"]["ledger_entry"]
    assert before["billing"]["invoice"]
    told = await asyncio.gather(*(perennial(everything, "replay", service) for service in SERVICES))
    for service, (code, out, err) in zip(SERVICES, told, strict=True):
        assert (code, err) == (0, ""), (service, err)
        assert out.startswith(f"{service} hears ")
        assert out.rstrip().endswith("done: it stands again where it stood")
    await eventually(lambda: all_is_handled(everything))
    for service in SERVICES:
        after = await state_of(everything, service)
        assert after.keys() == before[service].keys()
        for table, rows in after.items():
            assert rows == before[service][table], f"{service}.{table}"


async def test_what_it_says_of_how_far_it_is(everything: AllServices, story: Story) -> None:
    async with everything.client(None) as operator:
        path = "/v1/billing-operations/replays"
        made = await operator.post(path, json={"topic": "perennial.subscriptions.v1", "from_offset": 1})
        assert made.status_code == 202, made.text
        body = made.json()
        assert made.headers["location"] == f"{path}/{body['id']}"
        assert body["status"] in ("waiting", "done")
        assert {part["topic"] for part in body["partitions"]} == {"perennial.subscriptions.v1"}

        async def status() -> tuple[str, int]:
            seen = (await operator.get(f"{path}/{body['id']}")).json()
            return seen["status"], seen["messages_left"]

        await eventually(status, ("done", 0))
        listed = (await operator.get(path, params={"limit": "1"})).json()
        assert (len(listed["data"]), listed["next_cursor"] is not None) == (1, True)
        again = (await operator.get(path, params={"cursor": listed["next_cursor"]})).json()["data"]
        assert body["id"] in [replay["id"] for replay in again]


async def test_what_cannot_be_heard_again_is_refused_with_the_place_and_the_remedy(
    everything: AllServices, story: Story
) -> None:
    refusals: list[tuple[dict[str, Any], str]] = [
        ({"topic": "perennial.billing.v1"}, "/topic"),
        ({"topic": "perennial.catalog.v1", "partition": 99}, "/partition"),
        ({"topic": "perennial.catalog.v1", "partition": 0, "from_offset": 10**9}, "/from_offset"),
        ({"partition": 0}, "/topic"),
        ({"from_offset": 1, "since": "2025-01-01T00:00:00Z"}, "/since"),
        ({"from_offset": -1}, "/from_offset"),
        ({"partition": 2**40}, "/partition"),
        ({"since": "yesterday"}, "/since"),
        ({"offset": 1}, "/offset"),
    ]
    async with everything.client(None) as operator:
        for body, pointer in refusals:
            answer = await operator.post("/v1/billing-operations/replays", json=body)
            assert answer.status_code == 422, (body, answer.text)
            assert [error["pointer"] for error in answer.json()["errors"]] == [pointer], answer.text
        unknown = await operator.get("/v1/billing-operations/replays/rpl_none")
        assert (unknown.status_code, unknown.json()["code"]) == (404, "replay_not_found")
    async with everything.client(story.tenant) as tenant:
        assert (await tenant.post("/v1/billing-operations/replays", json={})).status_code == 403


async def test_the_same_key_asks_once(everything: AllServices, story: Story) -> None:
    async with everything.client(None) as operator:
        asked = [
            await operator.post(
                "/v1/catalog-operations/replays", json={}, headers={"idempotency-key": "replay-of-gamma"}
            )
            for _ in range(2)
        ]
    assert {answer.status_code for answer in asked} == {202}
    assert asked[0].json() == asked[1].json()


async def test_the_command_says_what_it_cannot_do(everything: AllServices, story: Story) -> None:
    code, _, err = await perennial(everything, "replay", "billing", "--topic", "billing")
    assert code == 2
    assert "this service does not hear the topic" in err
    assert "It hears perennial.catalog.v1, perennial.subscriptions.v1, perennial.metering.v1." in err
    code, _, err = await perennial(everything, "replay", "bookkeeping")
    assert code == 2
    assert "bookkeeping is none of" in err
    code, out, err = await perennial(
        everything, "replay", "metering", "--topic", "catalog", "--since", "2100-01-01T00:00:00Z"
    )
    assert (code, err) == (0, "")
    assert "there is nothing to hear again" in out
    code, out, err = await perennial(
        everything, "replay", "metering", "--topic", "catalog", "--from-offset", "0", "--no-wait"
    )
    assert (code, err) == (0, "")
    assert "metering hears" in out
    assert "left" not in out
