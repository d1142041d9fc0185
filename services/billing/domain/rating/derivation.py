"""Arithmetic that writes itself down: each number has a name, and each result says where it comes from."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from libs.common.exact import Number, plain, text
from libs.common.expression import OPERATIONS
from services.billing.domain.rating.explanation import Input, Step


class Known(NamedTuple):
    """A number, and the name under which it is known. `is_detail`: it is about one event or level."""

    name: str
    value: Number
    is_detail: bool = False


class Derivation:
    """Collects inputs and steps; names that come again get a number."""

    def __init__(self) -> None:
        self.inputs: list[Input] = []
        self._steps: list[Step] = []
        self._given: dict[str, Known] = {}
        self._names: set[str] = set()

    def given(self, name: str, value: Number, says: str = "", *, is_detail: bool = False) -> Known:
        """The same input is written down once."""
        known = self._given.get(name)
        if known is None:
            known = self._given[name] = Known(name, value, is_detail)
            self._names.add(name)
            self.inputs.append(Input(name, text(value), says))
        return known

    def given_text(self, name: str, value: str, says: str) -> str:
        if name not in self._names:
            self._names.add(name)
            self.inputs.append(Input(name, quoted(value), says))
        return name

    def step(self, name: str, operation: str, *operands: Known | Number, says: str = "") -> Known:
        """Work it out, and write it down."""
        known = [operand if isinstance(operand, Known) else literal(operand) for operand in operands]
        value = OPERATIONS[operation](*[operand.value for operand in known])
        is_detail = operation != "sum" and any(operand.is_detail for operand in known)
        return self.note(
            name, operation, [operand.name for operand in known], value, says, is_detail=is_detail
        )

    def note(
        self,
        name: str,
        operation: str,
        operands: Sequence[str],
        value: Number | bool,
        says: str = "",
        *,
        is_detail: bool = False,
    ) -> Known:
        """Write down what was worked out elsewhere."""
        number = Decimal(value) if isinstance(value, bool) else plain(value)
        known = Known(self._new_name(name), number, is_detail)
        self._names.add(known.name)
        self._steps.append(Step(known.name, operation, tuple(operands), text(number), says, is_detail))
        return known

    def take_steps(self) -> tuple[Step, ...]:
        """The steps since they were last taken."""
        steps, self._steps = tuple(self._steps), []
        return steps

    def _new_name(self, name: str) -> str:
        new, number = name, 1
        while new in self._names:
            number += 1
            new = f"{name}_{number}"
        return new


def quoted(words: str) -> str:
    return json.dumps(words, ensure_ascii=False)


def literal(number: Number) -> Known:
    return Known(text(number), number)


class WrittenDown:
    """The algebra in which an expression explains itself. Values and conditions are `Known`."""

    def __init__(self, derivation: Derivation) -> None:
        self._derivation = derivation

    def literal(self, value: Decimal) -> Any:
        return literal(value)

    def operation(self, name: str, decimals: int = 0) -> Callable[..., Any]:
        extra = [literal(Decimal(decimals))] if name == "round" else []
        return lambda *operands: self._derivation.step("part", name, *operands, *extra)

    def field(self, pointer: str, index: int, value: Number) -> Any:
        return self._derivation.given(
            f"event_{index + 1}{pointer}", value, "a field of the event", is_detail=True
        )

    def text_field(self, pointer: str, index: int, found: str | None, text: str) -> Any:
        name = f"event_{index + 1}{pointer} as text"
        told = (
            self._derivation.given_text(name, found or "", "a field of the event")
            if found is not None
            else '""'
        )
        operands = [told, quoted(text)]
        return self._derivation.note("part", "same", operands, found == text, is_detail=True)

    def is_true(self, condition: Any) -> bool:
        return bool(condition.value)

    def chosen(self, condition: Any, value: Any, *, is_first: bool) -> Any:
        branches = [value.name, "-"] if is_first else ["-", value.name]
        is_detail = condition.is_detail or value.is_detail
        return self._derivation.note(
            "part", "if", [condition.name, *branches], value.value, is_detail=is_detail
        )
