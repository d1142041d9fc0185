"""What becomes of each thing that a catalog document names: for programs as a list, for people in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from services.catalog.application.catalog_document import ThingKind
from services.catalog.domain.dunning import AS_BY_DEFAULT as DUNNED_BY_DEFAULT
from services.catalog.domain.late_usage import AS_BY_DEFAULT
from services.catalog.domain.plan_diff import Change, field_changes, plan_changes
from services.catalog.domain.plan_draft import PlanDraft

Action = Literal["define", "create", "update", "publish", "reinstate", "withdraw", "archive", "unchanged"]

_DONE: Mapping[Action, str] = {
    "define": "to define",
    "create": "to create",
    "update": "to update",
    "publish": "to publish",
    "reinstate": "to put on sale again",
    "withdraw": "to withdraw",
    "archive": "to archive",
    "unchanged": "unchanged",
}


@dataclass(frozen=True, slots=True)
class ThingChange:
    """`pointer` leads to it in the document, None where it is not in it. `version` is the number of the plan's version
    that is put on sale. `changes` say what is otherwise than before.
    """

    kind: ThingKind
    code: str
    action: Action
    words: str
    changes: tuple[Change, ...] = ()
    version: int | None = None
    pointer: str | None = None

    def at(self, pointer: str) -> ThingChange:
        """The same, with its places told within the document. What is gone has none but the thing's own."""
        changes = tuple(
            replace(change, pointer=pointer if change.what == "removed" else f"{pointer}{change.pointer}")
            for change in self.changes
        )
        return replace(self, pointer=pointer, changes=changes)


@dataclass(frozen=True, slots=True)
class CatalogImport:
    """What has changed, if `applied`, or would. In the order of the document, what is not in it last."""

    applied: bool
    things: tuple[ThingChange, ...]

    @property
    def counts(self) -> dict[Action, int]:
        counted = Counter(thing.action for thing in self.things)
        return {action: counted[action] for action in _DONE}

    @property
    def changes_anything(self) -> bool:
        return any(thing.action != "unchanged" for thing in self.things)

    @property
    def words(self) -> str:
        if not self.changes_anything:
            return "Nothing changes."
        told = ", ".join(f"{count} {_DONE[action]}" for action, count in self.counts.items() if count)
        return f"{told}."


def created(kind: ThingKind, code: str, after: object, words: str) -> ThingChange:
    """It was not there. `after` is all of it, as JSON."""
    whole = Change("", None, "added", None, after, "", words)
    return ThingChange(kind, code, "create", words, (whole,))


def unchanged(kind: ThingKind, code: str, *, archived: bool = False) -> ThingChange:
    return ThingChange(kind, code, "unchanged", "is archived, and stays so" if archived else "stays as it is")


def archived(kind: ThingKind, code: str) -> ThingChange:
    words = "is archived, since it is not in the document: for good, whoever has it keeps it"
    return ThingChange(kind, code, "archive", words)


def updated(kind: ThingKind, code: str, before: object, after: object, names: Sequence[str]) -> ThingChange:
    return ThingChange(kind, code, "update", "changes", tuple(field_changes(before, after, "", names)))


def parts_of(draft: PlanDraft) -> tuple[Change, ...]:
    """All that a new plan consists of, beside its own fields."""
    bare = replace(
        draft,
        prices=(),
        phases=(),
        commitments=(),
        features=(),
        trial=None,
        late_usage=AS_BY_DEFAULT,
        dunning=DUNNED_BY_DEFAULT,
    )
    return plan_changes(bare, draft)
