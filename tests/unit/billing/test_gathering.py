"""Which documents go together, and what becomes of a part."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from services.billing.domain.agreement import Agreement, CustomerDetails, reaching
from services.billing.domain.billing_profile import BillingProfile
from services.billing.domain.gathering import (
    held,
    is_gathered_document,
    is_held_part,
    is_part,
    is_to_be_held,
    joined,
    key_of,
    left_alone,
    open_gathered,
    released,
)
from services.billing.domain.invoice import Invoice, open_draft

NOW = datetime(2025, 6, 1, 1, tzinfo=UTC)
BOUNDARY = datetime(2025, 5, 31, 22, tzinfo=UTC)  # the first instant of 1 June in Berlin
GATHERS = BillingProfile("cus_1", NOW, gathers=True)
PAYER = CustomerDetails("cus_1", 1, "Payer", None, None, "DE")


def an_agreement(id: str, **changes: object) -> Agreement:
    agreement = Agreement(id, 1, PAYER, "EUR", "Europe/Berlin", (), None, None)
    return replace(agreement, **changes)  # type: ignore[arg-type]


def a_part(id: str = "sub_1", *, at: datetime = BOUNDARY, **changes: object) -> Invoice:
    return open_draft(
        an_agreement(id, **changes),
        boundary_at=at,
        period_index=1,
        awaits_window=False,
        traceparent=None,
        now=NOW,
    )


def whole(part: Invoice) -> Invoice:
    return open_gathered(part, now=NOW, waits=timedelta(hours=24))


def test_what_one_payer_owes_on_one_date_is_one_document() -> None:
    later_that_day = a_part("sub_2", at=BOUNDARY + timedelta(hours=20))
    assert whole(a_part()).id == whole(later_that_day).id
    assert key_of(a_part()).on == date(2025, 6, 1)
    document = whole(a_part())
    assert (document.boundary_at, document.subscription_id) == (BOUNDARY, None)
    assert (document.held_for, document.due_at) == ("gathering", NOW + timedelta(hours=24))
    assert is_gathered_document(document)
    assert not is_gathered_document(a_part())
    assert key_of(document) == key_of(a_part())


@pytest.mark.parametrize(
    "other",
    [
        a_part("sub_2", currency="USD"),
        a_part("sub_2", zone="UTC"),
        a_part("sub_2", clock_id="clk_1"),
        a_part("sub_2", payer=replace(PAYER, id="cus_2")),
        a_part("sub_2", at=BOUNDARY + timedelta(days=1)),
    ],
    ids=["currency", "zone", "clock", "payer", "date"],
)
def test_what_differs_in_this_is_another_document(other: Invoice) -> None:
    assert whole(other).id != whole(a_part()).id


@pytest.mark.parametrize(
    "changes",
    [
        {"document_kind": "change"},
        {"document_kind": "credit"},
        {"document_kind": "interim"},
        {"document_kind": "compensation"},
        {"subscription_id": None},
        {"issue": -1},
        {"replaces_id": "inv_0"},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_other_documents_stay_on_their_own(changes: dict[str, object]) -> None:
    assert is_part(a_part())
    assert not is_part(replace(a_part(), **changes))  # type: ignore[arg-type]


def test_a_part_is_held_once_it_awaits_nothing() -> None:
    assert is_to_be_held(a_part(), GATHERS)
    assert not is_to_be_held(a_part(), None)
    assert not is_to_be_held(a_part(), replace(GATHERS, gathers=False))
    assert not is_to_be_held(replace(a_part(), awaits_window=True), GATHERS)
    assert not is_to_be_held(held(a_part(), now=NOW), GATHERS)


def test_a_part_is_gathered_and_its_subscription_named_once() -> None:
    document, first, second = whole(a_part()), held(a_part("sub_2"), now=NOW), held(a_part(), now=NOW)
    assert is_held_part(first)
    assert first.due_at == NOW
    document, done = joined(document, first)
    document, _ = joined(document, second)
    assert document.subscription_ids == ("sub_1", "sub_2")
    assert (done.status, done.gathered_into, done.due_at) == ("gathered", document.id, None)
    ready = released(document)
    assert (ready.held_for, ready.due_at) == (None, None)


def test_a_latecomer_is_no_part_any_more() -> None:
    late = left_alone(held(a_part(), now=NOW))
    assert (late.status, late.held_for, is_part(late), is_to_be_held(late, GATHERS)) == (
        "draft",
        None,
        False,
        False,
    )


def test_the_boundary_ahead_is_where_a_period_ends_or_the_agreement_before_that() -> None:
    end = BOUNDARY + timedelta(days=30)
    ends = an_agreement("sub_1", ends_at=BOUNDARY)
    assert reaching(an_agreement("sub_1"), end).next_boundary_at == end
    assert reaching(ends, end).next_boundary_at == BOUNDARY
    assert reaching(ends, None).next_boundary_at is None
