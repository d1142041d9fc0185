"""The language of expressions: what it comes to, what it refuses and where, and that it always comes to an end."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.errors import DomainError
from libs.common.exact import Number
from libs.common.expression import (
    DEPTH_MAX,
    LENGTH_MAX,
    ONE_EVENT,
    PRICE_TOTALS,
    EventView,
    ExpressionFailed,
    InvalidExpression,
    parse,
)

EVENTS = [
    EventView({"value": Decimal(3)}, {"km": "1.5", "class": "gold", "route": {"stops": [4, 7]}}),
    EventView({"value": Decimal(2)}, {"km": 2, "class": "silver", "a/b": Decimal("0.5")}),
]
TOTALS = {"quantity": Decimal(9), "billable": Decimal(7), "included": Decimal(2), "event_count": Decimal(2)}


def worked_out(text: str, totals: dict[str, Any] = TOTALS, events: list[EventView] = EVENTS) -> Number:
    return parse(text, PRICE_TOTALS).work_out(totals, events)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("2 + 3 * 4 - 1", "13"),
        ("(2 + 3) * 4", "20"),
        ("10 - 3 - 2", "5"),
        ("24 / 4 / 3", "2"),
        ("1 / 3 * 3", "1"),
        ("1 / 3", "1/3"),
        ("- 2 - -3", "1"),
        ("--quantity", "9"),
        ("-(1/3)", "-1/3"),
        ("quantity * 0.1", "0.9"),
        ("billable + included == quantity and 1 < 2 or 1 > 2", None),
        ("if(billable + included == quantity, 1, 0)", "1"),
        ("if(1 < 1, 1, 0)", "0"),
        ("if(1 <= 1, 1, 0)", "1"),
        ("if(1 > 1, 1, 0)", "0"),
        ("if(1 >= 1, 1, 0)", "1"),
        ("if(1/3 >= 0.3, 1, 0)", "1"),
        ("if(1 != 1, 1, 0)", "0"),
        ("if(not 1 == 1, 1, 0)", "0"),
        ("if(not not 1 == 1, 1, 0)", "1"),
        ("if(1 == 1 and 2 == 2 and 1 == 2, 1, 0)", "0"),
        ("if(1 == 2 and 1 == 1 or 1 == 1, 1, 0)", "1"),
        ("if((1 == 2 or 1 == 1) and 1 == 2, 1, 0)", "0"),
        ("if(quantity > 0, 1, 1 / 0)", "1"),
        ("if(quantity < 0, 1 / 0, 2)", "2"),
        ("min(3, 1, 2)", "1"),
        ("max(3, 1, 1/3)", "3"),
        ("max(4)", "4"),
        ("ceil(1.2)", "2"),
        ("ceil(-1.2)", "-1"),
        ("ceil(1/3)", "1"),
        ("ceil(2)", "2"),
        ("floor(1.9)", "1"),
        ("floor(-1.2)", "-2"),
        ("floor(-1/3)", "-1"),
        ("abs(-2.5)", "2.5"),
        ("abs(2.5)", "2.5"),
        ("round(2.5)", "3"),
        ("round(-2.5)", "-3"),
        ("round(1.005, 2)", "1.01"),
        ("round(1.00499, 2)", "1"),
        ("round(2/3, 2)", "0.67"),
        ("round(-2/3, 2)", "-0.67"),
        ("round(1/3, 0)", "0"),
        ("round(125, -1)", "130"),
        ("round(1/6 * 3)", "1"),
        ("sum(value)", "5"),
        ("sum(1)", "2"),
        ("sum(value * event(\"/km\"))", "8.5"),
        ('sum(if(event("/class") == "gold", value, 0))', "3"),
        ('sum(if("gold" != event("/class"), value, 0))', "2"),
        ('sum(if(event("/missing") == "gold", 1, 0))', "0"),
        ('sum(if(event("/km") == "1.5", 1, 0))', "1"),
        ('sum(event("/missing", 0.5))', "1"),
        ('sum(event("/missing", -0.5))', "-1"),
        ('sum(event("/route/stops/1", 0))', "7"),
        ('sum(event("/route/stops/2", 0))', "0"),
        ('sum(event("/route/stops/x", 0))', "0"),
        ('sum(event("/a~1b", 0))', "0.5"),
        ("5 + sum(value) / event_count", "7.5"),
        ("000000000000000000001.50", "1.5"),
        ("\n quantity\t", "9"),
    ],
)  # fmt: skip
def test_what_an_expression_comes_to(text: str, result: str | None) -> None:
    if result is None:
        with pytest.raises(InvalidExpression):
            worked_out(text)
    else:
        assert worked_out(text) == Fraction(result)


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("", 1, "it ends where a number"),
        ("5 + ", 5, "it ends where a number"),
        ("* 5", 1, "* stands where a number"),
        ("5 5", 3, "5 stands where the end"),
        ("(1", 3, 'it ends where ")"'),
        ("max(1,", 7, "it ends where a number"),
        ("max 1", 5, '1 stands where "("'),
        ("abs(1, 2)", 6, ', stands where ")"'),
        ("if(1 < 2, 3)", 12, ') stands where ","'),
        ("quantum", 1, "nothing is named quantum"),
        ("value", 1, "nothing is named value"),
        ("if", 3, 'it ends where "("'),
        ("and", 1, "and stands where a number"),
        ("1 < 2", 1, "a condition is no number"),
        ("1 + (2 < 3)", 5, "a condition is no number"),
        ("-(2 < 3)", 2, "a condition is no number"),
        ("max(1 < 2)", 5, "a condition is no number"),
        ("if(1, 2, 3)", 4, "a condition should be here"),
        ("if(not 1, 2, 3)", 8, "a condition should be here"),
        ("if(1 < 2 and 3, 2, 3)", 14, "a condition should be here"),
        ("if(3 or 1 < 2, 2, 3)", 4, "a condition should be here"),
        ("1 < 2 < 3", 7, "< stands where the end"),
        ('1 + "a"', 5, "text is no number"),
        ('"a"', 1, "text is no number"),
        ('if("a" == "a", 1, 2)', 8, "text is compared with a field"),
        ('if(quantity == "a", 1, 2)', 13, "text is compared with a field"),
        ('sum(if(event("/a") < "a", 1, 2))', 20, "text is compared with a field"),
        ('sum(if(event("/a", 1) == "a", 1, 2))', 23, "text is compared with a field"),
        ('event("/a")', 1, "a field of which event"),
        ("sum(event(1))", 11, "a field is named by a JSON pointer"),
        ('sum(event("a"))', 11, "a field is named by a JSON pointer"),
        ('sum(event("/a~2"))', 11, "a field is named by a JSON pointer"),
        ('sum(event("' + "/a" * 11 + '"))', 11, "a field is named by a JSON pointer"),
        ('sum(event("/a", quantity))', 17, "quantity stands where a number"),
        ("sum(sum(1))", 5, "there is nothing to sum here"),
        ("sum(1) + value", 10, "nothing is named value"),
        ("round(1, 13)", 10, "the decimals to round to"),
        ("round(1, 0.5)", 10, "the decimals to round to"),
        ("round(1, quantity)", 10, "the decimals to round to"),
        ("1.2.3", 1, "'1' means nothing here"),
        ("1e5", 1, "'1' means nothing here"),
        ("  1 $ 2", 5, "'$' means nothing here"),
        ("a = 1", 3, "'=' means nothing here"),
        ('1 + "abc', 5, "this text has no end"),
        ("1234567890123456789", 1, "too many digits"),
        ("0.1234567890123", 1, "too many digits"),
        ("1 " * LENGTH_MAX, LENGTH_MAX + 1, f"at most {LENGTH_MAX} characters"),
        ("(" * (DEPTH_MAX + 1), DEPTH_MAX + 1, f"at most {DEPTH_MAX} deep"),
        ("-" * (DEPTH_MAX + 1) + "1", DEPTH_MAX + 1, f"at most {DEPTH_MAX} deep"),
        ("not " * (DEPTH_MAX + 1), 4 * DEPTH_MAX + 1, f"at most {DEPTH_MAX} deep"),
        ("abs(" * (DEPTH_MAX + 1), 4 * DEPTH_MAX + 1, f"at most {DEPTH_MAX} deep"),
    ],
)
def test_what_is_refused_and_where(text: str, position: int, message: str) -> None:
    with pytest.raises(InvalidExpression) as refused:
        parse(text, PRICE_TOTALS)
    assert refused.value.position == position
    assert message in refused.value.message
    assert f"at character {position}" in refused.value.message
    assert refused.value.remedy


@pytest.mark.parametrize(
    "text",
    [
        "(" * DEPTH_MAX + "1" + ")" * DEPTH_MAX,
        "-" * DEPTH_MAX + "1",
        "(1) + (1) + " * 40 + "1",
        "1 " + "+ 1 " * 249,
        "999999999999999999.999999999999",
        "round(1, 12) + round(1, -12)",
        "max(" + "1, " * 300 + "1)",
    ],
)
def test_what_lies_just_within_the_bounds(text: str) -> None:
    assert len(text) <= LENGTH_MAX
    worked_out(text)


def test_remedies_name_what_is_known() -> None:
    for text, remedy in (
        ("quantum", "Names known here: billable, event_count, included, quantity."),
        ("sum(quantum)", "Names known here: billable, event_count, included, quantity, value."),
        ("value", "Write sum(value): what each event has is spoken of within sum."),
        ("(1", 'Put ")" here.'),
    ):
        with pytest.raises(InvalidExpression) as refused:
            parse(text, PRICE_TOTALS)
        assert refused.value.remedy == remedy


@pytest.mark.parametrize(
    ("text", "message", "field"),
    [
        ("1 / (quantity - 9)", "a division by zero, at character 3", None),
        ("2 * quantity / 0", "a division by zero, at character 14", None),
        (
            'sum(event("/class"))',
            "the field /class is no number, which is asked for at character 5",
            "/class",
        ),
        ('sum(event("/route"))', "the field /route is no number", "/route"),
        ('sum(event("/missing"))', "the field /missing is missing", "/missing"),
        ('sum(event("/class", 0))', "the field /class is no number", "/class"),
    ],
)
def test_what_fails_with_these_numbers(text: str, message: str, field: str | None) -> None:
    with pytest.raises(ExpressionFailed) as failed:
        worked_out(text)
    assert message in failed.value.message
    assert failed.value.remedy
    assert failed.value.facts.get("field") == field


@pytest.mark.parametrize(
    "value",
    ["1e5", "0x1", " 1", "", "1" * 41, True, 1.5, Decimal("NaN"), Decimal("1E+41"), [], Decimal("1" * 41)],
)
def test_what_is_no_number_in_a_field(value: Any) -> None:
    with pytest.raises(ExpressionFailed):
        worked_out('sum(event("/x"))', events=[EventView({}, {"x": value})])


@pytest.mark.parametrize("value", ["-1.50", "1" * 40, 7, Decimal("2.5"), Decimal("1E+40")])
def test_what_is_a_number_in_a_field(value: Any) -> None:
    assert worked_out('sum(event("/x"))', events=[EventView({}, {"x": value})]) == Decimal(value)


def test_numbers_stay_within_200_digits() -> None:
    nines = "999999999999999999"
    with pytest.raises(ExpressionFailed, match="200 digits"):
        worked_out(" * ".join([nines] * 12))
    assert worked_out(" * ".join([nines] * 11)) == Fraction(nines) ** 11
    with pytest.raises(ExpressionFailed, match="200 digits"):
        worked_out("1 / 3 * " + " * ".join([nines] * 12))
    with pytest.raises(ExpressionFailed, match="200 digits"):
        worked_out("1" + f" / {nines}" * 12)
    thirds = [EventView({"value": Decimal(prime)}, {}) for prime in range(1, 999)]
    with pytest.raises(ExpressionFailed, match="200 digits"):
        worked_out("sum(1 / value)", events=thirds)


def test_an_expression_tells_what_it_needs() -> None:
    read = parse('quantity + sum(value * event("/km"))', PRICE_TOTALS)
    assert (read.names, read.needs_events) == (frozenset({"quantity"}), True)
    plain = parse("if(billable > 2 and not included == 1, max(1, 2), event_count)", PRICE_TOTALS)
    assert (plain.names, plain.needs_events) == (frozenset({"billable", "event_count", "included"}), False)


def test_about_one_event_fields_are_spoken_of_freely() -> None:
    read = parse('event("/end") - event("/start")', ONE_EVENT)
    view = EventView({}, {"end": "12.5", "start": 10})
    assert read.work_out_for(view) == Decimal("2.5")
    assert read.needs_events
    for text, remedy in (("sum(1)", "without sum"), ("quantity", 'Use event("/field").')):
        with pytest.raises(InvalidExpression) as refused:
            parse(text, ONE_EVENT)
        assert remedy in str(refused.value.remedy)


def test_the_same_text_is_read_once() -> None:
    assert parse("quantity + 1", PRICE_TOTALS) is parse("quantity + 1", PRICE_TOTALS)


def test_no_events_sum_to_nothing() -> None:
    assert worked_out("sum(value)", events=[]) == 0


alphabet = st.sampled_from(
    ["quantity", "value", "sum(", "if(", "max(", "round(", "event(", '"/km"', "(", ")", ",", "+", "-", "*", "/",
     "<", "==", "and", "not", "1", "2.5", "0", " ", "or", "abs(", '"', "$"]
)  # fmt: skip


@given(st.lists(alphabet, max_size=25).map(" ".join))
def test_any_text_is_worked_out_or_refused(text: str) -> None:
    try:
        result: object = worked_out(text)
    except DomainError as refused:
        result = refused.remedy
    assert isinstance(result, Decimal | Fraction) or result


@st.composite
def sums(draw: st.DrawFn, depth: int = 3) -> tuple[str, Fraction | None]:
    """An expression and what it comes to, made together; None for a division by zero."""
    if depth == 0 or draw(st.booleans()):
        number = draw(st.decimals(0, 1000, places=3))
        return f"{number:f}", Fraction(number)
    (left, one), (right, other) = draw(sums(depth=depth - 1)), draw(sums(depth=depth - 1))
    sign = draw(st.sampled_from("+-*/"))
    if one is None or other is None or (sign == "/" and other == 0):
        return f"({left}) {sign} ({right})", None
    results = {"+": one + other, "-": one - other, "*": one * other}
    return f"({left}) {sign} ({right})", Fraction(one, other) if sign == "/" else results[sign]


@given(sums())
def test_arithmetic_is_that_of_fractions(made: tuple[str, Fraction | None]) -> None:
    text, expected = made
    if expected is None:
        with pytest.raises(ExpressionFailed):
            worked_out(text)
    else:
        assert worked_out(text) == expected


@given(st.permutations(range(5)))
def test_the_order_of_events_changes_no_sum(order: list[int]) -> None:
    made = [EventView({"value": Decimal(index)}, {"km": index * 3}) for index in range(5)]
    text = 'sum(value * event("/km") / 7)'
    assert worked_out(text, events=[made[index] for index in order]) == worked_out(text, events=made)
