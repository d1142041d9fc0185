"""Recurring revenue and customer standings over HTTP, to the cent: what is known of a life is what it came to."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from datetime import date
from typing import Any

import httpx
import pytest

from libs.common.clock import SystemClock
from libs.common.contracts.billing import (
    AllocatedV1,
    CreditNoteIssuedV1,
    CreditNoteV1,
    InvoiceFinalizedV1,
    InvoicePaidV1,
    InvoiceReopenedV1,
    InvoiceV1,
    PaymentReceivedV1,
)
from services.subscriptions.adapters.audit import audit_subscriptions
from services.subscriptions.adapters.revenue_rows import revenue_fill, revenue_movement
from services.subscriptions.entrypoints import scheduler
from tests.integration.subscriptions.changing import a_basic, a_plan_for, changed, hear_of_plans, move
from tests.integration.subscriptions.story import Story, key
from tests.support.changes import a_price
from tests.support.subscriptions import NOW, utc

YEARLY = {"length": {"unit": "year", "count": 1}, "notice": {"unit": "month", "count": 2}, "on_end": "renew"}


async def read(client: httpx.AsyncClient, path: str, **query: str) -> Any:
    answer = await client.get(f"/v1/{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def by_month(client: httpx.AsyncClient, first: str, last: str, **query: str) -> list[dict[str, Any]]:
    told = await read(client, "revenue-movements", **{"from": first, "to": last}, **query)
    return [month for currency in told["data"] for month in currency["months"]]


async def total(client: httpx.AsyncClient, first: str, last: str) -> dict[str, Any]:
    told = await read(client, "revenue-movements", **{"from": first, "to": last})
    found: dict[str, Any] = told["data"][0]["total"]
    return found


def amounts(figures: dict[str, Any]) -> dict[str, str]:
    """Those that are anything."""
    return {
        name: value["amount"]
        for name, value in figures.items()
        if isinstance(value, dict) and value["amount"].strip("0.")
    }


async def entries(client: httpx.AsyncClient, **query: str) -> list[tuple[str, str, str]]:
    told = await read(client, "revenue-movements/entries", **query)
    return [(one["on"], one["kind"], one["amount"]["amount"]) for one in told["data"]]


async def asked(client: httpx.AsyncClient, made: dict[str, Any], **body: Any) -> None:
    answer = await changed(client, made, **body)
    assert answer.status_code == 201, answer.text


async def posted(client: httpx.AsyncClient, made: dict[str, Any], what: str, **body: Any) -> None:
    answer = await client.post(f"/v1/subscriptions/{made['id']}/{what}", json=body, headers=key())
    assert answer.is_success, answer.text


async def test_a_customer_since_2024_stands_as_the_trade_counts_it(story: Story) -> None:
    """DOMAIN 1.3 H: tenure 996 days, 2 renewals, ARR 12,000 then and 16,200 now: 35 percent more, indexation apart."""
    care = [
        a_plan_for(
            story,
            "care",
            number,
            a_price("units", amount, currency="EUR"),
            currency="EUR",
            interval_unit="year",
        )
        for number, amount in enumerate(("120", "123", "129.60"), start=1)
    ]
    await story.hear_of_plan(care[0])
    async with story.client() as client:
        clock = await story.test_clock(client, "2024-03-01T12:00:00Z")
        made = await story.subscription(
            client,
            plan="care",
            quantities={"units": "100"},
            starts_on="2024-03-01",
            zone="Europe/Amsterdam",
            test_clock_id=clock["id"],
            term=YEARLY,
        )
        for plan, on in ((care[1], "2025-03-01"), (care[2], "2026-03-01")):
            await story.hear_of_plan(plan)
            await asked(client, made, when={"on": on}, plan_version_id=plan.plan_version_id, indexation=True)
        await move(story, made, "2026-06-01T12:00:00+00:00")
        await asked(client, made, when="now", quantities={"units": "125"})
        await move(story, made, "2026-11-22T12:00:00+00:00")
        standing = await read(client, f"customer-standings/{made['customer_id']}")
        whole, later = await total(client, "2024-03", "2026-11"), await total(client, "2024-04", "2026-11")
        moved = await entries(client)
    assert (standing["first_active_on"], standing["as_of"]) == ("2024-03-01", "2026-11-22")
    assert (standing["tenure_days"], standing["renewals"]) == (996, 2)
    [revenue] = standing["revenue"]
    assert {name: revenue[name]["amount"] for name in ("original", "now", "indexation", "other")} == {
        "original": "12000.00",
        "now": "16200.00",
        "indexation": "960.00",
        "other": "3240.00",
    }
    assert (revenue["change"], revenue["change_without_indexation"]) == ("0.3500", "0.2700")
    assert standing["next_term_end"] == {"on": "2027-03-01", "subscription_id": made["id"]}
    assert standing["notice_by"]["on"] == "2027-01-01"
    assert standing["subscriptions"] == {"active": 1}
    assert (standing["paid_up"], standing["days_overdue"], standing["owed"]) == (True, 0, [])
    assert moved == [
        ("2024-03-01", "new", "1000.00"),
        ("2025-03-01", "indexation", "25.00"),
        ("2026-03-01", "indexation", "55.00"),
        ("2026-06-01", "expansion", "270.00"),
    ]
    assert amounts(whole) == {
        "new": "1000.00",
        "indexation": "80.00",
        "expansion": "270.00",
        "closing": "1350.00",
    }
    assert (whole["net_retention"], whole["gross_retention"]) == (None, None)
    assert (later["net_retention"], later["gross_retention"]) == ("1.2700", "1.0000")


async def test_a_year_of_changes_by_month(story: Story) -> None:
    """What happens to one of a customer's subscriptions is told as what it does to the customer."""
    await hear_of_plans(story)
    async with story.client() as client:
        one = await a_basic(story, client)  # 10 seats at 10 since 31 May
        await move(story, one, "2025-07-10T12:00:00+00:00")
        await asked(client, one, when="now", quantities={"seats": "14"})
        await move(story, one, "2025-08-05T12:00:00+00:00")
        await asked(client, one, when="now", quantities={"seats": "8"})
        await posted(client, one, "pause", on="2025-08-05")
        await move(story, one, "2025-09-03T12:00:00+00:00")
        await posted(client, one, "resumption")
        other = await story.subscription(
            client,
            customer_id=one["customer_id"],
            plan="yearly",
            starts_on="2025-09-20",
            test_clock_id=one["test_clock_id"],
        )
        await move(story, one, "2025-10-01T12:00:00+00:00")
        await posted(client, one, "cancellation", at_period_end=True)
        await move(story, one, "2025-11-02T12:00:00+00:00")
        await asked(client, other, when={"on": "2025-10-10"}, quantities={"seats": "2"})
        known = await by_month(client, "2025-05", "2025-11")
        csv = await client.get("/v1/revenue-movements/csv", params={"from": "2025-10", "to": "2025-11"})
        chart = await client.get("/v1/revenue-movements/chart", params={"from": "2025-05", "to": "2025-11"})
        october = await entries(client, **{"from": "2025-10-01", "to": "2025-11-01"})
        churned = await entries(client, kind="churn")
        first = await client.get("/v1/revenue-movements/entries", params={"limit": "2"})
        rest = await client.get(
            "/v1/revenue-movements/entries", params={"limit": "50", "cursor": first.json()["next_cursor"]}
        )
    assert {month["month"]: amounts(month) for month in known} == {
        "2025-05": {"new": "100.00", "closing": "100.00"},
        "2025-06": {"opening": "100.00", "closing": "100.00"},
        "2025-07": {"opening": "100.00", "expansion": "40.00", "closing": "140.00"},
        # On one day it takes less and pauses: the day ends with nothing.
        "2025-08": {"opening": "140.00", "churn": "-140.00"},
        "2025-09": {"reactivation": "80.00", "expansion": "8.33", "closing": "88.33"},
        # 8.33 more of a yearly plan, told of in November; the other subscription ends on 31 October.
        "2025-10": {"opening": "88.33", "expansion": "8.34", "contraction": "-80.00", "closing": "16.67"},
        "2025-11": {"opening": "16.67", "closing": "16.67"},
    }
    assert [(month["customers"], month["subscriptions"]) for month in known] == [
        (1, 1),
        (1, 1),
        (1, 1),
        (0, 0),
        (1, 2),
        (1, 1),
        (1, 1),
    ]
    assert [(month["net_retention"], month["gross_retention"]) for month in known[1:6]] == [
        ("1.0000", "1.0000"),
        ("1.4000", "1.0000"),
        ("0.0000", "0.0000"),
        (None, None),
        ("0.1887", "0.1887"),
    ]
    assert october == [("2025-10-10", "expansion", "8.33"), ("2025-10-31", "contraction", "-80.00")]
    assert churned == [("2025-08-05", "churn", "-140.00")]
    assert len(first.json()["data"] + rest.json()["data"]) == 7
    assert csv.headers["content-type"].startswith("text/csv")
    assert csv.text.split("\r\n")[1] == (
        "2025-10,USD,88.33,0.00,0.00,8.34,0.00,-80.00,0.00,16.67,0.1887,0.1887,1,1"
    )
    assert chart.headers["content-type"].startswith("image/svg+xml")
    assert ElementTree.fromstring(chart.text).tag == "{http://www.w3.org/2000/svg}svg"


