"""What changes from one content of a plan to another: a list for programs, and words for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, Protocol

from services.catalog.domain.document import document_of
from services.catalog.domain.dunning import Dunning
from services.catalog.domain.late_usage import LateUsage
from services.catalog.domain.plan_draft import PlanDraft
from services.catalog.domain.plan_words import (
    called,
    charged,
    fields_of,
    from_to,
    is_none,
    price_named,
    reach,
    tiers_told,
    told,
)
from services.catalog.domain.price import Price
from services.catalog.domain.price_tier import PriceTier
from services.catalog.domain.sale import Validity

What = Literal["added", "removed", "changed"]


class Coded(Protocol):
    """A part of a plan that has a code of its own."""

    @property
    def code(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Change:
    """`pointer` leads into the later content, into the earlier one for what was removed.

    `price` is the code of the price that it is about, `subject` what it is about in words, empty for the plan itself.
    What was there before and is there after, as JSON.
    """

    pointer: str
    price: str | None
    what: What
    before: Any
    after: Any
    subject: str
    words: str

    @property
    def sentence(self) -> str:
        return f"{self.subject}: {self.words}" if self.subject else self.words


def plan_changes(before: PlanDraft, after: PlanDraft) -> tuple[Change, ...]:
    """All that differs: the plan's own fields first, then its prices in their order, then its other parts."""
    own = ("name", "description", "kind", "for_plans", "currency", "interval", "trial")
    return (
        *field_changes(before, after, "", own),
        *_price_changes(before.prices, after.prices),
        *_part_changes("phases", "phase", before.phases, after.phases),
        *_part_changes("commitments", "commitment", before.commitments, after.commitments),
        *_part_changes("features", "feature", before.features, after.features),
        *field_changes(
            before.late_usage, after.late_usage, "/late_usage", LateUsage.__slots__, of=" of late usage"
        ),
        *field_changes(before.dunning, after.dunning, "/dunning", Dunning.__slots__, of=" of dunning"),
    )


def validity_changes(before: Validity, after: Validity) -> tuple[Change, ...]:
    """Between two published versions: a draft has no bounds yet."""
    return tuple(field_changes(before, after, "", Validity.__slots__))


def in_words(changes: Sequence[Change]) -> str:
    """All of it in one paragraph, what is about one thing in one sentence."""
    if not changes:
        return "Nothing changes."
    sentences = []
    for subject, about_it in groupby(changes, key=lambda change: change.subject):
        words = "; ".join(change.words for change in about_it)
        sentence = f"{subject}: {words}" if subject else words
        sentences.append(f"{sentence[0].upper()}{sentence[1:]}.")
    return " ".join(sentences)


def _price_changes(before: Sequence[Price], after: Sequence[Price]) -> Iterator[Change]:
    earlier = {price.key: (position, price) for position, price in enumerate(before)}
    later = {price.key: (position, price) for position, price in enumerate(after)}
    for key, (position, price) in later.items():
        at = f"/prices/{position}"
        if key in earlier:
            yield from _changes_of_price(earlier[key][1], price, at)
        else:
            words = f"is new, {charged(price)}"
            yield Change(at, price.code, "added", None, document_of(price), price_named(price), words)
    for key, (position, price) in earlier.items():
        if key not in later:
            at, was = f"/prices/{position}", document_of(price)
            yield Change(at, price.code, "removed", was, None, price_named(price), "is no longer charged")
    common_before = [code for code, currency in earlier if (code, currency) in later]
    common_after = [code for code, currency in later if (code, currency) in earlier]
    if common_before != common_after:
        words = f"the prices stand in another order, {', '.join(common_after)}"
        yield Change("/prices", None, "changed", common_before, common_after, "", words)


def _changes_of_price(before: Price, after: Price, at: str) -> Iterator[Change]:
    names = [name for name in Price.__slots__ if name not in ("code", "currency", "tiers")]
    yield from field_changes(before, after, at, names, price=after.code, subject=price_named(after))
    if [tier.up_to for tier in before.tiers] == [tier.up_to for tier in after.tiers]:
        for position, (earlier, later) in enumerate(zip(before.tiers, after.tiers, strict=True)):
            yield from field_changes(
                earlier,
                later,
                f"{at}/tiers/{position}",
                [name for name in PriceTier.__slots__ if name != "up_to"],
                price=after.code,
                subject=price_named(after),
                of=f" of tier {position + 1}{reach(later)}",
            )
    else:
        words = f"the tiers are now {tiers_told(after.tiers)}; they were {tiers_told(before.tiers)}"
        was, becomes = document_of(before.tiers), document_of(after.tiers)
        yield Change(f"{at}/tiers", after.code, "changed", was, becomes, price_named(after), words)


def _part_changes(
    list_name: str, kind: str, before: Sequence[Coded], after: Sequence[Coded]
) -> Iterator[Change]:
    earlier = {part.code: (position, part) for position, part in enumerate(before)}
    later = {part.code: (position, part) for position, part in enumerate(after)}
    for code, (position, part) in later.items():
        at, subject = f"/{list_name}/{position}", f"the {kind} {code}"
        if code in earlier:
            names = [field.name for field in fields_of(part)]
            yield from field_changes(earlier[code][1], part, at, names, subject=subject)
        else:
            yield Change(at, None, "added", None, document_of(part), subject, f"is new, {told(part)}")
    for code, (position, part) in earlier.items():
        if code not in later:
            at, subject = f"/{list_name}/{position}", f"the {kind} {code}"
            yield Change(at, None, "removed", document_of(part), None, subject, "falls away")


def field_changes(
    before: object,
    after: object,
    at: str,
    names: Sequence[str],
    *,
    price: str | None = None,
    subject: str = "",
    of: str = "",
) -> Iterator[Change]:
    """Those of the fields `names`, which both have, that differ."""
    for name in names:
        earlier, later = getattr(before, name), getattr(after, name)
        if earlier != later:
            yield Change(
                pointer=f"{at}/{name}",
                price=price,
                what="added" if is_none(earlier) else "removed" if is_none(later) else "changed",
                before=document_of(earlier),
                after=document_of(later),
                subject=subject,
                words=from_to(f"{called(name)}{of}", earlier, later),
            )
