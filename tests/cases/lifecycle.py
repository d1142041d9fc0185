"""Lifecycle cases: a sequence of actions on the real services and a test clock, and the invoices that it leads to.

Sources differ in how they tell one and the same thing. What is translated here, both ways, is told in
`docs/conventions.md`; amounts are never touched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

from libs.common.periods import Interval, boundary, local_date, start_of_day
from services.billing.domain.proration import ProrationOptions
from tests.cases.case_files import Case, as_instant
from tests.cases.documents_told import BillDayChange, credit_notes, told_as
from tests.cases.driver import Driver
from tests.cases.offers import Offers
from tests.cases.periods import anchor_of_day, calendar_anchor
from tests.cases.proration import options_of
from tests.cases.server import SERVER, Perennial

Thing = dict[str, Any]

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


def scenario(case: Case) -> Mapping[str, Any]:
    case.has_only("currency", "plans", "actions", "recurring_item", "time_zone", "tax_percent")
    return Scenario(case, SERVER.perennial()).run()


class Scenario:
    """One customer's life, as the case tells it, and afterwards its invoices in the case's words."""

    def __init__(self, case: Case, perennial: Perennial) -> None:
        self._case = case
        code = f"case-{case.id[-8:]}-{uuid4().hex[:6]}".lower()
        self._offers = Offers(case, code)
        self._driver = Driver(perennial, code, case.given["currency"], case.zone)
        self._subscriptions: dict[str, str] = {}  # by the name of the plan
        self._bill_day: int | None = None  # of the customer's first subscription
        self._bill_day_changes: list[BillDayChange] = []
        self._trials: list[date] = []  # when something happened in one
        self._tried: set[str] = set()  # plans of which the customer had the trial
        self._now = datetime.min.replace(tzinfo=UTC)
        self._has_only_begun = True  # nothing has been done at this instant but to subscribe

    def run(self) -> Mapping[str, Any]:
        actions = sorted(self._case.given["actions"], key=self._at)
        self._now = self._at(actions[0])
        self._driver.publish(self._offers.document())
        self._driver.begin(self._now)
        if "tax_percent" in self._case.given:
            self._driver.charge_tax(self._case.given["tax_percent"])
        for action in actions:
            if action["do"] == "run_billing":  # the clock passes there in any case, and what was due is done
                continue
            self._move_to(self._at(action))
            ACTIONS[action["do"]](self, action)
            self._has_only_begun = action["do"] == "create"
        last_on = date.fromisoformat(self._case.expect["invoices"][-1]["on"])
        if self._bill_day_changes:  # what is invoiced there before it begins
            last_on = boundary(last_on, Interval("month"), 1)
        self._move_to(max(self._now, start_of_day(last_on, self._case.zone)) + DAY)
        documents = self._driver.documents()
        found: Thing = {
            "invoices": told_as(self._case, documents, self._trials, self._bill_day_changes),
            "credit_notes": credit_notes(documents),
        }
        if "customer_balance" in self._case.expect:
            found["customer_balance"] = self._driver.balance()
        return found

    def _at(self, action: Thing) -> datetime:
        """A bill day that holds from some later day on is set then."""
        text = action["at"]
        if action["do"] == "set_bill_day":
            text = max(text, action.get("effective", text))
        is_date = len(text) == len("2024-01-01")
        return start_of_day(date.fromisoformat(text), self._case.zone) if is_date else as_instant(text)

    def _move_to(self, instant: datetime) -> None:
        """After what falls due at that instant. Actions of one instant follow each other by a minute, but for starts."""
        after = self._now if self._has_only_begun else self._now + MINUTE
        if max(instant, after) > self._now:
            self._now = max(instant, after)
            self._driver.move_to(self._now)

    def create(self, action: Thing) -> None:
        name, offers = action["plan"], self._offers
        start_on = local_date(self._now, self._case.zone)
        interval, plan = offers.interval(name), offers.plans[name]
        terms: Thing = {"proration": asdict(self._options()), "quantities": self._quantities(action)}
        anchor_on = self._anchor_on(action, plan, interval, start_on)
        if anchor_on is not None:
            terms["anchor_on"] = anchor_on.isoformat()
        if "ends_at" in action:
            terms["ends_on"] = action["ends_at"][:10]
        if offers.add_ons(name):
            terms["add_ons"] = [{"plan": code} for code in offers.add_ons(name).values()]
        id = self._driver.subscribe(offers.plan_code(name), start_on, **terms)
        self._subscriptions[name] = id
        if offers.is_metered(name):
            self._driver.bind(id, offers.meter, start_of_day(start_on, self._case.zone), subject=id)
        if self._has_trial(name):
            begins_on = start_on + timedelta(days=plan["trial_days"])
            self._change(id, quantities={"fee": "1"}, when={"on": begins_on.isoformat()}, settle="at_once")
        self._tried.add(name)
        self._note_trial(id)
        if self._bill_day is None:
            self._bill_day = action.get("bill_day", (start_on + timedelta(plan.get("trial_days") or 0)).day)

    def _anchor_on(self, action: Thing, plan: Thing, interval: Interval, start_on: date) -> date | None:
        """Nothing where periods are counted from the start, or from the end of the trial."""
        if plan.get("anchoring") == "calendar":
            return calendar_anchor(start_on, interval)
        day = action.get("bill_day", self._bill_day)
        if plan.get("anchoring") != "bill_day" or day is None or plan.get("trial_days"):
            return None
        return anchor_of_day(start_on, day, interval)

    def _quantities(self, action: Thing) -> Mapping[str, str]:
        name = action["plan"]
        quantities = {}
        if "quantity" in action:
            quantities["seats"] = action["quantity"]
        if "recurring_item" in self._case.given:
            quantities["units"] = self._case.given["recurring_item"]["quantity"]
        if self._has_trial(name):
            quantities["fee"] = "0"
        return quantities

    def _has_trial(self, name: str) -> bool:
        """A trial through which periods go on; some sources grant it once."""
        is_granted = name not in self._tried or self._case.convention.get("trial") != "not granted again"
        return is_granted and self._offers.begins_later(name)

    def _options(self) -> ProrationOptions:
        """Where credit notes are told of, what is given back goes to the balance, and not on an invoice.

        An end that is not counted as used is told in the notes, where the convention says otherwise.
        """
        options = options_of(self._case)
        if "credit_notes" not in self._case.expect:
            return options
        excludes_end = "excludes the day of termination" in self._case.names("change_day")
        is_used = excludes_end and "refunds all of it" not in self._case.notes
        return replace(options, credits_to="balance", end_day="used" if is_used else options.end_day)

    def change_plan(self, action: Thing) -> None:
        """An add-on that only the old plan has goes without a credit; one that both have is exchanged."""
        name, (old, id) = action["plan"], next(iter(self._subscriptions.items()))
        offers = self._offers
        gone = offers.add_ons(old).keys() - offers.add_ons(name).keys()
        if gone:
            self._change(
                id,
                remove=[offers.add_on_code(old, key) for key in sorted(gone)],
                proration="none",
                settle="at_once",
            )
        change: Thing = {"plan": offers.plan_code(name), "anchoring": "keep"}
        if "bill_day" in action:
            change |= {"anchor_on": self._anchor_with(action["bill_day"])}
        if offers.add_ons(old) or offers.add_ons(name):
            change["add"] = [{"plan": code} for code in offers.add_ons(name).values()]
            change["remove"] = [
                offers.add_on_code(old, key) for key in offers.add_ons(old) if key not in gone
            ]
        self._change(id, **change, when=self._when(action, old, name), settle="at_once")
        del self._subscriptions[old]
        self._subscriptions[name] = id
        self._note_trial(id)

    def _when(self, action: Thing, old: str, new: str) -> str:
        if "when" in action:
            return str(action["when"])
        if self._case.names("downgrade") != "at the end of the billing period":
            return "now"
        is_downgrade = self._offers.yearly_amount(new) < self._offers.yearly_amount(old)
        return "period_end" if is_downgrade else "now"

    def terminate(self, action: Thing) -> None:
        name = action.get("plan") or next(reversed(self._subscriptions))
        self._driver.end(self._subscriptions.pop(name))

    def usage(self, action: Thing) -> None:
        name = action.get("plan") or next(reversed(self._subscriptions))
        self._driver.use_of(
            self._offers.meter,
            self._offers.event_type,
            {"quantity": action["quantity"]},
            self._now,
            subject=self._subscriptions[name],
        )

    def set_bill_day(self, action: Thing) -> None:
        """In a trial at once, which moves nothing that was invoiced; otherwise from the end of the period on."""
        for id in self._subscriptions.values():
            anchor_on = self._anchor_with(action["day"])
            if self._driver.subscription(id)["status"] == "trialing":
                self._change(id, anchor_on=anchor_on)
            else:
                self._change(id, anchor_on=anchor_on, when="period_end")
                self._bill_day_changes.append(
                    BillDayChange(local_date(self._now, self._case.zone), action["day"])
                )

    def pause(self, action: Thing) -> None:
        effective = {"on": action["effective"]} if "effective" in action else {}
        for id in self._subscriptions.values():
            self._driver.pause(id, settle="at_once", **effective)

    def resume(self, action: Thing) -> None:
        """With a new bill day, a period begins at once: its invoice is the one of the resumption."""
        terms: Thing = {}
        if "effective" in action:
            terms["on"] = action["effective"]
        if "bill_day" in action:
            terms["anchor_on"] = self._anchor_with(action["bill_day"])
        else:
            terms["settle"] = "at_once"
        for id in self._subscriptions.values():
            self._driver.resume(id, **terms)

    def _change(self, id: str, *, when: Any = "now", **change: Any) -> None:
        self._driver.change(id, when=when, **change)

    def _anchor_with(self, day: int) -> str:
        on = local_date(self._now, self._case.zone)
        return anchor_of_day(on, day, Interval("month")).isoformat()

    def _note_trial(self, id: str) -> None:
        if self._driver.subscription(id)["status"] == "trialing":
            self._trials.append(local_date(self._now, self._case.zone))


ACTIONS: Mapping[str, Callable[[Scenario, Thing], None]] = {
    "create": Scenario.create,
    "change_plan": Scenario.change_plan,
    "terminate": Scenario.terminate,
    "usage": Scenario.usage,
    "set_bill_day": Scenario.set_bill_day,
    "pause": Scenario.pause,
    "resume": Scenario.resume,
}

RUNNERS: Mapping[str, Callable[[Case], Mapping[str, Any]]] = {"scenario": scenario}
