"""A short year of one tenant, told through the public API: every kind of thing is made, every write is done.

Each request goes out under a token of its own, so that afterwards everything can be traced back to one request.
"""

from __future__ import annotations

import asyncio
import json as json_module
import re
from base64 import b64encode
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from libs.common.contracts import group_of
from libs.common.contracts.topics import USAGE_TOPIC
from libs.common.ids import new_id
from libs.common.messaging.bus import Delivery, Record
from libs.common.messaging.failures import Failures
from tests.support.all_services import AllServices
from tests.support.stripe_stand_in import SECRET_KEY, WEBHOOK_SECRET, signature

ID = re.compile(r"\b([a-z]{2,5})_[0-9a-hjkmnp-tv-z]{26}\b")

BEGINNING = "2024-01-01T00:00:00Z"
GTINS = {"alpha": "96385074", "beta": "4006381333931", "gamma": "73513537"}
AFTER_ONE_PERIOD = "2024-02-01T12:00:00Z"
ARRIVES_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of the story that succeeded, and its answer."""

    method: str
    path: str
    values: Mapping[str, str]
    query: Mapping[str, str]
    json: Any
    media_type: str
    answer: Any
    status: int
    token_id: str

    @property
    def route(self) -> tuple[str, str]:
        return self.method, self.path


@dataclass(slots=True)
class Story:
    """What happened to one tenant. Every name that it chose begins with `name`."""

    everything: AllServices
    tenant: str
    name: str
    asked: list[Asked] = field(default_factory=list)
    refused: list[Asked] = field(default_factory=list)
    ids: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    names: dict[str, str] = field(default_factory=dict)
    customers: dict[str, str] = field(default_factory=dict)
    subscriptions: dict[str, str] = field(default_factory=dict)

    @property
    def all_ids(self) -> set[str]:
        return {id for ids in self.ids.values() for id in ids}

    def first(self, kind: str) -> str:
        """An id or a name of this kind."""
        return self.names[kind] if kind in self.names else self.ids[kind][0]

    async def ask(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        query: Mapping[str, str] | None = None,
        media_type: str = "application/json",
        operator: bool = False,
        **values: str,
    ) -> Any:
        """Something that must succeed."""
        token_id = new_id("tok")
        query = query or {}
        headers = {"if-match": "*"} if method in ("PATCH", "PUT", "DELETE") else {}
        if method != "GET":
            headers["idempotency-key"] = new_id("key")
        content = _written(json)
        if content is not None:
            headers["content-type"] = media_type
        tenant = None if operator else self.tenant
        async with self.everything.client(tenant, token_id=token_id) as client:
            address = path.format(**values)
            answered = await client.request(method, address, params=query, content=content, headers=headers)
        assert answered.is_success, f"{method} {address}: {answered.status_code} {answered.text}"
        for found in ID.finditer(answered.text):
            if found.group() not in self.ids[found.group(1)]:
                self.ids[found.group(1)].append(found.group())
        answer = answered.json() if answered.content else None
        self.asked.append(
            Asked(method, path, values, query, json, media_type, answer, answered.status_code, token_id)
        )
        return answer

    async def refuse(self, method: str, path: str, *, json: Any = None, **values: str) -> None:
        """Something that is refused whatever is asked: it changes nothing."""
        token_id = new_id("tok")
        headers = {"if-match": "*", "idempotency-key": new_id("key")}
        async with self.everything.client(self.tenant, token_id=token_id) as client:
            answered = await client.request(method, path.format(**values), json=json, headers=headers)
        assert answered.status_code == 409, f"{method} {path}: {answered.status_code} {answered.text}"
        asked = Asked(method, path, values, {}, json, "application/json", None, 409, token_id)
        self.refused.append(asked)

    async def look(self, path: str, **values: str) -> None:
        """Something that is shown, whatever its media type; its path names what belongs to the story."""
        async with self.everything.client(self.tenant) as client:
            answered = await client.get(path.format(**values))
        assert answered.is_success, f"GET {path}: {answered.status_code} {answered.text}"
        for found in ID.finditer(answered.text):
            if found.group() not in self.ids[found.group(1)]:
                self.ids[found.group(1)].append(found.group())

    async def list(self, path: str, **query: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.ask("GET", path, query={"limit": "200", **query}))["data"]
        return found


async def tell(everything: AllServices, name: str) -> Story:
    """From the seller to the paid invoice, with everything on the way."""
    tenant = await everything.make_tenant(f"{name} tenant")
    story = Story(everything, tenant, name)
    await _offer(story)
    await _agree(story)
    await _give_away(story)
    await _use(story)
    await _put_right(story)
    await _read(story)
    await _watch(story)
    await _bill(story)
    await _come_late(story)
    await _owe(story)
    await _preview(story)
    await _simulate(story)
    await _bind_for_longer(story)
    await _change_agreements(story)
    await _move_customers(story)
    await _change_minds(story)
    await _ask_about_tax(story)
    await _write_by_hand(story)
    await _write_mails(story)
    await _take_back(story)
    await _prepay(story)
    await _bill_in_runs(story)
    await _look_around(story)
    return story


async def _bill_in_runs(story: Story) -> None:
    """What waits for runs: one finishes, one is approved, one is rejected; and usage is billed from a threshold on."""
    for subscription_id in story.subscriptions.values():
        path = "/v1/spend-thresholds/{subscription_id}"
        body = {"amount": {"amount": "100000.00", "currency": "USD"}}
        await story.ask("PUT", path, subscription_id=subscription_id, json=body)
        await story.ask("GET", path, subscription_id=subscription_id)
        await story.ask("GET", "/v1/usage-so-far", query={"subscription_id": subscription_id})
    limits = {"requires_run": True, "run_limit_multiple": "0.0001", "gathering_hours": 1}
    await story.ask("PUT", "/v1/billing-run-settings", json=limits)
    for decision in (None, "approvals", "rejections"):
        agreed = {
            "customer_id": story.customers["one"],
            "plan": f"{story.name}-plan",
            "quantities": {"engines": "1"},
            "starts_on": "2024-02-01",
            "zone": "UTC",
            "test_clock_id": story.first("clk"),
        }
        made = await story.ask("POST", "/v1/subscriptions", json=agreed)
        async with asyncio.timeout(ARRIVES_WITHIN_S):
            while not (await _look(story, f"/v1/invoices?subscription_id={made['id']}"))["data"]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await story.ask("POST", "/v1/billing-runs", json={"until": "2024-03-01T00:00:00Z", "dry_run": True})
        run = await story.ask("POST", "/v1/billing-runs", json={"until": "2024-03-01T00:00:00Z"})
        ids = {"billing_run_id": run["id"]}
        async with asyncio.timeout(ARRIVES_WITHIN_S):
            path = f"/v1/billing-runs/{run['id']}"
            while (await _look(story, path))["state"] in ("counting", "running"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        if decision is not None:
            body = {"reason": f"{story.name} knows why"}
            await story.ask("POST", f"/v1/billing-runs/{{billing_run_id}}/{decision}", json=body, **ids)
        await story.ask("GET", "/v1/billing-runs/{billing_run_id}/documents", **ids)
    await story.ask("PUT", "/v1/billing-run-settings", json={"requires_run": False})


async def _ask_about_tax(story: Story) -> None:
    """What somebody would be charged who is a customer."""
    supply = {"amount": {"amount": "12.10", "currency": "EUR"}, "tax_category": f"{story.name}-reduced"}
    parties = {"seller_id": story.first("sel"), "customer_id": story.first("cus")}
    body = {"invoiced_on": "2026-06-01", "supplies": [supply], **parties}
    await story.ask("POST", "/v1/tax-assessments", json=body)


async def _write_by_hand(story: Story) -> None:
    """Sellers that take turns; how each customer is billed; for each a one-off invoice, edited and then issued."""
    name, ask, main = story.name, story.ask, story.first("sel")
    other = await ask(
        "POST", "/v1/sellers", json={"code": f"{name}-bv", "name": f"{name} bv", "country": "NL"}
    )
    footer = {"footer": f"{name} thanks", "address": f"{name} street 2"}
    await ask("PATCH", "/v1/sellers/{seller_id}", seller_id=other["id"], json=footer)
    for seller_id in (other["id"], main):
        await ask("POST", "/v1/sellers/{seller_id}/default", seller_id=seller_id)
        logo = f'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><title>{name}</title></svg>'
        drawn = {"content": b64encode(logo.encode()).decode()}
        await ask("PUT", "/v1/sellers/{seller_id}/logo", seller_id=seller_id, json=drawn)
    await ask("DELETE", "/v1/sellers/{seller_id}/logo", seller_id=main)
    await ask("PUT", "/v1/sellers/{seller_id}/logo", seller_id=main, json=drawn)
    for who, customer_id in story.customers.items():
        profile = {"notes": f"{name} says hello", "buyer_reference": f"{name}-desk", "seller_id": main}
        path = "/v1/billing-profiles/{customer_id}"
        await ask("PUT", path, customer_id=customer_id, json=profile)
        await ask("GET", path, customer_id=customer_id)
        line = {"description": f"{name} delivers", "unit_amount": "12.50", "product_id": story.first("prd")}
        body = {
            "customer_id": customer_id,
            "currency": "USD",
            "external_id": f"{name}-{who}",
            "lines": [line],
        }
        draft = await ask("POST", "/v1/invoices", json={**body, "purchase_order": f"{name}-po"})
        path = "/v1/invoices/{invoice_id}/manual-lines"
        kept, taken = [
            await ask("POST", path, invoice_id=draft["id"], json={**line, "description": f"{name} {which}"})
            for which in ("helps", "errs")
        ]
        of, one = draft["id"], path + "/{manual_line_id}"
        await ask("PATCH", one, json={"quantity": "2"}, invoice_id=of, manual_line_id=kept["id"])
        await ask("DELETE", one, invoice_id=of, manual_line_id=taken["id"])
        await ask("GET", path, query={"limit": "10"}, invoice_id=draft["id"])
        await ask(
            "PATCH", "/v1/invoices/{invoice_id}", invoice_id=draft["id"], json={"notes": f"{name} notes"}
        )
        await ask("POST", "/v1/invoices/{invoice_id}/finalizations", invoice_id=draft["id"])
    assert await story.list("/v1/billing-profiles")


async def _until_sent(story: Story, mail_id: str) -> None:
    async with asyncio.timeout(ARRIVES_WITHIN_S):
        while (await story.ask("GET", "/v1/mails/{mail_id}", mail_id=mail_id))["state"] != "sent":  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def _write_mails(story: Story) -> None:
    """An invoice is sent by mail, to its customer and to an accountant; a provider says that it came back."""
    name, ask = story.name, story.ask
    details = {"mail_from": f"billing@{name}.example", "mails": ["invoice"]}
    await ask("PATCH", "/v1/sellers/{seller_id}", seller_id=story.first("sel"), json={"details": details})
    for who, customer_id in story.customers.items():
        invoice = await _one_off(story, customer_id, "PLN")
        body = {"to": f"{who}@{name}.example"}
        path = "/v1/invoices/{invoice_id}/mails"
        (mail,) = (await ask("POST", path, invoice_id=invoice["id"], json=body))["data"]
        at = {"mail_id": mail["id"]}
        await _until_sent(story, **at)
        again = await ask("POST", "/v1/mails/{mail_id}/again", **at)
        await _until_sent(story, mail_id=again["id"])
        path = "/v1/customer-statements/{customer_id}/mails"
        (mail,) = (await ask("POST", path, customer_id=customer_id, json=body))["data"]
        await _until_sent(story, mail["id"])
        await ask("POST", "/v1/mail-bounces", json={**at, "reason": f"{name} moved"})
        notice = (
            "Content-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\n"
            f"Reporting-MTA: dns; mx\n\nAction: failed\nStatus: 5.1.1\n\n--b--\n<{again['id']}@{name}.example>\n"
        )
        await ask("POST", "/v1/mail-notices", json=notice, media_type="message/rfc822")
    words = {"kind": "invoice", "locale": "en"}
    path = "/v1/mail-templates/{kind}/{locale}"
    await ask("PUT", path, json={"intro": f"{name} greets {{{{customer}}}}."}, **words)
    await ask("GET", path, **words)
    other = {**words, "locale": "nl"}
    await ask("PUT", path, json={"subject": f"{name} {{{{number}}}}"}, **other)
    await ask("DELETE", path, **other)
    assert await story.list("/v1/mail-templates")


async def _take_back(story: Story) -> None:
    """Of each customer an invoice is credited, another voided and issued again; deposits come, are kept, and go.

    What depends on nobody paying meanwhile is done with the customer who cannot pay.
    """
    name, ask = story.name, story.ask
    for who, customer_id in story.customers.items():
        ids = {"customer_id": customer_id, "zone": "Europe/Oslo"}
        credited = await _one_off(story, customer_id, "CHF")
        part = {"line_id": credited["lines"][0]["id"], "amount": {"amount": "2.50", "currency": "CHF"}}
        wanted = {"invoice_id": credited["id"], "reason": f"{name} was late", "lines": [part]}
        await ask("POST", "/v1/credit-note-previews", json=wanted)
        note = await ask("POST", "/v1/credit-notes", json=wanted)
        await ask("GET", "/v1/credit-notes/{credit_note_id}", credit_note_id=note["id"])
        plenty = {"amount": "100.00", "currency": "SEK"}
        goodwill = {"customer_id": customer_id, "amount": plenty, "reason": f"{name} likes you"}
        await ask("POST", "/v1/customer-balances/adjustments", json=goodwill)
        covered = await _one_off(story, customer_id, "SEK")
        reason = {"reason": f"{name} erred"}
        await ask("POST", "/v1/invoices/{invoice_id}/voids", invoice_id=covered["id"], json=reason)
        again = {"finalize": True}
        await ask("POST", "/v1/invoices/{invoice_id}/reissues", invoice_id=covered["id"], json=again)
        amount = {"amount": "300.00", "currency": "NOK"}
        held = {**ids, "amount": amount, "kind": "held", "expires_at": "2030-01-01T00:00:00Z"}
        held |= {
            "description": f"{name} deposit",
            "subscription_id": story.subscriptions[who],
            "set_off": "any",
        }
        deposit = await ask("POST", "/v1/deposits", json=held)
        at = {"deposit_id": deposit["id"]}
        await ask("POST", "/v1/deposits/{deposit_id}/captures", json={"amount": amount}, **at)
        damage = {**ids, "amount": {**amount, "amount": "60.00"}, "description": f"{name} scratched it"}
        damage |= {"asset": f"{name}-{who}-asset", "subscription_id": story.subscriptions[who]}
        compensation = await ask("POST", "/v1/compensation-notes", json=damage)
        if who == "two":
            await _wait_until_failed(story, compensation["id"])
            kept = {"invoice_id": compensation["id"]}
            await ask("POST", "/v1/deposits/{deposit_id}/set-offs", json=kept, **at)
            hopeless = await _one_off(story, customer_id, "NOK")
            await _wait_until_failed(story, hopeless["id"])
            await _dun(story, customer_id, hopeless["id"])
            path = "/v1/invoices/{invoice_id}/write-offs"
            await ask("POST", path, invoice_id=hopeless["id"], json=reason)
        back = {"amount": {**amount, "amount": "40.00"}, **reason}
        await ask("POST", "/v1/deposits/{deposit_id}/releases", json=back, **at)
        await ask("GET", "/v1/deposits/{deposit_id}", **at)
        (refund,) = await story.list("/v1/refunds", customer_id=customer_id)
        await ask("GET", "/v1/refunds/{refund_id}", refund_id=refund["id"])
        await _give_and_take_back(story, customer_id, refund["id"])
        await _receive_by_bank(story, customer_id)


def _written(body: Any) -> bytes | None:
    """As JSON, unless it is a text already, as a table is."""
    if body is None:
        return None
    return body.encode() if isinstance(body, str) else json_module.dumps(body).encode()


async def _receive_by_bank(story: Story, customer_id: str) -> None:
    """Two transfers that nobody can match, one of which is the customer's after all; and money by hand that moves."""
    name, ask = story.name, story.ask
    header = "booked_on,amount,currency,own_account,text,name"
    lines = [f"2024-01-02,{n}.00,PLN,{name}-{customer_id},{name} pays {n},{name} payer" for n in (7, 8)]
    statement = await ask(
        "POST", "/v1/bank-statements", json="\n".join([header, *lines]) + "\n", media_type="text/csv"
    )
    at = {"statement_id": statement["id"]}
    async with asyncio.timeout(ARRIVES_WITHIN_S):
        while statement["state"] != "done":
            await asyncio.sleep(0.1)
            statement = await ask("GET", "/v1/bank-statements/{statement_id}", **at)
    query = {"bank_statement_id": statement["id"]}
    entries = (await ask("GET", "/v1/bank-statement-entries", query=query))["data"]
    path, reason = "/v1/bank-statement-entries/{entry_id}", {"reason": f"{name} says so"}
    his, nobodys = ({"entry_id": entry["id"]} for entry in entries)
    for rest_to in ("balance", "unapplied"):
        await ask("POST", path + "/match", json={"customer_id": customer_id, "rest_to": rest_to}, **his)
        await ask("POST", path + "/unmatch", json=reason, **his)
    await ask("POST", path + "/ignore", json=reason, **nobodys)
    await ask("GET", path, **his)
    amount = {"amount": "11.00", "currency": "PLN"}
    body = {"customer_id": customer_id, "amount": amount, "way": "cheque", "rest_to": "unapplied"}
    body |= {"reference": f"{name} cheque", "payer": f"{name} payer", "note": f"{name} note"}
    payment = {"payment_id": (await ask("POST", "/v1/payments", json=body))["id"]}
    path = "/v1/payments/{payment_id}"
    given = await ask("POST", path + "/allocations", json={"rest_to": "balance"}, **payment)
    made = {**payment, "allocation_id": given["allocations"][0]["id"]}
    await ask("POST", path + "/allocations/{allocation_id}/take-back", json=reason, **made)
    await ask("POST", path + "/reversals", json=reason, **payment)
    await ask("GET", path, **payment)


