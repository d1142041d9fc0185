"""What the operators and functions of the language do to exact numbers."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from fractions import Fraction
from typing import Any, Protocol

from libs.common.errors import RuleViolation
from libs.common.exact import DIGITS_MAX, EXACT, Number, absolute, add, divide, multiply, subtract

BITS_MAX = 665  # of a numerator or denominator: as many as 200 digits need


class ExpressionFailed(RuleViolation):
    """The expression is in order, but not with these numbers."""

    code = "expression_failed"
    title = "An expression that cannot be worked out with what is given"


class Algebra(Protocol):
    """How to reckon. `EXACTLY` is the one; another may write each step down as well.

    Values and conditions are of the algebra's own kind (`Any`): only it looks into them.
    """

    def literal(self, value: Decimal) -> Any: ...

    def operation(self, name: str, decimals: int = 0) -> Callable[..., Any]:
        """One of `OPERATIONS`, on values of this algebra."""

    def field(self, pointer: str, index: int, value: Number) -> Any:
        """The number that event `index` has there."""

    def text_field(self, pointer: str, index: int, found: str | None, text: str) -> Any:
        """Whether the text that event `index` has there is `text`."""

    def is_true(self, condition: Any) -> bool: ...

    def chosen(self, condition: Any, value: Any, *, is_first: bool) -> Any:
        """The value of `if`, whose other branch was not worked out."""


def negative(number: Number) -> Number:
    return subtract(Decimal(0), number)


def ceiling(number: Number) -> Decimal:
    if isinstance(number, Decimal):
        return number.to_integral_value(ROUND_CEILING, context=EXACT)
    return Decimal(-(-number.numerator // number.denominator))


def floor(number: Number) -> Decimal:
    if isinstance(number, Decimal):
        return number.to_integral_value(ROUND_FLOOR, context=EXACT)
    return Decimal(number.numerator // number.denominator)


def rounded(number: Number, decimals: int | Decimal = 0) -> Decimal:
    """Rounding: half away from zero."""
    scaled = multiply(number, Decimal(1).scaleb(Decimal(decimals)))
    if isinstance(scaled, Decimal):
        whole = EXACT.to_integral_value(scaled)
    else:
        size = (2 * abs(scaled.numerator) + scaled.denominator) // (2 * scaled.denominator)
        whole = Decimal(size if scaled > 0 else -size)
    return whole.scaleb(-Decimal(decimals), EXACT)


def added_up(*numbers: Number) -> Number:
    whole: Number = Decimal(0)
    for number in numbers:
        whole = plus(whole, number)
    return whole


def bounded(number: Number) -> Number:
    """The number itself. Raises: ExpressionFailed when it has grown too long."""
    if isinstance(number, Fraction) and (
        number.numerator.bit_length() > BITS_MAX or number.denominator.bit_length() > BITS_MAX
    ):
        raise too_long()
    return number


def plus(one: Number, other: Number) -> Number:
    return bounded(add(one, other))


def minus(minuend: Number, subtrahend: Number) -> Number:
    return bounded(subtract(minuend, subtrahend))


def times(one: Number, other: Number) -> Number:
    return bounded(multiply(one, other))


def over(dividend: Number, divisor: Number) -> Number:
    return bounded(divide(dividend, divisor))


def too_long() -> ExpressionFailed:
    return ExpressionFailed(
        f"a number on the way has more than {DIGITS_MAX} digits",
        remedy="Round sooner, or divide once, after the sum.",
    )


OPERATIONS: Mapping[str, Callable[..., Any]] = {
    "+": plus,
    "-": minus,
    "*": times,
    "/": over,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "negative": negative,
    "abs": absolute,
    "ceil": ceiling,
    "floor": floor,
    "round": rounded,
    "min": min,
    "max": max,
    "sum": added_up,
    "and": lambda *conditions: all(conditions),
    "or": lambda *conditions: any(conditions),
    "not": operator.not_,
}


class _Exactly:
    """Numbers are `Number`, conditions are `bool`."""

    def literal(self, value: Decimal) -> Any:
        return value

    def operation(self, name: str, decimals: int = 0) -> Callable[..., Any]:
        return (lambda number: rounded(number, decimals)) if name == "round" else OPERATIONS[name]

    def field(self, _pointer: str, _index: int, value: Number) -> Any:
        return value

    def text_field(self, _pointer: str, _index: int, found: str | None, text: str) -> Any:
        return found == text

    def is_true(self, condition: Any) -> bool:
        return bool(condition)

    def chosen(self, _condition: Any, value: Any, *, is_first: bool) -> Any:
        return value


class _InDecimals(_Exactly):
    """The same for decimals alone, several times as quick: whatever is none, or comes out as none, is an error."""

    _OPERATIONS: Mapping[str, Callable[..., Any]] = {
        "+": EXACT.add,
        "-": EXACT.subtract,
        "*": EXACT.multiply,
        "/": EXACT.divide,
    }

    def operation(self, name: str, decimals: int = 0) -> Callable[..., Any]:
        return self._OPERATIONS.get(name) or super().operation(name, decimals)


EXACTLY: Algebra = _Exactly()
IN_DECIMALS: Algebra = _InDecimals()
PLAIN = (EXACTLY, IN_DECIMALS)  # nothing is written down
