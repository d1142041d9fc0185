"""What is wrong with a simulation whatever there is: drafts of plans, periods, coupons. It asks nobody."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from libs.common.errors import InputError
from services.billing.application.simulation_request import SimulatePrices, SupposedPeriod
from services.billing.domain.plan_faults import interval_faults, plan_faults
from services.billing.domain.simulation.simulate import impossible


def check_simulation(command: SimulatePrices) -> None:
    """Large drafts take a while: call it in a thread. Raises: SimulationImpossible, with every fault."""
    faults = list(_faults(command))
    if faults:
        raise impossible(faults)


def _faults(command: SimulatePrices) -> Iterator[InputError]:
    """What is wrong whatever there is."""
    for position, candidate in enumerate(command.candidates):
        if candidate.draft is not None:
            yield from plan_faults(candidate.draft, f"/candidates/{position}/draft")
    if (command.period is None) == (command.usage_of is None):
        detail = "give either the period that is supposed, or usage_of, which has its own"
        yield {"pointer": "/period", "detail": detail}
    if command.period is not None:
        yield from _period_faults(command.period, command.periods)
    counted = Counter(given.coupon.code for given in command.coupons)
    for position, given in enumerate(command.coupons):
        if counted[given.coupon.code] > 1:
            detail = f"there are several coupons {given.coupon.code}: give each once"
            yield {"pointer": f"/coupons/{position}/code", "detail": detail}


def _period_faults(period: SupposedPeriod, periods: int) -> Iterator[InputError]:
    if period.interval is not None:
        yield from interval_faults(period.interval, "/period/interval")
    if period.end_on is not None:
        if period.end_on <= period.start_on:
            yield {"pointer": "/period/end", "detail": "is later than the start"}
        for name, given in (("interval", period.interval), ("anchor_on", period.anchor_on)):
            if given is not None:
                detail = "does not go with an end: give the one or the other"
                yield {"pointer": f"/period/{name}", "detail": detail}
        if periods > 1:
            detail = "several periods follow each other by an interval: leave the end out"
            yield {"pointer": "/period/end", "detail": detail}
    since, until = period.in_use_from, period.in_use_until
    if since is not None and until is not None and until <= since:
        yield {"pointer": "/period/in_use_until", "detail": "is later than in_use_from"}
