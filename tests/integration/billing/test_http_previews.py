"""Previews of invoices: the code that bills, run for nothing but to look at it."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any, NamedTuple, get_args
from zoneinfo import ZoneInfo

import pytest

from libs.common.contracts.envelope import Event
from libs.common.contracts.subscriptions import (
    AddressV1,
    FeeV1,
    PeriodTermsV1,
    ProrationOptionsV1,
    SubscriptionChangedV1,
    TermSegmentV1,
)
from libs.common.ids import new_id
from libs.common.money import Money
from services.billing.application.adjust_customer_balance import (
    AdjustCustomerBalance,
    adjust_customer_balance,
)
from services.billing.application.preview_invoices import preview_invoices
from services.billing.entrypoints.event_handlers import HANDLERS
from services.billing.entrypoints.preview_bodies import PreviewedType
from services.billing.entrypoints.preview_events import PREVIEWED
from tests.integration.billing.workbench import Workbench
from tests.support.billing import FEE, ZONE, Story, a_customer
from tests.support.service_under_test import ServiceUnderTest, new_tenant

PATH = "/v1/invoice-previews"
READ = ("billing:read",)


def sent(*events: Event) -> dict[str, Any]:
    return {"events": [{"type": event.TYPE, "data": event.model_dump(mode="json")} for event in events]}


async def preview(billing: ServiceUnderTest, tenant: str, *events: Event) -> dict[str, Any]:
    async with billing.client(tenant, *READ) as client:
        answer = await client.post(PATH, json=sent(*events))
    assert answer.status_code == 200, answer.text
    seen: dict[str, Any] = answer.json()
    return seen


async def invoice(billing: ServiceUnderTest, tenant: str, id: str) -> dict[str, Any]:
    async with billing.client(tenant, *READ) as client:
        answer = await client.get(f"/v1/invoices/{id}")
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


def alike(document: dict[str, Any], shown: dict[str, Any]) -> None:
    """The preview and the invoice say the same, wherever both say it."""
    same = document.keys() & shown.keys() - {"lines"}
    assert {"id", "status", "total", "due", "balance_applied", "due_on", "issued_at"} <= same
    assert {name: document[name] for name in same} == {name: shown[name] for name in same}
    for seen, issued in zip(document["lines"], shown["lines"], strict=True):
        told = seen.keys() & issued.keys()
        assert {"id", "net", "quantity", "formula", "service_period"} <= told
        assert {name: seen[name] for name in told} == {name: issued[name] for name in told}


async def rows_of_all_tables(bench: Workbench) -> dict[str, str]:
    """Every row of every table, but for what each request leaves behind whatever it asks."""
    tables = await bench.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    found = {}
    for name in (row["tablename"] for row in tables):
        digest = (
            f"SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) AS digest FROM {name} t"
        )
        found[name] = (await bench.rows(digest))[0]["digest"]
    return found


async def test_what_is_previewed_is_what_is_billed(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    await bench.add_seller(tenant)
    story = Story(tenant)
    cut_at = story.boundary(2) + timedelta(days=9)
    for events in (
        [story.started()],
        [story.renewed(1), story.window_closed(0, "120000.5", event_count=12)],
        [story.window_closed(1, "7.25"), story.renewed(2)],
        [story.ended(2, cut_at), story.window_closed(2, "0.5", at=cut_at)],
    ):
        seen = await preview(billing, tenant, *events)
        await bench.hear(*events)
        for document in seen["documents"]:
            alike(document, await invoice(billing, tenant, document["id"]))
        assert len(seen["documents"]) == 1
        assert seen["documents"][0]["lines"]
        assert seen["balances"] == []
    assert len(await bench.invoices(tenant)) == 4


async def test_several_boundaries_in_one_preview(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    """As when a subscription is months behind: each document finds what the earlier events left."""
    await bench.add_seller(tenant)
    story = Story(tenant)
    events = [
        story.started(),
        story.renewed(1),
        story.window_closed(0, "10"),
        story.renewed(2),
        story.window_closed(1, "20"),
        story.renewed(3),
    ]
    seen = await preview(billing, tenant, *events)
    assert [
        (document["status"], document["waits_for"], document["total"]["amount"])
        for document in seen["documents"]
    ] == [
        ("finalized", [], "2400.00"),
        ("finalized", [], "2452.00"),
        ("finalized", [], "2504.00"),
        ("draft", ["usage"], "2400.00"),
    ]
    await bench.hear(*events)
    for document in seen["documents"]:
        alike(document, await invoice(billing, tenant, document["id"]))


async def test_nothing_is_left_and_no_number_is_waited_for(
    own_billing: ServiceUnderTest, own_bench: Workbench, tenant: str
) -> None:
    """Somebody holds the numbers all the while: the preview has no use for them."""
    bench = own_bench
    await bench.add_seller(tenant)
    story = Story(tenant)
    await bench.hear(story.started())
    before = await rows_of_all_tables(bench)
    assert before["number_series"] != before["customer_balance"]
    async with bench.admin() as admin, admin.transaction():
        await admin.execute("SELECT * FROM number_series FOR UPDATE")
        async with asyncio.timeout(10):
            seen = await preview(own_billing, tenant, story.renewed(1), story.window_closed(0, "10"))
    assert [document["status"] for document in seen["documents"]] == ["finalized"]
    assert await rows_of_all_tables(bench) == before


async def test_the_balance_is_drawn_on_in_the_order_of_the_events(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    await bench.add_seller(tenant)
    story = Story(
        tenant, metered=False, quantity="1", fee=FEE.model_copy(update={"unit_amount": Decimal(40)})
    )
    await bench.know_customer(story)
    command = AdjustCustomerBalance(story.customer.customer_id, Money(10000, "USD"), "goodwill")
    async with bench.open(tenant) as uow:
        customer = await uow.customers.find(story.customer.customer_id)
        assert customer is not None
        await adjust_customer_balance(command, customer=customer, now=story.boundary(0), uow=uow)
    events = [story.started(), story.renewed(1), story.renewed(2), story.renewed(3)]
    seen = await preview(billing, tenant, *events)
    assert [
        (document["status"], document["balance_applied"]["amount"], document["due"]["amount"])
        for document in seen["documents"]
    ] == [
        ("paid", "40.00", "0.00"),
        ("paid", "40.00", "0.00"),
        ("finalized", "20.00", "20.00"),
        ("finalized", "0.00", "40.00"),
    ]
    (balance,) = seen["balances"]
    assert (balance["before"]["amount"], balance["after"]["amount"]) == ("100.00", "0.00")
    await bench.hear(*events)
    for document in seen["documents"]:
        alike(document, await invoice(billing, tenant, document["id"]))


def with_terms(story: Story, cut_at: datetime, quantity: str) -> PeriodTermsV1:
    """The first period: two aircraft until `cut_at`, then another number of them."""
    period = story.period(0)
    (item,) = story.items
    cut_on = cut_at.astimezone(ZoneInfo(ZONE)).date()
    before = TermSegmentV1(
        item_id=item.item_id,
        price=item.price,
        quantity=Decimal(2),
        start_on=period.start_on,
        end_on=cut_on,
        start=period.start,
        end=cut_at,
    )
    after = before.model_copy(
        update={
            "quantity": Decimal(quantity),
            "start_on": cut_on,
            "end_on": period.end_on,
            "start": cut_at,
            "end": period.end,
        }
    )
    return PeriodTermsV1(period=period, segments=(before, after))


def change(
    story: Story, quantity: str, *, version: int, settles: bool, **proration: Any
) -> SubscriptionChangedV1:
    at = story.boundary(0) + timedelta(days=10)
    terms = with_terms(story, at, quantity)
    (item,) = story.items
    story.items = [item.model_copy(update={"quantity": Decimal(quantity)})]
    fee = FeeV1(
        fee_id=new_id("fee"),
        kind="other",
        description="Change of fleet",
        amount=Decimal("12.34"),
        service_start_on=terms.segments[1].start_on,
        service_end_on=terms.segments[1].start_on,
    )
    options = {"proration": ProrationOptionsV1(**proration)}
    return SubscriptionChangedV1(
        tenant=story.tenant,
        version=version,
        occurred_at=at,
        subscription=story.snapshot().model_copy(update=options),
        terms=(terms,),
        fees=(fee,),
        settles_at=at if settles else None,
    )


@pytest.mark.parametrize("quantity", ["5", "1"], ids=["more", "fewer"])
@pytest.mark.parametrize("settles", [True, False], ids=["at_once", "next_time"])
@pytest.mark.parametrize("credits_to", ["next_invoice", "balance"])
async def test_a_change_is_previewed_as_it_is_billed(
    own_billing: ServiceUnderTest,
    own_bench: Workbench,
    tenant: str,
    quantity: str,
    settles: bool,
    credits_to: str,
) -> None:
    """Charges, credits and a fee: on a document of their own or the next one, or of the balance."""
    bench = own_bench
    await bench.add_seller(tenant)
    story = Story(tenant, metered=False)
    await bench.hear(story.started())
    changing = change(story, quantity, version=2, settles=settles, credits_to=credits_to)
    renewed = story.renewed(1).model_copy(update={"version": 3})
    subscription = renewed.subscription.model_copy(update={"proration": changing.subscription.proration})
    events = [changing, renewed.model_copy(update={"subscription": subscription})]
    seen = await preview(own_billing, tenant, *events)
    await bench.hear(events[0])
    await bench.hear(events[1])
    for document in seen["documents"]:
        alike(document, await invoice(own_billing, tenant, document["id"]))
    gives = quantity == "1"
    kinds = [document["document_kind"] for document in seen["documents"]]
    assert kinds == [
        *(["change"] if settles else []),
        *(["credit"] if gives and credits_to == "balance" else []),
        "invoice",
    ]
    told = [line["charge_kind"] for document in seen["documents"] for line in document["lines"]]
    assert sorted(told) == ["advance", "advance", "fee"]
    total = sum(Decimal(document["total"]["amount"]) for document in seen["documents"])
    part = Decimal("2438.71") if quantity == "5" else Decimal("-812.90")  # 21 of 31 days
    assert total == Decimal(quantity) * 1200 + Decimal("12.34") + part
    assert len(await bench.invoices(tenant)) == 1 + len(kinds)
    after_all = sum(row["balance_minor"] for row in await bench.rows("SELECT * FROM customer_balance"))
    assert sum(round(100 * Decimal(balance["after"]["amount"])) for balance in seen["balances"]) == after_all
    report = await bench.audit()
    failing = {check.name: check.problems for check in report.checks if not check.ok}
    assert failing.keys() <= {"payments_are_not_overdue", "outbox_stale"}, failing


class Stopped(Exception):
    """Nothing shall be written."""


async def test_a_document_below_zero_gives_to_a_balance_that_is_not_there_yet(
    bench: Workbench, tenant: str
) -> None:
    await bench.add_seller(tenant)
    story = Story(tenant, metered=False, fee=FEE.model_copy(update={"unit_amount": Decimal(-5)}))
    with suppress(Stopped):
        async with bench.open(tenant) as uow:
            seen = await preview_invoices(
                [story.started()], prepare=HANDLERS.prepare, handle=HANDLERS.handle, uow=uow
            )
            raise Stopped
    (document,), ((before, after),) = seen.documents, seen.balances
    assert (document.invoice.status, document.invoice.due.amount_minor) == ("paid", 0)
    assert (before.amount.amount_minor, after.amount.amount_minor) == (0, 1000)
    assert await bench.rows("SELECT * FROM customer_balance WHERE tenant = $1", tenant) == []


async def test_without_a_seller_the_lines_are_seen_all_the_same(
    billing: ServiceUnderTest, tenant: str
) -> None:
    (document,) = (await preview(billing, tenant, Story(tenant, metered=False).started()))["documents"]
    assert (document["status"], document["waits_for"]) == ("draft", ["seller"])
    assert [line["net"]["amount"] for line in document["lines"]] == ["2400.00"]


async def test_what_was_billed_already_makes_nothing(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    await bench.add_seller(tenant)
    story = Story(tenant, metered=False)
    await bench.hear(story.started())
    assert (await preview(billing, tenant, story.started()))["documents"] == []


async def test_a_subscription_that_nobody_has_heard_of_is_told_of(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    """Another tenant's is not there either, whatever tenant the event claims to be of."""
    await bench.add_seller(tenant)
    story = Story(tenant)
    await bench.hear(story.started())
    async with billing.client(new_tenant(), *READ) as stranger:
        answer = await stranger.post(PATH, json=sent(story.renewed(1)))
    assert (answer.status_code, answer.json()["code"]) == (409, "subscription_not_known_yet")


