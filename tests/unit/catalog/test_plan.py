"""A plan's draft, publication and retirement."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from libs.common.periods import Interval
from services.catalog.domain.plan import Plan, PlanRetired, PlanTermsFixed, replace_draft, retire
from services.catalog.domain.plan_version import PlanVersion, digest_of, plan_version_id, publish_as
from services.catalog.domain.publication import Published, Unchanged, decide_publication
from tests.support.catalog import NOW, a_draft, a_fee, a_plan, a_usage_price

LATER = datetime(2025, 7, 1, tzinfo=UTC)


def published(plan: Plan, newest: PlanVersion | None = None) -> Published:
    outcome = decide_publication(plan, newest, NOW)
    assert isinstance(outcome, Published)
    return outcome


def test_the_first_publication_makes_version_one() -> None:
    outcome = published(a_plan())
    assert (outcome.plan.status, outcome.plan.published_number, outcome.plan.version) == ("published", 1, 2)
    assert outcome.plan_version.number == 1
    assert outcome.plan_version.id == plan_version_id("pln_power", 1)
    assert outcome.plan_version.content == a_plan().draft
    assert outcome.plan_version.published_at == NOW


def test_publishing_an_unchanged_draft_gives_the_newest_version() -> None:
    first = published(a_plan())
    again = decide_publication(first.plan, first.plan_version, LATER)
    assert again == Unchanged(first.plan, first.plan_version)


def test_another_spelling_of_an_amount_is_no_change() -> None:
    first = published(a_plan(draft=a_draft(a_fee(unit_amount=Decimal("1200")))))
    respelled = replace(first.plan, draft=a_draft(a_fee(unit_amount=Decimal("1200.00"))))
    assert isinstance(decide_publication(respelled, first.plan_version, LATER), Unchanged)


def test_a_changed_draft_becomes_the_next_version_and_leaves_the_first_as_it_was() -> None:
    first = published(a_plan())
    dearer = replace_draft(first.plan, a_draft(a_fee(unit_amount=Decimal(1300))))
    second = decide_publication(dearer, first.plan_version, LATER)
    assert isinstance(second, Published)
    assert second.plan_version.number == 2
    assert second.plan_version.id != first.plan_version.id
    assert second.plan_version.prices[0].unit_amount == Decimal(1300)
    assert first.plan_version.prices[0].unit_amount == Decimal("1200.00")


def test_going_back_to_an_older_content_is_a_version_of_its_own() -> None:
    first = published(a_plan())
    second = published(replace_draft(first.plan, a_draft(name="Other")), first.plan_version)
    third = published(replace_draft(second.plan, a_draft()), second.plan_version)
    assert third.plan_version.number == 3
    assert third.plan_version.content == first.plan_version.content


def test_the_same_draft_changes_nothing() -> None:
    plan = a_plan()
    assert replace_draft(plan, a_draft()) is plan


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [({"currency": "EUR"}, "/currency"), ({"interval": Interval("year", 1)}, "/interval")],
)
def test_currency_and_interval_are_fixed_by_the_first_publication(
    changes: dict[str, Any], pointer: str
) -> None:
    assert replace_draft(a_plan(), a_draft(**changes)).draft == a_draft(**changes)
    with pytest.raises(PlanTermsFixed) as refused:
        replace_draft(published(a_plan()).plan, a_draft(**changes))
    assert refused.value.pointer == pointer


def test_retiring_twice_retires_once() -> None:
    retired = retire(a_plan(), NOW)
    assert (retired.status, retired.retired_at, retired.version) == ("retired", NOW, 2)
    assert retire(retired, LATER) is retired


def test_a_retired_plan_is_neither_changed_nor_published() -> None:
    retired = retire(published(a_plan()).plan, NOW)
    with pytest.raises(PlanRetired):
        replace_draft(retired, a_draft(name="Other"))
    with pytest.raises(PlanRetired):
        decide_publication(retired, None, NOW)


def a_version(**changes: Any) -> PlanVersion:
    return replace(publish_as("pln_power", "power", 1, a_draft(), NOW), **changes)


def test_a_digest_is_of_the_content_and_not_of_its_spelling() -> None:
    version = a_version()
    assert version.digest == digest_of(version)
    in_another_zone = NOW.astimezone(timezone(timedelta(hours=2)))
    respelled = a_version(
        prices=(a_fee(unit_amount=Decimal("1200")), a_usage_price()), published_at=in_another_zone
    )
    assert digest_of(respelled) == version.digest


@pytest.mark.parametrize(
    "changed",
    [
        a_version(name="Other"),
        a_version(number=2),
        a_version(currency="EUR"),
        a_version(interval=Interval("month", 2)),
        a_version(published_at=LATER),
        a_version(prices=(a_usage_price(), a_fee())),
        a_version(prices=(a_fee(unit_amount=Decimal("1200.01")), a_usage_price())),
        a_version(prices=(a_fee(description="Aircrafts"), a_usage_price())),
        a_version(prices=(a_fee(), a_usage_price(meter="other"))),
        a_version(prices=(a_fee(), a_usage_price(tiers=a_usage_price().tiers[1:]))),
    ],
    ids=["name", "number", "currency", "interval", "instant", "order", "amount", "words", "meter", "tiers"],
)
def test_any_change_changes_the_digest(changed: PlanVersion) -> None:
    assert digest_of(changed) != a_version().digest
