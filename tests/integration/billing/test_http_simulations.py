"""Simulations over HTTP: what plans would come to, beside each other, on real PostgreSQL."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest

from libs.common.contracts.catalog import PlanOverlaidV1, PlanOverlayV1, PlanPublishedV1
from libs.common.ids import derived_id
from libs.common.web import calls
from services.billing.entrypoints.simulation_bodies import NewPriceSimulationBody
from services.billing.entrypoints.simulation_example import ANSWERED, ASKED
from tests.integration.billing.workbench import Workbench
from tests.support.billing import FEE, MINUTES, Story, a_plan
from tests.support.recompute import recompute
from tests.support.service_under_test import ServiceUnderTest, new_tenant

PATH = "/v1/price-simulations"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
READ = ("billing:read",)
JANUARY = {"start": "2026-01-01", "zone": "Europe/Amsterdam"}

LIGHT: dict[str, Any] = {
    "code": "light",
    "name": "Light as a service",
    "currency": "EUR",
    "interval": {"unit": "month"},
    "prices": [
        {"code": "fee", "kind": "recurring", "model": "per_unit", "unit_amount": "3.28", "product": "lamp"},
        {"code": "light", "kind": "usage", "model": "per_unit", "unit_amount": "0.004305", "meter": "klmh"},
    ],
    "commitments": [
        {"code": "least", "description": "Minimum", "price_codes": ["light"], "minimum_quantity": "100000"}
    ],
}


@pytest.fixture(autouse=True)
def no_news(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody publishes anything meanwhile, unless a test says so."""
    monkeypatch.setattr(calls, "AWAIT_S", 0.0)


async def publish(bench: Workbench, tenant: str, *prices: Any, number: int = 1, **changes: Any) -> str:
    id = derived_id("plv", tenant, str(number), str(changes.get("code")))
    plan = a_plan(*prices, number=number, plan_version_id=id, **changes)
    await bench.hear(PlanPublishedV1(tenant=tenant, version=number, occurred_at=NOW, plan=plan))
    return id


async def simulate(billing: ServiceUnderTest, tenant: str, body: Mapping[str, Any]) -> httpx.Response:
    async with billing.client(tenant, *READ) as client:
        return await client.post(PATH, json=body)