async def _give_and_take_back(story: Story, customer_id: str, refund_id: str) -> None:
    """A refund that a person pays, one that goes to the balance instead, and a payment that a bank takes back."""
    name, ask = story.name, story.ask
    await story.refuse("POST", "/v1/refunds/{refund_id}/retry", refund_id=refund_id)
    await ask("POST", "/v1/refunds/{refund_id}/paid", refund_id=refund_id, json={"reference": f"{name} 17"})
    of = {"customer_id": customer_id, "amount": {"amount": "30.00", "currency": "PLN"}}
    payment = await ask("POST", "/v1/payments", json={**of, "way": "cash", "payer": f"{name} payer"})
    back = {**of, "reason": f"{name} paid twice", "payment_id": payment["id"]}
    (balance,) = (await ask("POST", "/v1/refunds", json=back))["data"]
    await ask("POST", "/v1/refunds/{refund_id}/cancel", refund_id=balance["id"])
    letter = {"payment_id": payment["id"], "reason": f"{name} never came", "reference": f"{name} letter"}
    letter |= {"fee": {"amount": "15.00", "currency": "PLN"}}
    dispute = await ask("POST", "/v1/disputes", json=letter)
    at = {"dispute_id": dispute["id"]}
    await ask("POST", "/v1/disputes/{dispute_id}/accept", **at)
    returned = {"amount": "10.00", "currency": "PLN"}
    lost = {"outcome": "lost", "returned": returned}
    await ask("POST", "/v1/disputes/{dispute_id}/outcome", json=lost, **at)
    await ask("GET", "/v1/disputes/{dispute_id}", **at)