async def test_a_trial_counts_once_it_is_over_and_a_lapsed_one_never(story: Story) -> None:
    await hear_of_plans(story)
    async with story.client() as client:
        trial = {"length": {"unit": "day", "count": 14}}
        made = await a_basic(story, client, trial=trial)
        await a_basic(story, client, trial={**trial, "without_payment_method": "cancel"})
        await move(story, made, "2025-06-13T12:00:00+00:00")
        before = await entries(client)
        await move(story, made, "2025-06-15T12:00:00+00:00")
        after = await entries(client)
    assert before == []
    assert after == [("2025-06-14", "new", "100.00")]


async def test_currencies_stay_apart_and_a_chart_is_of_one(story: Story) -> None:
    await hear_of_plans(story)
    async with story.client() as client:
        await a_basic(story, client)
        await a_basic(story, client, currency="EUR")
        told = await by_month(client, "2025-05", "2025-05")
        dollars = await by_month(client, "2025-05", "2025-05", currency="USD")
        query = {"from": "2025-05", "to": "2025-06"}
        chart = await client.get("/v1/revenue-movements/chart", params=query)
        of_euros = await client.get("/v1/revenue-movements/chart", params={**query, "currency": "EUR"})
        of_yen = await client.get("/v1/revenue-movements/chart", params={**query, "currency": "JPY"})
    assert [amounts(month)["closing"] for month in told] == ["90.00", "100.00"]
    assert [amounts(month)["closing"] for month in dollars] == ["100.00"]
    assert (chart.status_code, chart.json()["code"]) == (422, "revenue_currency_needed")
    assert chart.json()["facts"] == {"currencies": ["EUR", "USD"]}
    assert "Monthly recurring revenue in EUR" in of_euros.text
    assert "There was no recurring revenue" in of_yen.text


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("revenue-movements", {"from": "2025-06", "to": "2025-05"}, "revenue_months_reversed"),
        ("revenue-movements", {"from": "2000-01", "to": "2025-05"}, "revenue_time_too_long"),
        ("revenue-movements", {"from": "2025-13"}, "invalid_parameters"),
        ("revenue-movements/csv", {"from": "2025"}, "invalid_parameters"),
        ("revenue-movements/entries", {"from": "2025-06-01", "to": "2025-06-01"}, "revenue_months_reversed"),
    ],
)
async def test_what_cannot_be_answered(story: Story, path: str, query: dict[str, str], code: str) -> None:
    async with story.client() as client:
        answer = await client.get(f"/v1/{path}", params=query)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_what_began_before_there_were_movements_is_filled_in(story: Story) -> None:
    """The rows of a life are taken away, as if it had been lived before; what changes meanwhile is not counted twice."""
    await hear_of_plans(story)
    async with story.client() as client:
        made = await a_basic(story, client)
        await move(story, made, "2025-07-10T12:00:00+00:00")
        await asked(client, made, when="now", quantities={"seats": "14"})
        lived = await entries(client)
        await story.as_admin("DELETE FROM revenue_movement WHERE tenant = :tenant", tenant=story.tenant)
        await story.as_admin(
            "INSERT INTO revenue_fill (id, tenant, due_at) VALUES (:id, :tenant, :at)",
            id=made["id"],
            tenant=story.tenant,
            at=NOW,
        )
        await asked(client, made, when="now", quantities={"seats": "20"})
        jobs = {job.name: job for job in scheduler.jobs(story.service.parts.worker_units, SystemClock())}
        assert await jobs["fill_revenue_movements"].run_once() == 1
        assert await jobs["fill_revenue_movements"].run_once() == 0
        filled = await entries(client)
    assert lived == [("2025-05-31", "new", "100.00"), ("2025-07-10", "expansion", "40.00")]
    assert filled == [("2025-05-31", "new", "100.00"), ("2025-07-10", "expansion", "100.00")]
    assert [row["due_at"] for row in await story.rows(revenue_fill)] == [None]


