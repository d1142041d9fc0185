"""Every change says who made it: the token of the request, or the event or schedule that it follows from."""

from __future__ import annotations

import re
from collections import defaultdict

import asyncpg
import pytest

from libs.common.access.caller import OPERATORS
from libs.common.access.tenancy import API_LOGIN, APP, AUDIT, FINDER, WORKER_LOGIN
from libs.common.contracts import SERVICES
from libs.common.persistence.session import asyncpg_dsn
from tests.journeys.security.routes import Operation
from tests.journeys.security.story import Asked, Story
from tests.journeys.security.world import World

# A token's id, an event's, a job of the scheduler, the mover of test clocks, or who watches whether usage has reached
# marks: nothing else changes anything.
ACTOR = re.compile(
    r"token:tok_[0-9a-hjkmnp-tv-z]{26}|event:evt_[0-9a-hjkmnp-tv-z]{26}|schedule:[a-z_]+|mover:test-clocks"
    r"|watch:usage-alerts"
)

# What is a part of something else, and changes with it: its whole is in the log.
PARTS = {
    "si": "of a subscription",
    "lin": "of an invoice",
    "mln": "of an invoice",
    "crl": "of a credit note",
    "chg": "of an invoice",
    "pay": "of an invoice, which says when it was paid",
    "pmt": "of an invoice as well, or of the entry of a bank statement; what is entered by hand is told",
    "pal": "of a payment",
    "mail": "of what it tells of",
    "ben": "of a customer balance",
    "grt": "of a wallet",
    "gwe": "told by a gateway: what follows from it is in the log",
    "tup": "of a wallet",
    "wen": "of a wallet, which says what it holds now",
    "plv": "of a plan",
    "prc": "of a plan",
    "mov": "of a test clock",
    "urej": "of a batch of usage",
    "ucon": "of a batch of usage",
    "ufir": "of a usage alert, which fired",
    "uwcor": "of a usage window, which was corrected",
    "tok": "of who changed something, whom the log names as such",
}


async def logged(world: World) -> dict[str, dict[str, list[asyncpg.Record]]]:
    """By service and actor."""
    found: dict[str, dict[str, list[asyncpg.Record]]] = {}
    for service in SERVICES:
        found[service] = defaultdict(list)
        async with world.everything.admin(service) as admin:
            for row in await admin.fetch("SELECT * FROM change_log"):
                found[service][row["actor"]].append(row)
    return found


def operation_of(world: World, asked: Asked) -> Operation:
    return next(o for o in world.operations if (o.method, o.path) == asked.route)


@pytest.mark.parametrize("who", ["alpha", "operators"])
async def test_every_write_of_a_story_stands_under_its_token(world: World, who: str) -> None:
    """Each request went out under a token of its own: its rows are in its own service, for its own tenant."""
    story: Story = getattr(world, who)
    tenant = story.tenant if who == "alpha" else OPERATORS
    writes = [asked for asked in story.asked if operation_of(world, asked).changes]
    assert len(writes) >= (30 if who == "alpha" else 6)
    log = await logged(world)
    for asked in writes:
        for service in SERVICES:
            rows = log[service][f"token:{asked.token_id}"]
            told = f"{asked.method} {asked.path}: {service} has {[dict(row) for row in rows]}"
            if service != operation_of(world, asked).service:
                assert not rows, told
                continue
            assert rows, told
            for row in rows:
                owners = {tenant, asked.answer["id"]} if asked.path.startswith("/v1/tenants") else {tenant}
                assert str(row["tenant"]) in owners, told
                assert re.fullmatch(r"[a-z_]+\.[a-z_]+", row["action"]), told
                assert row["aggregate_id"], told
                assert row["aggregate_version"] >= 1, told


async def test_reading_changes_nothing(world: World) -> None:
    log = await logged(world)
    for asked in world.alpha.asked:
        if not operation_of(world, asked).changes:
            rows = log[operation_of(world, asked).service][f"token:{asked.token_id}"]
            assert not rows, f"{asked.path}: {[dict(row) for row in rows]}"


async def test_whatever_there_is_has_an_entry_that_says_who_made_it(world: World) -> None:
    """Windows, invoices, payments and all that nobody asked for by name included."""
    known: set[str] = set()
    for service in SERVICES:
        async with world.everything.admin(service) as admin:
            rows = await admin.fetch("SELECT aggregate_id, actor FROM change_log")
        unnamed = {row["actor"] for row in rows if not ACTOR.fullmatch(row["actor"])}
        # Tests that come before this one use tokens of other names.
        assert not {actor for actor in unnamed if not actor.startswith("token:")}, service
        known |= {row["aggregate_id"] for row in rows}
    for story in (world.alpha, world.beta):
        missing = {
            kind: [id for id in ids if id not in known]
            for kind, ids in story.ids.items()
            if kind not in PARTS and not set(ids) <= known
        }
        assert not missing


async def test_a_consequence_names_the_event_that_it_follows_from(world: World) -> None:
    """An invoice is drafted because of an event: it is in the outbox of the service that said so."""
    async with world.everything.admin("billing") as billing:
        rows = await billing.fetch(
            "SELECT actor FROM change_log WHERE tenant = $1 AND aggregate_id LIKE 'inv_%'", world.alpha.tenant
        )
    named = {row["actor"].removeprefix("event:") for row in rows if row["actor"].startswith("event:")}
    assert named
    said: set[str] = set()
    for service in ("subscriptions", "metering"):
        async with world.everything.admin(service) as admin:
            said |= {row["id"] for row in await admin.fetch("SELECT id FROM outbox")}
    assert named <= said


async def execute_as(dsn: str, role: str, tenant: str, statement: str) -> None:
    connection = await asyncpg.connect(asyncpg_dsn(dsn))
    try:
        async with connection.transaction():
            await connection.execute(
                "SELECT set_config('role', $1, true), set_config('perennial.tenant', $2, true)", role, tenant
            )
            await connection.execute(statement)
    finally:
        await connection.close()


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE change_log SET actor = 'nobody'",
        "DELETE FROM change_log",
        "TRUNCATE change_log",
        "DROP TABLE change_log",
        "ALTER TABLE change_log DISABLE ROW LEVEL SECURITY",
    ],
)
async def test_nobody_who_works_here_can_change_or_remove_an_entry(
    world: World, service: str, statement: str
) -> None:
    """Whatever a process may become: api and worker log in, and become app or finder."""
    database = world.everything.databases[service]
    for dsn, roles in (
        (database.api_dsn, (API_LOGIN, APP)),
        (database.worker_dsn, (WORKER_LOGIN, APP, FINDER)),
        (database.audit_dsn, (AUDIT,)),
    ):
        for role in roles:
            # Who has no role sees not even the schema.
            with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.UndefinedTableError)):
                await execute_as(dsn, role, world.alpha.tenant, statement)
    async with world.everything.admin(service) as admin:
        assert not await admin.fetchval("SELECT count(*) FROM change_log WHERE actor = 'nobody'")


@pytest.mark.parametrize("service", SERVICES)
async def test_nobody_can_write_an_entry_for_another_tenant(world: World, service: str) -> None:
    entry = (
        "INSERT INTO change_log (tenant, actor, action, aggregate_id, aggregate_version) "
        f"VALUES ('{world.alpha.tenant}', 'token:forged', 'a.b', 'x', 1)"
    )
    dsn = world.everything.databases[service].api_dsn
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        await execute_as(dsn, APP, world.beta.tenant, entry)