async def _prepay(story: Story) -> None:
    """Each customer has a wallet: something is given and taken back, and more is bought."""
    name, ask = story.name, story.ask
    for customer_id in story.customers.values():
        units = {
            "currency": "DKK",
            "unit": f"{name} minute",
            "unit_amount": "0.5",
            "tax_category": f"{name}-reduced",
        }
        body = {"customer_id": customer_id, "name": f"{name} credits", **units}
        at = {"wallet_id": (await ask("POST", "/v1/wallets", json=body))["id"]}
        path = "/v1/wallets/{wallet_id}"
        await ask("PATCH", path, json={"name": f"{name} prepaid", "grants_on": "issue"}, **at)
        await ask("GET", path, **at)
        scope = {"product_ids": [story.first("prd")], "meters": [f"{name}-minutes"]}
        given = {"amount": "12.5", "priority": 3, "scope": scope, "reason": f"{name} likes you"}
        grants = [await ask("POST", path + "/grants", json=given, **at) for _ in "12"]
        taken = {**at, "grant_id": grants[0]["id"]}
        await ask("POST", path + "/grants/{grant_id}/voids", json={"reason": f"{name} erred"}, **taken)
        await ask("POST", path + "/top-ups", json={"amount": "100"}, **at)
        for what in ("grants", "entries", "top-ups"):
            await ask("GET", f"{path}/{what}", **at)
    assert await story.list("/v1/wallets")


async def _one_off(story: Story, customer_id: str, currency: str) -> Any:
    line = {"description": f"{story.name} delivers", "unit_amount": "12.50"}
    body = {"customer_id": customer_id, "currency": currency, "lines": [line], "finalize": True}
    return await story.ask("POST", "/v1/invoices", json=body)


async def _wait_until_failed(story: Story, invoice_id: str) -> None:
    async with asyncio.timeout(ARRIVES_WITHIN_S):
        while True:
            (first, *_) = (await _look(story, f"/v1/invoices/{invoice_id}/payment-attempts"))["data"]
            if first["state"] == "failed":
                return
            await asyncio.sleep(0.05)


async def _offer(story: Story) -> None:
    name, ask = story.name, story.ask
    story.names.update(
        code=f"{name}-plan",
        plan=f"{name}-plan",
        product=f"{name}-engine",
        meter=f"{name}-minutes",
        subject=f"{name}-two-engine",
        asset=f"{name}-two-asset",
        device=f"{name}-two-device",
        counter=f"{name}-light",
        source=f"https://{name}.example/engines",
        event=f"{name}-two-1",
        event_type=f"{name}.flown",
        external_id=f"{name}-two",
        invoice_number=f"{name.upper()}-000001",
        coupon=f"{name}-spring",
        gtin=GTINS[name],
        email=f"{name}-two@airways.example",
        name_prefix=f"{name}-two",
        feature=f"{name}-included",
    )
    seller = {
        "code": f"{name}-inc",
        "name": f"{name} Inc.",
        "country": "US",
        "number_prefix": f"{name.upper()}-",
    }
    await ask(
        "POST", "/v1/sellers", json={**seller, "address": f"{name} street 1", "tax_number": f"{name}-1"}
    )
    rate = {"country": "NL", "tax_category": f"{name}-reduced", "percent": "9", "valid_from": "2020-01-01"}
    await ask("POST", "/v1/tax-rates", json={**rate, "source": f"{name} law"})
    engine = {
        "code": f"{name}-engine",
        "name": f"{name} engine",
        "kind": "service",
        "unit": "minute",
        "description": f"{name} turns",
        "tax_category": f"{name}-reduced",
        "gtin": GTINS[name],
        "external_id": f"{name}-two",
        "metadata": {"note": f"{name} knows"},
    }
    made = await ask("POST", "/v1/products", json=engine)
    await ask(
        "PATCH", "/v1/products/{product_id}", product_id=made["id"], json={"description": f"{name} runs"}
    )
    spare = await ask("POST", "/v1/products", json={**engine, "code": f"{name}-spare", "external_id": None})
    await ask("POST", "/v1/products/{product_id}/archival", product_id=spare["id"])
    meter = {
        "code": f"{name}-minutes",
        "event_type": f"{name}.flown",
        "aggregation": "sum",
        "value": "/minutes",
        "group_by": ["carrier"],
        "filter": {"/cancelled": ["false"]},
        "unit": "minute",
        "description": f"{name} minutes",
    }
    await ask("POST", "/v1/meters", json=meter)
    await _make_features(story)
    plan = {
        "code": f"{name}-plan",
        "name": f"{name} plan",
        "currency": "USD",
        "interval": {"unit": "month", "count": 1},
        "prices": [_fee(name, product=f"{name}-engine"), _usage(name, product_id=made["id"])],
        "external_id": f"{name}-two",
        "metadata": {"note": f"{name} knows"},
    }
    made_plan = await ask("POST", "/v1/plans", json=plan)
    draft = {
        "name": f"{name} plan for all",
        "currency": "USD",
        "interval": plan["interval"],
        "prices": plan["prices"],
        "features": [{"feature": f"{name}-included", "allowance": "10", "overage_allowed": True}],
    }
    await ask("PUT", "/v1/plans/{plan_id}/draft", plan_id=made_plan["id"], json=draft)
    await ask("POST", "/v1/plans/{plan_id}/publications", plan_id=made_plan["id"])
    await ask("GET", "/v1/plans/{plan_id}/versions/{number}", plan_id=made_plan["id"], number="1")
    old = await ask("POST", "/v1/plans", json={**plan, "code": f"{name}-old", "external_id": None})
    await ask("POST", "/v1/plans/{plan_id}/publications", plan_id=old["id"])
    await ask("POST", "/v1/plans/{plan_id}/retirement", plan_id=old["id"])
    version = {"plan_id": old["id"], "number": "1"}
    await ask("POST", "/v1/plans/{plan_id}/versions/{number}/archival", **version)
    await ask("GET", "/v1/plans/{plan_id}/versions/{number}", **version)
    for method in ("PATCH", "PUT"):
        await story.refuse(method, "/v1/plans/{plan_id}/versions/{number}", **version)
    await _offer_more(story)
    await _offer_as_a_document(story)


