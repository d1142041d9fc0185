"""Prepaid credits: the order in which they are used, what was paid for them, and what they never do."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.money import Money
from services.billing.domain.wallet import (
    Draw,
    Grant,
    GrantOfTopUp,
    GrantUsedUp,
    Movement,
    Scope,
    TooManyGrants,
    TopUpRule,
    Wallet,
    WalletTooFull,
    drawn,
    expired,
    given_back,
    grant_voided,
    granted,
    watched,
)
from services.billing.domain.wallet_draw import PayableLine, draw_money, draw_units, payable_of
from services.billing.domain.wallet_top_up import (
    NotBefore,
    TopUpPriceMissing,
    decide_top_up,
    month_of,
    price_of,
)

NOW = datetime(2025, 2, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def eur(minor: int) -> Money:
    return Money(minor, "EUR")


def a_wallet(**changes: Any) -> Wallet:
    plain = Wallet(id="wal_1", customer_id="cus_1", name="Credits", currency="EUR", created_at=NOW)
    return replace(plain, **changes)


def give(wallet: Wallet, amount: str, cost: int = 0, **options: Any) -> Wallet:
    options = {"priority": 0, "now": NOW, **options}
    return granted(wallet, amount=Decimal(amount), cost=eur(cost), actor="test", **options).wallet


def use(wallet: Wallet, *draws: tuple[int, str]) -> Movement:
    """So much of the grants with these ordinals."""
    ids = {grant.ordinal: grant.id for grant in wallet.grants}
    wanted = [Draw(ids[ordinal], Decimal(amount), eur(1)) for ordinal, amount in draws]
    return drawn(wallet, wanted, invoice_id="inv_1", now=NOW, actor="test")


class Order(NamedTuple):
    name: str
    grants: list[dict[str, Any]]
    used: list[int]


ORDERS = [
    #     name                         grants                                                                used
    Order("age",                       [{}, {"now": NOW - DAY}],                                             [2, 1]),
    Order("as_they_came",              [{}, {}],                                                             [1, 2]),
    Order("priority_before_age",       [{"priority": 1}, {}],                                                [2, 1]),
    Order("what_expires_comes_first",  [{}, {"expires_at": NOW + DAY}],                                      [2, 1]),
    Order("what_expires_sooner",       [{"expires_at": NOW + 2 * DAY}, {"expires_at": NOW + DAY}],           [2, 1]),
    Order("priority_before_expiry",    [{"priority": 1, "expires_at": NOW + DAY}, {}],                       [2, 1]),
    Order("what_expires_now_is_over",  [{"expires_at": NOW}, {}],                                            [2]),
]  # fmt: skip


@pytest.mark.parametrize("case", ORDERS, ids=lambda case: case.name)
def test_grants_are_used_in_order(case: Order) -> None:
    wallet = a_wallet()
    for options in case.grants:
        wallet = give(wallet, "10", **options)
    assert [grant.ordinal for grant in wallet.usable(NOW)] == case.used
    paid = draw_money([wallet], (), eur(10_000), now=NOW)
    ordinals = {grant.id: grant.ordinal for grant in wallet.grants}
    assert [ordinals[draw.grant_id] for draw in paid.draws] == case.used


def line(id: str, minor: int, **of: Any) -> PayableLine:
    return PayableLine(id=id, amount=eur(minor), **of)


def test_money_pays_the_total_with_tax_and_no_more() -> None:
    wallet = give(a_wallet(), "39.00", 3900)
    first = draw_money([wallet], (), eur(1772), now=NOW)
    assert first.paid == eur(1772)
    wallet = drawn(wallet, first.draws, invoice_id="inv_1", now=NOW, actor="test").wallet
    assert wallet.balance == Decimal("21.28")
    assert draw_money([wallet], (), eur(9999), now=NOW).paid == eur(2128)
    assert draw_money([wallet], (), eur(0), now=NOW).draws == ()
    assert draw_money([wallet], (), Money(5, "USD"), now=NOW).draws == ()


def test_money_with_a_scope_pays_its_lines() -> None:
    lines = [line("a", 1000, price_code="seats"), line("b", 500, price_code="calls", meter="calls")]
    wallet = give(a_wallet(), "20.00", scope=Scope(meters=("calls",)))
    assert draw_money([wallet], lines, eur(1500), now=NOW).paid == eur(500)
    both = give(wallet, "8.00", priority=1)
    assert [draw.paid for draw in draw_money([both], lines, eur(1500), now=NOW).draws] == [eur(500), eur(800)]
    # A credit beside the lines: no more than the total is paid.
    assert draw_money([both], [*lines, line("c", -1300)], eur(200), now=NOW).paid == eur(200)


def test_units_cover_lines_at_their_price() -> None:
    wallet = give(a_wallet(unit="kWh"), "100", 1000)
    lines = [
        line("a", 50, unit="kWh", quantity=Decimal(100), unit_amount=Decimal("0.005")),
        line("b", 33, unit="kWh", quantity=Decimal("66.6"), unit_amount=Decimal("0.005")),
    ]
    all_of_it = draw_units([give(wallet, "66.6")], lines, "EUR", now=NOW)
    assert [(draw.line_id, draw.paid) for draw in all_of_it.draws] == [("a", eur(50)), ("b", eur(33))]
    part = draw_units([give(wallet, "1")], lines, "EUR", now=NOW)
    assert [(draw.amount, draw.paid) for draw in part.draws] == [
        (Decimal(100), eur(50)),
        (Decimal(1), eur(1)),
    ]
    other = [replace(lines[0], unit="minute"), replace(lines[0], quantity=Decimal(0))]
    assert draw_units([wallet], other, "EUR", now=NOW).draws == ()
    named = give(a_wallet(unit="credits"), "5", scope=Scope(price_codes=("minutes",)))
    assert draw_units([named], [replace(other[0], price_code="minutes")], "EUR", now=NOW).paid == eur(3)


@given(
    amounts=st.lists(st.decimals("0.000001", "1000", places=6), min_size=1, max_size=4),
    lines=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 400)), max_size=5),
)
@settings(max_examples=60)
def test_units_cover_no_more_than_there_is(amounts: list[Decimal], lines: list[tuple[int, int]]) -> None:
    wallet = a_wallet(unit="u")
    for amount in amounts:
        wallet = give(wallet, str(amount))
    payable = [
        PayableLine(
            id=str(place),
            amount=Money.from_decimal(Decimal(quantity) * price / 100, "EUR"),
            unit="u",
            quantity=Decimal(quantity),
            unit_amount=Decimal(price) / 100,
        )
        for place, (quantity, price) in enumerate(lines)
    ]
    found = draw_units([wallet], payable, "EUR", now=NOW)
    after = drawn(wallet, found.draws, invoice_id="inv_1", now=NOW, actor="test").wallet
    assert after.balance == sum((grant.remaining for grant in after.grants), Decimal(0))
    for each in payable:
        mine = [draw for draw in found.draws if draw.line_id == each.id]
        assert sum(draw.amount for draw in mine) <= each.quantity
        covered = sum(draw.paid.amount_minor for draw in mine)
        assert covered <= each.amount.amount_minor
        if mine and sum(draw.amount for draw in mine) == each.quantity:
            assert covered == each.amount.amount_minor
    everything = sum(each.quantity for each in payable if each.amount.amount_minor)
    assert sum(draw.amount for draw in found.draws) == min(wallet.balance, everything)


@given(
    nets=st.lists(st.integers(-2000, 9000), min_size=1, max_size=6),
    percent=st.sampled_from(["0", "19", "21", "7.7"]),
)
@settings(max_examples=60)
def test_what_is_payable_of_each_line_sums_to_the_total(nets: list[int], percent: str) -> None:
    total = Money.from_decimal(Decimal(sum(nets)) * (100 + Decimal(percent)) / 10_000, "EUR")
    found = payable_of([eur(net) for net in nets], [Decimal(percent)] * len(nets), total)
    if sum(nets):
        assert sum(part.amount_minor for part in found) == total.amount_minor


@given(st.data())
@settings(max_examples=80)
def test_whatever_happens_entries_sum_to_the_balance_and_costs_to_what_is_left(data: st.DataObject) -> None:
    """Grants, uses, returns, expiry, voids: the parts of what was paid come and go with the credits, to the cent."""
    wallet = a_wallet()
    movements: list[Movement] = []
    returnable: list[tuple[Grant, Draw]] = []
    now = NOW
    for _ in range(data.draw(st.integers(1, 10))):
        now += DAY
        what = data.draw(st.sampled_from(("grant", "use", "return", "expire", "void")))
        if what == "grant":
            amount = data.draw(st.integers(1, 1000))
            movement: Movement | None = granted(
                wallet,
                amount=Decimal(amount) / 100,
                cost=eur(data.draw(st.integers(0, amount))),
                priority=data.draw(st.integers(0, 2)),
                now=now,
                actor="test",
                expires_at=data.draw(st.sampled_from((None, now + 2 * DAY))),
            )
        elif what == "use" and wallet.usable(now):
            found = draw_money([wallet], (), eur(data.draw(st.integers(1, 800))), now=now)
            movement = drawn(wallet, found.draws, invoice_id="inv_1", now=now, actor="test")
            grants = {grant.id: grant for grant in movement.grants}
            returnable += [(grants[draw.grant_id], draw) for draw in found.draws]
        elif what == "return" and returnable:
            grant, draw = returnable.pop()
            known = next((each for each in wallet.grants if each.id == grant.id), None)
            newest = known or replace(grant, remaining=Decimal(0))
            if newest.remaining + draw.amount > newest.amount:
                continue
            movement = given_back(wallet, [(newest, draw)], invoice_id="inv_1", now=now, actor="test")
        elif what == "expire":
            movement = expired(wallet, now=now, actor="test")
        elif what == "void" and wallet.grants:
            id = data.draw(st.sampled_from([grant.id for grant in wallet.grants]))
            movement = grant_voided(wallet, id, now=now, actor="test", reason="mistake")
            returnable = [pair for pair in returnable if pair[0].id != id]
        else:
            continue
        if movement is not None:
            movements.append(movement)
            wallet = movement.wallet
            gone = {grant.id for grant in movement.grants if movement.kind == "expired"}
            returnable = [pair for pair in returnable if pair[0].id not in gone]
        assert wallet.balance >= 0
    entries = [entry for movement in movements for entry in movement.entries]
    assert [entry.ordinal for entry in entries] == list(range(1, len(entries) + 1))
    assert sum((entry.amount for entry in entries), Decimal(0)) == wallet.balance
    assert wallet.balance == sum((grant.remaining for grant in wallet.grants), Decimal(0))
    cost_left = sum(grant.cost_left.amount_minor for grant in wallet.grants)
    assert sum(entry.cost.amount_minor for entry in entries) == cost_left
    for grant in wallet.grants:
        assert 0 <= grant.cost_left.amount_minor <= grant.cost.amount_minor


def test_the_last_use_has_what_is_left_of_the_cost() -> None:
    movement = use(give(a_wallet(unit="u"), "3", 100), (1, "1"))
    second = use(movement.wallet, (1, "1"))
    third = use(second.wallet, (1, "1"))
    assert [each.cost.amount_minor for each in (movement, second, third)] == [-33, -34, -33]


def test_what_expires_is_taken_once() -> None:
    wallet = give(give(a_wallet(), "5.00", 500, expires_at=NOW + DAY), "2.00")
    assert wallet.due_at == NOW + DAY
    assert expired(wallet, now=NOW + DAY - timedelta(microseconds=1), actor="test") is None
    over = expired(wallet, now=NOW + DAY, actor="test")
    assert over is not None
    assert (over.cost, over.wallet.balance, over.wallet.due_at) == (eur(-500), Decimal("2.00"), None)
    assert expired(over.wallet, now=NOW + 9 * DAY, actor="test") is None


def test_what_comes_back_to_an_expired_grant_expires_again() -> None:
    wallet = give(a_wallet(), "5.00", 500, expires_at=NOW + DAY)
    used = use(wallet, (1, "2.00"))
    over = expired(used.wallet, now=NOW + DAY, actor="test")
    assert over is not None
    pair = over.grants[0], Draw(over.grants[0].id, Decimal("2.00"), eur(200))
    back = given_back(over.wallet, [pair], invoice_id="inv_1", now=NOW + 2 * DAY, actor="test")
    assert back.wallet.usable(NOW + 2 * DAY) == []
    assert back.wallet.due_at == NOW + DAY
    again = expired(back.wallet, now=NOW + 2 * DAY, actor="test")
    assert again is not None
    assert again.cost == eur(-200)


def test_a_grant_that_an_invoice_sold_goes_with_it() -> None:
    wallet = give(a_wallet(), "5.00", 500, source="top_up", top_up_id="tup_1")
    id = wallet.grants[0].id
    with pytest.raises(GrantOfTopUp):
        grant_voided(wallet, id, now=NOW, actor="test", reason="no")
    gone = grant_voided(wallet, id, now=NOW, actor="test", reason="void", with_its_invoice=True)
    assert gone.wallet.balance == 0
    with pytest.raises(GrantUsedUp):
        grant_voided(gone.wallet, id, now=NOW, actor="test", reason="again", with_its_invoice=True)


def test_a_wallet_is_bounded() -> None:
    with pytest.raises(WalletTooFull):
        give(give(a_wallet(), "1"), "1000000000000000")
    many = replace(a_wallet(), grants=give(a_wallet(), "1").grants * 1_000)
    with pytest.raises(TooManyGrants):
        give(many, "1")


RULE = TopUpRule(threshold=Decimal(10), amount=Decimal(50), monthly_limit=eur(12_000))


def test_below_the_threshold_more_is_bought_once() -> None:
    wallet = give(a_wallet(top_up=RULE), "10.00")
    assert wallet.top_up_after is None, "at the threshold is not below it"
    below = use(wallet, (1, "0.01")).wallet
    assert (below.top_up_after, below.due_at) == (NOW, NOW)
    assert decide_top_up(below, spent=eur(0), now=NOW) == eur(5000)
    under_way = watched(replace(below, open_top_up_id="tup_1"), now=NOW)
    assert under_way.due_at is None
    assert decide_top_up(under_way, spent=eur(0), now=NOW) is None


@pytest.mark.parametrize(
    ("spent", "decided"),
    [(7000, eur(5000)), (7001, NotBefore(datetime(2025, 3, 1, tzinfo=UTC)))],
    ids=["exactly_the_limit", "a_cent_beyond"],
)
def test_a_month_has_a_limit(spent: int, decided: Money | NotBefore) -> None:
    assert decide_top_up(a_wallet(top_up=RULE), spent=eur(spent), now=NOW) == decided


def test_months_are_those_of_utc() -> None:
    assert month_of(datetime(2024, 12, 31, 23, 59, tzinfo=UTC)) == (
        datetime(2024, 12, 1, tzinfo=UTC),
        datetime(2025, 1, 1, tzinfo=UTC),
    )


def test_what_credits_cost() -> None:
    assert price_of(a_wallet(), Decimal("12.34")) == eur(1234)
    units = a_wallet(unit="kWh", unit_amount=Decimal("0.2515"))
    assert price_of(units, Decimal(100)) == eur(2515)
    assert price_of(units, Decimal(100), eur(2000)) == eur(2000)
    with pytest.raises(TopUpPriceMissing):
        price_of(a_wallet(unit="kWh"), Decimal(100))
