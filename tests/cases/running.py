"""Running cases: each passes, fails, or is refused for its convention; and what is printed of it."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

from tests.cases import aggregation, invoices, lifecycle, periods, pricing, proration
from tests.cases.case_files import Case
from tests.cases.comparison import differences
from tests.cases.conventions import Refusal, refusal_of

Runner = Callable[[Case], Mapping[str, Any]]

RUNNERS: Mapping[str, Mapping[str, Runner]] = {
    "pricing": pricing.RUNNERS,
    "periods": periods.RUNNERS,
    "proration": proration.RUNNERS,
    "aggregation": aggregation.RUNNERS,
    "invoices": invoices.RUNNERS,
    "lifecycle": lifecycle.RUNNERS,
}
SIDE_BY_SIDE = 8
SERVED = frozenset({"aggregation", "lifecycle"})  # areas whose cases talk to the services
UNKNOWN_KIND = "This kind is not known."


@dataclass(frozen=True, slots=True)
class Outcome:
    """`told` is what differs, where the case failed; `refusal` why it did not run, where it is unsupported."""

    case: Case
    status: Literal["passed", "failed", "unsupported"]
    told: Sequence[str] = ()
    refusal: Refusal | None = None


def run_cases(cases: Sequence[Case]) -> list[Outcome]:
    """Those of one area. What has a server of its own to talk to runs side by side: it mostly waits."""
    if any(case.area in SERVED for case in cases):
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            return list(pool.map(run_case, cases))
    return [run_case(case) for case in cases]


def run_case(case: Case) -> Outcome:
    refusal = why_not(case)
    if refusal is not None:
        return Outcome(case, "unsupported", refusal=refusal)
    told = failures(case)
    return Outcome(case, "failed" if told else "passed", told)


def why_not(case: Case) -> Refusal | None:
    """Decided by kind and convention alone, before anything is computed."""
    refusal = refusal_of(case)
    if refusal is None and case.kind not in RUNNERS[case.area]:
        return Refusal(case.area, case.kind, UNKNOWN_KIND)
    return refusal


def failures(case: Case) -> Sequence[str]:
    """What differs from what the case expects; whatever breaks on the way is a failure too."""
    try:
        return differences(case, RUNNERS[case.area][case.kind](case))
    except Exception as broken:
        return (f"expected {dict(case.expect)}, got {type(broken).__name__}: {broken}",)


def report(outcomes: Mapping[str, Sequence[Outcome]]) -> Iterator[str]:
    """A line for each area, then each failure, then each refusal with its count."""
    for area, of_area in outcomes.items():
        yield summary(area, of_area)
    every = [outcome for of_area in outcomes.values() for outcome in of_area]
    for outcome in every:
        if outcome.status == "failed":
            yield f"failed {outcome.case.id} ({outcome.case.area} {outcome.case.kind})"
            yield from (f"    {line}" for line in outcome.told)
    yield from _refusals(every)


def summary(area: str, outcomes: Iterable[Outcome]) -> str:
    counts = Counter(outcome.status for outcome in outcomes)
    return (
        f"{area}: {counts['passed']} passed, {counts['failed']} failed, {counts['unsupported']} unsupported"
    )


def _refusals(outcomes: Iterable[Outcome]) -> Iterator[str]:
    counts = Counter(outcome.refusal for outcome in outcomes if outcome.refusal is not None)
    for refusal, count in counts.items():
        yield f"refused {count}: {refusal}"
        yield f"    {refusal.reason}"
