"""Whose things are asked for, and who asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.journeys.security.routes import (
    ACCOUNT,
    AS_TOLD,
    LISTING,
    MESSAGE,
    PATH_KINDS,
    REPLAY,
    TENANT,
    WORDS,
    Operation,
)
from tests.journeys.security.story import Asked, Story
from tests.support.all_services import AllServices


@dataclass(frozen=True, slots=True, repr=False)
class World:
    """`alpha` is whose things are asked for, `beta` a stranger with things of the same kinds."""

    everything: AllServices
    operations: list[Operation]
    alpha: Story
    beta: Story
    operators: Story

    def told(self, story: Story, operation: Operation) -> list[Asked]:
        """How the story, or the operators', asked for this route; of one that always refuses, how it was refused."""
        route = operation.method, operation.path
        told = [*story.asked, *story.refused, *self.operators.asked]
        return [asked for asked in told if asked.route == route]

    def things_at(self, operation: Operation, story: Story) -> list[dict[str, str]]:
        """Everything of the story that the path can name; of two parameters, those that belong together."""
        told = self.operators.names
        special = {
            TENANT: [story.tenant],
            MESSAGE: [told["message"]],
            REPLAY: [told["replay"]],
            ACCOUNT: ["accounts_receivable"],
            LISTING: ["documents"],
            WORDS: ["en"],
        }
        if not operation.path_parameters:
            return [{}]
        if len(operation.path_parameters) == 1 and not self._is_as_told(operation):
            (name,) = operation.path_parameters
            kind = PATH_KINDS[name]
            return [{name: id} for id in special.get(kind) or story.ids[kind]]
        found = [dict(asked.values) for asked in self.told(story, operation)]
        assert found, f"the story does not ask for {operation}"
        return found

    def query_at(self, operation: Operation, story: Story, values: Mapping[str, str]) -> dict[str, str]:
        """What must be asked of these things: without it nothing is answered."""
        if not self._is_as_told(operation):
            return operation.needs(story)
        return next(dict(asked.query) for asked in self.told(story, operation) if asked.values == values)

    def _is_as_told(self, operation: Operation) -> bool:
        return operation.method == "GET" and operation.path in AS_TOLD