async def test_a_renewal_that_changes_nothing_writes_no_movement(story: Story) -> None:
    await hear_of_plans(story)
    async with story.client() as client:
        made = await a_basic(story, client)
        await move(story, made, "2026-01-01T12:00:00+00:00")
    assert [row["on_date"] for row in await story.rows(revenue_movement)] == [date(2025, 5, 31)]


def an_invoice(customer_id: str, id: str, total_minor: int, due_on: str, **changes: Any) -> InvoiceV1:
    invoice = InvoiceV1(
        invoice_id=id,
        number=id,
        subscription_id=None,
        customer_id=customer_id,
        currency="EUR",
        total_minor=total_minor,
        boundary_at=NOW,
        due_on=date.fromisoformat(due_on),
    )
    return invoice.model_copy(update=changes)


async def test_who_owes_what_since_when_is_told_in_any_order(story: Story) -> None:
    """By the clock of the customer's subscription, which shows 1 June 2025 in New York."""
    await hear_of_plans(story)
    async with story.client() as client:
        made = await a_basic(story, client)
        id = made["customer_id"]
        told = {"tenant": story.tenant, "occurred_at": NOW}
        late = an_invoice(id, "inv_late", 10_000, "2025-05-20", balance_applied_minor=1_000)
        later = an_invoice(id, "inv_later", 2_500, "2025-05-25")
        paid = an_invoice(id, "inv_paid", 7_000, "2025-05-01")
        ahead = an_invoice(id, "inv_ahead", 500, "2025-06-01")
        await story.hear(
            PaymentReceivedV1(
                **told,
                payment_id="pay_1",
                customer_id=id,
                way="bank_transfer",
                currency="EUR",
                amount_minor=3_000,
                received_on=date(2025, 5, 21),
                allocations=(AllocatedV1(invoice_id="inv_late", amount_minor=3_000),),
            ),
            InvoicePaidV1(**told, invoice=paid),
        )
        await story.hear(*(InvoiceFinalizedV1(**told, invoice=one) for one in (late, later, paid, ahead)))
        note = CreditNoteV1(
            credit_note_id="crn_1",
            number="CN-1",
            invoice_id="inv_late",
            customer_id=id,
            currency="EUR",
            net_minor=500,
            tax_minor=0,
            total_minor=500,
            to_invoice_minor=500,
            to_balance_minor=0,
            to_refund_minor=0,
            reason="broken",
        )
        await story.hear(CreditNoteIssuedV1(**told, credit_note=note))
        standing = await read(client, f"customer-standings/{id}")
        overdue = await read(client, "customer-standings", overdue="true")
        clear = await read(client, "customer-standings", overdue="false")
        await story.hear(*(InvoicePaidV1(**told, invoice=one) for one in (late, later)))
        settled = await read(client, f"customer-standings/{id}")
        again = late.model_copy(update={"reopened_count": 1})
        taken_back = InvoiceReopenedV1(
            **told, invoice=again, payment_id="pay_1", due_minor=3_000, reason="returned"
        )
        await story.hear(taken_back)
        reopened = await read(client, f"customer-standings/{id}")
    assert (standing["paid_up"], standing["days_overdue"], standing["oldest_due_on"]) == (
        False,
        12,
        "2025-05-20",
    )
    assert standing["owed"] == [
        {
            "due": {"amount": "85.00", "currency": "EUR"},
            "overdue": {"amount": "80.00", "currency": "EUR"},
            "overdue_invoices": 2,
        }
    ]
    assert [one["customer_id"] for one in overdue["data"]] == [id]
    assert clear["data"] == []
    assert (settled["paid_up"], settled["owed"][0]["due"]["amount"]) == (True, "5.00")
    assert (reopened["paid_up"], reopened["days_overdue"]) == (False, 12)
    assert reopened["owed"][0]["overdue"]["amount"] == "30.00"


