"""An explanation, worked out again from its JSON, by code that shares nothing with the product's.

Only what is given and the operations are believed: every result that is stated is held against one's own.
"""

from __future__ import annotations

import json
from calendar import monthrange
from datetime import date
from fractions import Fraction
from functools import reduce
from math import ceil, floor
from typing import Any

Known = dict[str, Fraction | str]


def recompute(told: str) -> list[int]:
    """The lines of an explanation in minor units. AssertionError wherever it is wrong."""
    explanation = json.loads(told, parse_int=_no_number, parse_float=_no_number)
    minor = 10 ** int(explanation["currency_decimals"])
    known: Known = {}
    for given in explanation["inputs"]:
        assert given["name"] not in known
        known[given["name"]] = _literal(given["value"])
    _work_out(explanation["steps"], known)
    amounts = []
    for line in explanation["lines"]:
        _work_out(line["steps"], known)
        amount = known[line["steps"][-1]["name"]]
        assert amount == Fraction(line["amount"])
        amounts.append(amount * minor)
    assert sum(amounts) == Fraction(explanation["amount"]) * minor
    assert all(amount.denominator == 1 for amount in amounts)
    return [int(amount) for amount in amounts]


def _no_number(told: str) -> Any:
    raise AssertionError(f"{told} stands as a JSON number")


def _work_out(steps: list[dict[str, Any]], known: Known) -> None:
    for step in steps:
        result = _apply(step["operation"], step["operands"], known)
        assert result == Fraction(step["result"]), step
        assert step["name"] not in known
        known[step["name"]] = result


def _literal(told: str) -> Fraction | str:
    return json.loads(told) if told.startswith('"') else Fraction(told)


def _apply(operation: str, operands: list[str], known: Known) -> Fraction:
    if operation == "if":
        condition, then, otherwise = operands
        return _value(then if _value(condition, known) else otherwise, known)
    values = [_value(operand, known) for operand in operands]
    match operation:
        case "+" | "sum":
            return sum(values, start=Fraction(0))
        case "-":
            return values[0] - values[1]
        case "*":
            return values[0] * values[1]
        case "/":
            return values[0] / values[1]
        case "min":
            return reduce(lambda least, value: value if value < least else least, values)
        case "max":
            return reduce(lambda most, value: value if value > most else most, values)
        case "ceil":
            return Fraction(ceil(values[0]))
        case "floor":
            return Fraction(floor(values[0]))
        case "abs":
            return abs(values[0])
        case "negative":
            return -values[0]
        case "round":
            return _half_away(values[0], int(values[1]))
        case "<":
            return Fraction(values[0] < values[1])
        case "<=":
            return Fraction(values[0] <= values[1])
        case ">":
            return Fraction(values[0] > values[1])
        case ">=":
            return Fraction(values[0] >= values[1])
        case "==" | "same":
            return Fraction(values[0] == values[1])
        case "!=":
            return Fraction(values[0] != values[1])
        case "and":
            return Fraction(all(values))
        case "or":
            return Fraction(any(values))
        case "not":
            return Fraction(not values[0])
    raise AssertionError(f"an operation that is not stated: {operation}")


def _value(operand: str, known: Known) -> Any:
    return known[operand] if operand in known else _literal(operand)


def _half_away(value: Fraction, decimals: int) -> Fraction:
    scale = Fraction(10) ** decimals
    nearest = floor(abs(value) * scale + Fraction(1, 2))
    return Fraction(nearest if value >= 0 else -nearest) / scale


def earned(included: int, months: int, days: list[date], anchor_on: date) -> Fraction:
    """What a pool earns in these days, where so many months earn what is included: each day its part of its month.

    R13, R8: months begin on the anchor's day, or on the last of a month that is too short for it.
    """
    return sum((Fraction(included, months * _days_of_month(on, anchor_on)) for on in days), start=Fraction(0))


def _days_of_month(on: date, anchor_on: date) -> int:
    starts = [
        date(year, month, min(anchor_on.day, monthrange(year, month)[1]))
        for year in (on.year - 1, on.year, on.year + 1)
        for month in range(1, 13)
    ]
    return (min(start for start in starts if start > on) - max(start for start in starts if start <= on)).days
