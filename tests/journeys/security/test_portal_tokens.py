"""An end customer under a portal token sees what is theirs, and nothing of the tenant's other customers.

Generated from the routes, as is the test of other tenants: every route, every id of another customer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import httpx
import pytest
import pytest_asyncio

from libs.common.ids import new_id
from tests.journeys.security.routes import (
    NOT_HAD,
    OF_ISSUED,
    PLAIN_QUERIES,
    PROOF,
    QUERY_KINDS,
    QUESTIONS,
)
from tests.journeys.security.snapshots import changed, rows_of
from tests.journeys.security.story import ID, Story, send
from tests.journeys.security.trying import assert_empty, mixtures, names_in
from tests.journeys.security.world import World

Mine = Mapping[str, Story]

# What end customers may do: declare that they withdraw or cancel, as the law has it.
DECLARED = ("/v1/withdrawals", "/v1/cancellations")
QUOTE = "/v1/subscriptions/{subscription_id}/termination-quotes/{quote_id}"
PATH_PARAMETER = re.compile(r"\{([a-z_]+)\}")


async def story_of(world: World, who: str) -> Story:
    """What of alpha's story is about one customer: the tenant itself asks for it, by the customer."""
    alpha = world.alpha
    name = f"{alpha.name}-{who}"
    story = Story(world.everything, alpha.tenant, name)
    customer, subscription = alpha.customers[who], alpha.subscriptions[who]
    await story.ask("GET", "/v1/customers/{customer_id}", customer_id=customer)
    for path in (
        "/v1/subscriptions",
        "/v1/usage-windows",
        "/v1/usage-alerts",
        "/v1/payment-methods",
        "/v1/invoices",
        "/v1/customer-balances",
        "/v1/credit-notes",
        "/v1/refunds",
        "/v1/disputes",
        "/v1/deposits",
        "/v1/payments",
        "/v1/wallets",
    ):
        assert await story.list(path, customer_id=customer)
    for kind, path in (
        ("crn", "/v1/credit-notes/{credit_note_id}"),
        ("rfd", "/v1/refunds/{refund_id}"),
        ("dsp", "/v1/disputes/{dispute_id}"),
        ("dep", "/v1/deposits/{deposit_id}"),
        ("pmt", "/v1/payments/{payment_id}"),
    ):
        (named,) = PATH_PARAMETER.findall(path)
        for id in list(story.ids[kind]):
            await story.ask("GET", path, **{named: id})
    for wallet_id in list(story.ids["wal"]):
        for path in ("", "/grants", "/entries", "/top-ups"):
            await story.ask("GET", "/v1/wallets/{wallet_id}" + path, wallet_id=wallet_id)
    for balance_id in list(story.ids["bal"]):
        path = "/v1/customer-balances/{customer_balance_id}"
        await story.ask("GET", path, customer_balance_id=balance_id)
        await story.ask("GET", f"{path}/entries", customer_balance_id=balance_id)
    assert await story.list("/v1/subject-bindings", subscription_id=subscription)
    for alert_id in list(story.ids["ualt"]):
        await story.ask("GET", "/v1/usage-alerts/{alert_id}/firings", alert_id=alert_id)
    for invoice_id in list(story.ids["inv"]):
        shown = await story.ask("GET", "/v1/invoices/{invoice_id}", invoice_id=invoice_id)
        await story.ask("GET", "/v1/invoices/{invoice_id}/payment-attempts", invoice_id=invoice_id)
        for line in shown["lines"]:
            path = "/v1/invoices/{invoice_id}/lines/{line_id}/explanation"
            await story.ask("GET", path, invoice_id=invoice_id, line_id=line["id"])
    for asked in alpha.asked:  # what is in no list: whoever asked for it was given its address
        if asked.path in DECLARED and asked.answer["customer_id"] == customer:
            for path in ("/v1/receipts/{receipt_id}", "/v1/receipts/{receipt_id}/text"):
                await story.look(path, receipt_id=asked.answer["id"])
        if (
            asked.path == QUOTE
            and asked.method == "GET"
            and asked.values["subscription_id"] in story.ids["sub"]
        ):
            await story.ask("GET", QUOTE, **asked.values)
        if asked.path == PROOF and asked.values["window_id"] in story.ids["uwin"]:
            await story.ask("GET", PROOF, query=asked.query, **asked.values)
    for subscription_id in list(story.ids["sub"]):
        path = "/v1/subscriptions/{subscription_id}/changes"
        shown = await story.ask("GET", path, subscription_id=subscription_id)
        for change in shown["data"]:
            named = {"subscription_id": subscription_id, "change_id": change["id"]}
            await story.ask("GET", f"{path}/{{change_id}}", **named)
    story.names.update(
        subject=f"{name}-engine",
        asset=f"{name}-asset",
        external_id=name,
        meter=f"{alpha.name}-minutes",
        plan=f"{alpha.name}-plan",
        invoice_number=(await story.list("/v1/invoices", customer_id=customer))[0]["number"],
    )
    return story


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def mine(world: World) -> Mine:
    """The two customers' stories. What stands in both, as the plan does, is no secret of either."""
    stories = {who: await story_of(world, who) for who in world.alpha.customers}
    shared = set.intersection(*(story.all_ids for story in stories.values()))
    for story in stories.values():
        for kind, ids in story.ids.items():
            story.ids[kind] = [id for id in ids if id not in shared]
    return stories


