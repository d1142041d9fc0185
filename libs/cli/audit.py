"""`perennial audit`: the audit of each service, and what only all four together can tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from libs.common.contracts import SERVICES

Report = Mapping[str, Any]

PROBLEMS_SHOWN_MAX = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One check as it is shown. `service` is "all" where several services were compared."""

    service: str
    name: str
    ok: bool
    checked_count: int
    problem_count: int
    problems: tuple[str, ...]


def findings_of(reports: Mapping[str, Report]) -> list[Finding]:
    """Every check of every service, then those across services."""
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
    return [*own, completeness(reports["subscriptions"]["facts"], reports["billing"]["facts"])]


def completeness(subscriptions: Mapping[str, Any], billing: Mapping[str, Any]) -> Finding:
    """Every boundary of every subscription has its document in billing, or a stated reason why not.

    A document that is still a draft is a problem once its subscription has moved past the boundary; one that is
    waiting for the usage of a window that is still in its grace is not.
    """
    documents = {(document[0], document[1]): document for document in billing["documents"]}
    boundaries: Sequence[Sequence[Any]] = subscriptions["boundaries"]
    problems = [
        f"subscription={boundary[1]}, boundary={boundary[2]}, {boundary[3]}: billing has no document"
        for boundary in boundaries
        if (boundary[1], boundary[2]) not in documents
    ]
    known = {(boundary[1], boundary[2]) for boundary in boundaries}
    problems += [
        f"subscription={subscription}, boundary={instant}: a document without a boundary"
        for subscription, instant in documents
        if (subscription, instant) not in known
    ]
    return Finding(
        service="all",
        name="every_boundary_has_its_document",
        ok=not problems,
        checked_count=len(boundaries),
        problem_count=len(problems),
        problems=tuple(problems[:PROBLEMS_SHOWN_MAX]),
    )
