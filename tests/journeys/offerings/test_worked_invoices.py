"""Worked contracts, lived on a test clock by the public API alone: lines, tax and totals to the cent, and the ledger."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.cases.driver import Driver
from tests.cases.server import Perennial, Refused, SharedServer
from tests.support.recompute import recompute

Thing = dict[str, Any]

SELLER = {"code": "worked", "name": "Lichten B.V.", "country": "NL", "tax_number": "NL004495445B01"}
GERMAN = {"country": "DE", "vat_id": "DE136695976", "legal_name": "Flughafen GmbH"}


@dataclass(frozen=True, slots=True)
class Office:
    """Who sells, and by which requests he says how customers are billed."""

    perennial: Perennial
    client: httpx.Client
    seller_id: str

    def put(self, method: str, path: str, body: Mapping[str, Any]) -> Thing:
        headers = {"if-match": "*", "idempotency-key": uuid4().hex}
        answer = self.client.request(method, path, json=body, headers=headers)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        told: Thing = answer.json()
        return told


@pytest.fixture(scope="module")
def office(shared_server: SharedServer) -> Iterator[Office]:
    perennial = shared_server.perennial()
    seller = perennial.post("/v1/sellers", {**SELLER, "number_prefix": "W-"})
    with shared_server.process().client() as client:
        yield Office(perennial, client, seller["id"])


class Contract(Driver):
    """One customer's, billed by a seller who is registered for tax."""

    office: Office

    @classmethod
    def begun(
        cls, office: Office, code: str, now: str, *, currency: str = "EUR", profile: Thing | None = None
    ) -> Contract:
        contract = cls(office.perennial, f"{code}-{uuid4().hex[:6]}", currency, "UTC")
        contract.office = office
        contract.begin(at(now))
        says = {"seller_id": office.seller_id, **(profile or {})}
        office.put("PUT", f"/v1/billing-profiles/{contract.customer_id}", says)
        return contract

    def until(self, instant: str) -> None:
        self.move_to(at(instant))

    def offer(self, prices: list[Thing], **more: Any) -> str:
        """A monthly plan of its own, with a product for each price."""
        plan = {
            "code": self.code,
            "name": self.code,
            "currency": self.currency,
            "interval": {"unit": "month"},
        }
        products = [{"code": f"{self.code}-{price['code']}", "kind": "service"} for price in prices]
        priced = [{**price, "product": f"{self.code}-{price['code']}"} for price in prices]
        meters, plans = more.pop("meters", []), more.pop("plans", [])
        self.publish(
            {
                "meters": meters,
                "products": [{**product, "name": product["code"]} for product in products],
                "plans": [{**plan, "prices": priced, "publish": True, **more}, *plans],
            }
        )
        return self.code

    def invoices(self) -> list[Thing]:
        """In the order of their numbers, with their lines."""
        found = self.perennial.pages("/v1/invoices", customer_id=self.customer_id)
        found.sort(key=lambda invoice: (invoice["boundary_at"], invoice["created_at"]))
        return [self.perennial.get(f"/v1/invoices/{invoice['id']}") for invoice in found]

    def last(self) -> Thing:
        return self.invoices()[-1]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def comes_to(invoice: Thing) -> tuple[str, str, str]:
    """Net, tax and total."""
    return invoice["net"]["amount"], invoice["tax"]["amount"], invoice["total"]["amount"]


def nets(invoice: Thing) -> list[str]:
    return sorted((line["net"]["amount"] for line in invoice["lines"]), key=Decimal)


def posted(office: Office, invoice: Thing) -> dict[str, Decimal]:
    """By account: what was posted when the invoice was issued. Debits are positive."""
    books: dict[str, Decimal] = {}
    for entry in office.perennial.pages("/v1/ledger-entries", invoice_id=invoice["id"]):
        if entry["posting"] == f"invoice:{invoice['id']}:final":
            amount = Decimal(entry["amount"]["amount"])
            books[entry["account"]] = books.get(entry["account"], Decimal(0)) + amount
    return books


def set_off(office: Office, deposit_id: str, invoice_id: str) -> Thing:
    """Once nobody is asked any more for the money of the document: the customer has nothing to be collected from."""
    give_up_at = time.monotonic() + 30.0
    while True:
        try:
            return office.perennial.post(f"/v1/deposits/{deposit_id}/set-offs", {"invoice_id": invoice_id})
        except Refused as refused:
            if "payment_under_way" not in str(refused) or time.monotonic() > give_up_at:
                raise
            time.sleep(0.1)


