"""T18: what a preview shows is what is later invoiced, to the cent and to the letter; and a preview leaves nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from libs.cli.audit import findings_of
from libs.common.contracts import SERVICES
from tests.journeys.lifecycle.journey import Life, asks, pays, subscribes
from tests.journeys.previews.rehearsal import (
    Before,
    Situation,
    compare,
    gives,
    is_taxed_and_favoured,
    preview,
    really_do,
    refused_alike,
    uses,
)
from tests.support.all_services import AllServices, all_services
from tests.support.postgres import PostgresForTests

pytestmark = pytest.mark.asyncio(loop_scope="module")

ZONE = "Europe/Amsterdam"
EVE = "2026-03-31T20:00:00Z"
EXAMPLES = 5
FIRST = "2026-04-01T08:00:00Z"
LATER = "2026-04-21T08:00:00Z"


def _price(code: str, amount: str | None, model: str = "flat", **more: Any) -> dict[str, Any]:
    price = {"code": code, "product": "thing", "kind": "recurring", "model": model, **more}
    return price if amount is None else {**price, "unit_amount": amount}


def _plan(code: str, *prices: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "code": code,
        "name": code.capitalize(),
        "currency": "EUR",
        "interval": {"unit": "month"},
        "prices": list(prices),
        **more,
    }


CALLS = _price("calls", "0.10", "per_unit", kind="usage", meter="calls")
TIERS = [{"up_to": "5", "unit_amount": "10"}, {"unit_amount": "8"}]
METER = {"code": "calls", "event_type": "calls.used", "aggregation": "sum", "value": "/value"}
CATALOG = {
    "perennial_catalog": 1,
    "products": [{"code": "thing", "name": "Thing", "kind": "service"}],
    "plans": [
        _plan("small", _price("fee", "30.00")),
        _plan("large", _price("fee", "90.00")),
        _plan("set-up", _price("fee", "30.00"), _price("setup", "15.00", kind="one_time")),
        _plan("metered", _price("fee", "30.00"), CALLS),
        _plan("graded", _price("seats", None, "graduated", tiers=TIERS)),
        _plan("tried", _price("fee", "30.00"), trial={"interval": {"unit": "day", "count": 14}}),
        _plan(
            "phased",
            _price("fee", "15.00", phase="first"),
            _price("fee-later", "25.00", phase="later"),
            phases=[{"code": "first", "name": "First", "periods": 1}, {"code": "later", "name": "Later"}],
        ),
        _plan(
            "allowed",
            _price("fee", "30.00"),
            {**CALLS, "included_quantity": "1000", "allowance_interval": {"unit": "year"}},
        ),
        _plan(
            "pooled",
            _price("fee", "30.00"),
            {
                **CALLS,
                "included_quantity": "1200",
                "allowance_interval": {"unit": "year"},
                "allowance_pool": "interval",
            },
            commitments=[
                {
                    "code": "least",
                    "description": "At least 10 a day",
                    "currency": "EUR",
                    "per": "year",
                    "minimum_amount": "3650",
                }
            ],
        ),
        _plan(
            "committed",
            CALLS,
            commitments=[
                {"code": "least", "description": "At least 50", "currency": "EUR", "minimum_amount": "50"}
            ],
        ),
    ],
}

SMALL = Before(FIRST, subscribes("small"))
LARGE = Before(FIRST, subscribes("large"))
UP = {"when": "now", "plan": "large"}
DOWN_AT_ONCE = {"when": "now", "plan": "small", "settle": "at_once"}

# April has 30 days, of which 10 are left on the 21st and 20 on the 11th.
SITUATIONS = [
    Situation(
        "upgrade_at_once_with_tax_a_coupon_and_prepaid_money",
        [SMALL, Before(LATER, is_taxed_and_favoured)],
        # A tenth off 10/30 of 90.00, less the 10.00 that were paid for whole, and off 90.00; and 21 % on what is left.
        ["20.57", "98.01"],
        asks={"change": {**UP, "settle": "at_once"}},
        show="next_invoice",
    ),
    Situation(
        "a_fresh_start_with_a_stub_and_a_set_up",
        [Before("2026-04-11T08:00:00Z")],
        ["35.00"],  # 20/30 of 30.00, and 15.00
        agrees={"plan": "set-up", "anchoring": "calendar"},
    ),
    Situation(
        "a_start_until_its_second_invoice",
        [Before("2026-04-11T08:00:00Z")],
        ["35.00", "30.00"],
        agrees={"plan": "set-up", "anchoring": "calendar"},
        show="next_invoice",
    ),
    Situation(
        "the_next_invoice_with_usage_so_far",
        [
            Before(FIRST, subscribes("metered")),
            Before(LATER, uses("calls", ("2026-04-03T10:00:00Z", "100"), ("2026-04-20T10:00:00Z", "23"))),
        ],
        ["42.30"],
        asks={},
    ),
    Situation("upgrade_now", [SMALL, Before(LATER)], ["110.00"], asks={"change": UP}),
    Situation(
        "upgrade_settled_at_once",
        [SMALL, Before(LATER)],
        ["20.00"],
        asks={"change": {**UP, "settle": "at_once"}},
        show="at_once",
    ),
    Situation(
        "upgrade_settled_at_once_and_the_next_invoice",
        [SMALL, Before(LATER)],
        ["20.00", "90.00"],
        asks={"change": {**UP, "settle": "at_once"}},
    ),
    Situation(
        "more_seats_in_a_graduated_plan",
        [Before(FIRST, subscribes("graded", quantities={"seats": "4"})), Before("2026-04-11T08:00:00Z")],
        ["96.67"],  # 20/30 of 10.00 and of 24.00, then 50.00 and 24.00
        asks={"change": {"when": "now", "quantities": {"seats": "8"}}},
    ),
    Situation(
        "downgrade_at_the_end",
        [LARGE, Before(LATER)],
        ["30.00"],
        asks={"change": {"when": "period_end", "plan": "small"}},
    ),
    Situation("pause", [SMALL, Before(LATER)], ["-10.00"], asks={"pause": {}}),
    Situation(
        "pause_for_a_fee_at_once",
        [SMALL, Before(LATER)],
        ["-5.00"],
        asks={
            "pause": {"settle": "at_once", "fee": {"amount": {"amount": "5.00", "currency": "EUR"}}},
        },
        show="at_once",
    ),
    Situation(
        "resumption",
        [SMALL, Before("2026-04-11T08:00:00Z", asks("pause", {})), Before(LATER)],
        ["20.00"],  # ten days were not in use
        asks={"resumption": {}},
    ),
    Situation(
        "cancellation_now_gives_to_the_balance",
        [SMALL, Before(LATER)],
        ["-10.00"],
        asks={"cancellation": {"at_period_end": False, "credit": "prorated"}},
    ),
    Situation(
        "the_balance_is_drawn_upon",
        [LARGE, Before("2026-04-21T07:00:00Z", asks("changes", DOWN_AT_ONCE)), Before(LATER)],
        ["30.00"],  # of which 20.00 are paid by the balance
        asks={},
    ),
    Situation(
        "a_gift_is_more_than_the_invoice",
        [SMALL, Before(LATER, gives("50.00"))],
        ["30.00"],
        asks={},
    ),
    Situation("the_end_of_a_trial", [Before(FIRST, subscribes("tried"))], ["30.00"], asks={}),
    Situation("the_next_phase", [Before(FIRST, subscribes("phased")), Before(LATER)], ["25.00"], asks={}),
    Situation(
        "a_change_from_a_date_that_is_over",
        [SMALL, Before(LATER)],
        ["130.00"],  # 20.00 back, 60.00 for the rest of April, 90.00 for May
        asks={"change": {"when": {"on": "2026-04-11"}, "plan": "large"}},
    ),
    Situation(
        "what_is_left_of_a_yearly_allowance",
        [
            Before(FIRST, subscribes("allowed")),
            Before("2026-04-30T08:00:00Z", uses("calls", ("2026-04-05T10:00:00Z", "900"))),
            Before("2026-05-20T08:00:00Z", uses("calls", ("2026-05-10T10:00:00Z", "200"))),
        ],
        ["40.00"],
        asks={},
    ),
    Situation(
        "a_pooled_allowance_and_a_year_are_settled_by_the_end",
        [
            Before(FIRST, subscribes("pooled")),
            Before(LATER, uses("calls", ("2026-04-03T10:00:00Z", "300"))),
        ],
        # 300 less 100 x 20/30 are 23.33, ten days are given back; of twenty at 10.00, 43.33 were spent
        ["170.00"],
        asks={"cancellation": {"at_period_end": False, "credit": "prorated"}},
    ),
    Situation(
        "less_than_was_committed_to",
        [
            Before(FIRST, subscribes("committed")),
            Before(LATER, uses("calls", ("2026-04-03T10:00:00Z", "123"))),
        ],
        ["50.00"],
        asks={},
    ),
    Situation(
        "a_plan_changes_under_usage",
        [
            Before(FIRST, subscribes("metered")),
            Before(LATER, uses("calls", ("2026-04-03T10:00:00Z", "100"))),
        ],
        [
            "30.00"
        ],  # 10.00 for the calls; 10.00 of the fee are given back, 5.00 are owed, and 25.00 in the next phase
        asks={"change": {"when": "now", "plan": "phased"}},
    ),
    Situation(
        "a_change_inside_a_pause_to_come",
        [SMALL, Before("2026-04-06T17:30:00Z", asks("pause", {"on": "2026-04-22"}))],
        ["-9.00"],  # nine days are not in use, and nothing is when the change comes
        asks={"change": {"when": {"on": "2026-04-29"}, "plan": "large", "settle": "at_once"}},
    ),
    Situation(
        "a_new_anchor",
        [SMALL, Before(LATER)],
        ["20.00"],  # 10.00 back, 30.00 from the 21st on
        asks={"change": {"when": "now", "anchoring": "restart", "anchor_on": "2026-04-21"}},
        show="at_once",
    ),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def services(
    postgres: PostgresForTests, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[AllServices]:
    folder: Path = tmp_path_factory.mktemp("previews")
    async with all_services(postgres, folder=folder) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tenant(services: AllServices) -> str:
    tenant = await services.make_tenant()
    async with services.client(tenant) as client:
        life = Life(services, client, ZONE)
        seller = {"code": "s", "name": "Seller", "country": "NL", "number_prefix": "S-"}
        await life.post("/v1/sellers", seller)
        taxing = {"code": "t", "name": "Taxing", "country": "NL", "tax_number": "NL000099998B57"}
        await life.post("/v1/sellers", taxing)
        tenth = {"code": "tenth", "name": "A tenth off", "percent": "10", "duration": "forever"}
        await life.post("/v1/coupons", tenth)
        await life.post("/v1/meters", METER)
        await life.post("/v1/catalog-imports?dry_run=false", CATALOG)
    return tenant


@pytest_asyncio.fixture(loop_scope="module")
async def life(services: AllServices, tenant: str) -> AsyncIterator[Life]:
    """A customer on a clock of his own."""
    async with services.client(tenant) as client:
        life = Life(services, client, ZONE)
        await begin(life)
        yield life


async def begin(life: Life) -> None:
    life.clock_id = (await life.post("/v1/test-clocks", {"name": "A life", "starts_at": EVE}))["id"]
    customer = {"name": "Somebody", "zone": ZONE, "country": "NL"}
    life.customer_id = (await life.post("/v1/customers", customer))["id"]
    await pays("succeeds")(life)


# What others of them show as well, in another way.
ONLY_WHEN_THERE_IS_TIME = {
    "upgrade_settled_at_once",
    "a_start_until_its_second_invoice",
    "upgrade_settled_at_once_and_the_next_invoice",
    "pause_for_a_fee_at_once",
    "resumption",
    "a_gift_is_more_than_the_invoice",
    "the_next_phase",
    "a_change_inside_a_pause_to_come",
    "a_new_anchor",
    "upgrade_now",
    "downgrade_at_the_end",
    "a_plan_changes_under_usage",
    "the_balance_is_drawn_upon",
}


@pytest.mark.parametrize(
    "situation",
    [
        pytest.param(
            situation,
            id=situation.name,
            marks=[pytest.mark.long] if situation.name in ONLY_WHEN_THERE_IS_TIME else [],
        )
        for situation in SITUATIONS
    ],
)
async def test_what_is_previewed_is_invoiced(life: Life, situation: Situation) -> None:
    await compare(life, situation)


methods = st.sampled_from([None, "none", "day", "second", "full"])
plans = st.sampled_from(["small", "large", "graded", "metered"])
days = st.integers(2, 29).map(lambda day: {"on": f"2026-04-{day:02d}"})


@st.composite
def changes(draw: st.DrawFn) -> dict[str, Any]:
    """A change of everything at once, at any time, or something else that can be asked for."""
    kind = draw(st.sampled_from(["change", "change", "change", "pause", "cancellation", "nothing"]))
    settle = draw(st.sampled_from(["next_invoice", "at_once"]))
    if kind == "pause":
        on = draw(st.one_of(st.none(), days))
        return {"pause": {**(on or {}), "settle": settle}}
    if kind == "cancellation":
        credit = draw(st.sampled_from(["none", "prorated", "full"]))
        return {"cancellation": {"at_period_end": draw(st.booleans()), "credit": credit}}
    if kind == "nothing":
        return {}
    change: dict[str, Any] = {"when": draw(st.one_of(st.sampled_from(["now", "period_end"]), days))}
    change["plan"] = draw(plans)
    if change["plan"] == "graded":
        change["quantities"] = {"seats": str(draw(st.integers(0, 12)))}
    method = draw(methods)
    return {"change": {**change, "settle": settle, **({"proration": method} if method else {})}}


@pytest.mark.long
@settings(
    max_examples=EXAMPLES, deadline=None, phases=[Phase.generate], print_blob=True
)  # each takes seconds
@given(
    began_with=plans,
    at=st.tuples(st.integers(2, 29), st.integers(0, 23)),
    first=changes(),
    second=changes(),
)
async def test_whatever_is_asked_for_is_invoiced_as_previewed(
    services: AllServices,
    tenant: str,
    began_with: str,
    at: tuple[int, int],
    first: dict[str, Any],
    second: dict[str, Any],
) -> None:
    """After one change that may be refused, another: refused alike, or invoiced as previewed."""
    async with services.client(tenant) as client:
        life = Life(services, client, ZONE)
        await begin(life)
        await life.move_to(FIRST)
        await subscribes(began_with)(life)
        now = f"2026-04-{at[0]:02d}T{at[1]:02d}:30:00Z"
        await life.move_to(now)
        made_up = f"{began_with} {at} {first} {second}"
        before, asked = (Situation(made_up, [], None, asks=asks) for asks in (first, second))
        if not await refused_alike(life, before):
            await really_do(life, before)
            await life.move_to(now)
        if not await refused_alike(life, asked):
            await compare(life, asked)


async def test_a_preview_leaves_nothing_behind(life: Life) -> None:
    await life.move_to(FIRST)
    await subscribes("small")(life)
    await life.move_to(LATER)
    shown, before = await life.subscription(), await _row_counts(life.services)
    asked = [
        Situation("upgrade", [], [], asks={"change": UP}),
        Situation(
            "downgrade later", [], [], asks={"change": {"when": "period_end", "quantities": {"fee": "2"}}}
        ),
        Situation("end", [], [], asks={"cancellation": {"at_period_end": False, "credit": "full"}}),
        Situation("pause", [], [], asks={"pause": {"settle": "at_once"}}),
        Situation("beginning", [], [], agrees={"plan": "set-up"}, show="next_invoice"),
    ]
    for situation in asked:
        first, again = [await preview(life, situation) for _ in range(2)]
        if situation.agrees is None:
            assert first["documents"] == again["documents"], situation.name
    assert await _row_counts(life.services) == before
    assert await life.subscription() == shown


async def _row_counts(services: AllServices) -> dict[str, int]:
    counts: dict[str, int] = {}
    for service in SERVICES:
        async with services.admin(service) as connection:
            tables = await connection.fetch(
                "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables"
                " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
            )
            for table in tables:
                count = await connection.fetchval(f"SELECT count(*) FROM {table['name']}")
                counts[f"{service}.{table['name']}"] = count
    return counts


async def test_the_audit_finds_nothing_wrong_after_all_of_it(services: AllServices) -> None:
    async with services.client(None) as operator:
        reports = {
            service: (await operator.get(f"/v1/{service}-operations/audit")).json() for service in SERVICES
        }
    failing = {finding.name: finding.problems for finding in findings_of(reports) if not finding.ok}
    assert failing == {}