async def test_customers_are_listed_by_how_long_they_have_been(story: Story) -> None:
    await hear_of_plans(story)
    async with story.client() as client:
        made = await a_basic(story, client)
        idle = await story.customer(client)
        everybody = await read(client, "customer-standings")
        since_yesterday = await read(client, "customer-standings", tenure_days_min="1")
        longer = await read(client, "customer-standings", tenure_days_min="2")
    assert [one["customer_id"] for one in everybody["data"]] == [made["customer_id"], idle["id"]]
    assert [one["tenure_days"] for one in everybody["data"]] == [1, None]
    assert [one["customer_id"] for one in since_yesterday["data"]] == [made["customer_id"]]
    assert longer["data"] == []


async def test_a_portal_token_sees_its_own_standing_only(story: Story) -> None:
    await hear_of_plans(story)
    async with story.client() as client:
        made = await a_basic(story, client)
        other = await story.customer(client)
    async with story.client("subscriptions:read", customer=made["customer_id"]) as portal:
        own = await portal.get(f"/v1/customer-standings/{made['customer_id']}")
        others = await portal.get(f"/v1/customer-standings/{other['id']}")
        listed = await portal.get("/v1/customer-standings")
        moved = await portal.get("/v1/revenue-movements")
    assert (own.status_code, others.status_code) == (200, 404)
    assert (listed.status_code, moved.status_code) == (403, 403)
    assert own.json()["as_of"] == utc("2025-06-01").date().isoformat()