def test_light_as_a_service(office: Office) -> None:
    """A month of light below the minimum, and 5 % of the fee back for the lamps that were out."""
    it = Contract.begun(office, "light", "2026-03-01T00:00:00", profile={"draft_grace_hours": 48})
    meter = f"{it.code}-light"
    plan = it.offer(
        [
            {"code": "luminaires", "kind": "recurring", "model": "per_unit", "unit_amount": "3.28"},
            {
                "code": "light",
                "kind": "usage",
                "model": "per_unit",
                "unit_amount": "0.004305",
                "meter": meter,
            },
        ],
        meters=[{"code": meter, "counter": {"register_digits": 6}, "unit": "klm·h"}],
        commitments=[
            {
                "code": "minimum",
                "description": "Minimum commitment",
                "price_codes": ["light"],
                "minimum_quantity": "100000",
            }
        ],
    )
    subscription = it.subscribe(plan, date(2026, 3, 1), quantities={"luminaires": "400"})
    it.bind(subscription, meter, at("2026-03-01T00:00:00"))
    it.read(meter, at("2026-03-01T00:00:00"), "981250", device="A")
    exchange = {"kind": "exchange", "old_end": "27750", "new_start": "12", "device": "B"}
    it.read(meter, at("2026-03-14T08:00:00"), "12", **exchange)
    it.read(meter, at("2026-04-01T00:00:00"), "38512", device="B")
    it.until("2026-04-01T06:00:00")
    draft = it.last()
    credit = {
        "description": "SLA credit, availability 98.6 %",
        "quantity": "-1",
        "unit_amount": "65.60",
        "purpose": "sla_credit",
        "service_period": {"start": "2026-03-01", "end": "2026-04-01"},
    }
    office.perennial.post(f"/v1/invoices/{draft['id']}/manual-lines", credit)
    invoice = office.perennial.post(f"/v1/invoices/{draft['id']}/finalizations", {})
    assert nets(invoice) == ["-65.60", "64.58", "365.93", "1312.00"]
    assert comes_to(invoice) == ("1676.91", "352.15", "2029.06")
    assert posted(office, invoice) == {
        "accounts_receivable": Decimal("2029.06"),
        "sla_reduction": Decimal("65.60"),
        "contract_liability": Decimal("-1312.00"),
        "revenue": Decimal("-430.51"),
        "tax_payable": Decimal("-352.15"),
    }


def test_furniture_subscription(office: Office) -> None:
    """A first part of a month with delivery; two chairs swapped; a chair beyond wear is set off against the deposit."""
    it = Contract.begun(office, "furniture", "2026-01-15T09:00:00")
    swap = {
        "code": f"{it.code}-swap",
        "name": "Swap",
        "kind": "add_on",
        "for_plans": [it.code],
        "currency": "EUR",
        "interval": {"unit": "month"},
        "publish": True,
        "prices": [
            {
                "code": "swap",
                "kind": "one_time",
                "model": "flat",
                "unit_amount": "25",
                "product": f"{it.code}-delivery",
            }
        ],
    }
    plan = it.offer(
        [
            {"code": "desks", "kind": "recurring", "model": "per_unit", "unit_amount": "9"},
            {"code": "chairs", "kind": "recurring", "model": "per_unit", "unit_amount": "4.5"},
            {"code": "ergo", "kind": "recurring", "model": "per_unit", "unit_amount": "7.5"},
            {"code": "delivery", "kind": "one_time", "model": "flat", "unit_amount": "120"},
        ],
        plans=[swap],
    )
    subscription = it.subscribe(
        plan,
        date(2026, 1, 15),
        quantities={"desks": "10", "chairs": "10", "ergo": "0"},
        anchor_on="2026-01-01",
    )
    it.until("2026-01-15T10:00:00")
    first = it.last()
    assert nets(first) == ["24.68", "49.35", "120.00"]
    assert comes_to(first) == ("194.03", "40.75", "234.78")
    it.until("2026-03-10T09:00:00")
    it.change(
        subscription, when="now", quantities={"chairs": "8", "ergo": "2"}, add=[{"plan": f"{it.code}-swap"}]
    )
    it.until("2026-04-01T01:00:00")
    assert nets(it.last()) == ["-6.39", "10.65", "15.00", "25.00", "36.00", "90.00"]
    assert comes_to(it.last()) == ("170.26", "35.75", "206.01")


