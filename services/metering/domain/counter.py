"""What is known of a counter: its register, how fast it may turn, and what is done when nobody has read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar, Literal

from libs.common.errors import RuleViolation

READING_EVENT_TYPE = "perennial.reading."
READING_SOURCE = "perennial:readings"
READING_VALUE = "/quantity"  # where it stands in the data of what is made of readings

DIGITS_MAX = 18
DECIMALS_MAX = 12
PERIODS_MAX = 36
IN_A_ROW_MAX = 36

Backwards = Literal["hold", "reset"]


class InvalidCounter(RuleViolation):
    code: ClassVar[str] = "invalid_counter"
    title: ClassVar[str] = "The counter cannot be described like this"


@dataclass(frozen=True, slots=True)
class EstimateRules:
    """The mean of the last `periods` periods that were read, for at most `in_a_row` periods one after another."""

    periods: int
    in_a_row: int


@dataclass(frozen=True, slots=True)
class CounterRules:
    """Units: `decimals` of the meter's unit; `rate_max` in units per hour.

    `register_digits` are those before the decimal point: a register of six shows 999,999 and then 0. Without them, a
    counter is not known to wrap. Without a `rate_max`, no consumption is too fast to be true. `backwards` says what a
    value below the last one is, if it is no wrap: kept aside for a person, or taken for a counter that began again.
    """

    register_digits: int | None = None
    decimals: int = 0
    rate_max: Decimal | None = None
    estimate: EstimateRules | None = None
    backwards: Backwards = "hold"

    @property
    def smallest_unit(self) -> Decimal:
        return Decimal(1).scaleb(-self.decimals)


def new_counter_rules(
    *,
    register_digits: int | None = None,
    decimals: int = 0,
    rate_max: Decimal | None = None,
    estimate: EstimateRules | None = None,
    backwards: Backwards = "hold",
) -> CounterRules:
    """Raises: InvalidCounter."""
    if register_digits is not None and not 1 <= register_digits <= DIGITS_MAX:
        raise InvalidCounter(
            f"a register has 1 to {DIGITS_MAX} digits before the decimal point",
            pointer="/counter/register_digits",
        )
    if not 0 <= decimals <= DECIMALS_MAX:
        raise InvalidCounter(f"a counter has 0 to {DECIMALS_MAX} decimals", pointer="/counter/decimals")
    if rate_max is not None and rate_max <= 0:
        raise InvalidCounter("the greatest plausible rate is above zero", pointer="/counter/rate_max")
    if estimate is not None and not (
        1 <= estimate.periods <= PERIODS_MAX and 1 <= estimate.in_a_row <= IN_A_ROW_MAX
    ):
        raise InvalidCounter(
            f"an estimate is the mean of 1 to {PERIODS_MAX} periods, for 1 to {IN_A_ROW_MAX} periods in a row",
            pointer="/counter/estimate",
        )
    return CounterRules(register_digits, decimals, rate_max, estimate, backwards)


def counter_json(rules: CounterRules) -> dict[str, Any]:
    """As it is kept and told: decimals as text."""
    estimate = rules.estimate
    return {
        "register_digits": rules.register_digits,
        "decimals": rules.decimals,
        "rate_max": None if rules.rate_max is None else format(rules.rate_max, "f"),
        "estimate": None
        if estimate is None
        else {"periods": estimate.periods, "in_a_row": estimate.in_a_row},
        "backwards": rules.backwards,
    }


def counter_rules_from(kept: Mapping[str, Any]) -> CounterRules:
    """What `counter_json` told."""
    estimate = kept.get("estimate")
    rate_max = kept.get("rate_max")
    return CounterRules(
        register_digits=kept.get("register_digits"),
        decimals=kept.get("decimals", 0),
        rate_max=None if rate_max is None else Decimal(rate_max),
        estimate=None if estimate is None else EstimateRules(estimate["periods"], estimate["in_a_row"]),
        backwards=kept.get("backwards", "hold"),
    )


def reading_event_type(meter_code: str) -> str:
    """The type of the events that are made of a counter meter's readings."""
    return READING_EVENT_TYPE + meter_code
