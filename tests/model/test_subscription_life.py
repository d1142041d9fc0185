"""Random lives of a subscription: the product's domain and the reference model agree on every step of them."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from libs.common.errors import DomainError
from services.subscriptions.domain.period_terms import terms_of
from tests.model import agreement as model
from tests.model import product
from tests.model.agreement import Agreement, Method, Plan, Planned, Price, Refused, Wish
from tests.model.books import Books, afresh
from tests.model.calendar import DAY, day_begins, day_of, days_between
from tests.model.money import Tariff, frames_of, owed

ZONES = [
    "UTC",
    "Europe/Amsterdam",
    "America/New_York",
    "Pacific/Tongatapu",
    "Pacific/Apia",
    "Pacific/Pago_Pago",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "America/St_Johns",
    "America/Havana",
    "Africa/Cairo",
]
INTERVALS = [("month", 1), ("month", 1), ("week", 2), ("month", 3), ("day", 10), ("year", 1)]


def a_plan(code: str, unit: str, count: int, **kinds: str) -> Plan:
    prices = {name: Price(f"{code}.{name}.{unit}{count}", kind) for name, kind in kinds.items()}  # type: ignore[arg-type]
    return Plan(code, unit, count, prices)


def plans_of(unit: str, count: int) -> list[Plan]:
    return [
        a_plan("basic", unit, count, seats="recurring", minutes="usage"),
        a_plan("pro", unit, count, seats="recurring", support="recurring", minutes="usage"),
        a_plan("flat", unit, count, base="recurring", setup="one_time"),
        a_plan("metered", unit, count, minutes="usage"),
    ]


ADD_ONS = [
    a_plan("backup", "month", 1, vault="recurring"),
    a_plan("calls", "month", 1, line="recurring", talk="usage"),
]
SECOND = timedelta(seconds=1)
MICROSECOND = timedelta(microseconds=1)

TIERS = ((Decimal(3), Decimal("9.99"), Decimal("5.00")), (None, Decimal("7.005"), Decimal(0)))
TARIFFS = {
    "basic.seats": Tariff("recurring", unit=Decimal("12.34")),
    "pro.seats": Tariff("recurring", tiers=TIERS),
    "pro.support": Tariff("recurring", fee=Decimal("49.95")),
    "flat.base": Tariff("recurring", unit=Decimal("0.3333"), in_arrears=True),
    "flat.setup": Tariff("one_time", unit=Decimal("25")),
    "backup.vault": Tariff("recurring", unit=Decimal("3.10")),
    "calls.line": Tariff("recurring", fee=Decimal("7"), in_arrears=True),
}
USAGE = Tariff("usage", unit=Decimal("0.02"))


def tariffs_of(method: Method) -> dict[str, Tariff]:
    """By price id, which tells of the plan, the item and the interval."""
    sold = [*ADD_ONS, *(plan for interval in INTERVALS for plan in plans_of(*interval))]
    codes = [price.id for plan in sold for price in plan.prices.values()]
    return {code: replace(TARIFFS.get(code.rsplit(".", 1)[0], USAGE), method=method) for code in codes}


intervals = st.sampled_from(INTERVALS)
plans = intervals.flatmap(lambda interval: st.sampled_from(plans_of(*interval)))
zones = st.sampled_from(ZONES)
counts = st.integers(0, 9).map(Decimal)
METHODS: list[Method | None] = [None, None, "none", "day", "second", "full"]
methods = st.sampled_from(METHODS)
days = st.sampled_from([0, 1, 1, 2, 3, 5, 14, 27, 28, 29, 30, 31, 45, 100])
parts = st.sampled_from(
    [
        timedelta(0),
        MICROSECOND,
        SECOND,
        timedelta(hours=1),
        timedelta(hours=11, minutes=45),
        timedelta(hours=23),
    ]
)
first_days = st.one_of(
    st.dates(date(2024, 1, 1), date(2026, 12, 31)),
    st.sampled_from(
        [date(2024, 1, 31), date(2024, 2, 29), date(2025, 3, 30), date(2025, 10, 26), date(2011, 12, 29)]
    ),
)


@st.composite
def wishes(draw: st.DrawFn, *, calendar: bool = True) -> Wish:
    """One change of an agreement, or several in one."""
    plan = draw(st.none() | plans) if calendar else None
    codes = draw(
        st.sets(st.sampled_from(["seats", "support", "base", "backup/vault", "minutes"]), max_size=2)
    )
    if plan is not None:
        codes = {code for code in codes if code in plan.prices or "/" in code}
    wish = Wish(
        plan=plan,
        quantities={code: draw(counts) for code in sorted(codes)},
        add_ons=tuple((add_on, {}) for add_on in draw(st.lists(st.sampled_from(ADD_ONS), max_size=1))),
        removes=tuple(draw(st.lists(st.sampled_from(["backup", "calls", "calls/talk"]), max_size=1))),
        method=draw(methods),
    )
    if not calendar:
        return wish
    return replace(
        wish,
        anchor_on=draw(st.none() | st.none() | first_days),
        anchoring=draw(st.sampled_from([None, None, "keep", "restart"])),
        zone=draw(st.none() | st.none() | zones),
    )


TERMS: dict[str, st.SearchStrategy[Any]] = {
    "counted_by": st.sampled_from(["day", "day", "second", "any"]),
    "billed_days": st.sampled_from([None, None, None, 10, 45]),
    "plan": plans,
    "seats": counts,
    "zone": zones,
    "starts_on": first_days,
    "begins_in": st.sampled_from([-40, -1, 0, 0, 1, 33]),
    "anchor_on": st.none() | st.none() | first_days,
    "first_part": st.sampled_from(["prorated", "free", "merged"]),
    "trial": st.sampled_from([None, None, ("day", 14), ("month", 1)]),
    "trial_bills_usage": st.booleans(),
    "reminder_days": st.sampled_from([(), (3,), (7, 1)]),
    "at_trial_end": st.sampled_from(["continue", "cancel", "pause"]),
    "term_days": st.sampled_from([None, None, None, 90, 400]),
    "waits": st.sampled_from([False, False, False, True]),
    "pays": st.booleans(),
}


class SubscriptionLife(RuleBasedStateMachine):
    """`now` never goes back. What is due is done before anything is asked for, as the application does it."""

    steps = 0

    @initialize(terms=st.fixed_dictionaries(TERMS))
    def agree(self, terms: dict[str, Any]) -> None:
        self.now = day_begins(terms["starts_on"] - terms["begins_in"] * DAY, terms["zone"])
        self.begin(**terms)

    @precondition(lambda self: self.model.over is not None)
    @rule(terms=st.fixed_dictionaries(TERMS))
    def agree_anew(self, terms: dict[str, Any]) -> None:
        """After its end, another one: time goes on."""
        begins_in = terms["begins_in"] * DAY
        self.begin(**{**terms, "starts_on": day_of(self.now, terms["zone"]) + begins_in})

    def begin(
        self,
        plan: Plan,
        seats: Decimal,
        zone: str,
        starts_on: date,
        begins_in: int,
        anchor_on: date | None,
        first_part: Any,
        trial: tuple[str, int] | None,
        trial_bills_usage: bool,
        reminder_days: tuple[int, ...],
        at_trial_end: Any,
        term_days: int | None,
        waits: bool,
        pays: bool,
        counted_by: str,
        billed_days: int | None,
    ) -> None:
        chosen: dict[str, Any] = {
            "zone": zone,
            "starts_on": starts_on,
            "ends_on": starts_on + term_days * DAY if term_days is not None and not waits else None,
            "anchor_on": anchor_on,
            "first_part": first_part,
            "trial": trial,
            "trial_bills_usage": trial_bills_usage,
            "trial_reminder_days": reminder_days,
            "trial_without_payment": at_trial_end,
            "awaits_activation": waits,
        }
        quantities = {"seats": seats} if "seats" in plan.prices else {}
        self.chosen, self.quantities = chosen, quantities
        self.model = model.agreed(plan, quantities, **chosen)
        self.product = product.agreed(plan, quantities, now=self.now, **chosen)
        self.model.has_payment_method = self.product.has_payment_method = pays
        self.first_part = first_part
        self.counted_by = counted_by
        self.tariffs = tariffs_of("second" if counted_by == "second" else "day")
        billed_until = day_begins(starts_on + billed_days * DAY, zone) if billed_days is not None else None
        self.books = self.product.books = Books(self.tariffs, billed_until)
        self.next_id = 0
        self.run()

    def run(self) -> None:
        self.model.run_to(self.now)
        self.product.run_to(self.now)

    def counted(self, wish: Wish) -> Wish:
        """Where sums are compared to the cent, a life counts by one method; and in one zone if by the second, or where
        something was billed elsewhere until an instant, which is another date in another zone.
        """
        if self.counted_by == "any":
            return wish
        zone = wish.zone if self.counted_by == "day" and self.books.billed_until is None else None
        return replace(wish, method=None, zone=zone)

    def both(
        self, ask_model: Callable[[Agreement], None], ask_product: Callable[[product.Product], None]
    ) -> None:
        """Both do it, or both refuse, and nothing is changed then."""
        before = self.product.subscription
        try:
            ask_model(self.model)
        except Refused:
            with pytest.raises(DomainError):
                ask_product(self.product)
            assert self.product.subscription == before
        else:
            ask_product(self.product)

    # --- time -----------------------------------------------------------------------------------------------------

    @rule(days=days, part=parts)
    def wait(self, days: int, part: timedelta) -> None:
        self.now += days * DAY + part
        self.run()

    @rule(before=st.sampled_from([timedelta(0), timedelta(0), MICROSECOND, SECOND, timedelta(hours=9)]))
    def wait_for_what_is_due(self, before: timedelta) -> None:
        due_at = self.model.next_due()
        if due_at is not None:
            self.now = max(self.now, due_at - before)
        self.run()

    @rule()
    def wait_for_the_day(self) -> None:
        self.now = day_begins(day_of(self.now, self.model.zone) + DAY, self.model.zone)
        self.run()

    # --- changes --------------------------------------------------------------------------------------------------

    @rule(wish=wishes(), settles=st.booleans())
    def change_now(self, wish: Wish, settles: bool) -> None:
        wish = self.counted(wish)
        self.both(
            lambda known: known.change_now(wish, self.now, self.now),
            lambda known: known.change_now(
                self.an_id(), wish, self.now, self.now, first_touched=None, settles=settles
            ),
        )

    @precondition(lambda self: self.model.is_running)
    @rule(wish=wishes(), back=days, part=parts, settles=st.booleans())
    def change_back_then(self, wish: Wish, back: int, part: timedelta, settles: bool) -> None:
        at = max(self.now - back * DAY - part, self.earliest())
        if at < self.model.period.start:
            wish = replace(wish, plan=None, anchor_on=None, anchoring=None)
        wish = replace(self.counted(wish), zone=None)
        self.both(
            lambda known: known.change_now(wish, at, self.now),
            lambda known: known.change_now(
                self.an_id(), wish, at, self.now, first_touched=self.touched_from(at), settles=settles
            ),
        )

    @precondition(lambda self: self.model.over is None)
    @rule(wish=wishes(), ahead=st.none() | days)
    def plan_change(self, wish: Wish, ahead: int | None) -> None:
        at = None
        if ahead is not None:
            at = day_begins(day_of(self.now, self.model.zone) + (ahead + 1) * DAY, self.model.zone)
            if self.model.awaits_activation or (not self.model.periods and at <= self.model.start):
                return
        id, wish = self.an_id(), self.counted(wish)
        self.model.planned.append(Planned(id, at, wish))
        self.product.plan_change(id, wish, at)

    def an_id(self) -> str:
        self.next_id += 1
        return f"sch_{self.next_id}"

    def earliest(self) -> datetime:
        """Nothing is changed before the agreement began, or in a first part that was free."""
        if self.first_part != "free":
            return self.model.start
        begun = [steps[0].at for steps in self.model.items.values()]
        return min(max([self.model.start, *begun]), self.now)

    def touched_from(self, at: datetime) -> int | None:
        index = self.model.index_at(at)
        return index if index < self.model.period.index else None

    # --- pauses, ends, payments -----------------------------------------------------------------------------------

    @rule(
        begins=st.sampled_from([-40, -3, 0, 0, 0, 1, 9, 31]),
        lasts=st.sampled_from([None, None, 1, 12, 40]),
        method=methods,
        settles=st.booleans(),
    )
    def pause(self, begins: int, lasts: int | None, method: Any, settles: bool) -> None:
        start = (
            self.now
            if begins == 0
            else day_begins(day_of(self.now, self.model.zone) + begins * DAY, self.model.zone)
        )
        end = day_begins(day_of(start, self.model.zone) + lasts * DAY, self.model.zone) if lasts else None
        touched = self.touched_from(start) if self.model.is_running and start >= self.model.start else None
        method = method if self.counted_by == "any" else None
        self.both(
            lambda known: known.pause(start, end, method, self.now),
            lambda known: known.pause(start, end, method, self.now, first_touched=touched, settles=settles),
        )

    @rule()
    def withdraw_pause(self) -> None:
        self.both(lambda known: known.withdraw_pause(), lambda known: known.withdraw_pause())

    @rule(back=st.sampled_from([0, 0, 0, 1, 20]), settles=st.booleans())
    def resume(self, back: int, settles: bool) -> None:
        at = self.now - back * DAY
        touched = self.touched_from(at) if self.model.is_running and at >= self.model.start else None
        self.both(
            lambda known: known.resume(at),
            lambda known: known.resume(at, self.now, first_touched=touched, settles=settles),
        )

    @precondition(lambda self: self.model.rest is not None)
    @rule(ahead=st.none() | st.sampled_from([1, 5, 31]))
    def resume_on(self, ahead: int | None) -> None:
        end = day_begins(day_of(self.now, self.model.zone) + ahead * DAY, self.model.zone) if ahead else None
        self.both(lambda known: known.resume_on(end), lambda known: known.resume_on(end))

    @rule(
        ahead=st.sampled_from([0, 1, 6, 40, "period_end", "period_end"]),
        credit=st.sampled_from(["none", "prorated", "full"]),
    )
    def cancel(self, ahead: int | str, credit: Any) -> None:
        if ahead == "period_end":
            at = self.model.period.end if self.model.periods else self.now + 3 * DAY
        else:
            assert isinstance(ahead, int)
            at = self.now + ahead * DAY
        self.both(
            lambda known: known.cancel(at, credit, self.now), lambda known: known.cancel(at, credit, self.now)
        )

    @rule()
    def withdraw_cancellation(self) -> None:
        self.both(lambda known: known.withdraw(self.now), lambda known: known.withdraw(self.now))

    @precondition(lambda self: self.model.is_running)
    @rule(invoice=st.sampled_from(["inv_1", "inv_2"]), heard=st.sampled_from(["overdue", "given_up", "paid"]))
    def hear_of_payment(self, invoice: str, heard: str) -> None:
        self.model.hear(invoice, heard)
        self.product.hear(invoice, heard)

    @precondition(lambda self: self.model.awaits_activation)
    @rule(ahead=st.sampled_from([-20, 0, 0, 15]))
    def activate(self, ahead: int) -> None:
        on = day_of(self.now, self.model.zone) + ahead * DAY
        self.both(
            lambda known: known.activate(on, self.chosen, self.now),
            lambda known: known.activate(on, self.now),
        )

    @rule(has=st.booleans())
    def payment_method(self, has: bool) -> None:
        self.model.has_payment_method = self.product.has_payment_method = has

    # --- what holds after every step ------------------------------------------------------------------------------

    @invariant()
    def they_agree(self) -> None:
        type(self).steps += 1
        subscription = self.product.subscription
        assert str(subscription.state) == self.model.state
        assert self.product.log == self.model.log
        assert subscription.ends_at == self.model.ends_at or self.model.over

    @invariant()
    def nothing_is_due(self) -> None:
        due_at = self.product.subscription.due_at
        assert due_at is None or due_at > self.now
        assert due_at == self.model.next_due()

    @invariant()
    def periods_tile_time(self) -> None:
        known = [self.product.periods[index] for index in sorted(self.product.periods)]
        assert [period.index for period in known] == list(range(len(known)))
        for one, other in pairwise(known):
            assert (one.end, one.end_on) == (other.start, other.start_on)
        for one, expected in zip(known, self.model.periods, strict=True):
            assert one.start <= one.end
            assert one.start_on <= one.end_on
            assert (one.start_on, one.end_on, one.start, one.end, one.kind) == (
                expected.start_on,
                expected.end_on,
                expected.start,
                expected.end,
                expected.kind,
            )
            full = (one.full.start_on, one.full.end_on) if one.full is not None else None
            assert full == expected.whole_on

    @invariant()
    def billing_knows_the_terms(self) -> None:
        """Of every period that is over, and after the end of the whole: as they stand now. Of the current one as well."""
        for expected in self.model.periods:
            known = self.product.periods[expected.index]
            told = product.Told()
            told.hear_terms(terms_of(self.product.subscription, known, is_over=False))
            self.compare(told, expected)
            if expected.index < self.model.period.index or self.model.over == "ended":
                self.compare(self.product.told, expected)
                assert self.product.told.periods[expected.index] == known

    def compare(self, told: product.Told, expected: model.Period) -> None:
        stretches, wanted = told.stretches(expected.index), self.model.terms(expected)
        for code in sorted({*stretches, *wanted}):
            if code.endswith("#") and expected.start == expected.end:
                continue  # it may as well lie in the period that begins at the same instant: it is charged once
            assert stretches.get(code, []) == wanted.get(code, []), f"{code} in period {expected.index}"

    # --- money ----------------------------------------------------------------------------------------------------

    @invariant()
    def no_more_is_given_back_than_was_charged(self) -> None:
        self.books.nets()

    def is_counted_otherwise(self, period: model.Period) -> bool:
        """A date that one zone skipped is a day in another: what was charged before stays as it was counted then."""
        zones = self.model.left - {self.model.zone}
        return any(
            days_between(frame.start_on, frame.end_on, zone)
            != days_between(frame.start_on, frame.end_on, self.model.zone)
            for frame in frames_of(period, self.model.zone)
            for zone in zones
        )

    @invariant()
    def what_is_over_came_to_what_was_agreed_on(self) -> None:
        if self.counted_by == "any":
            return
        codes = {item: code for code, item in self.product.item_ids.items()}
        charged = {
            (codes[item], price, index): value for (item, price, index), value in self.books.nets().items()
        }
        for period in self.model.periods:
            is_over = self.model.over == "ended" or period.index < self.model.period.index
            if not is_over or period.index in self.books.unsettled:  # the next document settles it
                continue
            if self.is_counted_otherwise(period):
                continue
            expected = owed(self.model, period, self.tariffs, billed_until=self.books.billed_until)
            known = {(code, price) for code, price, index in charged if index == period.index}
            for code, price in {*expected, *known}:
                if self.tariffs[price].kind != "recurring":
                    continue
                amount, lines = charged.get((code, price, period.index), (0, 0))
                exact = expected.get((code, price), Fraction(0))
                assert abs(amount - exact) <= Fraction(lines, 2), (
                    f"{code} at {price} in period {period.index}: {amount} in {lines} lines, not {float(exact)}"
                )

    @invariant()
    def what_is_charged_once_is_charged_once(self) -> None:
        """What is agreed on at the instant at which it all ends is given back."""
        standing: dict[str, int] = {}
        for charge in self.books.charges:
            if charge.kind == "once":
                standing[charge.item_id] = standing.get(charge.item_id, 0) + (-1 if charge.is_end else 1)
                assert 0 <= standing[charge.item_id] <= 1

    @invariant()
    def hearing_of_it_all_at_once_comes_to_the_same(self) -> None:
        if self.counted_by == "any" or self.model.over != "ended" or self.books.billed_until is not None:
            return
        fresh = afresh(self.books, self.now).nets()
        otherwise = {period.index for period in self.model.periods if self.is_counted_otherwise(period)}
        for key, (amount, lines) in self.books.nets().items():
            if key[2] in otherwise:
                continue
            other, others = fresh.get(key, (0, 0))
            assert abs(amount - other) <= Fraction(lines + others, 2), key


def live(*, examples: int, same: bool) -> int:
    """Random lives of up to 50 steps each; how many steps there were in all. `same`: those of the last time."""
    SubscriptionLife.steps = 0
    few = settings(
        max_examples=examples,
        stateful_step_count=50,
        deadline=None,
        database=None,
        derandomize=same,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(SubscriptionLife, settings=few)
    return SubscriptionLife.steps


def test_ten_thousand_steps(record_property: Callable[[str, object], None]) -> None:
    steps = live(examples=235, same=True)
    record_property("figures", f"{steps} steps of random lives agree with the reference model")
    assert steps >= 10_000


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_hundred_thousand_steps(record_property: Callable[[str, object], None]) -> None:
    steps = live(examples=3_000, same=False)
    record_property("figures", f"{steps} steps of random lives agree with the reference model")
    assert steps >= 100_000


OWN = Path(__file__).parent


@pytest.mark.parametrize("module", ["agreement.py", "calendar.py", "money.py"])
def test_the_model_shares_no_code_with_the_product(module: str) -> None:
    tree = ast.parse((OWN / module).read_text(encoding="utf-8"))
    named = {
        node.module if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    others = {name for name in named if name is None or name.split(".")[0] not in sys.stdlib_module_names}
    assert others <= {"tests.model.agreement", "tests.model.calendar"}