def test_furniture_left_early_with_a_deposit(office: Office) -> None:
    """75 % of what remains is taxed; compensation and deposit are not, and what is left of it goes back."""
    it = Contract.begun(office, "furniture", "2026-07-15T09:00:00")
    plan = it.offer([{"code": "rent", "kind": "recurring", "model": "flat", "unit_amount": "141"}])
    early = {"kind": "percentage", "percent": "75"}
    subscription = it.subscribe(
        plan,
        date(2026, 1, 15),
        anchor_on="2026-01-01",
        term={"length": {"unit": "month", "count": 12}, "early_termination": early},
        billed_until="2026-08-01",
    )
    money = {"amount": "500.00", "currency": "EUR"}
    deposit = office.perennial.post(
        "/v1/deposits", {"customer_id": it.customer_id, "amount": money, "description": "Deposit"}
    )
    path = f"/v1/subscriptions/{subscription}"
    quote = office.perennial.post(f"{path}/termination-quotes", {"on": "2026-08-01"})
    office.perennial.post(f"{path}/cancellation", {"quote_id": quote["id"]})
    it.until("2026-08-01T01:00:00")
    fee = next(invoice for invoice in it.invoices() if invoice["document_kind"] == "invoice")
    assert comes_to(fee) == ("576.51", "121.07", "697.58")
    asked_for = next(invoice for invoice in it.invoices() if invoice["document_kind"] == "deposit")
    assert (*comes_to(asked_for), asked_for["status"]) == ("500.00", "0.00", "500.00", "paid")
    (method,) = office.perennial.pages("/v1/payment-methods", customer_id=it.customer_id)
    office.client.delete(f"/v1/payment-methods/{method['id']}", headers={"if-match": "*"})
    wear = {"amount": "60.00", "currency": "EUR"}
    note = office.perennial.post(
        "/v1/compensation-notes",
        {"customer_id": it.customer_id, "amount": wear, "description": "One chair beyond wear"},
    )
    assert (*comes_to(note), [tax["category"] for tax in note["taxes"]]) == ("60.00", "0.00", "60.00", ["O"])
    left = set_off(office, deposit["id"], note["id"])
    assert left["remaining"]["amount"] == "440.00"


@pytest.mark.long  # its tax has a short form among the unit tests, and its estimates one among those of readings
def test_pay_per_wash(office: Office) -> None:
    """Prices include the tax. May is estimated by the mean of three months; in June the counter tells: 3 too many."""
    it = Contract.begun(office, "wash", "2026-02-01T00:00:00")
    meter = f"{it.code}-washes"
    taxed = {"timing": "arrears", "tax_behavior": "inclusive"}
    plan = it.offer(
        [
            {"code": "machine", "kind": "recurring", "model": "flat", "unit_amount": "19.95", **taxed},
            {
                "code": "washes",
                "kind": "usage",
                "model": "per_unit",
                "unit_amount": "0.95",
                "included_quantity": "12",
                "meter": meter,
                **taxed,
            },
        ],
        meters=[{"code": meter, "counter": {"estimate": {"periods": 3, "in_a_row": 2}}, "unit": "wash"}],
    )
    subscription = it.subscribe(plan, date(2026, 2, 1))
    it.bind(subscription, meter, at("2026-02-01T00:00:00"))
    for month, shown in enumerate(("1156", "1172", "1186", "1204"), start=2):
        it.read(meter, at(f"2026-{month:02}-01T00:00:00"), shown)
    it.until("2026-06-02T00:00:00")
    assert comes_to(it.last()) == ("19.63", "4.12", "23.75")
    it.read(meter, at("2026-07-01T00:00:00"), "1229")
    it.until("2026-07-02T00:00:00")
    assert nets(it.last()) == ["-2.36", "16.49"]
    assert comes_to(it.last()) == ("14.13", "2.97", "17.10")


def test_phone_upgrade_programme(office: Office) -> None:
    """Ten instalments were paid; the eleventh's due date brings a new phone, the two that are missing, and a grade."""
    it = Contract.begun(office, "phone", "2026-10-02T00:00:00")

    def add_on(code: str, amount: str) -> Thing:
        price = {"code": code, "kind": "one_time", "model": "per_unit", "unit_amount": amount}
        return {
            "code": f"{it.code}-{code}",
            "name": code,
            "kind": "add_on",
            "for_plans": [it.code, f"{it.code}-new"],
            "currency": "EUR",
            "interval": {"unit": "month"},
            "publish": True,
            "prices": [{**price, "product": f"{it.code}-care"}],
        }

    phases = [
        {"code": "first", "name": "First", "periods": 4},
        {"code": "rest", "name": "Rest", "periods": 20},
        {"code": "paid", "name": "Paid"},
    ]
    care = {"code": "care", "kind": "recurring", "model": "flat", "unit_amount": "8"}
    parts = [
        {"code": phase, "kind": "recurring", "model": "flat", "unit_amount": amount, "phase": phase}
        for phase, amount in (("first", "45.80"), ("rest", "45.79"))
    ]
    new = {
        "code": f"{it.code}-new",
        "name": "New phone",
        "currency": "EUR",
        "interval": {"unit": "month"},
        "publish": True,
        "phases": phases,
        "prices": [{**price, "product": f"{it.code}-care"} for price in [*parts, care]],
    }
    instalment = {"code": "instalment", "kind": "recurring", "model": "flat", "unit_amount": "41.63"}
    plan = it.offer([instalment, care], plans=[new, add_on("top-up", "41.63"), add_on("grade-c", "29")])
    subscription = it.subscribe(plan, date(2026, 1, 1), billed_until="2026-11-01")
    top_up = {"plan": f"{it.code}-top-up", "quantities": {"top-up": "2"}}
    it.change(subscription, when="period_end", plan=new["code"], add=[top_up, {"plan": f"{it.code}-grade-c"}])
    it.until("2026-11-01T01:00:00")
    assert nets(it.last()) == ["8.00", "29.00", "45.80", "83.26"]
    assert comes_to(it.last()) == ("166.06", "34.87", "200.93")


