"""Comparing what came out with what a case expects: numbers as numbers, instants as instants."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

from libs.common.exact import divide, text
from libs.common.money import Money, round_half_away
from tests.cases.case_files import Case, as_instant

FRACTION_DECIMALS = 9
NOTHING = object()


@dataclass(frozen=True, slots=True)
class AnyOf:
    """The same thing told in several ways, where sources differ in how they write it down."""

    views: Sequence[Any]


@dataclass(frozen=True, slots=True)
class AnyOrder:
    """Several things whose order means nothing."""

    those: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Approximately:
    """What a source has as a binary floating-point number: it agrees in the first `decimals` decimals."""

    value: Fraction
    decimals: int = 12


def differences(case: Case, found: Mapping[str, Any]) -> list[str]:
    """A sentence for each pinned field that came out otherwise; nothing when all is as expected."""
    decimals = case.expect.get("decimals")
    told = []
    for name, expected in case.expect.items():
        if name == "decimals":
            continue
        got = found.get(name, NOTHING)
        if got is NOTHING:
            told.append(f"{name}: expected {shown(expected)}, got nothing of that name")
        elif not is_same(expected, got, decimals):
            told.append(f"{name}: expected {shown(expected)}, got {shown(got)}")
    return told


def is_same(expected: Any, found: Any, decimals: int | None = None) -> bool:
    """Only what `expected` names is compared. With `decimals`, what was found is rounded half up first."""
    match found:
        case AnyOf():
            return any(is_same(expected, view, decimals) for view in found.views)
        case AnyOrder():
            return isinstance(expected, list) and _is_same_in_any_order(expected, list(found.those), decimals)
        case Approximately():
            return _is_nearly(expected, found)
        case Mapping():
            if not isinstance(expected, Mapping):
                return False
            here = expected.get("decimals", decimals)
            named = [name for name in expected if name != "decimals"]
            return all(name in found and is_same(expected[name], found[name], here) for name in named)
        case list() | tuple():
            if not isinstance(expected, list) or len(expected) != len(found):
                return False
            return all(is_same(one, other, decimals) for one, other in zip(expected, found, strict=True))
        case Money():
            return is_same(expected, found.to_decimal(), decimals)
        case datetime():
            return isinstance(expected, str) and as_instant(expected) == found
        case date():
            return bool(expected == found.isoformat())
        case bool() | str() | None:
            return bool(expected == found)
        case _:
            return _is_same_number(expected, Fraction(found), decimals)


def rounded_fraction(fraction: Fraction) -> Decimal:
    """Where the convention states fractions with nine decimals."""
    return Decimal(round_half_away(fraction, FRACTION_DECIMALS)).scaleb(-FRACTION_DECIMALS)


def shown(value: Any) -> str:
    """For people: money and numbers in plain digits, dates as they are written."""
    match value:
        case AnyOf():
            return shown(value.views[0])
        case AnyOrder():
            return shown(list(value.those))
        case Approximately():
            return str(float(value.value))
        case Mapping():
            return "{" + ", ".join(f"{name}: {shown(each)}" for name, each in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(shown(each) for each in value) + "]"
        case Money():
            return f"{value.to_decimal()} {value.currency}"
        case datetime() | date():
            return value.isoformat().replace("+00:00", "Z")
        case Fraction():
            return text(divide(Decimal(value.numerator), Decimal(value.denominator)))
        case Decimal():
            return format(value, "f")
        case _:
            return str(value)


def _is_same_in_any_order(expected: list[Any], found: list[Any], decimals: int | None) -> bool:
    if len(expected) != len(found):
        return False
    for one in expected:
        place = next((n for n, other in enumerate(found) if is_same(one, other, decimals)), None)
        if place is None:
            return False
        del found[place]
    return True


def _is_nearly(expected: Any, found: Approximately) -> bool:
    """Both rounded, since the expected number carries the digits of a binary fraction."""
    try:
        told = Decimal(str(expected))
    except InvalidOperation:
        return False
    rounded = round_half_away(told, found.decimals)
    return rounded == round_half_away(found.value, found.decimals)


def _is_same_number(expected: Any, found: Fraction, decimals: int | None) -> bool:
    if expected is None or isinstance(expected, bool | list | Mapping):
        return False
    if decimals is not None:
        found = Fraction(round_half_away(found, decimals), 10**decimals)
    try:
        return Fraction(str(expected)) == found
    except ValueError:
        return False