async def test_an_audit_sees_a_movement_that_is_missing_or_too_many(story: Story) -> None:
    await hear_of_plans(story)
    async with story.client() as client:
        made = await a_basic(story, client, trial={"length": {"unit": "day", "count": 3}})
        await move(story, made, "2025-07-10T12:00:00+00:00")
        await asked(client, made, when={"on": "2025-06-20"}, quantities={"seats": "14"})
    assert await seen_by_the_audit(story, made["id"]) == {}
    less = (
        "UPDATE revenue_movement SET amount = amount - 200 WHERE on_date = '2025-06-20' AND tenant = :tenant"
    )
    await story.as_admin(less, tenant=story.tenant)
    seen = await seen_by_the_audit(story, made["id"])
    await story.as_admin(less.replace("- 200", "+ 200"), tenant=story.tenant)
    assert set(seen) == {"nobody_has_revenue_below_nothing", "revenue_movements_reconcile_on_every_day"}
    [missing] = seen["revenue_movements_reconcile_on_every_day"]
    assert "on=2025-06-20 currency=USD part=agreement missing=200.0" in missing


async def seen_by_the_audit(story: Story, id: str) -> dict[str, list[str]]:
    """What of the audit's findings is about this subscription."""
    report = await audit_subscriptions(story.service.parts.audit_database)
    found = {check.name: [told for told in check.problems if id in told] for check in report.checks}
    return {name: told for name, told in found.items() if told}