async def _offer_more(story: Story) -> None:
    """An add-on with all that a plan may have; it is withdrawn and sold again."""
    name, ask = story.name, story.ask
    extra = _extra(name)
    made = await ask("POST", "/v1/plans", json={"code": f"{name}-extra", **extra})
    path, id = "/v1/plans/{plan_id}", made["id"]
    notes = {"external_id": f"{name}-extra", "metadata": {"note": f"{name} adds"}}
    await ask("PATCH", path, plan_id=id, json={**extra, **notes, "name": f"{name} extra for all"})
    await ask("PUT", f"{path}/draft", plan_id=id, json={**extra, "description": f"{name} extras"})
    bounds = {"valid_from": "2020-01-01T00:00:00Z", "valid_until": "2199-01-01T00:00:00Z"}
    await ask("POST", f"{path}/publications", plan_id=id, json=bounds)
    for what in ("withdrawal", "reinstatement"):
        await ask("POST", f"{path}/versions/{{number}}/{what}", plan_id=id, number="1")


async def _offer_as_a_document(story: Story) -> None:
    """More of everything, all at once."""
    name, ask = story.name, story.ask
    made = {"name": f"{name} imported", "description": f"{name} by document"}
    price = {"code": "minutes", "kind": "usage", "model": "per_unit", "unit_amount": "2"}
    coupon = {"code": f"{name}-imported", "name": f"{name} imported", "percent": "5", "duration": "once"}
    document = {
        "perennial_catalog": 1,
        "meters": [
            {
                "code": f"{name}-minutes",
                "event_type": f"{name}.flown",
                "aggregation": "sum",
                "value": "/minutes",
                "group_by": ["carrier"],
                "filter": {"/cancelled": ["false"]},
                "unit": "minute",
                "description": f"{name} minutes",
            }
        ],
        "products": [{**made, "code": f"{name}-imported", "kind": "service"}],
        "features": [
            {**made, "code": f"{name}-imported", "kind": "metered", "meter": f"{name}-minutes"},
        ],
        "plans": [
            {
                **made,
                "code": f"{name}-imported",
                "kind": "add_on",
                "for_plans": [f"{name}-plan"],
                "currency": "USD",
                "interval": {"unit": "month"},
                "prices": [{**price, "product": f"{name}-imported", "meter": f"{name}-minutes"}],
                "features": [{"feature": f"{name}-imported", "allowance": "10"}],
                "publish": True,
            }
        ],
        "coupons": [{**coupon, "products": [f"{name}-imported"], "plans": [f"{name}-plan"]}],
    }
    await ask("POST", "/v1/catalog-imports", json=document, query={"dry_run": "false"})


def _extra(name: str) -> dict[str, Any]:
    month = {"unit": "month", "count": 1}
    usage = {"product": f"{name}-engine", "meter": f"{name}-minutes", "kind": "usage", "timing": "arrears"}
    blocks = {
        **usage,
        "code": "blocks",
        "model": "package",
        "currency": "USD",
        "description": f"{name} blocks",
        "unit": "minute",
        "unit_amount": "5",
        "package_size": "100",
        "package_rounding": "up",
        "included_quantity": "10",
        "allowance_interval": {"unit": "year", "count": 1},
        "rollover": {"cap": "5", "periods": 2},
        "minimum_amount": "1",
        "maximum_amount": "1000",
        "interval": month,
        "tax_behavior": "exclusive",
        "tax_category": f"{name}-reduced",
        "phase": "ramp",
    }
    regions = {
        **usage,
        "code": "regions",
        "model": "matrix",
        "dimensions": ["carrier", "region"],
        "cells": [{"values": [f"{name}-one", "*"], "unit_amount": "1"}],
    }
    reckoned = {**usage, "code": "reckoned", "model": "expression", "expression": "quantity * 2"}
    return {
        "name": f"{name} extra",
        "kind": "add_on",
        "description": f"{name} more",
        "for_plans": [f"{name}-plan"],
        "currency": "USD",
        "interval": month,
        "prices": [blocks, regions, reckoned, _fee(name, product=f"{name}-engine")],
        "phases": [{"code": "ramp", "name": f"{name} ramp", "periods": 3}, {"code": "then", "name": "Then"}],
        "trial": {"interval": {"unit": "day", "count": 14}, "amount": "1", "requires_payment_method": True},
        "commitments": [
            {
                "code": "least",
                "description": f"{name} at least",
                "currency": "USD",
                "price_codes": ["blocks"],
                "per": "year",
                "minimum_amount": "100",
                "maximum_amount": "100000",
            }
        ],
        "features": [
            {
                "feature": f"{name}-included",
                "allowance": "10",
                "overage_allowed": True,
                "interval": {"unit": "week", "count": 1},
            }
        ],
    }


async def _make_features(story: Story) -> None:
    name, ask = story.name, story.ask
    feature = {
        "code": f"{name}-included",
        "name": f"{name} minutes included",
        "kind": "metered",
        "meter": f"{name}-minutes",
        "unit": "minute",
        "description": f"{name} allows",
        "metadata": {"note": f"{name} knows"},
    }
    made = await ask("POST", "/v1/features", json=feature)
    path = "/v1/features/{feature_id}"
    await ask("PATCH", path, feature_id=made["id"], json={"name": f"{name} minutes allowed"})
    switch = {"code": f"{name}-switch", "name": f"{name} switch", "kind": "switch"}
    old = await ask("POST", "/v1/features", json=switch)
    await ask("POST", f"{path}/archival", feature_id=old["id"])


async def _give_away(story: Story) -> None:
    """A coupon of each kind; the two customers redeem one, and one of them gives it back. Both have own terms."""
    name, ask = story.name, story.ask
    coupon = {
        "code": f"{name}-spring",
        "name": f"{name} spring",
        "percent": "12.5",
        "amount": None,
        "duration": "periods",
        "periods": 3,
        "products": [f"{name}-engine", story.first("prd")],
        "plans": [f"{name}-plan"],
        "stacking_order": 10,
        "redemptions_max": 1000,
        "redemptions_per_customer_max": 100,
        "valid_from": "2020-01-01T00:00:00Z",
        "valid_until": "2100-01-01T00:00:00Z",
        "metadata": {"note": f"{name} knows"},
    }
    made = await ask("POST", "/v1/coupons", json=coupon)
    path = "/v1/coupons/{coupon_id}"
    await ask("PATCH", path, coupon_id=made["id"], json={"name": f"{name} spring for all"})
    welcome = {"code": f"{name}-welcome", "name": f"{name} welcome", "duration": "once"}
    off = {"amount": {"amount": "10.00", "currency": "USD"}}
    old = await ask("POST", "/v1/coupons", json={**welcome, **off})
    await ask("POST", f"{path}/archival", coupon_id=old["id"])
    one, two = story.customers["one"], story.customers["two"]
    redeemed = {"coupon": f"{name}-spring", "customer_id": one, "subscription_id": story.subscriptions["one"]}
    await ask("POST", "/v1/coupon-redemptions", json=redeemed)
    given = await ask("POST", "/v1/coupon-redemptions", json={"coupon_id": made["id"], "customer_id": two})
    path = "/v1/coupon-redemptions/{redemption_id}/withdrawal"
    await ask("POST", path, redemption_id=given["id"])
    own = {"code": "minutes", "currency": "USD", "tiers": [{"unit_amount": "2.10"}], "included_quantity": "3"}
    overlay = {
        "plan": f"{name}-plan",
        "prices": [{**own, "minimum_amount": "1", "maximum_amount": None}],
        "term": {"unit": "year", "count": 2},
        "description": f"{name} agreed",
    }
    await ask("POST", "/v1/plan-overlays", json={**overlay, "customer_id": one})
    version = (await story.list("/v1/plans", code=f"{name}-plan"))[0]["plan_version_id"]
    named = {**overlay, "plan": None, "plan_version_id": version, "customer_id": two}
    laid = await ask("POST", "/v1/plan-overlays", json=named)
    await ask("POST", "/v1/plan-overlays/{overlay_id}/withdrawal", overlay_id=laid["id"])


