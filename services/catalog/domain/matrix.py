"""The cells of a matrix price: one amount for each set of values that usage may have.

Of the cells that match usage, the one with the fewest wildcards counts, then the one that names the leftmost
dimension. So a cell can only be out of reach if another one has the very same values, or if it names a value that
no usage has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from libs.common.errors import InputError
from services.catalog.domain.amount import amount_faults
from services.catalog.domain.price import MatrixCell

DIMENSIONS_MAX = 10
CELLS_MAX = 1_000


def matrix_faults(dimensions: Sequence[str], cells: Sequence[MatrixCell], at: str) -> Iterator[InputError]:
    """Everything wrong with the matrix, each with its place below the pointer `at` and what to do."""
    yield from _dimension_faults(dimensions, f"{at}/dimensions")
    if not cells:
        detail = "a matrix price needs cells: give at least one, of wildcards only if all costs the same"
        yield {"pointer": f"{at}/cells", "detail": detail}
    if len(cells) > CELLS_MAX:
        detail = f"there are more than {CELLS_MAX} cells: use wildcards, or several prices"
        yield {"pointer": f"{at}/cells", "detail": detail}
    first_with: dict[tuple[str, ...], int] = {}
    for position, cell in enumerate(cells):
        here = f"{at}/cells/{position}"
        yield from amount_faults(cell.unit_amount, f"{here}/unit_amount")
        if len(cell.values) != len(dimensions):
            detail = (
                f"there are {len(dimensions)} dimensions and {len(cell.values)} values: "
                "give one value for each, * for any"
            )
            yield {"pointer": f"{here}/values", "detail": detail}
            continue
        if "" in cell.values:
            detail = "no usage has an empty value, so nothing reaches this cell: name a value, or * for any"
            yield {"pointer": f"{here}/values/{cell.values.index('')}", "detail": detail}
        first = first_with.setdefault(cell.values, position)
        if first != position:
            detail = f"the cell at {at}/cells/{first} has these values already: leave one of the two out"
            yield {"pointer": f"{here}/values", "detail": detail}


def _dimension_faults(dimensions: Sequence[str], at: str) -> Iterator[InputError]:
    if not dimensions:
        yield {"pointer": at, "detail": "a matrix price needs dimensions: name at least one"}
    if len(dimensions) > DIMENSIONS_MAX:
        yield {"pointer": at, "detail": f"there are more than {DIMENSIONS_MAX} dimensions: use fewer"}
    for position, name in enumerate(dimensions):
        if name in dimensions[:position]:
            detail = f"the dimension {name} stands here twice: leave one of the two out"
            yield {"pointer": f"{at}/{position}", "detail": detail}
