"""Matrix: a unit costs what the cell of its dimensions says; each cell that applies is a line of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from libs.common.errors import RuleViolation
from libs.common.exact import EXACT, Number
from services.billing.domain.rating.price import ANY, Price
from services.billing.domain.rating.rated_line import NOTHING, Part
from services.billing.domain.rating.usage import NegativeQuantity, Usage, missing

Values = tuple[str | None, ...]

PRICES_KEPT = 64
VALUES_KEPT = 4_096  # of one price


class NoMatrixCell(RuleViolation):
    """Usage for which the price has no cell: it must not be forgotten."""

    code = "no_matrix_cell"
    title = "Usage that no cell of the matrix prices"


def matrix(price: Price, _quantity: Decimal, _billable: Number, usage: Usage | None) -> list[Part]:
    """The cells that price some of the usage, in the order of the price; units included are used up in that order.

    A price whose cells are all unused has one line of nothing, at its first cell.
    Raises: UsageIncomplete, NoMatrixCell, NegativeQuantity.
    """
    by_cell: dict[int, Decimal] = {}
    cells = _cells_of(price)
    for values, quantity in groups_of(price, usage):
        index = cells.index_of(values)
        before = by_cell.get(index)
        by_cell[index] = quantity if before is None else EXACT.add(before, quantity)
    included = price.included_quantity
    parts: list[Part] = []
    for index in sorted(by_cell) or (0,):
        quantity = rest = by_cell.get(index, NOTHING)
        if quantity < NOTHING:
            raise NegativeQuantity(
                "a cell is rated from zero up", cell=price.cells[index].values, quantity=quantity
            )
        if included:
            free = min(included, quantity)
            included = EXACT.subtract(included, free)
            rest = EXACT.subtract(quantity, free)
        parts.append((index + 1, rest, price.cells[index].unit_amount, NOTHING, None, quantity))
    return parts


def groups_of(price: Price, usage: Usage | None) -> Iterator[tuple[Values, Decimal]]:
    """The values in the order of the price's dimensions, each with its quantity; from the events if need be."""
    dimensions = price.dimensions
    if usage is not None and usage.groups is not None:
        for group in usage.groups:
            yield tuple(map(group.values.get, dimensions)), group.quantity
    elif usage is not None and usage.events is not None:
        for event in usage.events:
            yield _values(dimensions, event.properties), event.value
    else:
        raise missing("groups", "a price by dimensions")


def _values(dimensions: Sequence[str], properties: Mapping[str, Any]) -> Values:
    return tuple([_text(properties.get(name)) for name in dimensions])


def _text(value: Any) -> str | None:
    """Scalars as they are written in JSON, text without quotes; None for anything else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f")
    return str(value) if isinstance(value, str | int) else None


class _Cells:
    """The cells of one price, to be found by the values of a group."""

    def __init__(self, price: Price) -> None:
        self.price = price
        self._known: dict[Values, int] = {}

    def index_of(self, values: Values) -> int:
        """Raises: NoMatrixCell."""
        index = self._known.get(values)
        if index is None:
            index = cell_of(self.price, values)
            if len(self._known) < VALUES_KEPT:
                self._known[values] = index
        return index


_kept: dict[int, _Cells] = {}


def _cells_of(price: Price) -> _Cells:
    """Kept by the identity of the price: to compare all of its cells would cost more than to rate them."""
    kept = _kept.get(id(price))
    if kept is None or kept.price is not price:
        if len(_kept) >= PRICES_KEPT:
            _kept.clear()
        kept = _kept[id(price)] = _Cells(price)
    return kept


def cell_of(price: Price, values: Values) -> int:
    """The index of the cell that prices these values: the one with the fewest wildcards.

    Among as many, it is the one that names the dimension further to the left.
    Raises: NoMatrixCell.
    """
    best: tuple[int, tuple[bool, ...]] = (-1, ())
    found = -1
    for index, cell in enumerate(price.cells):
        if all(wanted in (ANY, value) for wanted, value in zip(cell.values, values, strict=True)):
            named = tuple([wanted != ANY for wanted in cell.values])
            if (sum(named), named) > best:
                best, found = (sum(named), named), index
    if found >= 0:
        return found
    told = ", ".join(f"{name}={value}" for name, value in zip(price.dimensions, values, strict=True))
    raise NoMatrixCell(
        f"the price has no cell for {told}",
        pointer="/groups",
        remedy="Add a cell for these values, or one with * for the others.",
        price=price.code,
    )