async def test_one_that_is_heard_of_in_the_meantime_is_waited_for(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    await bench.add_seller(tenant)
    story = Story(tenant, metered=False)

    async def hear_late() -> None:
        await asyncio.sleep(0.3)
        await bench.hear(story.started())

    seen, _ = await asyncio.gather(preview(billing, tenant, story.renewed(1)), hear_late())
    assert [document["total"]["amount"] for document in seen["documents"]] == ["2400.00"]


async def test_the_tenant_is_that_of_the_token(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    await bench.add_seller(tenant)
    event = sent(Story(new_tenant(), metered=False).started())
    del event["events"][0]["data"]["version"]
    async with billing.client(tenant, *READ) as client:
        claimed = await client.post(PATH, json=event)
        del event["events"][0]["data"]["tenant"]
        left_out = await client.post(PATH, json=event)
    assert claimed.status_code == left_out.status_code == 200
    assert claimed.json() == left_out.json()
    assert claimed.json()["documents"][0]["status"] == "finalized"  # by this tenant's seller


class Fault(NamedTuple):
    path: tuple[str | int, ...]
    value: Any
    pointer: str


FAULTS = [
    Fault(("subscription", "zone"), "Europe/Atlantis", "/subscription/zone"),
    Fault(("subscription", "currency"), "XXX", "/subscription/currency"),
    Fault(("subscription", "items", 0, "quantity"), None, "/subscription/items/0/quantity"),
    Fault(("subscription", "items", 0, "quantity"), "-1", "/subscription/items/0/quantity"),
    Fault(("subscription", "items", 0, "quantity"), "1e999999", "/subscription/items/0/quantity"),
    Fault(("subscription", "items", 0, "quantity"), "many", "/subscription/items/0/quantity"),
    Fault(("subscription", "items", 0, "price", "currency"), "EUR", "/subscription/items/0/price/currency"),
    Fault(
        ("subscription", "items", 0, "price", "unit_amount"), None, "/subscription/items/0/price/unit_amount"
    ),
    Fault(("subscription", "items", 1, "price", "tiers"), [], "/subscription/items/1/price/tiers"),
    Fault(("subscription", "interval_count"), 0, "/subscription/interval_count"),
    Fault(("period", "index"), 2**40, "/period/index"),
    Fault(("period", "end"), "2024-12-01T00:00:00Z", "/period/end"),
    Fault(("period", "start"), "0001-01-01T00:00:00Z", "/period/start"),
    Fault(("period",), None, "/period"),
    Fault(("occurred_at",), "yesterday", "/occurred_at"),
    Fault(("version",), 2**31, "/version"),
    Fault(("version",), 0, "/version"),
    Fault(("subscription", "interval_count"), "1", "/subscription/interval_count"),
    Fault(("subscription", "items", 0, "quantity"), 2, "/subscription/items/0/quantity"),
    Fault(("subscription", "surprise"), 1, "/subscription/surprise"),
    Fault(("subscription", "plan_name"), "x" * 5_000, "/subscription/plan_name"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.pointer}={str(fault.value)[:12]}")
async def test_what_is_wrong_is_told_with_its_place(
    billing: ServiceUnderTest, tenant: str, fault: Fault
) -> None:
    story = Story(tenant)
    body = sent(story.started(), story.started())
    changed(body["events"][1]["data"], fault.path, fault.value)
    async with billing.client(tenant, *READ) as client:
        answer = await client.post(PATH, json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invoice_preview_invalid")
    assert f"/events/1/data{fault.pointer}" in [error["pointer"] for error in answer.json()["errors"]]


def changed(data: Any, path: tuple[str | int, ...], value: Any) -> None:
    for part in path[:-1]:
        data = data[part]
    data[path[-1]] = value


async def test_what_the_handlers_refuse_names_the_event(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    story = Story(tenant)
    other = Story(tenant)
    other.subscription_id = story.subscription_id
    async with billing.client(tenant, *READ) as client:
        answer = await client.post(
            PATH, json=sent(story.started(), story.renewed(1), other.window_closed(0, "5"))
        )
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "usage_of_unknown_item")
    assert problem["errors"][0]["pointer"] == "/events/2"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"events": []},
        {"events": [{"type": "perennial.catalog.plan.published.v1", "data": {}}]},
        {"events": [{"type": "perennial.subscriptions.test_clock.moved.v1", "data": {}}]},
        {"events": [{"type": "perennial.metering.usage_window.closed.v1", "data": []}]},
        {"events": [{"type": "perennial.metering.usage_window.closed.v1", "data": {}}] * 201},
    ],
    ids=["nothing", "no_events", "a_plan", "a_clock", "no_data", "too_many"],
)
async def test_a_body_that_is_none_is_refused(
    billing: ServiceUnderTest, tenant: str, body: dict[str, Any]
) -> None:
    async with billing.client(tenant, *READ) as client:
        answer = await client.post(PATH, json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_body")


HOSTILE: tuple[Any, ...] = (
    None,
    "",
    "x",
    -1,
    0,
    2**63,
    "9" * 30,
    "1e400",
    "-0",
    True,
    [],
    {},
    [[]],
    "2199-12-31T23:59:59Z",
)


def places(part: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every place in a document."""
    if path:
        yield path
    within = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for name, inner in within:
        yield from places(inner, (*path, name))


async def test_nothing_that_is_sent_is_a_mistake_of_ours(billing: ServiceUnderTest, tenant: str) -> None:
    """Every place of a good story, with everything that does not belong there."""
    story = Story(tenant)
    other = Story(tenant, metered=False, payer=a_customer(address=AddressV1(city="Delft")))
    good = sent(
        story.started(),
        story.window_closed(0, "5"),
        story.renewed(1),
        story.ended(1),
        other.started(),
        change(other, "1", version=2, settles=True),
    )
    statuses = set()
    async with billing.client(tenant, *READ) as client:
        assert (await client.post(PATH, json=good)).status_code == 200
        for position, place in enumerate(islice(places(good["events"]), 0, None, 3)):  # some at every depth
            for value in HOSTILE[position % 14 :: 14]:
                if place[-1] == "subscription_id":
                    continue  # it would be waited for
                body = copy.deepcopy(good)
                changed(body["events"], place, value)
                answer = await client.post(
                    PATH, content=json.dumps(body), headers={"content-type": "application/json"}
                )
                statuses.add(answer.status_code)
                assert answer.status_code in (200, 422), (place, value, answer.text)
    assert statuses == {200, 422}


async def test_only_who_may_read_bills_may_ask(billing: ServiceUnderTest, tenant: str) -> None:
    story = Story(tenant)
    async with billing.client(tenant, "billing:write") as client:
        lacking = await client.post(PATH, json=sent(story.started()))
    async with billing.client(tenant, *READ, customer=story.customer.customer_id) as portal:
        refused = await portal.post(PATH, json=sent(story.started()))
    assert (lacking.status_code, lacking.json()["code"]) == (403, "scope_missing")
    assert (refused.status_code, refused.json()["code"]) == (403, "portal_forbidden")


def test_the_document_names_every_type_that_is_read() -> None:
    assert set(get_args(PreviewedType)) == set(PREVIEWED)