def _fee(name: str, **product: str) -> dict[str, Any]:
    return {
        **product,
        "code": "engines",
        "kind": "recurring",
        "timing": "advance",
        "model": "per_unit",
        "unit_amount": "100.00",
        "unit": "engine",
        "description": f"{name} engines",
        "included_quantity": "0",
        "proration": "day",
    }


def _usage(name: str, **product: str) -> dict[str, Any]:
    return {
        **product,
        "code": "minutes",
        "kind": "usage",
        "timing": "arrears",
        "model": "graduated",
        "meter": f"{name}-minutes",
        "tiers": [{"up_to": "10", "unit_amount": "2.50"}, {"unit_amount": "2.00"}],
    }


async def _agree(story: Story) -> None:
    name, ask = story.name, story.ask
    clock = await ask("POST", "/v1/test-clocks", json={"name": f"{name} 2024", "starts_at": BEGINNING})
    plan_version = (await story.list("/v1/plans", code=f"{name}-plan"))[0]["plan_version_id"]
    for who, behaviour in (("one", "succeeds"), ("two", "always_fails")):
        mine = f"{name}-{who}"
        customer = await ask(
            "POST",
            "/v1/customers",
            json={
                "name": f"{mine} airways",
                "email": f"{mine}@airways.example",
                "external_id": mine,
                "country": "US",
                "currency": "USD",
                "zone": "America/New_York",
                "metadata": {"note": f"{mine} flies"},
            },
        )
        id = story.customers[who] = customer["id"]
        await ask("PATCH", "/v1/customers/{customer_id}", customer_id=id, json={"name": f"{mine} airlines"})
        method = {"customer_id": id, "gateway": "sandbox", "behaviour": behaviour}
        await ask("POST", "/v1/payment-methods", json=method)
        agreed = {
            "customer_id": id,
            "quantities": {"engines": "2"},
            "starts_on": "2024-01-01",
            "zone": "UTC",
            "test_clock_id": clock["id"],
            "external_id": mine,
        }
        named = {"plan": f"{name}-plan"} if who == "one" else {"plan_version_id": plan_version}
        started = await ask("POST", "/v1/subscriptions", json={**agreed, **named})
        story.subscriptions[who] = started["id"]
        await _bind(story, mine, started)
    await _know_more(story)


async def _know_more(story: Story) -> None:
    """A customer for whom another one pays, and one that is erased, both with all that may be known of one."""
    path = "/v1/customers/{customer_id}"
    for who in ("child", "gone"):
        mine = f"{story.name}-{who}"
        address = {
            "line1": f"{mine} street 1",
            "line2": f"{mine} hangar",
            "postal_code": "1010",
            "city": f"{mine} city",
            "region": f"{mine} region",
            "country": "AT",
        }
        customer = {
            "name": f"{mine} airways",
            "legal_name": f"{mine} airways GmbH",
            "address": address,
            "vat_id": "ATU13585627",
            "locale": "de-AT",
            "payment_terms_days": 30,
            "external_id": mine,
        }
        id = (await story.ask("POST", "/v1/customers", json=customer))["id"]
        if who == "child":
            await story.ask("PATCH", path, customer_id=id, json={"parent_id": story.customers["one"]})
        else:
            await story.ask("POST", f"{path}/erasure", customer_id=id)


async def _bind(story: Story, mine: str, started: Mapping[str, Any]) -> None:
    """The engine of the story, and a spare one that is released, one by its item and one by its subscription."""
    meter = f"{story.name}-minutes"
    item_id = next(item["id"] for item in started["items"] if item["meter"] == meter)
    shared = {"meter": meter, "bound_from": BEGINNING}
    bindings = [
        {**shared, "subject": f"{mine}-engine", "item_id": item_id, "asset_id": f"{mine}-asset"},
        {
            **shared,
            "subject": f"{mine}-spare",
            "subscription_id": started["id"],
            "bound_until": "2024-12-01T00:00:00Z",
        },
    ]
    bound = await story.ask("POST", "/v1/subject-bindings", json={"bindings": bindings})
    assert [result["status"] for result in bound["results"]] == ["created", "created"], bound
    spare = bound["results"][1]["binding_id"]
    await story.ask(
        "POST",
        "/v1/subject-bindings/{binding_id}/release",
        binding_id=spare,
        json={"at": "2024-11-01T00:00:00Z"},
    )


def an_event(story: Story, who: str, number: int, **changes: Any) -> dict[str, Any]:
    event = {
        "specversion": "1.0",
        "id": f"{story.name}-{who}-{number}",
        "source": f"https://{story.name}.example/engines",
        "type": f"{story.name}.flown",
        "subject": f"{story.name}-{who}-engine",
        "time": f"2024-01-{number:02}T10:00:00Z",
        "datacontenttype": "application/json",
        "data": {"minutes": 7, "carrier": f"{story.name}-{who}", "cancelled": "false"},
    }
    return {**event, **changes}


async def _use(story: Story) -> None:
    """Usage of both customers; one event that cannot be read, and one that contradicts an earlier one."""
    events = [an_event(story, who, number) for who in ("one", "two") for number in (1, 2, 3)]
    bad = [
        an_event(
            story, "two", 4, data={"minutes": None, "carrier": f"{story.name}-two", "cancelled": "false"}
        ),
        an_event(story, "two", 1, data={"minutes": 8, "carrier": f"{story.name}-two", "cancelled": "false"}),
    ]
    batch = "application/cloudevents-batch+json"
    told = await story.ask("POST", "/v1/usage-events", json=[*events, *bad], media_type=batch)
    assert [told[status] for status in ("stored", "rejected", "conflict")] == [6, 1, 1], told
    await _use_again_through_the_topic(story, events[0])


async def _put_right(story: Story) -> None:
    """Events that no meter reads: voided, amended, refused and sent again, dismissed, and left as they are."""
    type = f"{story.name}.noted"
    noted = [an_event(story, "two", number, type=type) for number in (5, 6)]
    await story.ask("POST", "/api/v1/events", json=noted)
    known = {"source": noted[0]["source"], "id": noted[0]["id"], "reason": f"{story.name} was asleep"}
    told = await story.ask("POST", "/v1/usage-events/voids", json={"voids": [known]})
    assert told["voided"] == 1, told
    event = {**noted[1], "data": {"note": f"{story.name}-two"}}
    amended = {"event": event, "reason": f"{story.name} looked again"}
    told = await story.ask("POST", "/v1/usage-events/amendments", json={"amendments": [amended]})
    assert told["amended"] == 1, told
    bad = [an_event(story, "two", number, type=type, time="yesterday") for number in (7, 8, 9)]
    told = await story.ask("POST", "/v1/usage-events", json=bad)
    assert told["rejected"] == 3, told
    found = await story.list("/v1/usage-rejects", state="open")
    rejects = {reject["event_id"]: reject["id"] for reject in found}
    event = an_event(story, "two", 7, type=type)
    path = "/v1/usage-rejects/{reject_id}/resubmission"
    told = await story.ask("POST", path, reject_id=rejects[event["id"]], json={"event": event})
    assert told["result"]["status"] == "stored", told
    path = "/v1/usage-rejects/{reject_id}/dismissal"
    reason = {"reason": f"{story.name} saw it"}
    await story.ask("POST", path, reject_id=rejects[bad[1]["id"]], json=reason)
    story.names["open_reject"] = rejects[bad[2]["id"]]


async def _use_again_through_the_topic(story: Story, event: dict[str, Any]) -> None:
    """Where it turns out to be a duplicate, and leaves a result."""
    headers = {
        f"ce_{name}": event[name] for name in ("specversion", "id", "source", "type", "subject", "time")
    }
    headers |= {"ce_tenant": story.tenant, "content-type": "application/json"}
    value = json_module.dumps(event["data"]).encode()
    await story.everything.bus.publish([Record(USAGE_TOPIC, event["subject"], headers, value)])
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(ARRIVES_WITHIN_S):
        while not found:
            await asyncio.sleep(0.1)
            found = (await _look(story, "/v1/usage-events/results"))["data"]
    story.names["batch"] = found[0]["batch_id"]


