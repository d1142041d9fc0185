"""A plan's draft, publication, sale and retirement."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from libs.common.periods import Interval
from services.catalog.domain.feature_grant import FeatureGrant
from services.catalog.domain.phase import Phase
from services.catalog.domain.plan import (
    Plan,
    PlanRetired,
    PlanTermsFixed,
    PlanVersionArchived,
    change,
    change_sale,
    retire,
)
from services.catalog.domain.plan_draft import PlanDraft
from services.catalog.domain.plan_version import PlanVersion, digest_of, plan_version_id, publish_as
from services.catalog.domain.price import MatrixCell
from services.catalog.domain.price_tier import PriceTier
from services.catalog.domain.publication import (
    Published,
    Unchanged,
    ValidityReversed,
    decide_publication,
)
from services.catalog.domain.sale import ALWAYS, OfferStatus, SaleState, Validity, offer_status
from services.catalog.domain.trial import Trial
from tests.support.catalog import NOW, a_draft, a_fee, a_plan, a_usage_price

LATER = datetime(2025, 7, 1, tzinfo=UTC)


def published(plan: Plan, newest: PlanVersion | None = None, validity: Validity = ALWAYS) -> Published:
    outcome = decide_publication(plan, newest, validity, NOW)
    assert isinstance(outcome, Published)
    return outcome


def redrafted(plan: Plan, draft: PlanDraft) -> Plan:
    return change(plan, draft, external_id=plan.external_id, metadata=plan.metadata)


def test_the_first_publication_makes_version_one() -> None:
    outcome = published(a_plan())
    assert (outcome.plan.status, outcome.plan.published_number, outcome.plan.version) == ("published", 1, 2)
    assert outcome.plan_version.number == 1
    assert outcome.plan_version.id == plan_version_id("pln_power", 1)
    assert outcome.plan_version.content == a_plan().draft
    assert outcome.plan_version.published_at == NOW


def test_publishing_an_unchanged_draft_gives_the_newest_version() -> None:
    first = published(a_plan())
    again = decide_publication(first.plan, first.plan_version, ALWAYS, LATER)
    assert again == Unchanged(first.plan, first.plan_version)


def test_another_spelling_of_an_amount_is_no_change() -> None:
    first = published(a_plan(draft=a_draft(a_fee(unit_amount=Decimal("1200")))))
    respelled = replace(first.plan, draft=a_draft(a_fee(unit_amount=Decimal("1200.00"))))
    assert isinstance(decide_publication(respelled, first.plan_version, ALWAYS, LATER), Unchanged)


def test_a_changed_draft_becomes_the_next_version_and_leaves_the_first_as_it_was() -> None:
    first = published(a_plan())
    dearer = redrafted(first.plan, a_draft(a_fee(unit_amount=Decimal(1300))))
    second = decide_publication(dearer, first.plan_version, ALWAYS, LATER)
    assert isinstance(second, Published)
    assert second.plan_version.number == 2
    assert second.plan_version.id != first.plan_version.id
    assert second.plan_version.content.prices[0].unit_amount == Decimal(1300)
    assert first.plan_version.content.prices[0].unit_amount == Decimal("1200.00")


def test_going_back_to_an_older_content_is_a_version_of_its_own() -> None:
    first = published(a_plan())
    second = published(redrafted(first.plan, a_draft(name="Other")), first.plan_version)
    third = published(redrafted(second.plan, a_draft()), second.plan_version)
    assert third.plan_version.number == 3
    assert third.plan_version.content == first.plan_version.content


def test_other_bounds_are_another_version() -> None:
    first = published(a_plan())
    bounds = Validity(LATER, None)
    second = published(first.plan, first.plan_version, bounds)
    assert (second.plan_version.number, second.plan_version.validity) == (2, bounds)
    assert isinstance(decide_publication(second.plan, second.plan_version, bounds, LATER), Unchanged)


@pytest.mark.parametrize("end", [NOW, NOW - timedelta(microseconds=1)])
def test_bounds_that_let_nobody_in_are_refused(end: datetime) -> None:
    with pytest.raises(ValidityReversed) as refused:
        decide_publication(a_plan(), None, Validity(NOW, end), NOW)
    assert [fault["pointer"] for fault in refused.value.errors] == ["/valid_until"]


def test_what_was_archived_can_be_published_anew() -> None:
    first = published(a_plan())
    withdrawn = change_sale(first.plan, 1, "withdrawn")
    assert isinstance(decide_publication(withdrawn, first.plan_version, ALWAYS, LATER), Unchanged)
    archived = change_sale(first.plan, 1, "archived")
    assert published(archived, first.plan_version).plan_version.number == 2


def test_the_same_again_changes_nothing() -> None:
    plan = a_plan()
    assert redrafted(plan, a_draft()) is plan


def test_what_it_is_called_elsewhere_may_change_by_itself() -> None:
    plan = change(a_plan(), a_draft(), external_id="crm-1", metadata={"a": "b"})
    assert (plan.external_id, plan.metadata, plan.version) == ("crm-1", {"a": "b"}, 2)
    assert plan.draft == a_draft()


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"currency": "EUR"}, "/currency"),
        ({"interval": Interval("year", 1)}, "/interval"),
        ({"kind": "add_on"}, "/kind"),
    ],
)
def test_kind_currency_and_interval_are_fixed_by_the_first_publication(
    changes: dict[str, Any], pointer: str
) -> None:
    assert redrafted(a_plan(), a_draft(**changes)).draft == a_draft(**changes)
    with pytest.raises(PlanTermsFixed) as refused:
        redrafted(published(a_plan()).plan, a_draft(**changes))
    assert refused.value.pointer == pointer


def test_retiring_twice_retires_once() -> None:
    retired = retire(a_plan(), NOW)
    assert (retired.status, retired.retired_at, retired.version) == ("retired", NOW, 2)
    assert retire(retired, LATER) is retired


def test_a_retired_plan_is_neither_changed_nor_published() -> None:
    retired = retire(published(a_plan()).plan, NOW)
    with pytest.raises(PlanRetired):
        redrafted(retired, a_draft(name="Other"))
    with pytest.raises(PlanRetired):
        decide_publication(retired, None, ALWAYS, NOW)


def sold(*states: SaleState) -> Plan:
    plan = published(a_plan()).plan
    for state in states:
        plan = change_sale(plan, 1, state)
    return plan


@pytest.mark.parametrize(
    ("states", "ends_as", "changes"),
    [
        ((), "published", 0),
        (("published",), "published", 0),
        (("withdrawn",), "withdrawn", 1),
        (("withdrawn", "withdrawn"), "withdrawn", 1),
        (("withdrawn", "published"), "published", 2),
        (("withdrawn", "archived"), "archived", 2),
        (("archived", "archived"), "archived", 1),
    ],
)
def test_a_version_is_withdrawn_sold_again_and_archived(
    states: tuple[SaleState, ...], ends_as: SaleState, changes: int
) -> None:
    plan = sold(*states)
    assert (plan.sale_state(1), plan.version) == (ends_as, 2 + changes)
    assert plan.sale_state(2) == "published"


@pytest.mark.parametrize("state", ["published", "withdrawn"])
def test_what_is_archived_stays_archived(state: SaleState) -> None:
    with pytest.raises(PlanVersionArchived):
        change_sale(sold("archived"), 1, state)


def test_a_retired_plan_is_not_sold_again_but_may_be_put_away() -> None:
    retired = retire(sold("withdrawn"), NOW)
    with pytest.raises(PlanRetired):
        change_sale(retired, 1, "published")
    assert change_sale(retired, 1, "archived").sale_state(1) == "archived"


INSTANT = timedelta(microseconds=1)
BOUNDS = Validity(NOW, LATER)


@pytest.mark.parametrize(
    ("validity", "state", "now", "status"),
    [
        (ALWAYS, "published", NOW, "on_sale"),
        (BOUNDS, "published", NOW - INSTANT, "scheduled"),
        (BOUNDS, "published", NOW, "on_sale"),
        (BOUNDS, "published", LATER - INSTANT, "on_sale"),
        (BOUNDS, "published", LATER, "expired"),
        (BOUNDS, "withdrawn", NOW - INSTANT, "withdrawn"),
        (BOUNDS, "archived", LATER, "archived"),
        (Validity(None, LATER), "published", NOW - timedelta(days=9999), "on_sale"),
        (Validity(NOW, None), "published", LATER + timedelta(days=9999), "on_sale"),
    ],
)
def test_offer_status(validity: Validity, state: SaleState, now: datetime, status: OfferStatus) -> None:
    assert offer_status(validity, state, now) == status


def a_version(*, published_at: datetime = NOW, number: int = 1, **changes: Any) -> PlanVersion:
    content = replace(a_draft(), **changes)
    return replace(
        publish_as("pln_power", "power", 1, content, ALWAYS, NOW), published_at=published_at, number=number
    )


def test_a_digest_is_of_the_content_and_not_of_its_spelling() -> None:
    version = a_version()
    assert version.digest == digest_of(version)
    in_another_zone = NOW.astimezone(timezone(timedelta(hours=2)))
    respelled = a_version(
        prices=(a_fee(unit_amount=Decimal("1200")), a_usage_price()), published_at=in_another_zone
    )
    assert digest_of(respelled) == version.digest


def with_usage(**changes: Any) -> PlanVersion:
    return a_version(prices=(a_fee(), a_usage_price(**changes)))


CHANGED = {
    "name": a_version(name="Other"),
    "number": a_version(number=2),
    "currency": a_version(currency="EUR"),
    "interval": a_version(interval=Interval("month", 2)),
    "instant": a_version(published_at=LATER),
    "order": a_version(prices=(a_usage_price(), a_fee())),
    "amount": a_version(prices=(a_fee(unit_amount=Decimal("1200.01")), a_usage_price())),
    "words": a_version(prices=(a_fee(description="Aircrafts"), a_usage_price())),
    "meter": with_usage(meter="other"),
    "tiers": with_usage(tiers=a_usage_price().tiers[1:]),
    "cap": with_usage(tiers=(PriceTier(None, Decimal("4.35"), cap_amount=Decimal(1)),)),
    "currency_of_a_price": with_usage(currency="EUR"),
    "cells": with_usage(cells=(MatrixCell(("a",), Decimal(1)),)),
    "interval_of_a_price": with_usage(interval=Interval("month", 1)),
    "flat_at_zero": with_usage(charges_first_flat_at_zero=False),
    "tax": with_usage(tax_behavior="inclusive"),
    "description": a_version(description="Other"),
    "kind": a_version(kind="add_on"),
    "phases": a_version(phases=(Phase("a", "A"),)),
    "trial": a_version(trial=Trial(Interval("day", 14))),
    "features": a_version(features=(FeatureGrant("ftr_1", "a", "switch"),)),
    "valid_from": replace(a_version(), validity=Validity(NOW, None)),
    "valid_until": replace(a_version(), validity=Validity(None, NOW)),
}


def test_any_change_changes_the_digest() -> None:
    digests = {name: digest_of(version) for name, version in CHANGED.items()}
    digests["unchanged"] = digest_of(a_version())
    assert len(set(digests.values())) == len(digests)


def test_what_was_published_before_there_was_more_to_prices_keeps_its_digest() -> None:
    """The digests are those that the first release made of the same versions."""
    odd = a_draft(
        a_fee(code="tiny", unit_amount=Decimal("0.000000000001")),
        a_fee(code="zeros", unit_amount=Decimal("10.500"), model="flat", proration="full", unit=None),
        a_fee(code="words", description="Flugzeug – 飛行機 ✈", proration="none"),
        a_usage_price(
            code="flown",
            tiers=(
                PriceTier(Decimal("0.5"), Decimal(0), Decimal("9.90")),
                PriceTier(None, Decimal("4.35")),
            ),
            included_quantity=Decimal("10.50"),
        ),
        a_usage_price(
            code="plain",
            model="per_unit",
            tiers=(),
            unit_amount=Decimal("123456789012345678.123456789012"),
            unit=None,
        ),
        currency="EUR",
        interval=Interval("year", 2),
    )
    first = publish_as("pln_power", "power", 1, a_draft(), ALWAYS, NOW)
    third = publish_as("pln_odd", "odd", 3, odd, ALWAYS, NOW)
    assert first.digest == "54f76ced0f825cf5692e90adac577408cc38ca5711dd8c62d33666781fcb8fc8"
    assert third.digest == "8adfc34b68a09c44ead583d1f3b81f64806c54c3eabf0f2d00edb0fe1006c193"
