"""From text to a tree: what an expression says, checked for everything that can be known before it is worked out."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from libs.common.errors import RuleViolation
from libs.common.expression.pointer import Path, path_of

LENGTH_MAX = 1_000
DEPTH_MAX = 20
WHOLE_DIGITS_MAX = 18
DECIMALS_MAX = 12

Kind = Literal["number", "condition", "text", "field"]

COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
FUNCTIONS = ("abs", "ceil", "event", "floor", "if", "max", "min", "round", "sum")
WORDS = ("and", "not", "or")

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>[0-9]+(?:\.[0-9]+)?)(?![\w.])
      | (?P<name>[A-Za-z][A-Za-z0-9_]*)
      | (?P<text>"[^"]*")
      | (?P<sign><=|>=|==|!=|[-+*/(),<>])
      | (?P<end>\Z)
    )""",
    re.VERBOSE,
)


class InvalidExpression(RuleViolation):
    """`position` is the character, counted from 1, at which it goes wrong."""

    code = "invalid_expression"
    title = "Not an expression that can be worked out"

    def __init__(self, message: str, *, position: int, remedy: str) -> None:
        super().__init__(f"{message}, at character {position}", remedy=remedy, position=position)
        self.position = position


@dataclass(frozen=True, slots=True)
class Scope:
    """What an expression may speak of: named totals, and what is named of each event.

    `is_per_event`: it is about one event; otherwise events are spoken of within `sum` only.
    """

    totals: frozenset[str]
    of_event: frozenset[str]
    is_per_event: bool


PRICE_TOTALS = Scope(
    totals=frozenset({"billable", "event_count", "included", "quantity"}),
    of_event=frozenset({"value"}),
    is_per_event=False,
)
ONE_EVENT = Scope(totals=frozenset(), of_event=frozenset(), is_per_event=True)


@dataclass(frozen=True, slots=True)
class Literally:
    value: Decimal


@dataclass(frozen=True, slots=True)
class Named:
    name: str
    of_event: bool


@dataclass(frozen=True, slots=True)
class Field:
    pointer: str
    path: Path
    default: Decimal | None
    position: int


@dataclass(frozen=True, slots=True)
class Chain:
    """Operators of one rank, from left to right; a list, since a tree of them could be as deep as it is long."""

    first: Node
    rest: tuple[tuple[str, Node, int], ...]  # operator, operand, position


@dataclass(frozen=True, slots=True)
class Compared:
    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class TextCompared:
    """A field as text: `==` or `!=`."""

    operator: str
    field: Field
    text: str


