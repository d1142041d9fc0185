"""From a rating to its explanation: the same arithmetic again, step by step, held against what was rated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import NamedTuple

from libs.common.exact import plain
from libs.common.expression import EventView
from libs.common.money import exponent
from services.billing.domain.rating.allowance import AllowanceBalance, AllowancePool, keeps_rest_of_block
from services.billing.domain.rating.capacity import stays_in
from services.billing.domain.rating.derivation import Derivation, Known, WrittenDown
from services.billing.domain.rating.explanation import ExplainedLine, Explanation
from services.billing.domain.rating.expression import events_of, expression_of
from services.billing.domain.rating.graduated_percentage import PERCENT
from services.billing.domain.rating.matrix import cell_of, groups_of
from services.billing.domain.rating.percentage import WHY, event_fees, free_amount, is_about_events
from services.billing.domain.rating.rate import Rated
from services.billing.domain.rating.rated_line import LINE_WORDS, NOTHING, ONE, RatedLine
from services.billing.domain.rating.usage import needed_count, sum_of

A_PERCENT = ONE.scaleb(PERCENT)


class Factors(NamedTuple):
    """What a line multiplies, and what it adds once, each derived."""

    quantity: Known
    unit_amount: Known
    flat_amount: Known | None = None


class Case(NamedTuple):
    """What is explained, as far as it has come."""

    rated: Rated
    line: RatedLine
    derivation: Derivation
    billable: Known


def explain(rated: Rated) -> Explanation:
    """The derivation of every line. It is made when it is asked for: rating itself is quick.

    The explanation is checked against the rating, so that it can never tell of another amount.
    """
    derivation = Derivation()
    decimals = exponent(rated.price.currency)
    billable = _billable(rated, derivation)
    shared = derivation.take_steps()
    amounts: list[Known] = []
    lines: list[ExplainedLine] = []
    for line in rated.lines:
        if line.kind == "price":
            found = _priced(Case(rated, line, derivation, billable), decimals)
        else:
            found = _bounded(rated, line, derivation, amounts, decimals)
        assert found.value == line.rounded, "an explanation comes to what was rated"
        amounts.append(found)
        cell = "cell " if rated.price.cells else ""
        told = f"{cell}{line.bounds}" if line.kind == "price" else LINE_WORDS[line.kind]
        lines.append(
            ExplainedLine(
                line.kind, line.ordinal, told, derivation.take_steps(), _money(line.rounded, decimals)
            )
        )
    return Explanation(
        price_code=rated.price.code,
        description=rated.price.description,
        model=rated.price.model,
        currency=rated.price.currency,
        currency_decimals=decimals,
        inputs=tuple(derivation.inputs),
        steps=shared,
        lines=tuple(lines),
        amount=_money(rated.amount.to_decimal(), decimals),
    )


def _money(amount: Decimal, decimals: int) -> str:
    return f"{amount:.{decimals}f}"


def _billable(rated: Rated, at: Derivation) -> Known:
    """The quantity measured, and what is left of it when everything free is off."""
    price = rated.price
    if price.model == "capacity" and rated.usage.levels is not None:
        quantity = _capacity(rated, at)
    else:
        quantity = at.given("quantity", rated.usage.quantity, "the quantity")
    if rated.opening is not None and rated.opening.pool is not None:
        return _drawn_on_pool(rated.opening, rated.opening.pool, quantity, at)
    if rated.opening is not None:
        return _drawn(rated.opening, quantity, at)
    if not price.included_quantity or price.model in ("flat", "matrix"):
        return quantity
    included = at.given("included", price.included_quantity, "units included")
    rest = at.step("beyond_included", "-", quantity, included, says="without what is included")
    return at.step("billable", "max", NOTHING, rest, says="to be paid")


def _drawn(opening: AllowanceBalance, quantity: Known, at: Derivation) -> Known:
    rest = quantity
    left = (
        ("included", opening.included, "still included"),
        ("rolled_over", sum_of(e.quantity for e in opening.rolled_over), "rolled over from earlier"),
        ("left_of_blocks", sum_of(e.quantity for e in opening.left_of_blocks), "left of blocks paid earlier"),
    )
    for name, units, says in left:
        if units:
            free = at.step(f"{name}_used", "min", rest, at.given(name, units, says), says=f"free, {says}")
            rest = at.step("billable", "-", rest, free, says="that leaves")
    return rest


def _drawn_on_pool(balance: AllowanceBalance, pool: AllowancePool, quantity: Known, at: Derivation) -> Known:
    """All usage of the pool, and what was earned while its price was held, once it is settled. Source: R13."""
    before = at.given("pool_used_before", pool.used_before, "used of the pool before this")
    used = at.step("pool_used", "+", before, quantity, says="with what was used of the pool before")
    used = at.step("pool_used", "max", NOTHING, used, says=f"used of the pool since {pool.start_on}")
    if not pool.is_last:
        return at.given("billable", NOTHING, "to be paid now: the pool is settled later")
    included = at.given("included", balance.included, f"units that {pool.length} {pool.unit}s earn")
    held = at.given("pool_held", plain(pool.held), f"{pool.unit}s of the pool until now")
    length = at.given("pool_length", Decimal(pool.length), f"{pool.unit}s of an interval of the pool")
    earned = at.step("pool_earned", "*", included, held)
    earned = at.step("pool_earned", "/", earned, length, says="earned by the pool")
    rest = at.step("beyond_pool", "-", used, earned, says="without what the pool has earned")
    return at.step("billable", "max", NOTHING, rest, says="to be paid")


def _capacity(rated: Rated, at: Derivation) -> Known:
    assert rated.period is not None
    assert rated.usage.levels is not None
    stays = stays_in(rated.usage.levels, rated.period)
    levels = [
        at.given(f"level_{n}", stay.level, "a level", is_detail=True) for n, stay in enumerate(stays, 1)
    ]
    if rated.price.capacity_basis == "peak":
        peak = at.step("peak", "max", NOTHING, *levels)
        return at.note("quantity", "min", [peak.name], peak.value, "the peak")
    whole = at.given("period_us", Decimal(rated.period.length_us), "microseconds of the period")
    if not whole.value:
        return at.given("quantity", NOTHING, "nothing lasted")
    weighed = [
        at.step(
            "weighed",
            "*",
            level,
            at.given(f"level_{n}_us", Decimal(stay.length_us), "how long", is_detail=True),
        )
        for n, (level, stay) in enumerate(zip(levels, stays, strict=True), 1)
    ]
    total = at.step("levels_by_time", "sum", *weighed, says="levels by the time that they lasted")
    return at.step("quantity", "/", total, whole, says="the mean over the period")


def _priced(case: Case, decimals: int) -> Known:
    line, at = case.line, case.derivation
    factors = FACTORS[case.rated.price.model](case)
    amount = at.step("amount", "*", factors.quantity, factors.unit_amount)
    if factors.flat_amount is not None:
        amount = at.step("amount", "+", amount, factors.flat_amount, says="with what is added once")
    if line.cap_amount is not None:
        cap = at.given(f"tier_{line.ordinal}_cap_amount", line.cap_amount, "the most that the tier comes to")
        amount = at.step("amount", "min", amount, cap, says="at most")
    if line.fraction != 1:
        part = at.given("fraction", line.fraction, "the part of the period")
        amount = at.step("amount", "*", amount, part, says="for a part of the period")
    return at.step("rounded", "round", amount, Decimal(decimals), says="to the minor unit")


def _bounded(rated: Rated, line: RatedLine, at: Derivation, amounts: list[Known], decimals: int) -> Known:
    bound = rated.price.minimum_amount if line.kind == "minimum" else rated.price.maximum_amount
    assert bound is not None
    known = at.given(line.kind, bound, f"the {line.kind} of a charge")
    if rated.bounds_fraction != 1:
        part = at.given("bounds_fraction", rated.bounds_fraction, "the part of the period for which it holds")
        known = at.step(f"{line.kind}_of_part", "*", known, part, says="for a part of the period")
    known = at.step(f"{line.kind}_rounded", "round", known, Decimal(decimals), says="to the minor unit")
    so_far = at.step("lines", "sum", *amounts, says="the lines so far")
    return at.step("difference", "-", known, so_far)


def _unit_amount(case: Case, says: str = "for each unit") -> Known:
    assert isinstance(case.line.unit_amount, Decimal)
    return case.derivation.given("unit_amount", case.line.unit_amount, says)


def _flat(case: Case) -> Factors:
    return Factors(
        case.derivation.given("periods", ONE, "the fee is charged once"), _unit_amount(case, "the fee")
    )


def _per_unit(case: Case) -> Factors:
    return Factors(case.billable, _unit_amount(case))


def _package(case: Case) -> Factors:
    at, price = case.derivation, case.rated.price
    assert price.package_size is not None
    size = at.given("package_size", price.package_size, "units of a package")
    rounding = "ceil" if price.package_rounding == "up" else "floor"
    parts = at.step("in_packages", "/", case.billable, size, says="in packages")
    packages = at.step("packages", rounding, parts, says="whole packages")
    if case.rated.opening is not None and keeps_rest_of_block(price):
        paid = at.step("units_paid", "*", packages, size, says="units paid for")
        at.step("left_of_block", "-", paid, case.billable, says="kept for later")
    return Factors(packages, _unit_amount(case, "for each package"))


def _tier_terms(case: Case) -> tuple[Known, Known | None]:
    """The unit amount of the tier, as a share where it is in percent, and its flat amount."""
    at, number = case.derivation, case.line.ordinal
    tier = case.rated.price.tiers[number - 1]
    if tier.rate_percent is not None and case.rated.price.model == "graduated_percentage":
        percent = at.given(f"tier_{number}_rate_percent", tier.rate_percent, "percent of the amount")
        unit = at.step(f"tier_{number}_rate", "*", percent, A_PERCENT, says="as a share")
    else:
        unit = at.given(f"tier_{number}_unit_amount", tier.unit_amount, "for each unit")
    if not case.line.flat_amount:
        return unit, None
    assert isinstance(case.line.flat_amount, Decimal)
    return unit, at.given(f"tier_{number}_flat_amount", case.line.flat_amount, "added once")


def _graduated(case: Case) -> Factors:
    at, number = case.derivation, case.line.ordinal
    tiers = case.rated.price.tiers
    upper, units = tiers[number - 1].up_to, case.billable
    if upper is not None:
        end = at.given(f"tier_{number}_up_to", upper, "where the tier ends")
        units = at.step("up_to_here", "min", units, end, says="units up to here")
    lower = tiers[number - 2].up_to if number > 1 else None
    if lower is not None:
        start = at.given(f"tier_{number - 1}_up_to", lower, "where the tier ends")
        units = at.step("in_tier", "-", units, start, says="units in the tier")
    return Factors(units, *_tier_terms(case))


def _volume(case: Case) -> Factors:
    return Factors(case.billable, *_tier_terms(case))


def _capacity_factors(case: Case) -> Factors:
    return _graduated(case) if case.rated.price.tiers else _per_unit(case)


def _dynamic(case: Case) -> Factors:
    return Factors(case.billable, _unit_amount(case, "times"))


def _matrix(case: Case) -> Factors:
    """The groups of the cell; units included are used up by the cells before it first."""
    at, price, index = case.derivation, case.rated.price, case.line.ordinal - 1
    groups = [
        at.given(f"cell_{index + 1}_group_{number}", quantity, ", ".join(str(value) for value in values))
        for number, (values, quantity) in enumerate(groups_of(price, case.rated.usage), start=1)
        if cell_of(price, values) == index
    ]
    units = at.step("in_cell", "sum", *groups, says="units of the cell")
    if price.included_quantity:
        lines = case.rated.lines
        before = sum_of(
            part.counted_from - part.quantity
            for part in lines[: lines.index(case.line)]
            if isinstance(part.counted_from, Decimal) and isinstance(part.quantity, Decimal)
        )
        included = at.given("included", price.included_quantity, "units included")
        left = at.step("still_included", "-", included, before, says="still included")
        free = at.step("free", "min", left, units, says="free")
        units = at.step("billable", "-", units, free, says="to be paid")
    cell = price.cells[index]
    return Factors(units, at.given(f"cell_{index + 1}_unit_amount", cell.unit_amount, "for each unit"))


def _percentage(case: Case) -> Factors:
    at, price = case.derivation, case.rated.price
    assert price.rate_percent is not None
    percent = at.given("rate_percent", price.rate_percent, "percent of the amount")
    rate = at.step("rate", "*", percent, A_PERCENT, says="as a share")
    if is_about_events(price):
        return _percentage_of_events(case, rate)
    taken = case.billable
    if price.free_amount:
        free = at.given("free_amount", price.free_amount, "of the amount is free")
        taken = at.step("taken", "max", NOTHING, at.step("beyond_free", "-", taken, free), says="not free")
    if not price.fixed_amount_per_event:
        return Factors(taken, rate)
    count = at.given("event_count", Decimal(needed_count(case.rated.usage, WHY)), "events")
    fixed = at.given("fixed_amount_per_event", price.fixed_amount_per_event, "for each event")
    return Factors(taken, rate, at.step("fixed", "*", count, fixed, says="the fixed parts"))


def _percentage_of_events(case: Case, rate: Known) -> Factors:
    """Each event by itself; what its fee is beyond its percentage is added once, for all of them."""
    at, price = case.derivation, case.rated.price
    taken: list[Known] = []
    fees: list[Known] = []
    amount_left: Known | None = None
    if free_amount(price):
        amount_left = at.given("free_amount", free_amount(price), "of the amount is free")
    for number, event in enumerate(event_fees(price, case.rated.usage), start=1):
        amount = at.given(f"event_{number}", event.amount, "the amount of an event", is_detail=True)
        if event.is_free:
            if amount_left is not None:
                amount_left = at.step("free_left", "-", amount_left, amount)
            continue
        if event.taken != event.amount:
            assert amount_left is not None
            amount = at.step("not_free", "-", amount, amount_left)
        taken.append(amount)
        fees.append(_event_fee(case, at.step("share", "*", amount, rate)))
    all_taken = at.step("taken", "sum", *taken, says="the amounts that are not free")
    all_fees = at.step("fees", "sum", *fees, says="the fees of the events")
    shares = at.step("shares", "*", all_taken, rate, says="of which the percentage is")
    return Factors(all_taken, rate, at.step("beyond_shares", "-", all_fees, shares, says="and the rest"))


def _event_fee(case: Case, fee: Known) -> Known:
    at, price = case.derivation, case.rated.price
    if price.fixed_amount_per_event:
        fixed = at.given("fixed_amount_per_event", price.fixed_amount_per_event, "for each event")
        fee = at.step("fee", "+", fee, fixed)
    if price.minimum_amount_per_event is not None:
        least = at.given("minimum_amount_per_event", price.minimum_amount_per_event, "the least for an event")
        fee = at.step("fee", "max", fee, least)
    if price.maximum_amount_per_event is not None:
        most = at.given("maximum_amount_per_event", price.maximum_amount_per_event, "the most for an event")
        fee = at.step("fee", "min", fee, most)
    return fee


def _expression(case: Case) -> Factors:
    """The expression once more, in an algebra that writes each step down."""
    at, rated = case.derivation, case.rated
    assert rated.price.expression is not None
    read = expression_of(rated.price.expression)
    names = {"billable": case.billable}
    if "quantity" in read.names:
        names["quantity"] = at.given("quantity", rated.usage.quantity, "the quantity")
    if "included" in read.names:
        names["included"] = at.given("included", rated.price.included_quantity, "units included")
    if "event_count" in read.names:
        names["event_count"] = at.given("event_count", Decimal(needed_count(rated.usage, WHY)), "events")
    events = [
        EventView(
            {"value": at.given(f"event_{number}", view.names["value"], "an event", is_detail=True)}, view.data
        )
        for number, view in enumerate(events_of(rated.usage) if read.needs_events else (), start=1)
    ]
    amount: Known = read.work_out_in(WrittenDown(at), names, events)
    return Factors(at.given("periods", ONE, "the amount is charged once"), amount)


FACTORS: Mapping[str, Callable[[Case], Factors]] = {
    "flat": _flat,
    "per_unit": _per_unit,
    "package": _package,
    "graduated": _graduated,
    "graduated_percentage": _graduated,
    "volume": _volume,
    "capacity": _capacity_factors,
    "dynamic": _dynamic,
    "matrix": _matrix,
    "percentage": _percentage,
    "expression": _expression,
}
