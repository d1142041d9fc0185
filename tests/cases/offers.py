"""The plans of a lifecycle case as a catalog document; a price's description says which line of the case it makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from libs.common.periods import Interval
from tests.cases.case_files import Case
from tests.cases.periods import INTERVALS
from tests.cases.server import PRODUCT

Thing = dict[str, Any]

FEE, USAGE, ADD_ON, TRUE_UP = "fee", "usage", "addon", "minimum_true_up"
PLAN_FIELDS = frozenset(
    {
        "amount",
        "unit_amount",
        "block_size",
        "block_amount",
        "interval",
        "billed_in_advance",
        "anchoring",
        "trial_days",
        "addons",
        "minimum_commitment",
    }
)


class Offers:
    """Codes are those of the case, so that cases share one catalog and do not meet in it."""

    def __init__(self, case: Case, code: str) -> None:
        self._case, self._code = case, code
        self.plans: Mapping[str, Thing] = case.given["plans"]
        for plan in self.plans.values():
            unknown = set(plan) - PLAN_FIELDS
            assert not unknown, f"nothing is known of {', '.join(sorted(unknown))}"

    @property
    def meter(self) -> str:
        return f"{self._code}-usage"

    @property
    def event_type(self) -> str:
        return f"cases.{self._code}"

    def plan_code(self, name: str) -> str:
        return f"{self._code}-{list(self.plans).index(name)}"

    def add_on_code(self, name: str, key: str) -> str:
        return f"{self.plan_code(name)}-{key}"

    def interval(self, name: str) -> Interval:
        return INTERVALS[self.plans[name]["interval"]]

    def add_ons(self, name: str) -> Mapping[str, str]:
        """Codes by key."""
        return {
            each["key"]: self.add_on_code(name, each["key"]) for each in self.plans[name].get("addons", ())
        }

    def begins_later(self, name: str) -> bool:
        """Periods that are not counted from the end of a trial go on through it; the fee begins after it."""
        plan = self.plans[name]
        return bool(plan.get("trial_days")) and plan.get("anchoring") in ("calendar", "anniversary")

    def is_metered(self, name: str) -> bool:
        return any(price["kind"] == "usage" for price in self._prices(name))

    def yearly_amount(self, name: str) -> Decimal:
        """What a plan comes to in a year, to tell an upgrade by."""
        interval = self.interval(name)
        assert interval.unit in ("month", "year"), "an interval of months"
        months = interval.count * (12 if interval.unit == "year" else 1)
        return Decimal(self.plans[name]["amount"]) * 12 / months

    def document(self) -> Thing:
        plans = [self._plan(name) for name in self.plans]
        add_ons = [
            self._add_on(name, each) for name, plan in self.plans.items() for each in plan.get("addons", ())
        ]
        document: Thing = {"plans": [*plans, *add_ons]}
        if any(self.is_metered(name) for name in self.plans):
            document["meters"] = [
                {
                    "code": self.meter,
                    "event_type": self.event_type,
                    "aggregation": "sum",
                    "value": "/quantity",
                }
            ]
        return document

    def _plan(self, name: str) -> Thing:
        plan = self.plans[name]
        interval = self.interval(name)
        written: Thing = {
            "code": self.plan_code(name),
            "name": name,
            "currency": self._case.given["currency"],
            "interval": {"unit": interval.unit, "count": interval.count},
            "prices": [self._taxed(price) for price in self._prices(name)],
        }
        if plan.get("trial_days") and not self.begins_later(name):
            written["trial"] = {"interval": {"unit": "day", "count": plan["trial_days"]}}
        if "minimum_commitment" in plan:
            written["commitments"] = [
                {"code": "minimum", "description": TRUE_UP, "minimum_amount": plan["minimum_commitment"]}
            ]
        return written

    def _taxed(self, price: Thing) -> Thing:
        """With the case's own word for how it is taxed, where it says so."""
        return {**price, "tax_category": self._code} if "tax_percent" in self._case.given else price

    def _prices(self, name: str) -> Iterator[Thing]:
        plan = self.plans[name]
        timing = "advance" if plan["billed_in_advance"] else "arrears"
        if "amount" in plan:
            yield _price("fee", f"{FEE} {name}", "per_unit", timing=timing, unit_amount=plan["amount"])
        if "unit_amount" in plan:
            yield _price("seats", f"{FEE} {name}", "per_unit", timing=timing, unit_amount=plan["unit_amount"])
        if "block_size" in plan:
            yield self._usage(
                "blocks", "package", package_size=plan["block_size"], unit_amount=plan["block_amount"]
            )
        amounts = {
            action["unit_amount"]
            for action in self._case.given["actions"]
            if action["do"] == "usage" and "unit_amount" in action
        }
        assert len(amounts) <= 1, "all usage has one price"
        for amount in amounts:
            yield self._usage("usage", "per_unit", unit_amount=amount)
        if "recurring_item" in self._case.given:
            item = self._case.given["recurring_item"]
            yield _price(
                "units",
                USAGE,
                "per_unit",
                timing="advance" if item["billed_in_advance"] else "arrears",
                unit_amount=item["unit_amount"],
                proration="day" if item["prorated"] else "full",
            )

    def _usage(self, code: str, model: str, **terms: Any) -> Thing:
        return {
            "code": code,
            "product": PRODUCT,
            "description": USAGE,
            "kind": "usage",
            "model": model,
            "meter": self.meter,
            **terms,
        }

    def _add_on(self, name: str, add_on: Thing) -> Thing:
        interval = self.interval(name)
        timing = "advance" if add_on["billed_in_advance"] else "arrears"
        key = add_on["key"]
        return {
            "code": self.add_on_code(name, key),
            "name": key,
            "kind": "add_on",
            "currency": self._case.given["currency"],
            "interval": {"unit": interval.unit, "count": interval.count},
            "prices": [
                _price("fee", f"{ADD_ON} {key}", "per_unit", timing=timing, unit_amount=add_on["amount"])
            ],
        }


def _price(code: str, description: str, model: str, **terms: Any) -> Thing:
    return {
        "code": code,
        "product": PRODUCT,
        "description": description,
        "kind": "recurring",
        "model": model,
        **terms,
    }
