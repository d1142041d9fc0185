"""What a story asks of the public API: each action in the product's words, on the day that the case means."""

import json
from typing import Any

import httpx

from tests.cases.case_files import Case
from tests.cases.lifecycle import Scenario
from tests.cases.server import Perennial

Thing = dict[str, Any]

LAGO = {"downgrade": "at the end of the billing period"}
MONTHLY = {"amount": "10", "interval": "month", "billed_in_advance": True, "anchoring": "anniversary"}


class Recorded:
    """A stand-in for the deployment, which says yes to everything; `asked` is what was to be done, in order."""

    def __init__(self, status: str = "active") -> None:
        self.asked: list[tuple[str, Any]] = []
        self._status = status
        self.perennial = Perennial(
            httpx.Client(transport=httpx.MockTransport(self._answer), base_url="http://perennial.test")
        )

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"status": self._status, "data": [], "next_cursor": None})
        name = request.url.path.rsplit("/", 1)[-1]
        body = json.loads(request.content)
        self.asked.append((name, body))
        result = {"status": "stored" if name == "usage-events" else "created"}
        return httpx.Response(200, json={"id": f"{name}-id", "state": "arrived", "results": [result]})

    def of(self, name: str) -> list[Any]:
        return [body for asked, body in self.asked if asked == name]


def play(*actions: Thing, plans: Thing, status: str = "active", **given: Any) -> Recorded:
    convention = given.pop("convention", {})
    case = Case(
        id="lifecycle-made-00000001",
        area="lifecycle",
        kind="scenario",
        given={"currency": "EUR", "plans": plans, "actions": list(actions), **given},
        expect={"invoices": [{"on": "2024-12-01", "lines": []}]},
        convention=convention,
    )
    recorded = Recorded(status)
    Scenario(case, recorded.perennial).run()
    return recorded


def test_a_day_is_a_day_in_the_zone_of_the_case() -> None:
    create = {"at": "2024-03-01", "do": "create", "plan": "p"}
    recorded = play(create, plans={"p": MONTHLY}, time_zone="America/New_York")
    assert recorded.of("test-clocks")[0]["starts_at"] == "2024-03-01T05:00:00Z"
    (subscribed,) = recorded.of("subscriptions")
    assert (subscribed["starts_on"], subscribed["zone"]) == ("2024-03-01", "America/New_York")


def test_a_trial_within_a_calendar_is_a_fee_that_begins_later() -> None:
    plan = {**MONTHLY, "anchoring": "calendar", "trial_days": 45}
    recorded = play({"at": "2024-03-05T12:00:00Z", "do": "create", "plan": "p"}, plans={"p": plan})
    (subscribed,) = recorded.of("subscriptions")
    assert subscribed["quantities"] == {"fee": "0"}
    assert subscribed["anchor_on"] == "2024-03-01"
    (change,) = recorded.of("changes")
    assert change == {"when": {"on": "2024-04-19"}, "quantities": {"fee": "1"}, "settle": "at_once"}


def test_a_trial_that_bills_are_counted_from_is_one_here() -> None:
    plan = {**MONTHLY, "anchoring": "bill_day", "trial_days": 30}
    recorded = play({"at": "2024-03-05", "do": "create", "plan": "p"}, plans={"p": plan})
    (document,) = recorded.of("catalog-imports")
    assert document["plans"][0]["trial"] == {"interval": {"unit": "day", "count": 30}}
    assert "anchor_on" not in recorded.of("subscriptions")[0]


def test_an_upgrade_is_made_at_once_and_a_downgrade_at_the_end_of_the_period() -> None:
    plans = {"p": MONTHLY, "dear": {**MONTHLY, "amount": "11"}, "cheap": {**MONTHLY, "amount": "9"}}
    create = {"at": "2024-03-05", "do": "create", "plan": "p"}
    whens = []
    for name in ("dear", "cheap"):
        change = {"at": "2024-03-15", "do": "change_plan", "plan": name}
        whens.append(play(create, change, plans=plans, convention=LAGO).of("changes")[0]["when"])
    assert whens == ["now", "period_end"]


def test_an_add_on_that_goes_is_taken_off_before_the_others_are_exchanged() -> None:
    a, b = ({"key": key, "amount": "1", "billed_in_advance": True} for key in "ab")
    plans = {"p": {**MONTHLY, "addons": [a, b]}, "q": {**MONTHLY, "addons": [b]}}
    recorded = play(
        {"at": "2024-03-05", "do": "create", "plan": "p"},
        {"at": "2024-03-15", "do": "change_plan", "plan": "q"},
        plans=plans,
    )
    codes = {each["code"].split("-", 3)[-1] for each in recorded.of("catalog-imports")[0]["plans"]}
    assert codes == {"0", "0-a", "0-b", "1", "1-b"}
    off, exchanged = recorded.of("changes")
    assert [code[-3:] for code in off["remove"]] == ["0-a"]
    assert off["proration"] == "none"
    assert [code[-3:] for code in exchanged["remove"]] == ["0-b"]
    assert [each["plan"][-3:] for each in exchanged["add"]] == ["1-b"]
    assert "proration" not in exchanged


def test_a_bill_day_that_holds_from_later_on_is_set_then() -> None:
    plan = {**MONTHLY, "anchoring": "bill_day"}
    recorded = play(
        {"at": "2024-03-05", "do": "create", "plan": "p", "bill_day": 31},
        {"at": "2024-03-06", "do": "set_bill_day", "day": 15, "effective": "2024-04-02"},
        plans={"p": plan},
    )
    assert recorded.of("subscriptions")[0]["anchor_on"] == "2024-03-31"
    assert recorded.of("moves")[0] == {"to": "2024-04-02T00:00:00Z"}
    assert recorded.of("changes") == [{"when": "period_end", "anchor_on": "2024-04-15"}]


def test_usage_of_two_subscriptions_is_kept_apart() -> None:
    blocks = {"block_size": "100", "block_amount": "1", "interval": "month", "billed_in_advance": False}
    recorded = play(
        {"at": "2024-03-05", "do": "create", "plan": "p"},
        {"at": "2024-03-05", "do": "create", "plan": "blocks"},
        {"at": "2024-03-05", "do": "usage", "quantity": "7", "plan": "blocks"},
        {"at": "2024-03-05", "do": "terminate", "plan": "blocks"},
        plans={"p": MONTHLY, "blocks": blocks},
    )
    ((event,),) = recorded.of("usage-events")
    (binding,) = recorded.of("subject-bindings")[0]["bindings"]
    assert event["subject"] == binding["subject"] == "subscriptions-id"
    assert event["data"] == {"quantity": "7"}
    assert event["time"] == "2024-03-05T00:00:00Z"
    moves = [body["to"] for body in recorded.of("moves")]
    assert moves == ["2024-03-05T00:01:00Z", "2024-12-02T00:00:00Z"]
    assert recorded.of("cancellation") == [{"at_period_end": False, "credit": "prorated"}]


def test_a_pause_may_begin_in_the_past_and_a_resumption_a_period() -> None:
    plan = {**MONTHLY, "anchoring": "bill_day"}
    recorded = play(
        {"at": "2024-03-01", "do": "create", "plan": "p"},
        {"at": "2024-03-16", "do": "pause", "effective": "2024-03-10"},
        {"at": "2024-03-16", "do": "resume", "bill_day": 16},
        plans={"p": plan},
    )
    assert recorded.of("pause") == [{"settle": "at_once", "on": "2024-03-10"}]
    assert recorded.of("resumption") == [{"anchor_on": "2024-03-16"}]
