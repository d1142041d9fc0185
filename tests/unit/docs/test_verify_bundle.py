"""The script that checks bundles works out what we work out, over prices and quantities that nobody chose."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.expression import PRICE_TOTALS, parse
from libs.common.ids import derived_id
from libs.common.merkle import leaf_hash, root_of
from libs.common.money import Money, allocate
from services.billing.adapters.mapping import charge_to_row
from services.billing.adapters.proof_queries import told
from services.billing.domain.charge import Charge, rated_lines, with_amount
from services.billing.domain.rating.allowance import AllowanceBalance, AllowancePool, RolledOver
from services.billing.domain.rating.price import Price, PriceTier
from services.billing.domain.revenue_schedule import EarnedLine, schedule_of
from tests.unit.billing.prices import JANUARY, T0, a_price
from tests.unit.docs.bundle_script import loaded

script = loaded()

amounts = st.decimals(0, 1_000, places=4)
quantities = st.decimals(0, 10_000, places=3)
fractions = st.sampled_from([Fraction(1), Fraction(17, 31), Fraction(1, 3), Fraction(0)])


@st.composite
def tiers(draw: st.DrawFn, *, percent: bool = False) -> tuple[PriceTier, ...]:
    ends = sorted(draw(st.sets(st.decimals(1, 5_000, places=2), max_size=3)))

    def tier(up_to: Decimal | None) -> PriceTier:
        return PriceTier(
            up_to=up_to,
            unit_amount=Decimal(0) if percent else draw(amounts),
            flat_amount=draw(st.none() | amounts),
            rate_percent=draw(st.decimals(0, 100, places=3)) if percent else None,
            cap_amount=draw(st.none() | amounts),
        )

    return tuple(tier(end) for end in [*ends, None])


@st.composite
def prices(draw: st.DrawFn) -> Price:
    model = draw(
        st.sampled_from(
            [
                "flat",
                "per_unit",
                "graduated",
                "volume",
                "package",
                "percentage",
                "graduated_percentage",
                "dynamic",
                "capacity",
            ]
        )
    )
    terms: dict[str, Any] = {"currency": draw(st.sampled_from(["EUR", "JPY", "KWD"]))}
    if model in ("graduated", "volume", "graduated_percentage"):
        terms["tiers"] = draw(tiers(percent=model == "graduated_percentage"))
        terms["charges_first_flat_at_zero"] = draw(st.booleans())
    if model == "package":
        terms["package_size"] = str(draw(st.decimals("0.5", 500, places=1)))
        terms["package_rounding"] = draw(st.sampled_from(["up", "down"]))
    if model == "percentage":
        terms["rate_percent"] = draw(st.decimals(0, 100, places=3))
        terms["fixed_amount_per_event"] = draw(st.none() | amounts)
    unit = str(draw(amounts)) if model in ("flat", "per_unit", "package", "dynamic", "capacity") else None
    price = a_price(model, unit, included=str(draw(st.sampled_from(["0", "12.5", "900"]))), **terms)  # type: ignore[arg-type]
    if model == "percentage" and price.included_quantity and price.fixed_amount_per_event:
        price = replace(price, fixed_amount_per_event=None)
    least, most = draw(st.none() | amounts), draw(st.none() | amounts)
    if least is not None and most is not None and most < least:
        least, most = most, least
    return replace(price, minimum_amount=least, maximum_amount=most)


def a_charge(price: Price, quantity: Decimal, **changes: Any) -> Charge:
    plain: dict[str, Any] = {
        "id": "chg_1",
        "subscription_id": "sub_1",
        "item_id": "si_1",
        "price": price,
        "period_index": 0,
        "kind": "advance",
        "revision": 0,
        "quantity": quantity,
        "fraction": Fraction(1),
        "service_start": T0,
        "service_end": JANUARY.end,
        "service_start_on": date(2025, 1, 1),
        "service_end_on": date(2025, 2, 1),
        "amount": Money.zero(price.currency),
        "created_at": T0,
    }
    return with_amount(Charge(**{**plain, **changes}))


def ours(charge: Charge) -> list[tuple[Any, ...]]:
    return [
        (
            line.key,
            line.tier,
            Fraction(line.shown_quantity),
            Fraction(line.shown_unit_amount),
            Fraction(line.rounded),
        )
        for line in rated_lines(charge)
    ]


def theirs(charge: Charge) -> list[tuple[Any, ...]]:
    return [
        (
            line.key,
            line.tier,
            script.half_away(line.quantity * line.fraction, 6),
            script.half_away(line.unit, 12),
            line.amount,
        )
        for line in script.lines_of_charge(told(charge_to_row(charge)))
    ]


@settings(max_examples=120, deadline=None)
@given(price=prices(), quantity=quantities, fraction=fractions)
def test_what_a_quantity_costs(price: Price, quantity: Decimal, fraction: Fraction) -> None:
    if price.fixed_amount_per_event is not None:
        charge = a_charge(
            price, quantity, kind="usage", event_count=7, usage_window_id="uwin_1", basis="counted"
        )
    else:
        charge = a_charge(price, quantity, fraction=fraction)
    assert theirs(charge) == ours(charge)


@settings(max_examples=80, deadline=None)
@given(
    price=prices().filter(lambda price: price.model != "percentage"),
    before=quantities,
    after=quantities,
    fraction=fractions,
    is_end=st.booleans(),
    most=st.none() | st.integers(0, 10_000),
)
def test_what_a_change_costs(
    price: Price, before: Decimal, after: Decimal, fraction: Fraction, is_end: bool, most: int | None
) -> None:
    cap = Money(most, price.currency) if is_end and most is not None else None
    charge = a_charge(price, after, quantity_before=before, is_end=is_end, fraction=fraction, most=cap)
    assert theirs(charge) == ours(charge)


@settings(max_examples=40, deadline=None)
@given(
    price=prices().filter(lambda price: price.model in ("per_unit", "graduated", "volume", "package")),
    quantity=st.decimals(-50, 10_000, places=1),
    before=quantities,
    held=st.fractions(0, 40, max_denominator=31),
    is_last=st.booleans(),
)
def test_what_settles_a_pool(
    price: Price, quantity: Decimal, before: Decimal, held: Fraction, is_last: bool
) -> None:
    pool = AllowancePool(date(2025, 1, 1), T0, None, held, 12, "month", before, is_last)
    allowance = AllowanceBalance(price.included_quantity, pool=pool)
    charge = a_charge(
        price, quantity, kind="usage", event_count=3, usage_window_id="uwin_1", allowance=allowance
    )
    assert theirs(charge) == ours(charge)


@settings(max_examples=40, deadline=None)
@given(
    price=prices().filter(lambda p: p.model not in ("percentage", "flat")),
    quantity=quantities,
    free=quantities,
)
def test_free_units_that_are_carried_on(price: Price, quantity: Decimal, free: Decimal) -> None:
    allowance = AllowanceBalance(free, (RolledOver(Decimal(3), 1),), (RolledOver(Decimal("1.5"), 2),))
    charge = a_charge(
        price, quantity, kind="usage", event_count=3, usage_window_id="uwin_1", allowance=allowance
    )
    assert theirs(charge) == ours(charge)


EXPRESSIONS = [
    "quantity * 1.5 + 3",
    "if(quantity > 10 and not quantity == 12, 1 / 3 * quantity, max(5, quantity, 2))",
    "round(quantity / 7, 2) + ceil(billable / 3) - floor(0.5) + abs(-2)",
    "min(quantity, included + 100) * 0.01 + event_count * 0.05",
    "if(quantity <= 3 or quantity >= 500, 0, round(quantity * 2.345, -1))",
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.parametrize("quantity", ["0", "3", "12", "99.25", "4321.5"])
def test_expressions(expression: str, quantity: str) -> None:
    names = {"quantity": quantity, "billable": quantity, "included": "5", "event_count": "4"}
    found = parse(expression, PRICE_TOTALS).work_out(
        {name: Decimal(told) for name, told in names.items()}, ()
    )
    assert script.worked_out(expression, {name: Fraction(told) for name, told in names.items()}) == Fraction(
        found
    )


@given(st.lists(st.binary(max_size=6), max_size=30))
def test_trees(leaves: list[bytes]) -> None:
    hashes = [leaf_hash(leaf) for leaf in leaves]
    assert script.tree_root([hashed.hex() for hashed in hashes]) == root_of(hashes).hex()


@given(st.integers(-(10**6), 10**6), st.lists(st.integers(-500, 500), min_size=1, max_size=8))
def test_splits(whole: int, weights: list[int]) -> None:
    if sum(weights):
        assert script.shared_out(whole, weights) == [
            m.amount_minor for m in allocate(Money(whole, "EUR"), weights)
        ]


@given(
    net=st.integers(-(10**6), 10**6),
    start=st.dates(date(2024, 1, 1), date(2026, 1, 1)),
    days=st.integers(0, 800),
    issued=st.dates(date(2024, 1, 1), date(2027, 1, 1)),
)
def test_schedules(net: int, start: date, days: int, issued: date) -> None:
    until = date.fromordinal(start.toordinal() + days)
    ours = schedule_of(EarnedLine(Money(net, "EUR"), start, until), issued)
    line = {"net_minor": net, "service_start_on": start.isoformat(), "earned_until": until.isoformat()}
    assert script.schedule_of(line, issued) == (
        ours.at_issue.amount_minor,
        [(part.on, part.amount.amount_minor) for part in ours.later],
    )


@given(st.lists(st.text(max_size=8), min_size=1, max_size=4))
def test_ids(parts: list[str]) -> None:
    assert script.derived_id("chg", *parts) == derived_id("chg", *parts)


@given(st.fractions(max_denominator=10**6))
def test_numbers_as_text(value: Fraction) -> None:
    assert script.number(script.plain(value)) == value
