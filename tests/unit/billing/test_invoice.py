"""From draft to paid: when an invoice is final, what is on it, and what it then says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import permutations
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts.subscriptions import AddressV1
from libs.common.money import Money
from services.billing.domain.agreement import Address
from services.billing.domain.charge import Charge
from services.billing.domain.invoice import (
    Finalized,
    Invoice,
    Means,
    Skipped,
    Waiting,
    decide_finalization,
    invoice_id,
    lines_of,
    open_draft,
    paid_in_full,
    with_usage,
)
from services.billing.domain.seller import Seller
from services.billing.domain.settlement import SettlementInputs, settle_lines
from services.billing.domain.usage_charges import usage_charges
from tests.support.billing import FEE, Story, a_customer, a_seller

NOW = datetime(2025, 2, 1, 6, tzinfo=UTC)
NO_BALANCE = Money.zero("USD")


def a_draft(story: Story, *, awaits_window: bool = False) -> Invoice:
    return open_draft(
        story.agreement(),
        boundary_at=story.boundary(1),
        period_index=1,
        awaits_window=awaits_window,
        traceparent=None,
        now=story.boundary(1),
    )


def decide(
    draft: Invoice, charges: Sequence[Charge], *, seller: Seller | None, balance: Money, now: datetime
) -> Finalized | Skipped | Waiting:
    """Without coupons, prepaid credits or taxes."""
    settled = settle_lines(lines_of(draft, charges), SettlementInputs(), draft.currency)
    return decide_finalization(
        draft,
        settled,
        owes=any(charge.amount.amount_minor for charge in charges),
        seller=seller,
        profile=None,
        means=Means(Money.zero(draft.currency), balance),
        now=now,
    )


def charges_of(story: Story, minutes: str | None) -> list[Charge]:
    agreement = story.agreement()
    behind = [] if minutes is None else usage_charges(agreement, story.usage(0, minutes), now=NOW)
    return [*story.ahead(1, now=NOW), *behind]


class Case(NamedTuple):
    name: str
    quantity: str | None
    minutes: str | None
    awaits_window: bool
    has_seller: bool
    outcome: type[Finalized] | type[Skipped] | type[Waiting]
    reason: str | None
    net: int


CASES = [
    #    name                  quantity minutes  awaits  seller  outcome    reason         net
    Case("fee_and_usage",         "2",  "10",    False,  True,   Finalized, None,          245200),
    Case("fee_alone",             "2",  None,    False,  True,   Finalized, None,          240000),
    Case("usage_alone",           None, "10",    False,  True,   Finalized, None,          5200),
    Case("fee_and_no_usage",      "2",  "0",     False,  True,   Finalized, None,          240000),
    Case("nothing_at_all",        None, "0",     False,  True,   Skipped,   "nothing_due", 0),
    Case("nothing_and_no_seller", None, "0",     False,  False,  Skipped,   "nothing_due", 0),
    Case("usage_still_to_come",   "2",  None,    True,   True,   Waiting,   None,          240000),
    Case("nothing_known_yet",     None, None,    True,   True,   Waiting,   None,          0),
    Case("no_seller",             "2",  "10",    False,  False,  Waiting,   "no_seller",   245200),
    Case("neither",               "2",  None,    True,   False,  Waiting,   None,          240000),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_finalization(case: Case) -> None:
    story = Story(quantity=case.quantity)
    draft = a_draft(story, awaits_window=case.awaits_window)
    seller = a_seller() if case.has_seller else None
    charges = charges_of(story, case.minutes)
    outcome = decide(draft, charges, seller=seller, balance=NO_BALANCE, now=NOW)
    invoice = outcome.invoice
    assert type(outcome) is case.outcome
    assert (invoice.status_reason, invoice.net, invoice.total) == (case.reason, usd(case.net), usd(case.net))
    assert invoice.status == {Finalized: "finalized", Skipped: "skipped", Waiting: "draft"}[case.outcome]
    assert (invoice.number, invoice.version) == (None, 2)
    assert (invoice.issued_at is not None) == (case.outcome is Finalized)


def usd(minor: int) -> Money:
    return Money(minor, "USD")


def finalized(
    story: Story, minutes: str = "10", seller: Seller | None = None, now: datetime = NOW
) -> Finalized:
    charges = charges_of(story, minutes)
    outcome = decide(a_draft(story), charges, seller=seller or a_seller(), balance=NO_BALANCE, now=now)
    assert isinstance(outcome, Finalized)
    return outcome


@pytest.mark.parametrize(
    ("now", "terms", "due_on"),
    [
        (datetime(2025, 2, 1, 6, tzinfo=UTC), 14, date(2025, 2, 15)),
        (datetime(2025, 2, 1, 6, tzinfo=UTC), 0, date(2025, 2, 1)),
        (datetime(2025, 3, 1, 4, 59, tzinfo=UTC), 14, date(2025, 3, 14)),  # still February in New York
        (datetime(2025, 3, 1, 5, tzinfo=UTC), 14, date(2025, 3, 15)),
    ],
)
def test_it_is_due_so_many_local_days_after_it_was_issued(now: datetime, terms: int, due_on: date) -> None:
    invoice = finalized(Story(), seller=a_seller(payment_terms_days=terms), now=now).invoice
    assert (invoice.due_on, invoice.issued_at) == (due_on, now)


@pytest.mark.parametrize(("agreed_days", "due_on"), [(None, (2, 15)), (0, (2, 1)), (30, (3, 3))])
def test_what_was_agreed_with_the_payer_goes_before_the_sellers_terms(
    agreed_days: int | None, due_on: tuple[int, int]
) -> None:
    story = Story(payer=a_customer(payment_terms_days=agreed_days))
    story.customer = story.customer.model_copy(update={"payment_terms_days": 60})
    assert finalized(story).invoice.due_on == date(2025, *due_on)


def test_who_pays_is_on_the_document() -> None:
    payer = a_customer(name="Holding", vat_id="NL000099998B57", address=AddressV1(city="Delft"))
    story = Story(payer=payer)
    invoice = finalized(story).invoice
    assert (invoice.customer_id, invoice.customer.name) == (payer.customer_id, "Holding")
    assert (invoice.customer.vat_id, invoice.customer.address) == ("NL000099998B57", Address(city="Delft"))


class Balanced(NamedTuple):
    name: str
    fee: str
    balance: int
    applied: int
    due: int
    status: str


BALANCED = [
    #        name                     fee       balance  applied  due     status
    Balanced("no_balance",            "50.00",  0,       0,       10000,  "finalized"),
    Balanced("a_part",                "50.00",  2500,    2500,    7500,   "finalized"),
    Balanced("all_but_a_cent",        "50.00",  9999,    9999,    1,      "finalized"),
    Balanced("exactly",               "50.00",  10000,   10000,   0,      "paid"),
    Balanced("more_than_needed",      "50.00",  10001,   10000,   0,      "paid"),
    Balanced("below_zero",            "-50.00", 0,       -10000,  0,      "paid"),
    Balanced("below_zero_with_some",  "-50.00", 700,     -10000,  0,      "paid"),
]  # fmt: skip


@pytest.mark.parametrize("case", BALANCED, ids=lambda case: case.name)
def test_the_balance_pays_first_and_takes_what_is_below_zero(case: Balanced) -> None:
    story = Story(fee=FEE.model_copy(update={"unit_amount": Decimal(case.fee)}))
    charges = charges_of(story, None)
    outcome = decide(a_draft(story), charges, seller=a_seller(), balance=usd(case.balance), now=NOW)
    invoice = outcome.invoice
    assert isinstance(outcome, Finalized)
    assert (invoice.balance_applied, invoice.due, invoice.status) == (
        usd(case.applied),
        usd(case.due),
        case.status,
    )
    is_paid = case.status == "paid"
    assert (invoice.paid, invoice.paid_at, invoice.version) == (usd(0), NOW if is_paid else None, 2 + is_paid)
    assert invoice.issued_at == NOW
    if not is_paid:
        paid = paid_in_full(invoice, now=NOW)
        assert (paid.paid, paid.due) == (usd(case.due), usd(0))


def test_credits_that_equal_the_charges_are_issued() -> None:
    story = Story(fee=FEE.model_copy(update={"unit_amount": Decimal("-5.20")}), quantity="10")
    outcome = decide(a_draft(story), charges_of(story, "10"), seller=a_seller(), balance=usd(300), now=NOW)
    invoice = outcome.invoice
    assert isinstance(outcome, Finalized)
    assert (invoice.status, invoice.total, invoice.balance_applied) == ("paid", usd(0), usd(0))
    assert [line.net for line in outcome.lines] == [usd(5200), usd(-5200)]


def test_a_document_below_zero_waits_for_a_seller_and_takes_nothing_yet() -> None:
    story = Story(fee=FEE.model_copy(update={"unit_amount": Decimal(-1)}))
    outcome = decide(a_draft(story), charges_of(story, None), seller=None, balance=NO_BALANCE, now=NOW)
    assert isinstance(outcome, Waiting)
    assert (outcome.invoice.balance_applied, outcome.invoice.status_reason) == (usd(0), "no_seller")


def test_it_keeps_customer_and_seller_as_they_were() -> None:
    story = Story()
    invoice = finalized(story).invoice
    assert invoice.seller == a_seller()
    assert (invoice.customer.name, invoice.customer_id) == ("Cloudhop", story.customer.customer_id)


def test_what_is_behind_stands_before_what_is_ahead() -> None:
    lines = finalized(Story(), "600000").lines
    assert [(line.description, line.tier, line.ordinal) for line in lines] == [
        ("Flying minutes", 1, 1),
        ("Flying minutes", 2, 2),
        ("Flying minutes", 3, 3),
        ("Aircraft", None, 4),
    ]


def test_what_was_free_is_shown_and_what_was_not_is_not() -> None:
    free = Story(fee=FEE.model_copy(update={"unit_amount": Decimal(0)}))
    shown = lines_of(a_draft(free), charges_of(free, "0"))
    assert [(line.description, line.quantity, line.net) for line in shown] == [("Aircraft", 2, usd(0))]


@pytest.mark.parametrize(
    ("awaits_window", "status", "period_index", "awaited"),
    [
        (True, "draft", 0, True),
        (True, "draft", 1, False),  # that of a period without length, which ended at the same instant
        (False, "draft", 0, False),
        (True, "finalized", 0, False),
    ],
)
def test_a_draft_knows_which_usage_it_awaits(
    awaits_window: bool, status: str, period_index: int, awaited: bool
) -> None:
    draft = replace(a_draft(Story(), awaits_window=awaits_window), status=status)
    assert draft.awaits_usage_of(period_index) is awaited


def test_once_the_usage_has_come_nothing_is_awaited() -> None:
    draft = with_usage(a_draft(Story(), awaits_window=True))
    assert (draft.awaits_window, draft.version) == (False, 2)


def test_it_is_paid_in_full() -> None:
    final = finalized(Story()).invoice
    paid = paid_in_full(final, now=NOW + timedelta(days=3))
    assert (paid.status, paid.paid, paid.due, paid.version) == ("paid", final.total, usd(0), 3)
    with pytest.raises(AssertionError):
        paid_in_full(paid, now=NOW)


def test_only_a_draft_is_finalized() -> None:
    final = finalized(Story()).invoice
    with pytest.raises(AssertionError):
        decide(final, [], seller=a_seller(), balance=NO_BALANCE, now=NOW)


def test_a_document_is_named_by_subscription_boundary_kind_and_issue() -> None:
    at = datetime(2025, 2, 1, 5, tzinfo=UTC)
    ids = {
        invoice_id("sub_1", at),
        invoice_id("sub_2", at),
        invoice_id("sub_1", at + timedelta(microseconds=1)),
        invoice_id("sub_1", at, "credit_note"),
        invoice_id("sub_1", at, issue=2),
    }
    assert len(ids) == 5
    elsewhere = at.astimezone(ZoneInfo("Asia/Tokyo"))
    assert invoice_id("sub_1", elsewhere) == invoice_id("sub_1", at)


def test_each_test_clock_has_a_series() -> None:
    assert (a_draft(Story()).series, a_draft(Story(clock="clk_1")).series) == ("main", "clk_1")


def test_the_order_of_the_charges_does_not_matter() -> None:
    story = Story()
    charges = charges_of(story, "600000")
    told = {tuple(lines_of(a_draft(story), order)) for order in permutations(charges)}
    assert len(told) == 1


@given(
    quantity=st.decimals(0, 10**6, places=3, allow_nan=False),
    minutes=st.decimals(0, 10**9, places=6, allow_nan=False),
    cut=st.integers(0, 28).map(lambda days: timedelta(days=days)),
)
def test_an_invoice_is_the_sum_of_its_lines(quantity: Decimal, minutes: Decimal, cut: timedelta) -> None:
    story = Story(quantity=str(quantity))
    story.ends_at = story.boundary(1) + cut
    charges = charges_of(story, str(minutes))
    outcome = decide(a_draft(story), charges, seller=a_seller(), balance=NO_BALANCE, now=NOW)
    owed = sum(charge.amount.amount_minor for charge in charges)
    assert outcome.invoice.total.amount_minor == owed
    if isinstance(outcome, Finalized):
        assert sum(line.net.amount_minor for line in outcome.lines) == owed
        assert [line.ordinal for line in outcome.lines] == list(range(1, len(outcome.lines) + 1))
        assert len({line.id for line in outcome.lines}) == len(outcome.lines)
        assert outcome.lines == tuple(lines_of(outcome.invoice, charges))  # rated again, the very same
    else:
        assert owed == 0


def test_a_minimum_that_was_missed_is_a_line_of_its_own() -> None:
    story = Story(fee=FEE.model_copy(update={"minimum_amount": Decimal(3000)}))
    lines = lines_of(a_draft(story), charges_of(story, None))
    assert [(line.description, line.tier, line.quantity, line.unit_amount, line.net) for line in lines] == [
        ("Aircraft", None, 2, Decimal(1200), usd(240000)),
        ("Aircraft: up to the minimum", None, 1, Decimal(600), usd(60000)),
    ]
    assert len({line.id for line in lines}) == 2
    assert sum(charge.amount.amount_minor for charge in charges_of(story, None)) == 300000


def test_what_is_beyond_a_maximum_is_taken_off_by_a_negative_quantity() -> None:
    story = Story(fee=FEE.model_copy(update={"maximum_amount": Decimal(2000)}))
    lines = lines_of(a_draft(story), charges_of(story, None))
    assert [(line.quantity, line.unit_amount, line.net) for line in lines] == [
        (2, Decimal(1200), usd(240000)),
        (-1, Decimal(400), usd(-40000)),
    ]
