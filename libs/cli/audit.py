"""`perennial audit`: the audit of each service, and what only all four together can tell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from libs.common.contracts import SERVICES

Report = Mapping[str, Any]
# All that a service lists under a name, in one bucket of it.
List = Callable[[str, str, int], Iterable[str]]

PROBLEMS_SHOWN_MAX = 20
BUCKETS_ASKED_MAX = 8  # what differs in more of them is shown by the first


@dataclass(frozen=True, slots=True)
class Finding:
    """One check as it is shown. `service` is "all" where several services were compared."""

    service: str
    name: str
    ok: bool
    checked_count: int
    problem_count: int
    problems: tuple[str, ...]


def findings_of(reports: Mapping[str, Report], list_things: List | None = None) -> list[Finding]:
    """Every check of every service, then those across services.

    `list_things` is asked what there is where two services differ; without it, only how many.
    """
    own = [
        Finding(
            service=service,
            name=check["name"],
            ok=check["ok"],
            checked_count=check["checked_count"],
            problem_count=check["problem_count"],
            problems=tuple(check["problems"]),
        )
        for service in SERVICES
        for check in reports[service]["checks"]
    ]
    facts = reports["subscriptions"]["facts"]["boundaries"], reports["billing"]["facts"]["documents"]
    return [*own, completeness(*facts, list_things)]


def completeness(
    boundaries: Mapping[str, Any], documents: Mapping[str, Any], list_things: List | None = None
) -> Finding:
    """Every boundary of every subscription has its document in billing, or a stated reason why not.

    Both services tell digests of what they have, cut into buckets; only where those differ is anything listed.
    """
    differing = sorted(_buckets(boundaries).items() ^ _buckets(documents).items())
    buckets = sorted({bucket for bucket, _ in differing})
    problems = list(_differences(buckets, list_things)) if list_things is not None else []
    if buckets and not problems:
        counts = f"{boundaries['count']} boundaries, {documents['count']} documents"
        problems = [f"{counts}: they differ in {len(buckets)} of {len(_buckets(boundaries))} parts"]
    return Finding(
        service="all",
        name="every_boundary_has_its_document",
        ok=not problems,
        checked_count=boundaries["count"],
        problem_count=max(len(problems), abs(boundaries["count"] - documents["count"])),
        problems=tuple(problems[:PROBLEMS_SHOWN_MAX]),
    )


def _differences(buckets: Sequence[int], list_things: List) -> Iterator[str]:
    for bucket in buckets[:BUCKETS_ASKED_MAX]:
        wanted = set(list_things("subscriptions", "boundaries", bucket))
        found = set(list_things("billing", "documents", bucket))
        for told in sorted(wanted - found):
            yield f"{_named(told)}: billing has no document"
        for told in sorted(found - wanted):
            yield f"{_named(told)}: a document without a boundary"


def _named(told: str) -> str:
    subscription, _, instant = told.partition(" ")
    return f"subscription={subscription}, boundary={instant}"


def _buckets(told: Mapping[str, Any]) -> dict[int, tuple[int, str]]:
    return {bucket: (count, digest) for bucket, count, digest in told["buckets"]}