@pytest.mark.long  # twenty months pass; what they come to has a short form among the tests of billing's use cases
def test_car_subscription(office: Office) -> None:
    """Leaves after 20 of 36 months, with 33,200 km: 18,000 a year are earned by the month, whenever they are driven."""
    it = Contract.begun(office, "car", "2024-01-01T00:00:00")
    meter = f"{it.code}-km"
    plan = it.offer(
        [
            {"code": "car", "kind": "recurring", "model": "flat", "unit_amount": "549"},
            {
                "code": "km",
                "kind": "usage",
                "model": "per_unit",
                "unit_amount": "0.10",
                "meter": meter,
                "included_quantity": "18000",
                "allowance_interval": {"unit": "year"},
                "allowance_pool": "subscription",
            },
        ],
        meters=[
            {"code": meter, "event_type": "car.driven", "aggregation": "sum", "value": "/km", "unit": "km"}
        ],
    )
    early = {"kind": "percentage", "percent": "40"}
    term = {"length": {"unit": "month", "count": 36}, "early_termination": early}
    subscription = it.subscribe(plan, date(2024, 1, 1), term=term)
    it.bind(subscription, meter, at("2024-01-01T00:00:00"))
    for day, kilometres in (("2024-01-15", "20000"), ("2025-02-15", "13200")):
        it.use_of(meter, "car.driven", {"km": kilometres}, at(f"{day}T12:00:00"))
    it.until("2025-08-20T00:00:00")
    path = f"/v1/subscriptions/{subscription}"
    quote = office.perennial.post(f"{path}/termination-quotes", {"on": "2025-09-01"})
    office.perennial.post(f"{path}/cancellation", {"quote_id": quote["id"]})
    it.until("2025-09-03T00:00:00")
    last = it.last()
    assert nets(last) == ["320.00", "3513.60"]
    assert comes_to(last) == ("3833.60", "805.06", "4638.66")
    (excess,) = (line for line in last["lines"] if line["net"]["amount"] == "320.00")
    assert excess["service_period"] == {"start": "2024-01-01", "end": "2025-09-01"}
    told = office.perennial.get(f"/v1/invoices/{last['id']}/lines/{excess['id']}/explanation")
    assert "used of the pool since 2024-01-01" in told["derivation"]["paragraph"]
    assert recompute(json.dumps(told["derivation"])) == [32000]
    assert office.perennial.get(f"/v1/invoices/{last['id']}/verification")["agrees"]
    waived = {"amount": "240.00", "currency": "EUR"}  # damage of 1,240.00, of which 1,000.00 is waived
    note = office.perennial.post(
        "/v1/compensation-notes",
        {"customer_id": it.customer_id, "amount": waived, "description": "Damage beyond the waiver"},
    )
    assert (*comes_to(note), [tax["category"] for tax in note["taxes"]]) == (
        "240.00",
        "0.00",
        "240.00",
        ["O"],
    )


def test_software_seats(office: Office) -> None:
    """Sold to a business in another member state, which owes the tax itself."""
    it = Contract.begun(office, "seats", "2026-04-01T00:00:00", currency="USD")
    office.put("PATCH", f"/v1/customers/{it.customer_id}", GERMAN)
    tiers = [{"up_to": "50", "unit_amount": "30"}, {"unit_amount": "26"}]
    plan = it.offer([{"code": "seats", "kind": "recurring", "model": "graduated", "tiers": tiers}])
    subscription = it.subscribe(plan, date(2026, 4, 1), quantities={"seats": "50"})
    it.until("2026-04-10T09:00:00")
    it.change(subscription, when="now", quantities={"seats": "64"})
    it.until("2026-05-01T01:00:00")
    invoice = it.last()
    assert nets(invoice) == ["254.80", "364.00", "1500.00"]
    assert comes_to(invoice) == ("2118.80", "0.00", "2118.80")
    (tax,) = invoice["taxes"]
    assert (tax["category"], tax["reason_code"], tax["reason"]) == ("AE", "VATEX-EU-AE", "Reverse charge")
    assert invoice["customer"]["vat_id"] == GERMAN["vat_id"]
    assert posted(office, invoice)["accounts_receivable"] == Decimal("2118.80")
    assert "tax_payable" not in posted(office, invoice)