async def _read(story: Story) -> None:
    """A counter, of which one reading is corrected, and one cannot be true."""
    counter = {
        "code": f"{story.name}-light",
        "counter": {
            "register_digits": 6,
            "decimals": 0,
            "estimate": {"policy": "mean_of_last", "periods": 3, "in_a_row": 2},
            "backwards": "hold",
        },
        "description": f"{story.name} light",
    }
    await story.ask("POST", "/v1/meters", json=counter)
    shown = {
        "meter": f"{story.name}-light",
        "subject": f"{story.name}-two-engine",
        "device": f"{story.name}-two-device",
    }
    readings = [
        {**shown, "id": f"{story.name}-{day}", "read_at": f"2024-01-{day:02}T00:00:00Z", "value": value}
        for day, value in ((1, "100"), (2, "300"), (3, "200"))
    ]
    told = await story.ask("POST", "/v1/meter-readings", json=readings)
    assert (told["accepted"], told["held"]) == (2, 1), told
    held, taken = told["results"][2], told["results"][1]
    resolution = {"decision": "discard", "reason": f"{story.name} saw it"}
    path = "/v1/reading-exceptions/{exception_id}/resolution"
    await story.ask("POST", path, exception_id=held["exception_id"], json=resolution)
    correction = {"value": "310", "reason": f"{story.name} saw it", "is_certain": False}
    path = "/v1/meter-readings/{reading_id}/corrections"
    await story.ask("POST", path, reading_id=taken["id"], json=correction)


async def _watch(story: Story) -> None:
    """Alerts that fire, one that is taken away; another version of a meter some day, and how long events are kept."""
    path = "/v1/usage-alerts/{alert_id}"
    for who, subscription_id in story.subscriptions.items():
        alert = {
            "subscription_id": subscription_id,
            "meter": f"{story.name}-minutes",
            "limit": "2",
            "marks": [{"percent": "50"}, {"quantity": "1000"}],
            "name": f"{story.name}-{who} nearly there",
        }
        made = await story.ask("POST", "/v1/usage-alerts", json=alert)
        async with asyncio.timeout(ARRIVES_WITHIN_S):
            while not (await _look(story, f"/v1/usage-alerts/{made['id']}/firings"))["data"]:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        await story.ask("GET", f"{path}/firings", alert_id=made["id"])
    spare = await story.ask("POST", "/v1/usage-alerts", json=alert)
    await story.ask("DELETE", path, alert_id=spare["id"])
    story.ids["ualt"].remove(spare["id"])  # it is there no more
    await story.ask("PUT", "/v1/usage-retention", json={"raw_kept_days": 36_500})
    [meter] = await story.list("/v1/meters", code=f"{story.name}-minutes")
    version = {
        "event_type": f"{story.name}.flown",
        "aggregation": "sum",
        "value": "/minutes",
        "group_by": ["carrier"],
        "filter": {"/cancelled": ["false"]},
        "description": f"{story.name} minutes as ever",
        "effective_from": "2100-01-01T00:00:00Z",
    }
    await story.ask("POST", "/v1/meters/{meter_id}/versions", meter_id=meter["id"], json=version)


async def _bill(story: Story) -> None:
    """A month goes by, and each customer has an invoice for its beginning and one for what came of it."""
    move = await story.ask(
        "POST",
        "/v1/test-clocks/{test_clock_id}/moves",
        test_clock_id=story.first("clk"),
        json={"to": AFTER_ONE_PERIOD},
    )
    values = {"test_clock_id": move["test_clock_id"], "move_id": move["id"]}
    async with asyncio.timeout(ARRIVES_WITHIN_S):
        while move["state"] != "arrived":
            await asyncio.sleep(0.1)
            move = await _look(story, "/v1/test-clocks/{test_clock_id}/moves/{move_id}".format(**values))
    await story.ask("GET", "/v1/test-clocks/{test_clock_id}/moves/{move_id}", **values)
    for who, customer_id in story.customers.items():
        invoices = await story.list("/v1/invoices", customer_id=customer_id)
        assert len(invoices) == 2, (who, invoices)
        for invoice in invoices:
            assert invoice["status"] == ("paid" if who == "one" else "finalized"), (who, invoice)
            shown = await story.ask("GET", "/v1/invoices/{invoice_id}", invoice_id=invoice["id"])
            for line in shown["lines"]:
                path = "/v1/invoices/{invoice_id}/lines/{line_id}/explanation"
                await story.ask("GET", path, invoice_id=invoice["id"], line_id=line["id"])
            for what in ("verification", "proof"):
                await story.ask("GET", f"/v1/invoices/{{invoice_id}}/{what}", invoice_id=invoice["id"])
    unpaid = (await story.list("/v1/invoices", customer_id=story.customers["two"]))[0]["id"]
    await story.ask("POST", "/v1/invoices/{invoice_id}/payment-attempts", invoice_id=unpaid)
    async with asyncio.timeout(ARRIVES_WITHIN_S):
        while await _is_tried(story, unpaid):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def _come_late(story: Story) -> None:
    """An event of each customer after his window has closed."""
    late = [an_event(story, who, 20) for who in story.customers]
    await story.ask("POST", "/v1/usage-events", json=late)
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(ARRIVES_WITHIN_S):
        while len(found) < len(late):
            await asyncio.sleep(0.05)
            found = (await _look(story, "/v1/usage-window-corrections"))["data"]
    for correction in found:
        path = "/v1/usage-windows/{window_id}/corrections"
        await story.ask("GET", path, window_id=correction["window_id"])
        await _prove(story, correction)


async def _prove(story: Story, correction: dict[str, Any]) -> None:
    """That the late event counts, once the correction is sealed."""
    path = "/v1/usage-windows/{window_id}"
    of_window = {"window_id": correction["window_id"]}
    seen_to = {"reason": "Billed by hand."}
    await story.refuse("POST", f"{path}/recount-refusal/dismissal", json=seen_to, **of_window)
    digests = f"{path}/digests".format(**of_window)
    async with asyncio.timeout(ARRIVES_WITHIN_S):
        while (await _look(story, digests))["revision"] != correction["revision"]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await story.ask("GET", f"{path}/digests", **of_window)
    (event,) = correction["events"]
    query = {"source": event["source"], "event_id": event["id"]}
    await story.ask("GET", f"{path}/inclusion-proofs", query=query, **of_window)


async def _is_tried(story: Story, invoice_id: str) -> bool:
    """Whether a try is under way: the clock stands, so a further one waits for a day to come."""
    attempts = (await _look(story, f"/v1/invoices/{invoice_id}/payment-attempts"))["data"]
    due = [attempt["due_at"] for attempt in attempts]
    return any(at is not None and at <= AFTER_ONE_PERIOD for at in due)


async def _look(story: Story, address: str) -> Any:
    async with story.everything.client(story.tenant) as client:
        answer = await client.get(address)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def _owe(story: Story) -> None:
    """Both customers are given something; a part of it is taken back."""
    for customer_id in story.customers.values():
        for amount in ("12.50", "-2.50"):
            body = {
                "customer_id": customer_id,
                "amount": {"amount": amount, "currency": "USD"},
                "reason": f"{story.name} was late",
            }
            entry = await story.ask("POST", "/v1/customer-balances/adjustments", json=body)
        path = "/v1/customer-balances/{customer_balance_id}"
        await story.ask("GET", path, customer_balance_id=entry["customer_balance_id"])
        await story.ask("GET", f"{path}/entries", customer_balance_id=entry["customer_balance_id"])


async def _preview(story: Story) -> None:
    """What the first invoice of a further subscription would be. It is a question, and changes nothing."""
    at, until = "2024-03-01T00:00:00Z", "2024-04-01T00:00:00Z"
    period = {"index": 0, "start_on": at[:10], "end_on": until[:10], "start": at, "end": until}
    fee = {
        "id": "prc_supposed",
        "code": "engines",
        "product_id": story.first("prd"),
        "description": f"{story.name} engines",
        "kind": "recurring",
        "timing": "advance",
        "model": "flat",
        "currency": "USD",
        "unit_amount": "90.00",
    }
    customer = {"customer_id": story.customers["one"], "customer_version": 1, "name": f"{story.name} one"}
    subscription = {
        "subscription_id": f"sub_{'0' * 26}",
        "customer": customer,
        "plan_version_id": "plv_supposed",
        "plan_name": f"{story.name} plan",
        "currency": "USD",
        "zone": "UTC",
        "anchor_on": at[:10],
        "interval_unit": "month",
        "interval_count": 1,
        "items": [{"item_id": "si_supposed", "price": fee, "quantity": "1"}],
        "starts_at": at,
    }
    data = {"occurred_at": at, "subscription": subscription, "period": period}
    event = {"type": "perennial.subscriptions.subscription.started.v1", "data": data}
    there = {kind: list(ids) for kind, ids in story.ids.items()}
    told = await story.ask("POST", "/v1/invoice-previews", json={"events": [event]})
    (document,) = told["documents"]
    assert (document["status"], document["due"]["amount"]) == ("finalized", "80.00"), told
    told = await story.ask("POST", "/v1/usage-window-previews", json={"events": [event]})
    assert told["events"] == [], told
    for who, customer_id in story.customers.items():
        agreed = {
            "customer_id": customer_id,
            "plan": f"{story.name}-plan",
            "zone": "UTC",
            "test_clock_id": story.first("clk"),
        }
        told = await story.ask("POST", "/v1/subscription-previews", json={"subscription": agreed})
        assert [line["net"]["amount"] for line in told["documents"][0]["lines"]], told
        later = {"change": {"when": "period_end", "quantities": {"engines": "2"}}, "show": "next_invoice"}
        path = "/v1/subscriptions/{subscription_id}/previews"
        await story.ask("POST", path, subscription_id=story.subscriptions[who], json=later)
    story.ids = defaultdict(list, there)  # what was supposed is not there


