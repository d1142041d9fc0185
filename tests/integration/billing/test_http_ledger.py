"""The ledger over HTTP: a trial balance at any date, statements that add up, schedules, files that agree with both."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.integration.billing.workbench import Workbench, after
from tests.support.billing import FEE, Story
from tests.support.service_under_test import ServiceUnderTest, new_tenant


@pytest_asyncio.fixture
async def books(billing: ServiceUnderTest, bench: Workbench, tenant: str) -> AsyncIterator[httpx.AsyncClient]:
    """January of 2025 in advance for two customers, of whom one has paid; and usage of January."""
    await bench.add_seller(tenant)
    stories = [Story(tenant), Story(tenant, metered=False)]
    await bench.hear(*[story.started() for story in stories])
    await bench.add_method(stories[0])
    await bench.collect(clock=after(stories[0].boundary(0), minutes=1))
    await bench.hear(stories[0].renewed(1), stories[0].window_closed(0, "10"))
    async with billing.client(tenant, "billing:read") as client:
        yield client


async def balances(client: httpx.AsyncClient, **asked: str) -> dict[str, str]:
    answer = await client.get("/v1/ledger-accounts", params=asked)
    assert answer.status_code == 200, answer.text
    rows = answer.json()["data"]
    assert sum(Decimal(row["balance"]["amount"]) for row in rows) == 0
    return {row["account"]: row["balance"]["amount"] for row in rows if Decimal(row["balance"]["amount"])}


async def test_balances_at_any_date_also_one_that_lies_ahead(books: httpx.AsyncClient) -> None:
    opened = {"accounts_receivable": "4800.00", "contract_liability": "-4800.00"}
    paid = {"accounts_receivable": "2400.00", "cash": "2400.00"}
    assert await balances(books, at="2024-12-31") == {}
    assert await balances(books, at="2025-01-01") == {**opened, **paid}
    assert await balances(books, at="2025-01-30") == {**opened, **paid}
    assert await balances(books, at="2025-01-31") == {**paid, "revenue": "-4800.00"}
    february = {"accounts_receivable": "4852.00", "cash": "2400.00"}
    ahead = {**february, "contract_liability": "-2400.00", "revenue": "-4852.00"}
    assert await balances(books, at="2025-02-27") == ahead
    assert await balances(books, at="2025-02-28") == {**february, "revenue": "-7252.00"}
    assert await balances(books) == await balances(books, at="2199-12-31")  # the clock of the test is in 2030


async def test_a_statement_adds_up_page_by_page(books: httpx.AsyncClient) -> None:
    path = "/v1/ledger-accounts/accounts_receivable/entries"
    asked: dict[str, Any] = {"from": "2025-01-01", "to": "2025-03-01", "limit": 2}
    pages = [(await books.get(path, params=asked)).json()]
    while (cursor := pages[-1]["next_cursor"]) is not None:
        pages.append((await books.get(path, params={**asked, "cursor": cursor})).json())
    assert len(pages) == 2
    assert {(p["opening_balance"]["amount"], p["closing_balance"]["amount"]) for p in pages} == {
        ("0.00", "4852.00")
    }
    entries = [entry for page in pages for entry in page["data"]]
    assert [(entry["amount"]["amount"], entry["balance"]["amount"]) for entry in entries] == [
        ("2400.00", "2400.00"),
        ("2400.00", "4800.00"),
        ("-2400.00", "2400.00"),
        ("2452.00", "4852.00"),
    ]
    later = (await books.get(path, params={"from": "2025-02-01"})).json()
    assert (later["opening_balance"]["amount"], len(later["data"])) == ("2400.00", 1)
    assert (later["account"], later["type"]) == ("accounts_receivable", "asset")


@pytest.mark.parametrize(
    ("path", "asked", "status", "code"),
    [
        ("/v1/ledger-accounts/petty_cash/entries", {}, 404, "ledger_account_not_found"),
        ("/v1/ledger-accounts/breakage/entries", {}, 404, "ledger_account_not_found"),
        ("/v1/ledger-accounts/cash/entries", {"from": "2025-02-01", "to": "2025-02-01"}, 422, "ledger_dates_reversed"),
        ("/v1/ledger-entries", {"from": "2025-02-01", "to": "2025-01-01"}, 422, "ledger_dates_reversed"),
        ("/v1/revenue-schedules", {"from": "2020-01-01", "to": "2031-01-01"}, 422, "ledger_time_too_long"),
        ("/v1/ledger-exports", {"format": "xlsx"}, 422, "invalid_parameters"),
        ("/v1/ledger-exports", {"from": "2025-02-01", "to": "2025-01-01"}, 422, "ledger_dates_reversed"),
        ("/v1/invoice-exports", {"issued_from": "2025-02-01T00:00:00Z", "issued_to": "2025-01-01T00:00:00Z"}, 422,
         "ledger_dates_reversed"),
        ("/v1/ledger-accounts", {"at": "2025-02-30"}, 422, "invalid_parameters"),
    ],
)  # fmt: skip
async def test_what_is_asked_wrongly_is_refused(
    books: httpx.AsyncClient, path: str, asked: dict[str, str], status: int, code: str
) -> None:
    answer = await books.get(path, params=asked)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_an_account_of_two_currencies_is_asked_for_one(
    books: httpx.AsyncClient, bench: Workbench, tenant: str
) -> None:
    fee = FEE.model_copy(update={"id": "prc_yen", "currency": "JPY", "unit_amount": Decimal(120000)})
    await bench.hear(Story(tenant, metered=False, fee=fee, quantity="1").started())
    path = "/v1/ledger-accounts/revenue/entries"
    refused = await books.get(path)
    assert (refused.status_code, refused.json()["code"]) == (422, "ledger_currency_needed")
    told = (await books.get(path, params={"currency": "JPY"})).json()
    assert told["closing_balance"] == {"amount": "-120000", "currency": "JPY"}
    rows = (await books.get("/v1/ledger-accounts")).json()["data"]
    for currency in ("USD", "JPY"):
        assert sum(Decimal(r["balance"]["amount"]) for r in rows if r["currency"] == currency) == 0


async def test_when_an_invoice_is_earned_line_by_line_and_in_the_books(books: httpx.AsyncClient) -> None:
    invoices = (await books.get("/v1/invoices", params={"boundary_from": "2025-01-15T00:00:00Z"})).json()
    (id,) = [invoice["id"] for invoice in invoices["data"]]
    schedule = (await books.get(f"/v1/invoices/{id}/revenue-schedule")).json()
    assert schedule["invoiced_on"] == "2025-02-01"
    assert [
        (
            line["net"]["amount"],
            line["earned_at_issue"]["amount"],
            [(part["earned_on"], part["amount"]["amount"]) for part in line["earned_later"]],
        )
        for line in schedule["lines"]
    ] == [("52.00", "52.00", []), ("2400.00", "0.00", [("2025-02-28", "2400.00")])]
    assert [(part["earned_on"], part["amount"]["amount"]) for part in schedule["posted"]] == [
        ("2025-02-01", "52.00"),
        ("2025-02-28", "2400.00"),
    ]


async def test_of_a_draft_nothing_is_earned(books: httpx.AsyncClient, bench: Workbench, tenant: str) -> None:
    story = Story(tenant)
    await bench.hear(story.started(), story.renewed(1))
    asked = {"status": "draft", "subscription_id": story.subscription_id}
    (draft,) = (await books.get("/v1/invoices", params=asked)).json()["data"]
    answer = await books.get(f"/v1/invoices/{draft['id']}/revenue-schedule")
    assert (answer.status_code, answer.json()["code"]) == (409, "invoice_not_issued")


async def test_what_is_deferred_rolls_forward_month_by_month(books: httpx.AsyncClient) -> None:
    asked = {"from": "2025-01-01", "to": "2025-04-01"}
    told = (await books.get("/v1/revenue-schedules", params=asked)).json()
    names = ("opening", "billed", "earned", "taken_back", "closing", "recognized")
    assert [(row["month"], *(row[name]["amount"] for name in names)) for row in told["data"]] == [
        ("2025-01", "0.00", "4800.00", "4800.00", "0.00", "0.00", "4800.00"),
        ("2025-02", "0.00", "2400.00", "2400.00", "0.00", "0.00", "2452.00"),
    ]
    assert told["remaining"] == []


async def test_what_remains_to_be_earned_is_what_is_deferred_then(books: httpx.AsyncClient) -> None:
    asked = {"from": "2025-01-01", "to": "2025-01-20"}
    told = (await books.get("/v1/revenue-schedules", params=asked)).json()
    (month,) = told["data"]
    (remaining,) = told["remaining"]
    assert month["closing"]["amount"] == remaining["within_12_months"]["amount"] == "4800.00"
    assert remaining["later"]["amount"] == "0.00"


async def test_the_exported_ledger_is_the_trial_balance(books: httpx.AsyncClient) -> None:
    answer = await books.get("/v1/ledger-exports")
    assert answer.headers["content-type"] == "text/csv; header=present; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="ledger.csv"'
    assert answer.text.endswith("\r\n")
    records = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for record in records:
        sums[record["account"]] += Decimal(record["amount"])
        assert Decimal(record["amount"]) == Decimal(record["debit"] or 0) - Decimal(record["credit"] or 0)
    assert {account: str(total) for account, total in sums.items() if total} == await balances(books)
    dates = [record["posted_on"] for record in records]
    assert dates == sorted(dates)
    january = await books.get("/v1/ledger-exports", params={"from": "2025-01-31", "to": "2025-02-01"})
    told = list(csv.DictReader(io.StringIO(january.text, newline="")))
    assert [(r["posted_on"], r["account"], r["amount"]) for r in told] == [
        ("2025-01-31", "contract_liability", "2400.00"),
        ("2025-01-31", "revenue", "-2400.00"),
    ] * 2


async def test_exported_invoices_have_a_record_for_each_line(books: httpx.AsyncClient) -> None:
    answer = await books.get("/v1/invoice-exports")
    records = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    told = [(r["line_number"], r["line_net"], r["invoice_total"], r["due"], r["status"]) for r in records]
    assert sorted(told[:2]) + told[2:] == [
        ("1", "2400.00", "2400.00", "0.00", "paid"),
        ("1", "2400.00", "2400.00", "2400.00", "finalized"),
        ("1", "52.00", "2452.00", "2452.00", "finalized"),
        ("2", "2400.00", "2452.00", "2452.00", "finalized"),
    ]
    assert {r["currency"] for r in records} == {"USD"}
    later = await books.get("/v1/invoice-exports", params={"issued_from": "2025-01-15T00:00:00Z"})
    assert len(list(csv.DictReader(io.StringIO(later.text, newline="")))) == 2


async def test_a_journal_brings_balances_forward_and_asserts_them(books: httpx.AsyncClient) -> None:
    answer = await books.get("/v1/ledger-exports", params={"format": "beancount", "from": "2025-01-31"})
    assert answer.headers["content-type"].startswith("text/plain")
    text = answer.text
    assert '\n2025-01-31 * "Balances brought forward"\n  Assets:Accounts-Receivable  2400.00 USD\n' in text
    assert "\n2025-01-31 open Liabilities:Contract-Liability USD\n" in text
    assert "\n2025-03-01 balance Income:Revenue -7252.00 USD\n" in text
    assert text.count("  posting: ") == 4


async def test_others_see_nothing_of_it(billing: ServiceUnderTest, books: httpx.AsyncClient) -> None:
    async with billing.client(new_tenant(), "billing:read") as stranger:
        assert (await stranger.get("/v1/ledger-accounts")).json()["data"] == []
        exported = await stranger.get("/v1/ledger-exports")
        assert exported.text.count("\r\n") == 1
        assert (await stranger.get("/v1/invoice-exports")).text.count("\r\n") == 1
        journal = await stranger.get("/v1/ledger-exports", params={"format": "beancount"})
        assert " open " not in journal.text


async def test_entries_are_found_by_customer_posting_and_date(books: httpx.AsyncClient) -> None:
    (paid,) = (await books.get("/v1/invoices", params={"status": "paid"})).json()["data"]
    path = "/v1/ledger-entries"
    of_customer = (await books.get(path, params={"customer_id": paid["customer_id"]})).json()["data"]
    assert {entry["invoice_id"] for entry in of_customer} > {paid["id"]}
    key = f"invoice:{paid['id']}:final"
    of_posting = (await books.get(path, params={"posting": key})).json()["data"]
    assert [entry["account"] for entry in of_posting] == ["accounts_receivable", "contract_liability"]
    of_dates = (await books.get(path, params={"from": "2025-02-02", "to": "2025-03-01"})).json()["data"]
    assert {entry["posted_on"] for entry in of_dates} == {"2025-02-28"}


async def test_usage_that_waits_for_its_grace_is_accrued_until_it_is_billed(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    await bench.add_seller(tenant, draft_grace_hours=48)
    story = Story(tenant)
    await bench.hear(story.started())
    await bench.hear(story.renewed(1), story.window_closed(0, "10"))
    async with billing.client(tenant, "billing:read") as client:
        assert await balances(client, at="2025-01-30") == {}
        assert await balances(client, at="2025-01-31") == {"contract_asset": "52.00", "revenue": "-52.00"}
        await bench.hear(story.renewed(1))  # the same again, as another message
        await bench.jobs(clock=after(story.boundary(1), minutes=60 * 72))[0].run_once()
        assert (await balances(client, at="2025-01-31"))["contract_asset"] == "52.00"
        later = await balances(client)
        postings = (await client.get("/v1/ledger-entries", params={"account": "contract_asset"})).json()[
            "data"
        ]
    assert later == {"accounts_receivable": "4852.00", "revenue": "-4852.00"}
    assert [entry["amount"]["amount"] for entry in postings] == ["52.00", "-52.00"]