@dataclass(frozen=True, slots=True)
class Joined:
    word: str  # and, or
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A function, a sign (`-`) or `not`."""

    function: str
    arguments: tuple[Node, ...]
    decimals: int = 0


Node = Literally | Named | Field | Chain | Compared | TextCompared | Joined | Call


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int


@dataclass(frozen=True, slots=True)
class _Text:
    """Text before it is known what it is compared with."""

    value: str
    position: int


def read(text: str, scope: Scope) -> Node:
    """The tree of an expression that comes to a number.

    Raises: InvalidExpression.
    """
    if len(text) > LENGTH_MAX:
        raise InvalidExpression(
            f"an expression has at most {LENGTH_MAX} characters",
            position=LENGTH_MAX + 1,
            remedy="Make it shorter, or several prices of it.",
        )
    return _Reader(_tokens(text), scope).whole()


def _tokens(text: str) -> Sequence[_Token]:
    tokens: list[_Token] = []
    at = 0
    while True:
        found = _TOKEN.match(text, at)
        if found is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            raise InvalidExpression(
                f"{text[at]!r} means nothing here" if text[at] != '"' else "this text has no end",
                position=at + 1,
                remedy='Use numbers such as 0.25, names, "text", + - * / ( ) , < <= > >= == != and functions.',
            )
        kind = found.lastgroup or "end"
        tokens.append(_Token(kind, found[kind], found.start(kind) + 1))
        if kind == "end":
            return tokens
        at = found.end()


_Part = Callable[[], "Node | _Text"]


class _Reader:
    """Recursive descent; `_depth` counts what is open, so that no text can exhaust the stack."""

    def __init__(self, tokens: Sequence[_Token], scope: Scope) -> None:
        self._tokens = tokens
        self._scope = scope
        self._at = 0
        self._depth = 0
        self._in_sum = False

    def whole(self) -> Node:
        position = self._next.position
        node = self._condition()
        if self._next.kind != "end":
            raise self._unexpected("the end")
        return self._number(node, position)

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self, *texts: str) -> _Token | None:
        token = self._next
        if token.kind in ("sign", "name") and token.text in texts:
            self._at += 1
            return token
        return None

    def _expect(self, sign: str) -> None:
        if self._take(sign) is None:
            raise self._unexpected(f'"{sign}"')

    def _unexpected(self, wanted: str) -> InvalidExpression:
        token = self._next
        found = "it ends" if token.kind == "end" else f"{token.text} stands"
        return InvalidExpression(
            f"{found} where {wanted} should be", position=token.position, remedy=f"Put {wanted} here."
        )

    def _condition(self) -> Node | _Text:
        return self._joined("or", self._both)

    def _both(self) -> Node | _Text:
        return self._joined("and", self._negation)

    def _joined(self, word: str, part: _Part) -> Node | _Text:
        position = self._next.position
        first = part()
        parts: list[Node] = []
        while self._take(word):
            if not parts:
                parts.append(self._truth(first, position))
            position = self._next.position
            parts.append(self._truth(part(), position))
        return Joined(word, tuple(parts)) if parts else first

    def _negation(self) -> Node | _Text:
        token = self._take("not")
        if token is None:
            return self._comparison()
        self._open(token.position)
        position = self._next.position
        inner = self._truth(self._negation(), position)
        self._depth -= 1
        return Call("not", (inner,))

    def _comparison(self) -> Node | _Text:
        left_at = self._next.position
        left = self._sum()
        token = self._take(*COMPARISONS)
        if token is None:
            return left
        right_at = self._next.position
        right = self._sum()
        if isinstance(left, _Text) or isinstance(right, _Text):
            return self._text_compared(token, left, right)
        return Compared(token.text, self._number(left, left_at), self._number(right, right_at))

    def _text_compared(self, token: _Token, left: Node | _Text, right: Node | _Text) -> Node:
        text, field = (left, right) if isinstance(left, _Text) else (right, left)
        is_equality = token.text in ("==", "!=")
        if is_equality and isinstance(text, _Text) and isinstance(field, Field) and field.default is None:
            return TextCompared(token.text, field, text.value)
        raise InvalidExpression(
            "text is compared with a field that has no default, by == or !=",
            position=token.position,
            remedy='Write it such as event("/class") == "gold".',
        )

    def _sum(self) -> Node | _Text:
        return self._chain(("+", "-"), self._product)

    def _product(self) -> Node | _Text:
        return self._chain(("*", "/"), self._signed)

    def _chain(self, signs: tuple[str, str], part: _Part) -> Node | _Text:
        position = self._next.position
        first = part()
        rest: list[tuple[str, Node, int]] = []
        while token := self._take(*signs):
            if not rest:
                first = self._number(first, position)
            position = self._next.position
            rest.append((token.text, self._number(part(), position), token.position))
        if rest and not isinstance(first, _Text):
            return Chain(first, tuple(rest))
        return first

    def _signed(self) -> Node | _Text:
        token = self._take("-")
        if token is None:
            return self._atom()
        self._open(token.position)
        position = self._next.position
        inner = self._number(self._signed(), position)
        self._depth -= 1
        return Call("-", (inner,))

    def _atom(self) -> Node | _Text:
        token = self._next
        if token.kind == "number":
            self._at += 1
            return self._literal(token)
        if token.kind == "text":
            self._at += 1
            return _Text(token.text[1:-1], token.position)
        if token.kind == "name" and token.text not in WORDS:
            self._at += 1
            if token.text in FUNCTIONS:
                return self._call(token)
            return self._named(token)
        if self._take("("):
            self._open(token.position)
            inner = self._condition()
            self._expect(")")
            self._depth -= 1
            return inner
        raise self._unexpected("a number, a name or a bracket")

    def _literal(self, token: _Token) -> Literally:
        whole, _, decimals = token.text.partition(".")
        if len(whole.lstrip("0")) > WHOLE_DIGITS_MAX or len(decimals.rstrip("0")) > DECIMALS_MAX:
            raise InvalidExpression(
                "this number has too many digits",
                position=token.position,
                remedy=f"At most {WHOLE_DIGITS_MAX} digits before the point and {DECIMALS_MAX} after it.",
            )
        return Literally(Decimal(token.text))

    def _named(self, token: _Token) -> Named:
        known = self._scope.totals
        if self._in_sum or self._scope.is_per_event:
            known = known | self._scope.of_event
        if token.text not in known:
            told = f"Names known here: {', '.join(sorted(known))}." if known else 'Use event("/field").'
            if token.text in self._scope.of_event:
                told = f"Write sum({token.text}): what each event has is spoken of within sum."
            raise InvalidExpression(f"nothing is named {token.text}", position=token.position, remedy=told)
        return Named(token.text, token.text in self._scope.of_event)

    def _call(self, token: _Token) -> Node:
        self._open(token.position)
        self._expect("(")
        read = {"event": self._event, "sum": self._sum_of_events, "if": self._choice, "round": self._rounded}
        node = read[token.text](token) if token.text in read else self._plain_call(token)
        self._expect(")")
        self._depth -= 1
        return node

    def _plain_call(self, token: _Token) -> Node:
        arguments = [self._argument()]
        while token.text in ("min", "max") and self._take(","):
            arguments.append(self._argument())
        return Call(token.text, tuple(arguments))

    def _choice(self, _token: _Token) -> Node:
        position = self._next.position
        condition = self._truth(self._condition(), position)
        self._expect(",")
        then = self._argument()
        self._expect(",")
        return Call("if", (condition, then, self._argument()))

    def _rounded(self, _token: _Token) -> Node:
        argument = self._argument()
        if not self._take(","):
            return Call("round", (argument,))
        sign = "-" if self._take("-") else ""
        token = self._next
        if token.kind != "number" or "." in token.text or int(token.text) > DECIMALS_MAX:
            raise InvalidExpression(
                f"the decimals to round to are a whole number from -{DECIMALS_MAX} to {DECIMALS_MAX}",
                position=token.position,
                remedy="Such as round(quantity, 2).",
            )
        self._at += 1
        return Call("round", (argument,), int(f"{sign}{token.text}"))

    def _event(self, token: _Token) -> Node:
        if not self._in_sum and not self._scope.is_per_event:
            raise InvalidExpression(
                "a field of which event",
                position=token.position,
                remedy='Speak of events within sum, such as sum(event("/distance") * 0.3).',
            )
        told = self._next
        path = path_of(told.text[1:-1]) if told.kind == "text" else None
        if path is None:
            raise InvalidExpression(
                "a field is named by a JSON pointer",
                position=told.position,
                remedy='Such as event("/route/distance").',
            )
        self._at += 1
        return Field(told.text[1:-1], path, self._default(), token.position)

    def _default(self) -> Decimal | None:
        if not self._take(","):
            return None
        sign = self._take("-")
        token = self._next
        if token.kind != "number":
            raise self._unexpected("a number")
        self._at += 1
        value = self._literal(token).value
        return -value if sign else value

    def _sum_of_events(self, token: _Token) -> Node:
        if self._in_sum or self._scope.is_per_event:
            raise InvalidExpression(
                "there is nothing to sum here",
                position=token.position,
                remedy="Write the term without sum: it is about one event.",
            )
        self._in_sum = True
        inner = self._argument()
        self._in_sum = False
        return Call("sum", (inner,))

    def _argument(self) -> Node:
        position = self._next.position
        return self._number(self._condition(), position)

    def _open(self, position: int) -> None:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise InvalidExpression(
                f"brackets, functions and signs are at most {DEPTH_MAX} deep",
                position=position,
                remedy="Say it with fewer brackets.",
            )

    def _number(self, node: Node | _Text, position: int) -> Node:
        if isinstance(node, _Text):
            raise InvalidExpression(
                "text is no number", position=position, remedy="Compare it with a field, by == or !=."
            )
        if _is_condition(node):
            raise InvalidExpression(
                "a condition is no number", position=position, remedy="Write if(condition, then, otherwise)."
            )
        return node

    def _truth(self, node: Node | _Text, position: int) -> Node:
        if isinstance(node, _Text) or not _is_condition(node):
            raise InvalidExpression(
                "a condition should be here", position=position, remedy="Such as quantity > 100."
            )
        return node


def _is_condition(node: Node) -> bool:
    if isinstance(node, Call):
        return node.function == "not"
    return isinstance(node, Compared | TextCompared | Joined)