async def answered(billing: ServiceUnderTest, tenant: str, body: Mapping[str, Any]) -> dict[str, Any]:
    answer = await simulate(billing, tenant, body)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def lines(candidate: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    return [
        (charge["code"], line["kind"], line["quantity"], line["amount"]["amount"])
        for period in candidate["periods"]
        for charge in period["charges"]
        for line in charge["lines"]
    ]


def pointers(answer: httpx.Response) -> list[str]:
    return [error["pointer"] for error in answer.json()["errors"]]


def draft(**changes: Any) -> dict[str, Any]:
    return {"draft": {**LIGHT, **changes}}


async def test_light_as_a_service_to_the_cent_with_its_reasons(
    billing: ServiceUnderTest, tenant: str
) -> None:
    body = {
        "candidates": [draft()],
        "period": {"start": "2026-03-01", "zone": "Europe/Amsterdam"},
        "quantities": {"fee": "400"},
        "usage": [{"meter": "klmh", "quantity": "85000", "event_count": 2}],
    }
    told = await answered(billing, tenant, body)
    (light,) = told["candidates"]
    assert lines(light) == [
        ("fee", "price", "400", "1312.00"),
        ("light", "price", "85000", "365.93"),
        ("least", "shortfall", "15000", "64.58"),
    ]
    assert light["amount"] == {"amount": "1742.51", "currency": "EUR"}
    assert told["time"] == {
        "zone": "Europe/Amsterdam",
        "start": "2026-03-01",
        "end": "2026-04-01",
        "periods": 1,
    }
    for charge in light["periods"][0]["charges"]:
        assert charge["amount"]["amount"] in charge["explanation"]["paragraph"]
        worked_out = recompute(json.dumps(charge["explanation"]))
        assert worked_out == [int(line["amount"]["amount"].replace(".", "")) for line in charge["lines"]]


async def test_published_versions_side_by_side(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    cheaper = FEE.model_copy(update={"id": "prc_2", "unit_amount": Decimal(1100)})
    first = await publish(bench, tenant)
    await publish(bench, tenant, cheaper, MINUTES, number=2)
    own = a_plan(FEE.model_copy(update={"id": "prc_own", "unit_amount": Decimal(900)}), MINUTES)
    overlay = PlanOverlayV1(
        overlay_id=derived_id("ovl", tenant), customer_id="cus_1", plan_version_id=first, plan=own
    )
    await bench.hear(PlanOverlaidV1(tenant=tenant, version=1, occurred_at=NOW, overlay=overlay))
    body = {
        "candidates": [
            {"plan_version_id": first},
            {"plan": "engines"},
            {"plan": "engines", "number": 1},
            {"plan_overlay_id": overlay.overlay_id},
        ],
        "period": JANUARY,
        "quantities": {"aircraft": "3"},
        "usage": [{"meter": "flying-minutes", "quantity": "10"}],
    }
    told = await answered(billing, tenant, body)
    assert [found["amount"]["amount"] for found in told["candidates"]] == [
        "3652.00",
        "3352.00",
        "3652.00",
        "2752.00",
    ]
    assert [found["plan"]["number"] for found in told["candidates"]] == [1, 2, 1, 1]
    assert told["candidates"][3]["plan"]["plan_overlay_id"] == overlay.overlay_id
    assert [found["says"] for found in told["comparisons"]] == [
        "300.00 USD less than the first.",
        "As much as the first.",
        "900.00 USD less than the first.",
    ]
    aircraft = told["comparisons"][0]["charges"][0]
    assert (aircraft["code"], aircraft["difference"]["amount"]) == ("aircraft", "-300.00")


async def test_what_was_really_used_and_billed(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    """Through the tables: the simulation of the plan that was agreed gives the invoice's lines; another one, others."""
    story = Story(tenant)
    await bench.add_seller(tenant)
    await bench.hear(story.started(), story.window_closed(0, "100001"), story.renewed(1))
    await publish(bench, tenant)
    await publish(bench, tenant, FEE, MINUTES.model_copy(update={"tiers": MINUTES.tiers[1:]}), number=2)
    body = {
        "candidates": [{"plan": "engines", "number": 1}, {"plan": "engines"}],
        "usage_of": {"subscription_id": story.subscription_id, "on": "2025-01-31"},
    }
    told = await answered(billing, tenant, body)
    async with billing.client(tenant, *READ) as client:
        invoices = (await client.get("/v1/invoices")).json()["data"]
        shown = [(await client.get(f"/v1/invoices/{invoice['id']}")).json() for invoice in invoices]
    january = [
        (
            line["description"],
            line["tier"],
            line["quantity"],
            line["unit_amount"],
            line["net"],
            line["formula"],
        )
        for invoice in shown
        for line in invoice["lines"]
        if line["service_period"] == {"start": "2025-01-01", "end": "2025-02-01"}
    ]
    found = [
        (
            line["description"],
            line["tier"],
            line["quantity"],
            line["unit_amount"],
            line["amount"],
            line["formula"],
        )
        for charge in told["candidates"][0]["periods"][0]["charges"]
        for line in charge["lines"]
    ]
    assert len(january) == 3
    assert found == january
    assert told["usage_of"]["quantities"] == {"aircraft": "2"}
    (period,) = told["usage_of"]["periods"]
    assert [(used["price"], used["quantity"]) for used in period["usage"]] == [("minutes", "100001")]
    assert [note["code"] for note in told["usage_of"]["notes"]] == ["events_not_known"]
    assert told["comparisons"][0]["difference"] == {"amount": "-45000.00", "currency": "USD"}


async def test_late_usage_is_counted_if_asked_for(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    """By volume: 90 were billed at 10; the 30 that came late make 120 at 9."""
    tiers = [{"up_to": "100", "unit_amount": "10"}, {"unit_amount": "9"}]
    volume = MINUTES.model_copy(update={"model": "volume"})
    volume = type(volume).model_validate({**volume.model_dump(), "tiers": tiers})
    story = Story(tenant, quantity=None)
    await bench.hear(
        story.started(), story.window_closed(0, "90"), story.usage_corrected(0, "90", "120"), story.renewed(1)
    )
    await publish(bench, tenant, volume)
    totals = []
    for late in ("left_out", "counted"):
        body = {
            "candidates": [{"plan": "engines"}],
            "usage_of": {"subscription_id": story.subscription_id, "period_index": 0, "late": late},
        }
        told = await answered(billing, tenant, body)
        totals.append(told["candidates"][0]["amount"]["amount"])
        assert "late_usage" in [note["code"] for note in told["usage_of"]["notes"]]
    assert totals == ["900.00", "1080.00"]


async def test_a_year_with_rollover_and_a_true_up(billing: ServiceUnderTest, tenant: str) -> None:
    plan = {
        "currency": "EUR",
        "interval": {"unit": "month"},
        "prices": [
            {
                "code": "pages",
                "kind": "usage",
                "model": "package",
                "package_size": "10",
                "unit_amount": "1",
                "included_quantity": "50",
                "rollover": {"periods": 1},
                "meter": "pages",
            },
            {"code": "fee", "kind": "recurring", "model": "flat", "unit_amount": "4.99", "phase": "start"},
            {
                "code": "full-fee",
                "kind": "recurring",
                "model": "flat",
                "unit_amount": "6.99",
                "phase": "full",
            },
        ],
        "phases": [{"code": "start", "name": "Start", "periods": 3}, {"code": "full", "name": "Full"}],
        "commitments": [{"code": "least", "per": "year", "minimum_amount": "100", "description": "A year"}],
    }
    body = {
        "candidates": [{"draft": plan}],
        "period": {"start": "2026-01-31"},
        "periods": 12,
        "usage": [
            {"meter": "pages", "period": 0, "quantity": "40"},
            {"price": "pages", "period": 1, "quantity": "65"},
        ],
    }
    told = await answered(billing, tenant, body)
    (candidate,) = told["candidates"]
    periods = candidate["periods"]
    assert [period["start"] for period in periods[:3]] == ["2026-01-31", "2026-02-28", "2026-03-31"]
    assert [period["phase"] for period in periods] == ["start"] * 3 + ["full"] * 9
    assert [period["amount"]["amount"] for period in periods[:4]] == ["4.99", "5.99", "4.99", "6.99"]
    assert lines(candidate)[-1] == ("least", "minimum", "1", "21.12")
    assert candidate["amount"]["amount"] == "100.00"
    balance = {"included": "50", "rolled_over": "0", "left_of_blocks": "5"}
    assert next(c for c in periods[1]["charges"] if c["code"] == "pages")["allowance"]["after"] == balance


async def test_a_plan_that_is_billed_each_quarter(billing: ServiceUnderTest, tenant: str) -> None:
    fee = {"code": "fee", "kind": "recurring", "model": "flat", "unit_amount": "30"}
    plan = {"currency": "EUR", "interval": {"unit": "quarter"}, "prices": [fee]}
    body = {"candidates": [{"draft": plan}], "period": {"start": "2026-01-31"}, "periods": 2}
    (candidate,) = (await answered(billing, tenant, body))["candidates"]
    assert [period["start"] for period in candidate["periods"]] == ["2026-01-31", "2026-04-30"]
    assert candidate["amount"]["amount"] == "60.00"


async def test_coupons_and_taxes(billing: ServiceUnderTest, tenant: str) -> None:
    inclusive = {"tax_behavior": "inclusive", "tax_category": "wash"}
    plan = {
        "currency": "EUR",
        "interval": {"unit": "month"},
        "prices": [
            {"code": "fee", "kind": "recurring", "model": "flat", "unit_amount": "19.95", **inclusive},
            {
                "code": "wash",
                "kind": "usage",
                "model": "per_unit",
                "unit_amount": "0.95",
                "included_quantity": "12",
                "meter": "wash",
                **inclusive,
            },
        ],
    }
    body: dict[str, Any] = {
        "candidates": [{"draft": plan}],
        "period": {"start": "2026-05-01"},
        "usage": [{"meter": "wash", "quantity": "16"}],
        "taxes": [{"category": "wash", "percent": "21"}],
    }
    (may,) = (await answered(billing, tenant, body))["candidates"]
    nets = [line["net"]["amount"] for charge in may["periods"][0]["charges"] for line in charge["lines"]]
    assert nets == ["16.49", "3.14"]
    assert [may[name]["amount"] for name in ("amount", "net", "tax", "total")] == [
        "23.75",
        "19.63",
        "4.12",
        "23.75",
    ]
    body["coupons"] = [{"code": "spring", "percent": "20", "duration": "once"}]
    (less,) = (await answered(billing, tenant, body))["candidates"]
    (discount,) = less["periods"][0]["discounts"]
    assert discount["formula"].startswith("spring: 20 % of 23.75 EUR = 4.75 EUR")
    assert [less[name]["amount"] for name in ("discount", "net", "tax", "total")] == [
        "4.75",
        "15.70",
        "3.30",
        "19.00",
    ]


@pytest.mark.parametrize(
    ("currency", "unit_amount", "amount"), [("JPY", "10.5", "32"), ("KWD", "0.0005", "0.002")]
)
async def test_currencies_without_and_with_three_decimals(
    billing: ServiceUnderTest, tenant: str, currency: str, unit_amount: str, amount: str
) -> None:
    price = {"code": "seats", "kind": "recurring", "model": "per_unit", "unit_amount": unit_amount}
    plan = {"currency": currency, "interval": {"unit": "month"}, "prices": [price]}
    body = {"candidates": [{"draft": plan}], "period": JANUARY, "quantities": {"seats": "3"}}
    (found,) = (await answered(billing, tenant, body))["candidates"]
    assert found["amount"] == {"amount": amount, "currency": currency}


async def test_events_with_their_fields(billing: ServiceUnderTest, tenant: str) -> None:
    """A number with a fraction is what was written, and not what is near it in binary."""
    price = {"kind": "usage", "meter": "m", "currency": "EUR"}
    plan = {
        "interval": {"unit": "month"},
        "prices": [
            {**price, "code": "x", "model": "expression", "expression": 'sum(value * event("/rate"))'},
            {
                **price,
                "code": "y",
                "model": "matrix",
                "dimensions": ["region"],
                "cells": [{"values": ["eu"], "unit_amount": "2"}, {"values": ["*"], "unit_amount": "3"}],
            },
        ],
    }
    events = [
        {"value": "10", "at": "2026-01-05T00:00:00Z", "properties": {"rate": 0.1, "region": "eu"}},
        {"value": "20", "at": "2026-01-31T22:59:59Z", "properties": {"rate": "0.2", "region": "us"}},
    ]
    body: dict[str, Any] = {
        "candidates": [{"draft": plan}], "period": JANUARY, "usage": [{"meter": "m", "events": events}]
    }  # fmt: skip
    (found,) = (await answered(billing, tenant, body))["candidates"]
    assert [amount for _, _, _, amount in lines(found)] == ["5.00", "20.00", "60.00"]
    later = {**body, "usage": [{"meter": "m", "events": [{**events[0], "at": "2026-01-31T23:00:00Z"}]}]}
    answer = await simulate(billing, tenant, later)
    assert (answer.status_code, pointers(answer)) == (422, ["/usage/0/events/0/at"])
    long = {**body, "usage": [{"meter": "m", "events": [{"properties": {"rate": 0.12345678901234567}}]}]}
    answer = await simulate(billing, tenant, long)
    assert (answer.status_code, pointers(answer)) == (422, ["/usage/0/events/0/properties"])


GOOD: dict[str, Any] = {
    "candidates": [draft()],
    "period": JANUARY,
    "quantities": {"fee": "1"},
    "usage": [{"meter": "klmh", "quantity": "1"}],
}
REFUSED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no_candidate": ({"candidates": []}, ["/candidates"]),
    "too_many": ({"candidates": [draft()] * 11}, ["/candidates"]),
    "two_names": ({"candidates": [{"plan": "a", "plan_version_id": f"plv_{'0' * 26}"}]}, ["/candidates/0"]),
    "a_number_of_nothing": ({"candidates": [{**draft(), "number": 2}]}, ["/candidates/0"]),
    "no_time": ({"period": None}, ["/period"]),
    "too_long": ({"periods": 37}, ["/periods"]),
    "no_zone": ({"period": {**JANUARY, "zone": "Mars/Olympus"}}, ["/period/zone"]),
    "quantity_as_number": ({"quantities": {"fee": 1}}, ["/quantities/fee"]),
    "quantity_below_zero": ({"quantities": {"fee": "-1"}}, ["/quantities/fee"]),
    "usage_of_nothing": ({"usage": [{"quantity": "1"}]}, ["/usage/0"]),
    "usage_of_no_amount": ({"usage": [{"meter": "klmh"}]}, ["/usage/0"]),
    "events_counted_twice": ({"usage": [{"meter": "klmh", "events": [], "event_count": 1}]}, ["/usage/0"]),
    "coupon_of_no_worth": ({"coupons": [{"code": "a"}]}, ["/coupons/0"]),
    "coupon_of_nothing": ({"coupons": [{"code": "a", "percent": "0"}]}, ["/coupons/0/percent"]),
    "coupon_for_some_periods": (
        {"coupons": [{"code": "a", "percent": "1", "duration": "periods"}]},
        ["/coupons/0"],
    ),
    "taxed_twice": ({"taxes": [{"percent": "1"}, {"percent": "2"}]}, ["/taxes"]),
    "no_period_of_a_subscription": (
        {"period": None, "usage_of": {"subscription_id": f"sub_{'0' * 26}"}},
        ["/usage_of"],
    ),
    "all_that_is_wrong_with_a_draft": (
        {
            "candidates": [
                draft(
                    prices=[
                        {**LIGHT["prices"][0], "unit_amount": None, "phase": "x"},
                        {**LIGHT["prices"][1], "unit_amount": "-1", "meter": None},
                    ]
                )
            ]
        },
        [
            "/candidates/0/draft/prices/0/unit_amount",
            "/candidates/0/draft/prices/0/phase",
            "/candidates/0/draft/prices/1/meter",
            "/candidates/0/draft/prices/1/unit_amount",
        ],
    ),
    "unknown_codes": (
        {"quantities": {"fees": "1"}, "usage": [{"meter": "klm", "quantity": "1"}]},
        ["/quantities/fees", "/usage/0/meter"],
    ),
    "misfit": ({"period": {**JANUARY, "interval": {"unit": "week"}}}, ["/candidates/0"]),
    "unknown_field": ({"save": True}, ["/save"]),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_wrong_is_pointed_at(billing: ServiceUnderTest, tenant: str, name: str) -> None:
    changes, expected = REFUSED[name]
    answer = await simulate(billing, tenant, {**GOOD, **changes})
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert pointers(answer) == expected


async def test_good_is_good(billing: ServiceUnderTest, tenant: str) -> None:
    """So that each refusal above is for the one thing that is wrong."""
    assert (await simulate(billing, tenant, GOOD)).status_code == 200


async def test_unknown_plans_and_subscriptions_are_not_found(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    mine = await publish(bench, tenant)
    body = {**GOOD, "quantities": {}, "usage": []}
    named = [{"plan": "nowhere"}, {"plan_version_id": mine}, {"plan_overlay_id": f"ovl_{'0' * 26}"}]
    answer = await simulate(billing, tenant, {**body, "candidates": named})
    assert (answer.status_code, answer.json()["code"]) == (404, "plan_version_unknown")
    assert pointers(answer) == ["/candidates/0/plan", "/candidates/2/plan_overlay_id"]
    assert "publications" in answer.json()["remedy"]
    stranger = await simulate(billing, new_tenant(), {**body, "candidates": [{"plan_version_id": mine}]})
    assert (stranger.status_code, pointers(stranger)) == (404, ["/candidates/0/plan_version_id"])
    story = Story(tenant)
    await bench.hear(story.started())
    asked = {
        "candidates": [{"plan": "engines"}],
        "usage_of": {"subscription_id": story.subscription_id, "period_index": 0},
    }
    early = await simulate(billing, tenant, asked)
    assert (early.status_code, early.json()["code"], pointers(early)) == (
        409,
        "usage_not_closed",
        ["/usage_of"],
    )
    foreign = await simulate(billing, new_tenant(), {**asked, "candidates": [draft()]})
    assert (foreign.status_code, pointers(foreign)) == (404, ["/usage_of/subscription_id"])


async def test_a_plan_that_was_published_a_moment_ago_is_waited_for(
    billing: ServiceUnderTest, bench: Workbench, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "AWAIT_S", 10.0)
    body = {"candidates": [{"plan": "engines"}], "period": JANUARY}

    async def publish_late() -> None:
        await asyncio.sleep(0.2)
        await publish(bench, tenant)

    answer, _ = await asyncio.gather(simulate(billing, tenant, body), publish_late())
    assert answer.status_code == 200, answer.text


async def test_it_changes_nothing_and_needs_no_more_than_reading(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    await publish(bench, tenant)
    body = {"candidates": [{"plan": "engines"}], "period": JANUARY}
    before = await bench.rows("SELECT count(*) AS n FROM change_log")
    first, again = [await simulate(billing, tenant, body) for _ in "12"]
    assert first.content == again.content
    assert await bench.rows("SELECT count(*) AS n FROM change_log") == before
    assert await bench.told(tenant) == []
    async with billing.client(tenant, "billing:write") as client:
        assert (await client.post(PATH, json=body)).status_code == 403
    async with billing.client(tenant, *READ, customer="cus_1") as portal:
        assert (await portal.post(PATH, json=body)).json()["code"] == "portal_forbidden"


async def test_a_large_simulation_holds_nobody_up(billing: ServiceUnderTest, tenant: str) -> None:
    """It is worked out beside the loop, which goes on answering meanwhile."""
    prices = [
        {"code": f"p{number}", "kind": "recurring", "model": "per_unit", "unit_amount": "1.005"}
        for number in range(100)
    ]
    plan = {"currency": "EUR", "interval": {"unit": "month"}, "prices": prices}
    body = {"candidates": [{"draft": plan}], "period": JANUARY, "periods": 36}
    answers = 0
    async with billing.client(tenant, *READ) as client:
        asked = asyncio.create_task(client.post(PATH, json=body))
        while not asked.done():
            assert (await client.get("/v1/sellers")).status_code == 200
            answers += 1
    assert asked.result().status_code == 200
    assert len(asked.result().json()["candidates"][0]["periods"]) == 36
    assert answers > 5


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_requests_that_the_document_shows_are_good(number: int) -> None:
    shown = NewPriceSimulationBody.model_config["json_schema_extra"]["examples"][number]  # type: ignore[index]
    NewPriceSimulationBody.model_validate_json(json.dumps(shown)).to_command()


async def test_the_answer_that_the_document_shows_is_the_one_to_its_first_request(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    light = MINUTES.model_copy(
        update={
            "code": "light",
            "description": "Light delivered",
            "model": "per_unit",
            "tiers": (),
            "unit_amount": Decimal("0.0042"),
            "currency": "EUR",
            "meter": "klmh",
            "product_id": ANSWERED["candidates"][0]["periods"][0]["charges"][0]["product_id"],
        }
    )
    named = ANSWERED["candidates"][0]["plan"]
    await publish(
        bench,
        tenant,
        light,
        number=2,
        currency="EUR",
        code="light",
        name="Light as a service",
        plan_id=named["plan_id"],
    )
    told = await answered(billing, tenant, ASKED)
    told["candidates"][0]["plan"]["plan_version_id"] = named["plan_version_id"]
    assert told == ANSWERED