async def _simulate(story: Story) -> None:
    """What the first month would have come to under whatever else there is. It is a question, and changes nothing."""
    name = story.name
    fee = {"code": "engines", "kind": "recurring", "model": "per_unit", "unit_amount": "90.00"}
    draft = {
        "code": f"{name}-draft",
        "name": f"{name} draft",
        "currency": "USD",
        "interval": {"unit": "month", "count": 1},
        "prices": [fee],
    }
    version = (await story.list("/v1/plans", code=f"{name}-plan"))[0]["plan_version_id"]
    off = {"code": f"{name}-off", "percent": "10", "duration": "once"}
    body = {
        "candidates": [
            {"plan": f"{name}-plan", "number": 1},
            {"plan_version_id": version},
            {"plan_overlay_id": story.first("ovl")},
            {"draft": draft, "currency": "USD"},
        ],
        "usage_of": {"subscription_id": story.subscriptions["one"], "period_index": 0, "late": "left_out"},
        "usage": [{"meter": f"{name}-minutes", "quantity": "12", "event_count": 3, "period": 0}],
        "quantities": {"engines": "2"},
        "coupons": [{**off, "plans": [f"{name}-plan"], "product_ids": [story.first("prd")]}],
        "taxes": [{"percent": "21"}, {"category": f"{name}-reduced", "percent": "9"}],
        "periods": 1,
        "with_trial": False,
    }
    told = await story.ask("POST", "/v1/price-simulations", json=body)
    assert [candidate["currency"] for candidate in told["candidates"]] == ["USD"] * 4, told
    supposed = {
        "candidates": [{"draft": draft}],
        "period": {"start": "2024-01-01", "end": "2024-02-01", "zone": "UTC"},
    }
    await story.ask("POST", "/v1/price-simulations", json=supposed)


async def _bind_for_longer(story: Story) -> None:
    """Each customer agrees on a term and buys itself out of it, cancels another, and withdraws from a third."""
    path = "/v1/subscriptions/{subscription_id}"
    year = {"unit": "year", "count": 1}
    for who, customer_id in story.customers.items():
        mine = f"{story.name}-{who}"
        free = {"length": year, "early_termination": {"kind": "none"}}
        body = {"term": free, "begins": "now", "plan": None, "plan_version_id": None}
        await story.ask("POST", f"{path}/renewal", subscription_id=story.subscriptions[who], json=body)
        term = {
            "length": year,
            "notice": {"unit": "month", "count": 1},
            "on_end": "step_down",
            "step_down_plan": {"plan": f"{story.name}-plan"},
            "early_termination": {"kind": "rerate", "rates": [{"months_held": 0, "percent_more": "10"}]},
            "reminder_days": [30],
        }
        agreed = {
            "customer_id": customer_id,
            "plan": f"{story.name}-plan",
            "starts_on": "2024-03-01",
            "zone": "UTC",
            "test_clock_id": story.first("clk"),
            "term": term,
            "withdrawal_days": 14,
        }
        bound = await story.ask("POST", "/v1/subscriptions", json={**agreed, "external_id": f"{mine}-bound"})
        wanted = {"on": "2024-04-01", "valid_days": 30}
        quote = await story.ask(
            "POST", f"{path}/termination-quotes", subscription_id=bound["id"], json=wanted
        )
        named = {"subscription_id": bound["id"], "quote_id": quote["id"]}
        await story.ask("GET", f"{path}/termination-quotes/{{quote_id}}", **named)
        accepted = {"quote_id": quote["id"]}
        await story.ask("POST", f"{path}/cancellation", subscription_id=bound["id"], json=accepted)
        await story.ask("DELETE", f"{path}/cancellation", subscription_id=bound["id"])
        declared = {"declared_by": f"{mine} airlines", "statement": f"{mine} wants out"}
        left = await story.ask("POST", "/v1/subscriptions", json={**agreed, "external_id": f"{mine}-left"})
        await story.ask("POST", "/v1/cancellations", json={**declared, "subscription_id": left["id"]})
        await story.ask("POST", "/v1/subscriptions", json={**agreed, "external_id": f"{mine}-brief"})
        await story.ask("POST", "/v1/withdrawals", json={**declared, "external_id": f"{mine}-brief"})


async def _change_agreements(story: Story) -> None:
    """Each customer changes what it agreed on, now and later; pauses, waits for a delivery, and comes back."""
    path = "/v1/subscriptions/{subscription_id}"
    await _publish(story, "added", kind="add_on")
    version = (await story.list("/v1/plans", code=f"{story.name}-plan"))[0]["plan_version_id"]
    for who, customer_id in story.customers.items():
        mine = f"{story.name}-{who}"
        agreed = {
            "customer_id": customer_id,
            "plan": f"{story.name}-plan",
            "starts_on": "2024-01-15",
            "zone": "UTC",
            "test_clock_id": story.first("clk"),
            "co_term_with": story.subscriptions[who],
            "payer_id": customer_id,
            "add_ons": [{"plan": f"{story.name}-added"}],
            "first_part": "merged",
            "external_id": f"{mine}-changing",
        }
        id = (await story.ask("POST", "/v1/subscriptions", json=agreed))["id"]
        asked = f"{path}/changes"
        now = {"when": "now", "quantities": {"engines": "3"}, "remove": [f"{story.name}-added"]}
        named = {"payer_id": customer_id, "co_term_with": story.subscriptions[who], "settle": "at_once"}
        await story.ask("POST", asked, subscription_id=id, json={**now, **named, "proration": "second"})
        same = {"when": "now", "zone": "UTC"}
        await story.ask("POST", asked, subscription_id=story.subscriptions[who], json=same)
        again = {"when": "now", "add": [{"plan": f"{story.name}-added"}], "plan_version_id": version}
        await story.ask("POST", asked, subscription_id=id, json=again)
        later = {"when": {"on": "2024-12-01"}, "plan": f"{story.name}-plan", "version": 1, "zone": "UTC"}
        dated = await story.ask(
            "POST", asked, subscription_id=id, json={**later, "quantities": {"engines": "4"}}
        )
        kept = {"subscription_id": id, "change_id": dated["id"]}
        await story.ask("PATCH", f"{asked}/{{change_id}}", **kept, json={"quantities": {"engines": "5"}})
        await story.ask("GET", f"{asked}/{{change_id}}", **kept)
        at_end = {"when": "period_end", "anchoring": "restart", "anchor_on": None}
        gone = await story.ask("POST", asked, subscription_id=id, json=at_end)
        await story.ask("DELETE", f"{asked}/{{change_id}}", subscription_id=id, change_id=gone["id"])
        fee = {"amount": {"amount": "12.00", "currency": "USD"}, "description": f"{mine} stores"}
        planned = {"on": "2024-11-01", "resumes_on": "2024-12-01", "extends_term": False, "fee": fee}
        await story.ask("POST", f"{path}/pause", subscription_id=id, json=planned)
        await story.ask("DELETE", f"{path}/pause", subscription_id=id)
        await story.ask("POST", f"{path}/pause", subscription_id=id, json={"settle": "at_once"})
        await story.ask("POST", f"{path}/resumption", subscription_id=id, json={})
        waits = {"starts_on": "2024-02-01", "billing_starts": "delivery", "external_id": f"{mine}-waiting"}
        waiting = await story.ask("POST", "/v1/subscriptions", json={**agreed, **waits, "add_ons": []})
        came = {"on": "2024-06-01", "reason": "delivery"}
        await story.ask("POST", f"{path}/activation", subscription_id=waiting["id"], json=came)
        await story.ask(
            "POST", f"{path}/cancellation", subscription_id=waiting["id"], json={"at_period_end": False}
        )
        back = {"starts_on": "2024-07-01", "quantities": {"engines": "1"}, "external_id": f"{mine}-back"}
        await story.ask("POST", f"{path}/win-back", subscription_id=waiting["id"], json=back)