@pytest.fixture
def portal(world: World) -> httpx.AsyncClient:
    """Customer one, with every scope that there is for tenants."""
    return world.everything.client(world.alpha.tenant, customer=world.alpha.customers["one"])


async def test_no_write_and_no_operators_route_is_for_portal_tokens(
    world: World, portal: httpx.AsyncClient
) -> None:
    before = await rows_of(world.everything, world.alpha.tenant)
    tried = 0
    async with portal:
        for operation in world.operations:
            if operation.access.portal:
                assert operation.method == "GET" or operation.path in DECLARED, (
                    f"{operation}: end customers change nothing"
                )
                assert not operation.for_operators
                continue
            values = world.things_at(operation, world.alpha)[0]
            asked = world.told(world.alpha, operation)
            if asked:
                answer = await send(portal, asked[0], values=values)
            else:
                answer = await portal.request(operation.method, operation.address(values))
            assert answer.status_code == 403, f"{operation}: {answer.text}"
            assert answer.json()["code"] == "portal_forbidden"
            tried += 1
    assert tried > 50
    assert not changed(before, await rows_of(world.everything, world.alpha.tenant))


async def test_an_end_customer_sees_all_that_is_theirs(
    world: World, mine: Mine, portal: httpx.AsyncClient
) -> None:
    seen: set[str] = set()
    async with portal:
        for operation in world.operations:
            if not operation.access.portal or operation.writes:
                continue
            if not operation.path_parameters:
                answer = await portal.get(operation.path, params=operation.needs(mine["one"]))
                assert answer.status_code == 200, f"{operation}: {answer.text}"
                assert answer.json()["data"], f"{operation}: nothing of one's own is there"
                assert not names_in(mine["two"], answer), f"{operation}: {answer.text}"
                seen |= {match.group() for match in ID.finditer(answer.text)}
                continue
            for values in world.things_at(operation, mine["one"]):
                query = world.query_at(operation, mine["one"], values)
                answer = await portal.get(operation.address(values), params=query)
                if operation.path in OF_ISSUED and answer.status_code in (409, 422):
                    assert answer.json()["code"] in NOT_HAD, answer.text
                    continue
                assert answer.status_code == 200, f"{operation} {values}: {answer.text}"
                assert not names_in(mine["two"], answer), f"{operation}: {answer.text}"
                seen |= {match.group() for match in ID.finditer(answer.text)}
    assert not mine["one"].all_ids - seen


async def test_every_id_of_another_customer_is_not_found(
    world: World, mine: Mine, portal: httpx.AsyncClient
) -> None:
    tried = 0
    async with portal:
        for operation in world.operations:
            if not operation.access.portal or not operation.path_parameters:
                continue
            own = world.things_at(operation, mine["one"])[0]
            for foreign in world.things_at(operation, mine["two"]):
                query = world.query_at(operation, mine["two"], foreign)
                for values in mixtures(own, foreign):
                    answer = await portal.get(operation.address(values), params=query)
                    assert answer.status_code == 404, f"{operation} {values}: {answer.text}"
                    assert not names_in(mine["two"], answer), f"{operation}: {answer.text}"
                    tried += 1
    assert tried >= 20


async def test_every_list_shows_nothing_of_another_customer_whatever_it_is_asked_for(
    world: World, mine: Mine, portal: httpx.AsyncClient
) -> None:
    one, two = mine["one"], mine["two"]
    tried = 0
    async with portal:
        for operation in world.operations:
            if not operation.access.portal or operation.writes:
                continue
            own = world.things_at(operation, one)[0]
            address, needed = operation.address(own), world.query_at(operation, one, own)
            for name in operation.queries:
                kind = QUERY_KINDS.get(name)
                if name in PLAIN_QUERIES or (kind not in two.names and not two.ids.get(kind or "")):
                    continue
                if two.first(QUERY_KINDS[name]) == one.first(QUERY_KINDS[name]):
                    continue  # the tenant's, and no customer's
                query = {**needed, name: two.first(QUERY_KINDS[name])}
                answer = await portal.get(address, params=query)
                assert_empty(operation, query, answer)
                assert not names_in(two, answer), f"{operation} {query}: {answer.text}"
                tried += 1
    assert tried >= 12


