"""Why a price came to what it came to: every number that went in, and every step of arithmetic, in order.

It is data: whoever has the JSON can work the amount out again with nothing but fractions. The operations are those of
`libs.common.expression`, and `same` (two texts) and `if` (a condition, and the branch that was taken).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from libs.common.money import round_half_away

COMMITMENT = "commitment"  # where it is about several prices, and no model

_INFIX = ("+", "-", "*", "/")
_COMPARED = ("<", "<=", ">", ">=", "==", "!=")
_JOINED = ("and", "or", "not")
_TRUTH = {"0": "false", "1": "true"}
_WORDS = {
    "min": "the least of",
    "max": "the greatest of",
    "sum": "the sum of",
    "ceil": "rounded up,",
    "floor": "rounded down,",
    "round": "rounded,",
    "abs": "without its sign,",
    "negative": "minus",
    "and": "all of",
    "or": "one of",
    "not": "not",
}
_OPERANDS_SHOWN_MAX = 6
_ABOUT_DECIMALS = 6


@dataclass(frozen=True, slots=True)
class Input:
    """A number (or a text) that was given: a term of the price, or what was used. `2/3` is a fraction."""

    name: str
    value: str
    says: str


@dataclass(frozen=True, slots=True)
class Step:
    """`result` is `operation` on the operands: numbers, or names of inputs and of earlier steps.

    `is_detail`: about one event, or one level, of which there may be many; left out of the paragraph.
    """

    name: str
    operation: str
    operands: tuple[str, ...]
    result: str
    says: str
    is_detail: bool = False


@dataclass(frozen=True, slots=True)
class ExplainedLine:
    """The last step gives the amount."""

    kind: str
    ordinal: int
    says: str
    steps: tuple[Step, ...]
    amount: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """`steps` come before those of the lines; `amount` is the sum of the lines. Amounts are in major units."""

    price_code: str
    description: str
    model: str
    currency: str
    currency_decimals: int
    inputs: tuple[Input, ...]
    steps: tuple[Step, ...]
    lines: tuple[ExplainedLine, ...]
    amount: str

    def to_json(self) -> dict[str, Any]:
        """Ready for `json.dumps`; every number is a string."""
        return {
            "price": {"code": self.price_code, "description": self.description, "model": self.model},
            "currency": self.currency,
            "currency_decimals": str(self.currency_decimals),
            "inputs": [{"name": i.name, "value": i.value, "says": i.says} for i in self.inputs],
            "steps": [_step_json(step) for step in self.steps],
            "lines": [
                {
                    "kind": line.kind,
                    "ordinal": str(line.ordinal),
                    "says": line.says,
                    "steps": [_step_json(step) for step in line.steps],
                    "amount": line.amount,
                }
                for line in self.lines
            ],
            "amount": self.amount,
        }

    def paragraph(self) -> str:
        """The same in one paragraph of plain English, single events and levels left out."""
        values = {told.name: told.value for told in self.inputs}
        for steps in (self.steps, *(line.steps for line in self.lines)):
            values.update({step.name: step.result for step in steps})
        words = "a commitment" if self.model == COMMITMENT else f"priced {self.model.replace('_', ' ')}"
        sentences = [f"{self.description} is {words}, in {self.currency}."]
        used = values.get("quantity")
        if used is not None:
            sentences.append(f"The quantity is {used}.")
        if self.steps:
            sentences.append(_sentence(_told(self.steps, values)))
        for line in self.lines:
            told = "; ".join([*_told(line.steps, values), f"that is {line.amount} {self.currency}"])
            sentences.append(_sentence([f"{line.says}: {told}" if line.says else told]))
        if len(self.lines) > 1:
            sentences.append(f"Together: {self.amount} {self.currency}.")
        return " ".join(sentences)


def _step_json(step: Step) -> dict[str, Any]:
    return {
        "name": step.name,
        "operation": step.operation,
        "operands": list(step.operands),
        "result": step.result,
        "says": step.says,
    }


def _told(steps: tuple[Step, ...], values: dict[str, str]) -> list[str]:
    told = []
    for step in steps:
        if step.is_detail:
            continue
        operands = [values.get(operand, operand) for operand in step.operands]
        if step.operation == "round" and operands[0] == step.result:
            continue
        equation = _equation(step, operands)
        told.append(f"{step.says}: {equation}" if step.says else equation)
    return told


def _equation(step: Step, operands: list[str]) -> str:
    if step.operation == "if":
        return f"hence {_about(step.result)}"
    if step.operation in _COMPARED:
        return f"{operands[0]} {step.operation} {operands[1]} is {_TRUTH[step.result]}"
    if step.operation in _JOINED:
        return f"{_WORDS[step.operation]} {', '.join(_TRUTH[o] for o in operands)} is {_TRUTH[step.result]}"
    arithmetic = _arithmetic(step.operation, operands)
    return f"{arithmetic} = {_about(step.result)}" if arithmetic else _about(step.result)


def _arithmetic(operation: str, operands: list[str]) -> str:
    """The operation in words; nothing where it gives the one number that it is about."""
    if operation in _INFIX:
        return f"{operands[0]} {operation} {operands[1]}"
    if operation == "round":
        return f"{operands[0]} rounded to {operands[1]} decimals"
    if operation in ("sum", "min", "max") and len(operands) == 1:
        return ""
    if len(operands) > _OPERANDS_SHOWN_MAX:
        return f"{_WORDS[operation]} {len(operands)} numbers"
    return f"{_WORDS[operation]} {', '.join(operands) or 'nothing'}"


def _about(result: str) -> str:
    """A fraction with what it is about, for who reads no fractions."""
    if "/" not in result:
        return result
    about = Decimal(round_half_away(Fraction(result), _ABOUT_DECIMALS)).scaleb(-_ABOUT_DECIMALS)
    return f"{result} (about {about})"


def _sentence(told: list[str]) -> str:
    words = "; ".join(told)
    return f"{words[0].upper()}{words[1:]}."
