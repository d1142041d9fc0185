"""What a PromQL expression asks for: its series with the labels that it names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import promql_parser as promql


@dataclass(frozen=True, slots=True)
class Asked:
    """A series, and all labels by which the expression picks, joins or groups it."""

    metric: str
    labels: frozenset[str]


def asked(expression: str) -> list[Asked]:
    """Each series of the expression. Raises: ValueError when it is not PromQL."""
    return list(_asked(promql.parse(expression), frozenset()))


def _asked(node: Any, labels: frozenset[str]) -> Iterator[Asked]:
    match node:
        case promql.VectorSelector():
            named = {matcher.name for matcher in node.matchers.matchers}
            yield Asked(node.name, labels | named)
        case promql.MatrixSelector():
            yield from _asked(node.vector_selector, labels)
        case promql.SubqueryExpr() | promql.ParenExpr() | promql.UnaryExpr():
            yield from _asked(node.expr, labels)
        case promql.AggregateExpr():
            # What is grouped away inside is not there for a join outside: only the innermost names must exist.
            grouped = frozenset(node.modifier.labels) if node.modifier else frozenset()
            yield from _asked(node.expr, labels & grouped | grouped)
        case promql.BinaryExpr():
            joined = _joined_by(node.modifier)
            yield from _asked(node.lhs, labels | joined)
            yield from _asked(node.rhs, joined)
        case promql.Call():
            for argument in node.args:
                yield from _asked(argument, labels)


def _joined_by(modifier: Any) -> frozenset[str]:
    if modifier is None or modifier.matching is None:
        return frozenset()
    return frozenset(modifier.matching.labels)