async def test_usage_of_another_customer_is_not_found(
    world: World, mine: Mine, portal: httpx.AsyncClient
) -> None:
    """By whatever it is asked for; of another customer's subject there is none."""
    two = mine["two"]
    january = {"meter": two.names["meter"], "from": "2024-01-01T00:00:00Z", "to": "2024-02-01T00:00:00Z"}
    async with portal:
        for name in ("customer_id", "subscription_id", "item_id"):
            for id in two.ids[QUERY_KINDS[name]]:
                for path in QUESTIONS:
                    answer = await portal.get(path, params={**january, name: id})
                    assert answer.status_code == 404, answer.text
        for who, quantity in (("two", "0"), ("one", "28")):
            answer = await portal.get("/v1/usage", params={**january, "subject": f"alpha-{who}-engine"})
            assert [row["quantity"] for row in answer.json()["data"]] == [quantity], answer.text
            subject = {"subject": f"alpha-{who}-engine"}
            events = (await portal.get("/v1/usage/events", params={**january, **subject})).json()["data"]
            assert str(sum(int(event["value"]) for event in events)) == quantity
            exported = await portal.get("/v1/usage", params={**january, **subject, "format": "csv"})
            assert exported.text.splitlines()[1].split(",")[2] == quantity


@pytest.mark.parametrize("path", DECLARED)
async def test_nobody_withdraws_or_cancels_for_another_customer(
    world: World, mine: Mine, portal: httpx.AsyncClient, path: str
) -> None:
    """By neither name of the agreement, and without learning whether there is one."""
    before = await rows_of(world.everything, world.alpha.tenant)
    declared = {"declared_by": "anybody", "statement": "I want out."}
    named = [
        *({"subscription_id": id} for id in mine["two"].ids["sub"]),
        *({"external_id": f"{world.alpha.name}-two{end}"} for end in ("", "-bound", "-left", "-brief")),
        {"external_id": "nobody knows"},
        {"subscription_id": f"sub_{'0' * 26}"},
    ]
    told = set()
    async with portal:
        for name in named:
            answer = await portal.post(
                path, json={**declared, **name}, headers={"idempotency-key": new_id("key")}
            )
            assert answer.status_code == 404, answer.text
            assert not names_in(mine["two"], answer), answer.text
            told.add((*name, answer.json()["detail"]))
    assert len(told) == 2
    assert not changed(before, await rows_of(world.everything, world.alpha.tenant))


async def test_a_cursor_of_another_customer_is_refused(
    world: World, mine: Mine, portal: httpx.AsyncClient
) -> None:
    """Nor is one of the tenant's own, which stands among things of all customers."""
    tried = 0
    tenant = world.everything.client(world.alpha.tenant)
    other = world.everything.client(world.alpha.tenant, customer=world.alpha.customers["two"])
    async with portal, tenant, other:
        for operation in world.operations:
            if not operation.access.portal or not operation.is_list or operation.path_parameters:
                continue
            for owner, whose in ((tenant, world.alpha), (other, mine["two"])):
                query = {**operation.needs(whose), "limit": "1"}
                cursor = (await owner.get(operation.path, params=query)).json()["next_cursor"]
                if cursor is not None:
                    answer = await portal.get(operation.path, params={**query, "cursor": cursor})
                    assert answer.status_code == 400, f"{operation}: {answer.text}"
                    tried += 1
    assert tried >= 6


@pytest.mark.parametrize("customer", ["cus_00000000000000000000000000", "x", "beta"])
async def test_a_portal_token_of_nobody_shows_nothing(world: World, mine: Mine, customer: str) -> None:
    """A customer that there is not, one that could not be, and one of another tenant."""
    id = world.beta.customers["one"] if customer == "beta" else customer
    async with world.everything.client(world.alpha.tenant, customer=id) as client:
        for operation in world.operations:
            if not operation.access.portal or operation.writes:
                continue
            for values in world.things_at(operation, world.alpha):
                query = world.query_at(operation, world.alpha, values)
                answer = await client.get(operation.address(values), params=query)
                told = f"{operation}: {answer.text}"
                if operation.path_parameters:
                    assert answer.status_code == 404, told
                else:
                    assert_empty(operation, query, answer)
                for story in (world.alpha, world.beta):
                    assert not names_in(story, answer), told
