"""What a lifecycle case asks of the product, each in one place: by the public API alone, on a test clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from libs.common.periods import local_date
from tests.cases.server import Perennial, Thing

EVENTS = "urn:perennial:cases"
TAX_NUMBER = "NL004495445B01"


@dataclass(frozen=True, slots=True)
class DocumentLine:
    """`name` is the description of its price or commitment, by which a scenario knows it again."""

    name: str
    amount: Decimal
    start_on: date
    end_on: date


@dataclass(frozen=True, slots=True)
class Document:
    """An invoice as it was issued, and when. `balance_applied` is negative where the balance was given something.

    `gives_back`: it is of the kind that a change has whose credits go to the balance.
    """

    on: date
    lines: Sequence[DocumentLine]
    total: Decimal
    balance_applied: Decimal
    tax: Decimal = Decimal(0)
    gives_back: bool = False
    subscription_id: str | None = None
    boundary_at: str = ""


@dataclass(slots=True)
class Driver:
    """One customer on one clock, whose things all carry `code`, so that cases do not meet."""

    perennial: Perennial
    code: str
    currency: str
    zone: str
    clock_id: str = ""
    customer_id: str = ""
    _events: int = field(default=0)

    def begin(self, now: datetime) -> None:
        clock = self.perennial.post("/v1/test-clocks", {"name": self.code, "starts_at": text_of(now)})
        self.clock_id = clock["id"]
        customer = {
            "name": self.code,
            "external_id": self.code,
            "currency": self.currency,
            "country": "NL",
            "zone": self.zone,
        }
        self.customer_id = self.perennial.post("/v1/customers", customer)["id"]
        self.perennial.post(
            "/v1/payment-methods",
            {"customer_id": self.customer_id, "gateway": "sandbox", "behaviour": "succeeds"},
        )

    def charge_tax(self, percent: str) -> None:
        """A seller of the case's own, who bears this tax on whatever has the case's word for it."""
        rate = {
            "country": "NL",
            "tax_category": self.code,
            "percent": percent,
            "valid_from": "2000-01-01",
            "source": self.code,
        }
        self.perennial.post("/v1/tax-rates", rate)
        seller = {
            "code": self.code,
            "name": self.code,
            "country": "NL",
            "number_prefix": "T-",
            "tax_number": TAX_NUMBER,
        }
        seller_id = self.perennial.post("/v1/sellers", seller)["id"]
        self.perennial.put(f"/v1/billing-profiles/{self.customer_id}", {"seller_id": seller_id})

    def publish(self, document: Mapping[str, Any]) -> None:
        for meter in document.get("meters", ()):
            self.perennial.post("/v1/meters", meter)
        self.perennial.post("/v1/catalog-imports?dry_run=false", {"perennial_catalog": 1, **document})

    def move_to(self, instant: datetime) -> None:
        self.perennial.move_clock(self.clock_id, text_of(instant))

    def subscribe(self, plan: str, starts_on: date, **terms: Any) -> str:
        body = {
            "customer_id": self.customer_id,
            "plan": plan,
            "starts_on": starts_on.isoformat(),
            "zone": self.zone,
            "test_clock_id": self.clock_id,
            **terms,
        }
        return str(self.perennial.post("/v1/subscriptions", body)["id"])

    def subscription(self, subscription_id: str) -> Thing:
        return self.perennial.get(f"/v1/subscriptions/{subscription_id}")

    def bind(self, subscription_id: str, meter: str, since: datetime, *, subject: str | None = None) -> None:
        binding = {
            "subject": subject or self._subject(meter),
            "meter": meter,
            "subscription_id": subscription_id,
            "bound_from": text_of(since),
        }
        (result,) = self.perennial.post("/v1/subject-bindings", {"bindings": [binding]})["results"]
        assert result["status"] == "created", result

    def use_of(
        self,
        meter: str,
        event_type: str,
        data: Mapping[str, Any],
        at: datetime,
        *,
        subject: str | None = None,
    ) -> None:
        self._events += 1
        event = {
            "specversion": "1.0",
            "id": f"{self.code}-{self._events}",
            "source": EVENTS,
            "type": event_type,
            "subject": subject or self._subject(meter),
            "time": text_of(at),
            "data": dict(data),
        }
        (result,) = self.perennial.post("/v1/usage-events", [event])["results"]
        assert result["status"] == "stored", result

    def read(self, meter: str, at: datetime, value: str, **more: Any) -> None:
        """What the counter shows then."""
        shown = {
            "meter": meter,
            "subject": self._subject(meter),
            "read_at": text_of(at),
            "value": value,
            **more,
        }
        (result,) = self.perennial.post("/v1/meter-readings", [shown])["results"]
        assert result["status"] == "accepted", result

    def _subject(self, meter: str) -> str:
        return f"{self.code}:{meter}"

    def change(self, subscription_id: str, **change: Any) -> None:
        self.perennial.post(f"/v1/subscriptions/{subscription_id}/changes", change)

    def end(self, subscription_id: str) -> None:
        """Now; what is not used is given back."""
        self.perennial.post(
            f"/v1/subscriptions/{subscription_id}/cancellation",
            {"at_period_end": False, "credit": "prorated"},
        )

    def pause(self, subscription_id: str, **pause: Any) -> None:
        self.perennial.post(f"/v1/subscriptions/{subscription_id}/pause", pause)

    def resume(self, subscription_id: str, **resumption: Any) -> None:
        self.perennial.post(f"/v1/subscriptions/{subscription_id}/resumption", resumption)

    def documents(self) -> list[Document]:
        """In the order of time, and of making where that is the same; what was skipped is none."""
        found = self.perennial.pages("/v1/invoices", customer_id=self.customer_id)
        issued = [invoice for invoice in found if invoice["status"] in ("finalized", "paid")]
        issued.sort(key=lambda invoice: (invoice["boundary_at"], invoice["created_at"]))
        return [self._document(invoice) for invoice in issued]

    def _document(self, invoice: Thing) -> Document:
        whole = self.perennial.get(f"/v1/invoices/{invoice['id']}")
        return Document(
            on=local_date(datetime.fromisoformat(invoice["issued_at"]), self.zone),
            lines=[
                DocumentLine(
                    name=line["description"],
                    amount=Decimal(line["net"]["amount"]),
                    start_on=date.fromisoformat(line["service_period"]["start"]),
                    end_on=date.fromisoformat(line["service_period"]["end"]),
                )
                for line in whole["lines"]
            ],
            total=Decimal(whole["total"]["amount"]),
            balance_applied=Decimal(whole["balance_applied"]["amount"]),
            tax=Decimal(whole["tax"]["amount"]),
            gives_back=whole["document_kind"] == "credit",
            subscription_id=whole["subscription_id"],
            boundary_at=whole["boundary_at"],
        )

    def balance(self) -> Decimal:
        """What is owed to the customer."""
        held = self.perennial.pages("/v1/customer-balances", customer_id=self.customer_id)
        return sum((Decimal(each["balance"]["amount"]) for each in held), Decimal(0))


def text_of(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")