async def _move_customers(story: Story) -> None:
    """To the next plan, as if: it is said what that would do."""
    await _publish(story, "next")
    versions = {
        code: (await story.list("/v1/plans", code=f"{story.name}-{code}"))[0]["plan_version_id"]
        for code in ("plan", "next")
    }
    body = {
        "from_plan_version_id": versions["plan"],
        "to_plan_version_id": versions["next"],
        "when": "period_end",
        "dry_run": True,
    }
    move = await story.ask("POST", "/v1/plan-moves", json=body)
    async with asyncio.timeout(ARRIVES_WITHIN_S):
        while move["status"] != "done":
            await asyncio.sleep(0.1)
            move = await story.ask("GET", "/v1/plan-moves/{plan_move_id}", plan_move_id=move["id"])


async def _dun(story: Story, customer_id: str, invoice_id: str) -> None:
    """What is dunned waits for a while and goes on; of another invoice, a step is skipped."""
    path, name = "/v1/invoices/{invoice_id}/dunning", story.name
    await story.ask("GET", path, invoice_id=invoice_id)
    await story.ask("POST", f"{path}/pauses", json={"reason": f"{name} promised"}, invoice_id=invoice_id)
    await story.ask("POST", f"{path}/resumptions", json={}, invoice_id=invoice_id)
    found = await story.list("/v1/dunning", customer_id=customer_id)
    other = next(one for one in found if one["ahead"])
    step = {part: other["ahead"][0][part] for part in ("kind", "number")}
    body = {**step, "reason": f"{story.name} is kind"}
    await story.ask("POST", f"{path}/skipped-steps", json=body, invoice_id=other["invoice_id"])


async def _publish(story: Story, code: str, **changes: str) -> None:
    name = story.name
    plan = {
        "code": f"{name}-{code}",
        "name": f"{name} {code}",
        "currency": "USD",
        "interval": {"unit": "month", "count": 1},
        "prices": [_fee(name, product=f"{name}-engine")],
        **changes,
    }
    made = await story.ask("POST", "/v1/plans", json=plan)
    await story.ask("POST", "/v1/plans/{plan_id}/publications", plan_id=made["id"])


async def _change_minds(story: Story) -> None:
    path = "/v1/subscriptions/{subscription_id}/cancellation"
    for who, body in (("one", {"at_period_end": True}), ("two", {"at": "2024-12-31T00:00:00Z"})):
        await story.ask("POST", path, subscription_id=story.subscriptions[who], json=body)
        await story.ask("DELETE", path, subscription_id=story.subscriptions[who])
    spare = {"customer_id": story.customers["two"], "gateway": "sandbox", "behaviour": "succeeds"}
    first = await story.ask("POST", "/v1/payment-methods", json=spare)
    method = await story.ask("POST", "/v1/payment-methods", json={**spare, "replaces": first["id"]})
    newest = await story.ask("POST", "/v1/payment-methods", json=spare)
    path = "/v1/payment-methods/{payment_method_id}"
    await story.ask("PATCH", path, json={"is_default": True}, payment_method_id=method["id"])
    for method_id in (newest["id"], method["id"]):
        await story.ask("DELETE", path, payment_method_id=method_id)
    for gone in (first, method, newest):
        story.ids["pm"].remove(gone["id"])  # they are there no more
    mistaken = {"token_id": f"{story.name}-stolen", "expires_at": None}
    await story.ask("POST", "/v1/token-revocations", json=mistaken)


async def _look_around(story: Story) -> None:
    """All lists, so that every id of the tenant has been seen."""
    for path in (
        "/v1/sellers",
        "/v1/products",
        "/v1/meters",
        "/v1/plans",
        "/v1/features",
        "/v1/coupons",
        "/v1/coupon-redemptions",
        "/v1/plan-overlays",
        "/v1/customers",
        "/v1/subscriptions",
        "/v1/subject-bindings",
        "/v1/test-clocks",
        "/v1/usage-events",
        "/v1/usage-events/results",
        "/v1/usage-corrections",
        "/v1/usage-rejects",
        "/v1/usage-conflicts",
        "/v1/usage-windows",
        "/v1/usage-window-corrections",
        "/v1/usage-alerts",
        "/v1/meter-readings",
        "/v1/reading-exceptions",
        "/v1/payment-methods",
        "/v1/invoices",
        "/v1/customer-balances",
        "/v1/customer-balances/adjustments",
        "/v1/ledger-entries",
        "/v1/credit-notes",
        "/v1/refunds",
        "/v1/disputes",
        "/v1/mails",
        "/v1/mail-templates",
        "/v1/deposits",
        "/v1/payments",
        "/v1/bank-statements",
        "/v1/bank-statement-entries",
        "/v1/dunning",
        "/v1/plan-moves",
        "/v1/billing-runs",
        "/v1/spend-thresholds",
    ):
        assert await story.list(path), f"{path} is empty"
    told = await story.ask("GET", "/v1/entitlements", query={"customer_id": story.customers["one"]})
    assert told["data"], told


async def hear_gateways(everything: AllServices, accounts: Path, *stories: Story) -> None:
    """A gateway tells each of something. Its accounts are known for that long only: nobody is to ask it for anything."""
    _write_accounts(accounts, stories)
    for story in stories:
        now = int(datetime.now(UTC).timestamp())
        method = {"id": f"pm_{story.name}", "object": "payment_method"}
        told = {"id": f"evt_{story.name}", "type": "payment_method.detached", "created": now}
        body = json_module.dumps({**told, "data": {"object": method}}).encode()
        async with everything.client_with(None) as gateway:
            path = f"/v1/gateway-events/stripe/{story.tenant}/main"
            heard = await gateway.post(
                path, content=body, headers={"stripe-signature": signature(body, at=now)}
            )
        assert heard.status_code == 200, heard.text
        async with asyncio.timeout(ARRIVES_WITHIN_S):
            while (await story.list("/v1/gateway-events"))[0]["done_at"] is None:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    _write_accounts(accounts, ())


def _write_accounts(file: Path, stories: Iterable[Story]) -> None:
    known = [
        {"tenant": story.tenant, "secret_key": SECRET_KEY, "webhook_secrets": [WEBHOOK_SECRET]}
        for story in stories
    ]
    file.write_text(json_module.dumps({"stripe": known}))


async def tell_of_operators(everything: AllServices) -> Story:
    """What operators change: a tenant; in each service a dead letter is driven again, and events are replayed."""
    story = Story(everything, await everything.make_tenant("omega tenant"), "omega")
    body = {"id": None, "name": "omega made", "mode": "sandbox"}
    made = await story.ask("POST", "/v1/tenants", json=body, operator=True)
    await story.ask(
        "PATCH", "/v1/tenants/{tenant_id}", tenant_id=made["id"], json={"name": "omega"}, operator=True
    )
    for name in everything.services:
        message_id = await a_dead_letter(everything, name, tenant=story.tenant)
        path = f"/v1/{name}-operations/dead-letters/{{message_id}}/redrive"
        await story.ask("POST", path, message_id=message_id, operator=True)
        story.names["message"] = message_id
        replays = f"/v1/{name}-operations/replays"
        body = {"topic": "perennial.catalog.v1"}
        story.names["replay"] = (await story.ask("POST", replays, json=body, operator=True))["id"]
    return story


async def a_dead_letter(everything: AllServices, service: str, *, tenant: str) -> str:
    """A message that the service could not handle."""
    message_id = new_id("evt")
    headers = {"ce_id": message_id, "ce_type": "perennial.catalog.tenant.changed.v1", "ce_tenant": tenant}
    delivery = Delivery(
        topic="perennial.catalog.v1", partition=0, offset=0, key="x", headers=headers, value=b"{}"
    )
    failures = Failures(everything.services[service].app.state.parts.api_units, group_of(service))
    for _ in range(5):
        await failures.put(delivery, ValueError("cannot be read"))
    return message_id


async def send(
    client: httpx.AsyncClient, asked: Asked, *, values: Mapping[str, str] | None = None, json: Any = ...
) -> httpx.Response:
    """A request of the story once more, changed. What it names anew is as new as it was the first time."""
    headers = {"if-match": "*"} if asked.method in ("PATCH", "PUT", "DELETE") else {}
    if asked.method != "GET":
        headers["idempotency-key"] = new_id("key")
    body = asked.json if json is ... else json
    if body is not None:
        headers["content-type"] = asked.media_type
    return await client.request(
        asked.method,
        asked.path.format(**(values or asked.values)),
        params=asked.query,
        content=_written(body),
        headers=headers,
    )
