"""From a tree to a function: an expression that can be worked out, again and again, in any algebra."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, Inexact
from functools import lru_cache
from typing import Any, NamedTuple

from libs.common.exact import Number
from libs.common.expression.arithmetic import EXACTLY, IN_DECIMALS, PLAIN, Algebra, ExpressionFailed, too_long
from libs.common.expression.pointer import find
from libs.common.expression.syntax import (
    Call,
    Chain,
    Compared,
    Field,
    Joined,
    Literally,
    Named,
    Node,
    Scope,
    TextCompared,
    read,
)

EXPRESSIONS_KEPT = 1_024
DIGITS_OF_A_FIELD_MAX = 40

_PLAIN_DECIMAL = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")


class EventView(NamedTuple):
    """One event: what is named of it, and its fields."""

    names: Mapping[str, Any]
    data: Any


# What a compiled expression is worked out with: the named totals (of the algebra's kind), and under keys that are no
# names: all events, the one that is spoken of, and its number. A plain dictionary, since every name is looked up in it.
_At = Mapping[str, Any]
_EVENTS, _EVENT, _NUMBER = "events of", "event of", "number of"
_Worked = Callable[[_At], Any]


@dataclass(frozen=True, slots=True)
class Expression:
    """`names` are the totals it needs; `needs_events`: it sums over events, or speaks of one."""

    text: str
    names: frozenset[str]
    needs_events: bool
    _root: Node
    _in_decimals: _Worked
    _exactly: _Worked

    def work_out(self, names: Mapping[str, Number], events: Sequence[EventView] = ()) -> Number:
        """What it comes to with these totals and events, exactly.

        Raises: ExpressionFailed: a division by zero, a field that is not there or no number, too many digits.
        """
        at = {**names, _EVENTS: events} if events else names
        try:
            found: Number = self._in_decimals(at)
        except (ArithmeticError, TypeError):
            found = self._with_fractions(at)
        return found

    def work_out_for(self, event: EventView) -> Number:
        """What it comes to for one event, where it is about one. Raises: ExpressionFailed."""
        return self._with_fractions({_EVENT: event, _NUMBER: 0})

    def work_out_in(
        self, algebra: Algebra, names: Mapping[str, Any], events: Sequence[EventView] = ()
    ) -> Any:
        """The same in another algebra, for what came to an end in the exact one."""
        return _compiled(self._root, algebra)({**names, _EVENTS: events})

    def _with_fractions(self, at: _At) -> Number:
        """Where decimals do not do; it says what is wrong, too."""
        try:
            found: Number = self._exactly(at)
        except Inexact:
            raise too_long() from None
        return found


@lru_cache(maxsize=EXPRESSIONS_KEPT)
def parse(text: str, scope: Scope) -> Expression:
    """The expression, ready to be worked out. The same text is read once.

    Raises: InvalidExpression, with the position and what to do.
    """
    root = read(text, scope)
    nodes = list(_all_nodes(root))
    return Expression(
        text=text,
        names=frozenset(node.name for node in nodes if isinstance(node, Named) and not node.of_event),
        needs_events=any(
            isinstance(node, Field) or (isinstance(node, Call) and node.function == "sum") for node in nodes
        ),
        _root=root,
        _in_decimals=_compiled(root, IN_DECIMALS),
        _exactly=_compiled(root, EXACTLY),
    )


def _all_nodes(node: Node) -> Sequence[Node]:
    return [node, *(inner for child in _children(node) for inner in _all_nodes(child))]


def _children(node: Node) -> Sequence[Node]:
    if isinstance(node, Chain):
        return [node.first, *(operand for _, operand, _ in node.rest)]
    if isinstance(node, Compared):
        return [node.left, node.right]
    if isinstance(node, TextCompared):
        return [node.field]
    if isinstance(node, Joined):
        return node.parts
    return node.arguments if isinstance(node, Call) else ()


def _compiled(node: Node, algebra: Algebra) -> _Worked:
    if isinstance(node, Literally):
        literal = algebra.literal(node.value)
        return lambda _: literal
    if isinstance(node, Named):
        return _named(node)
    if isinstance(node, Field):
        return _field(node, algebra)
    if isinstance(node, Chain):
        return _chain(node, algebra)
    if isinstance(node, TextCompared):
        return _text_compared(node, algebra)
    if isinstance(node, Compared):
        return _applied(algebra.operation(node.operator), (node.left, node.right), algebra)
    if isinstance(node, Joined):
        return _applied(algebra.operation(node.word), node.parts, algebra)
    if node.function == "if":
        return _choice(node, algebra)
    if node.function == "sum":
        return _sum(node, algebra)
    if node.function in ("min", "max") and len(node.arguments) == 1:
        return _compiled(node.arguments[0], algebra)
    name = "negative" if node.function == "-" else node.function
    return _applied(algebra.operation(name, node.decimals), node.arguments, algebra)


def _named(node: Named) -> _Worked:
    name = node.name
    if node.of_event:
        return lambda at: at[_EVENT].names[name]
    return lambda at: at[name]


def _applied(operation: Callable[..., Any], operands: Sequence[Node], algebra: Algebra) -> _Worked:
    """One and two operands are what there mostly is, and a literal needs no call."""
    worked = [_compiled(operand, algebra) for operand in operands]
    if len(worked) == 1:
        (only,) = worked
        return lambda at: operation(only(at))
    if len(worked) > 2:
        return lambda at: operation(*[operand(at) for operand in worked])
    one, other = worked
    left, right = operands
    if isinstance(right, Literally):
        value = algebra.literal(right.value)
        if isinstance(left, Named) and not left.of_event:
            name = left.name
            return lambda at: operation(at[name], value)
        return lambda at: operation(one(at), value)
    if isinstance(left, Literally):
        value = algebra.literal(left.value)
        return lambda at: operation(value, other(at))
    return lambda at: operation(one(at), other(at))


def _chain(node: Chain, algebra: Algebra) -> _Worked:
    if len(node.rest) == 1:
        ((sign, operand, position),) = node.rest
        return _applied(_checked(algebra, sign, position), (node.first, operand), algebra)
    first = _compiled(node.first, algebra)
    rest = [
        (_checked(algebra, sign, position), _compiled(operand, algebra))
        for sign, operand, position in node.rest
    ]

    if len(rest) == 2:
        (join, second), (finish, third) = rest
        return lambda at: finish(join(first(at), second(at)), third(at))

    def worked(at: _At) -> Any:
        value = first(at)
        for operation, operand in rest:
            value = operation(value, operand(at))
        return value

    return worked


def _checked(algebra: Algebra, sign: str, position: int) -> Callable[[Any, Any], Any]:
    operation = algebra.operation(sign)
    if sign != "/" or algebra is IN_DECIMALS:
        return operation

    def divided(dividend: Any, divisor: Any) -> Any:
        try:
            return operation(dividend, divisor)
        except ZeroDivisionError:
            raise ExpressionFailed(
                f"a division by zero, at character {position}",
                remedy="Guard it, such as if(quantity > 0, 100 / quantity, 0).",
            ) from None

    return divided


def _choice(node: Call, algebra: Algebra) -> _Worked:
    condition, then, otherwise = (_compiled(argument, algebra) for argument in node.arguments)
    if algebra in PLAIN:
        _, first, second = node.arguments
        if isinstance(first, Literally) and isinstance(second, Literally):
            one, other = first.value, second.value
            return lambda at: one if condition(at) else other
        return lambda at: then(at) if condition(at) else otherwise(at)

    def worked(at: _At) -> Any:
        found = condition(at)
        if algebra.is_true(found):
            return algebra.chosen(found, then(at), is_first=True)
        return algebra.chosen(found, otherwise(at), is_first=False)

    return worked


def _sum(node: Call, algebra: Algebra) -> _Worked:
    term = _compiled(node.arguments[0], algebra)
    operation = algebra.operation("sum")

    def worked(at: _At) -> Any:
        events = enumerate(at.get(_EVENTS, ()))
        return operation(*[term({**at, _EVENT: event, _NUMBER: number}) for number, event in events])

    return worked


def _field(node: Field, algebra: Algebra) -> _Worked:
    def worked(at: _At) -> Any:
        found = _found(node, at)
        if found is None and node.default is not None:
            return algebra.field(node.pointer, at[_NUMBER], node.default)
        number = _number(found)
        if number is None:
            told = "is missing" if found is None else "is no number"
            raise ExpressionFailed(
                f"the field {node.pointer} {told}, which is asked for at character {node.position}",
                remedy=f'Send it as a number, or write event("{node.pointer}", 0).',
                event=at[_NUMBER],
                field=node.pointer,
            )
        return algebra.field(node.pointer, at[_NUMBER], number)

    return worked


def _text_compared(node: TextCompared, algebra: Algebra) -> _Worked:
    def worked(at: _At) -> Any:
        found = _found(node.field, at)
        told = algebra.text_field(
            node.field.pointer, at[_NUMBER], found if isinstance(found, str) else None, node.text
        )
        return told if node.operator == "==" else algebra.operation("not")(told)

    return worked


def _found(field: Field, at: _At) -> Any:
    return find(at[_EVENT].data, field.path)


def _number(value: Any) -> Decimal | None:
    """A JSON number, or a string that holds a plain decimal, since exact quantities travel as strings."""
    if isinstance(value, str):
        value = (
            Decimal(value)
            if len(value) <= DIGITS_OF_A_FIELD_MAX and _PLAIN_DECIMAL.fullmatch(value)
            else None
        )
    elif type(value) is int:
        value = Decimal(value)
    if not isinstance(value, Decimal) or not value.is_finite():
        return None
    is_short = (
        abs(value.adjusted()) <= DIGITS_OF_A_FIELD_MAX
        and len(value.as_tuple().digits) <= DIGITS_OF_A_FIELD_MAX
    )
    return value if is_short else None
