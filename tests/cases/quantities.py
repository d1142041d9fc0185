"""Quantities that are rounded or converted before they count, by an expression of the engine."""

from decimal import Decimal
from typing import Any

from libs.common.expression import PRICE_TOTALS, parse

ROUNDING = {
    "round": "round",
    "half_up": "round",
    "ceil": "ceil",
    "up": "ceil",
    "floor": "floor",
    "down": "floor",
}


def rounded_quantity(quantity: Decimal, function: str | None, decimals: int | None) -> Any:
    """Without a function, quantities stay as they were measured."""
    if function is None:
        return quantity
    name, places = ROUNDING[function], decimals or 0
    if name == "round":
        return worked_out(f"round(quantity, {places})", quantity)
    scale = 10 ** abs(places)
    if places >= 0:
        return worked_out(f"{name}(quantity * {scale}) / {scale}", quantity)
    return worked_out(f"{name}(quantity / {scale}) * {scale}", quantity)


def worked_out(expression: str, quantity: Decimal) -> Any:
    """What an expression of the engine makes of a quantity: a decimal, or a fraction where none would be exact."""
    return parse(expression, PRICE_TOTALS).work_out({"quantity": quantity})
