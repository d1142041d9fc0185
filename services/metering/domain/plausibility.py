"""Which readings of a counter are taken, and which are kept aside for a person.

A reading is taken if the counter can have shown it after the one before it, and if the one after it remains possible.
What is kept aside is looked at again whenever something about its neighbours changes: an exchange that is told late lets
in what the new device had shown, and so the order in which readings come does not matter unless they contradict.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from services.metering.domain.consumption import (
    Consumption,
    Implausible,
    Position,
    Step,
    first_implausible,
    step,
    walk,
)
from services.metering.domain.counter import CounterRules
from services.metering.domain.reading import Reading


@dataclass(frozen=True, slots=True)
class Settled:
    """The readings that are taken, in their order, those kept aside with the reason, and what was used.

    `superseded` are estimates of an instant at which the counter was read after all.
    """

    taken: tuple[Reading, ...]
    held: Mapping[str, Implausible]
    superseded: frozenset[str]
    consumptions: tuple[Consumption, ...]


def settle(
    start: Position | None, taken: Iterable[Reading], waiting: Iterable[Reading], rules: CounterRules
) -> Settled:
    """`taken` were taken before, or a person has decided so; `waiting` are those kept aside, and what is new.

    What was taken before stays so unless what a person decided contradicts it.
    """
    kept, contradicted = _without_contradictions(start, sorted(taken, key=_place), rules)
    left = sorted([*waiting, *contradicted], key=_place)
    while left:
        let_in = _let_in(start, kept, left, rules)
        if not let_in:
            break
        kept = sorted([*kept, *let_in], key=_place)
        ids = {reading.id for reading in let_in}
        left = [reading for reading in left if reading.id not in ids]
    held = {reading.id: _why(start, kept, reading, rules) for reading in left}
    read_at = {reading.read_at for reading in kept if not reading.is_estimate}
    superseded = frozenset(r.id for r in kept if r.is_estimate and r.read_at in read_at)
    kept = [reading for reading in kept if reading.id not in superseded]
    return Settled(tuple(kept), held, superseded, tuple(walk(start, kept, rules)))


def _place(reading: Reading) -> tuple[object, ...]:
    return reading.place


def _without_contradictions(
    start: Position | None, readings: Sequence[Reading], rules: CounterRules
) -> tuple[list[Reading], list[Reading]]:
    kept: list[Reading] = []
    out: list[Reading] = []
    position = start
    for reading in readings:
        found = step(position, reading, rules)
        if isinstance(found, Implausible):
            out.append(reading)
        else:
            position = found.position
            kept.append(reading)
    return kept, out


def _let_in(
    start: Position | None, kept: Sequence[Reading], left: Sequence[Reading], rules: CounterRules
) -> list[Reading]:
    """Those of `left` that may be taken: all between two neighbours together, or else each by itself."""
    let_in: list[Reading] = []
    position, first = start, 0
    for place in range(len(kept) + 1):
        last = first
        while last < len(left) and (place == len(kept) or left[last].place < kept[place].place):
            last += 1
        gap, first = left[first:last], last
        following = _until_read(kept, place)
        if gap and first_implausible(position, [*gap, *following], rules) is None:
            let_in += gap
            position = _after(position, gap, rules)
        else:
            for reading in gap:
                if first_implausible(position, [reading, *following], rules) is None:
                    let_in.append(reading)
                    position = _after(position, [reading], rules)
        if place < len(kept):
            position = _after(position, [kept[place]], rules)
    return let_in


def _until_read(kept: Sequence[Reading], place: int) -> Sequence[Reading]:
    """What follows up to the first that is no estimate: estimates contradict nothing."""
    for end in range(place, len(kept)):
        if not kept[end].is_estimate:
            return kept[place : end + 1]
    return kept[place:]


def _after(position: Position | None, readings: Sequence[Reading], rules: CounterRules) -> Position | None:
    for reading in readings:
        found = step(position, reading, rules)
        assert isinstance(found, Step), "it was found to be plausible"
        position = found.position
    return position


def _why(
    start: Position | None, kept: Sequence[Reading], reading: Reading, rules: CounterRules
) -> Implausible:
    place = sum(1 for other in kept if other.place < reading.place)
    position = _after(start, kept[:place], rules)
    found = first_implausible(position, [reading, *_until_read(kept, place)], rules)
    assert found is not None, "what is kept aside is not plausible"
    at_fault, why = found
    if at_fault.id == reading.id:
        return why
    return Implausible(
        why.kind, f"after it, the reading of {at_fault.read_at.isoformat()} could not be: {why.told}"
    )
