"""How much one simulation may come to, however its parts are multiplied. Explaining takes longer than rating, by far."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from libs.common.errors import InputError
from services.billing.domain.simulation.scenario import Scenario
from services.billing.domain.simulation.schedule import Schedule

LINES_MAX = 5_000
RATED_MAX = 50_000  # events, groups and levels, each as often as it is rated
EXPLAINED_MAX = 5_000  # the same where each is explained as well
LOOKUPS_MAX = 2_000_000  # of events and groups among the cells of a matrix
EXPRESSION_LENGTH = 50  # an expression of more characters counts for several


def size_faults(planned: Sequence[Schedule], scenario: Scenario) -> Iterator[InputError]:
    """Whether it is too much for one request."""
    charges = [charge for each in planned for charge in each.charges]
    lines = sum(max(1, len(charge.price.tiers)) for charge in charges)
    if lines > LINES_MAX:
        detail = f"comes to up to {lines} lines, and at most {LINES_MAX} are simulated at once: ask for fewer"
        yield {"pointer": "/periods", "detail": detail}
        return
    rated = lookups = 0
    for charge in charges:
        price = charge.price
        if price.kind == "usage":
            count = scenario.usage.parts_count(price, charge.start, charge.end)
            rated += count * (1 + len(price.expression or "") // EXPRESSION_LENGTH)
            lines_max = min(len(price.cells), count) if scenario.is_explained else 1
            lookups += count * len(price.cells) * lines_max
    rated_max = EXPLAINED_MAX if scenario.is_explained else RATED_MAX
    if rated > rated_max or lookups > LOOKUPS_MAX:
        told = 'give totals, or set explanations to "none"' if scenario.is_explained else "give totals"
        detail = f"is too much for one simulation, in all plans and periods: {told}, or ask for fewer"
        yield {"pointer": "/usage", "detail": detail}
