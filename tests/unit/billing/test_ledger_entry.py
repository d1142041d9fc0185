"""The ledger: every set of entries balances, and says what was earned and what is still to be delivered."""

from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.money import CurrencyMismatch, Money, total
from services.billing.domain.ledger_entry import (
    ACCOUNT_TYPES,
    ACCOUNTS,
    LedgerEntry,
    Posting,
    imbalance,
    moment,
    postings_of,
)
from services.billing.domain.postings_of_credit_notes import CreditedPart, postings_for_credit_note
from services.billing.domain.postings_of_deposits import (
    postings_for_deposit_captured,
    postings_for_deposit_released,
    postings_for_deposit_set_off,
)
from services.billing.domain.postings_of_invoices import (
    income_of,
    owed_on,
    postings_for_accrual,
    postings_for_accrual_reversed,
    postings_for_adjustment,
    postings_for_balance_applied,
    postings_for_invoice,
    postings_for_payment,
    postings_for_void,
    postings_for_write_off,
)
from services.billing.domain.postings_of_refunds import (
    postings_for_balance_refund,
    postings_for_refund,
    postings_for_refund_canceled,
    postings_for_refund_returned,
)
from services.billing.domain.refund import Refund
from services.billing.domain.revenue_schedule import EarnedLine

ZONE = "Europe/Amsterdam"
APRIL_FIRST = date(2026, 4, 1)
ISSUED_AT = datetime(2026, 4, 1, 1, tzinfo=UTC)


def eur(minor: int) -> Money:
    return Money(minor, "EUR")


def by_account(*postings: Posting) -> dict[str, int]:
    sums: dict[str, int] = {}
    for entry in chain.from_iterable(posting.entries for posting in postings):
        sums[entry.account] = sums.get(entry.account, 0) + entry.amount.amount_minor
    return {account: minor for account, minor in sums.items() if minor}


def told(postings: tuple[Posting, ...]) -> list[tuple[str, str, dict[str, int]]]:
    """As dated rows: key, date, entries."""
    return [(posting.key, str(posting.posted_on), by_account(posting)) for posting in postings]


def posted(
    *lines: EarnedLine, tax: int = 0, zone: str = ZONE, at: datetime = ISSUED_AT
) -> tuple[Posting, ...]:
    whole = total((line.net for line in lines), "EUR") + eur(tax)
    return postings_for_invoice("inv_1", lines=lines, tax=eur(tax), total=whole, at=at, zone=zone)


def test_light_as_a_service() -> None:
    """The worked invoice of 1 April 2026: a fee ahead, usage and a shortfall behind, less an SLA credit."""
    april, march = date(2026, 4, 1), date(2026, 3, 1)
    postings = posted(
        EarnedLine(eur(131200), april, date(2026, 5, 1)),
        EarnedLine(eur(36593), march),
        EarnedLine(eur(6458), march),
        EarnedLine(eur(-6560), march, income="sla_reduction"),
        tax=35215,
    )
    assert told(postings) == [
        (
            "invoice:inv_1:final",
            "2026-04-01",
            {
                "accounts_receivable": 202906,
                "sla_reduction": 6560,
                "contract_liability": -131200,
                "revenue": -43051,
                "tax_payable": -35215,
            },
        ),
        ("invoice:inv_1:earned:2026-04", "2026-04-30", {"contract_liability": 131200, "revenue": -131200}),
    ]
    debits = [entry.amount.amount_minor for entry in postings[0].entries if entry.amount.amount_minor > 0]
    assert sum(debits) == 209466
    assert postings[1].posted_at == datetime(2026, 4, 30, 21, 59, 59, tzinfo=UTC)


def test_lines_of_one_month_are_earned_in_one_set_on_the_last_day_served() -> None:
    postings = posted(
        EarnedLine(eur(1000), APRIL_FIRST, date(2026, 4, 15)),
        EarnedLine(eur(500), date(2026, 4, 10), date(2026, 4, 21)),
        EarnedLine(eur(3100), date(2026, 5, 1), date(2026, 6, 1)),
    )
    assert told(postings)[1:] == [
        ("invoice:inv_1:earned:2026-04", "2026-04-20", {"contract_liability": 1500, "revenue": -1500}),
        ("invoice:inv_1:earned:2026-05", "2026-05-31", {"contract_liability": 3100, "revenue": -3100}),
    ]


def test_a_document_is_in_the_books_of_its_own_date() -> None:
    """Just after midnight in Auckland, the day before by UTC."""
    at = datetime(2026, 3, 31, 11, 30, tzinfo=UTC)
    (posting,) = posted(EarnedLine(eur(100)), zone="Pacific/Auckland", at=at)
    assert (posting.posted_at, posting.posted_on) == (at, APRIL_FIRST)


def test_nothing_is_earned_before_its_document() -> None:
    """Issued in the last second of the only day that is served."""
    at = datetime(2026, 4, 1, 21, 59, 59, 500_000, tzinfo=UTC)
    final, earned = posted(EarnedLine(eur(100), APRIL_FIRST, date(2026, 4, 2)), at=at)
    assert (final.posted_at, earned.posted_at) == (at, at)


def test_a_credit_turns_the_sides() -> None:
    (posting,) = posted(EarnedLine(eur(-100), date(2026, 3, 1)), tax=-21)
    assert by_account(posting) == {"accounts_receivable": -121, "revenue": 100, "tax_payable": 21}


def test_what_lines_and_tax_do_not_come_to_stands_on_an_account_of_its_own() -> None:
    (posting,) = postings_for_invoice(
        "inv_1", lines=[EarnedLine(eur(100))], tax=eur(21), total=eur(122), at=ISSUED_AT, zone=ZONE
    )
    assert by_account(posting) == {
        "accounts_receivable": 122,
        "revenue": -100,
        "tax_payable": -21,
        "rounding": -1,
    }


def test_an_invoice_has_one_currency() -> None:
    with pytest.raises(CurrencyMismatch):
        postings_for_invoice(
            "inv_1",
            lines=[EarnedLine(eur(1))],
            tax=Money(0, "USD"),
            total=Money(1, "USD"),
            at=ISSUED_AT,
            zone=ZONE,
        )


@pytest.mark.parametrize(
    ("kind", "owed", "income"),
    [
        ("invoice", "accounts_receivable", "revenue"),
        ("one_off", "accounts_receivable", "revenue"),
        ("compensation", "accounts_receivable", "compensation_income"),
        ("top_up", "accounts_receivable", "prepaid_credits"),
        ("deposit", "deposit_liability", "revenue"),
    ],
)
def test_the_accounts_of_each_kind_of_document(kind: str, owed: str, income: str) -> None:
    assert (owed_on(kind), income_of(kind)) == (owed, income)


AT = {"at": ISSUED_AT, "zone": ZONE}
A_REFUND = Refund("rfd_1", "cus_1", eur(44000), "pending", "returned", ISSUED_AT)
SIMPLE = [
    (
        postings_for_payment("pay_1", "inv_1", eur(12100), **AT),
        "payment:pay_1:received",
        {"cash": 12100, "accounts_receivable": -12100},
    ),
    (
        postings_for_payment("pay_1", "inv_1", eur(12100), overpaid=eur(100), **AT),
        "payment:pay_1:received",
        {"cash": 12100, "accounts_receivable": -12000, "customer_credit": -100},
    ),
    (
        postings_for_payment("pay_1", "inv_1", eur(500), settles=owed_on("deposit"), **AT),
        "payment:pay_1:received",
        {"cash": 500, "deposit_liability": -500},
    ),
    (
        postings_for_balance_applied("inv_1", eur(2500), **AT),
        "invoice:inv_1:balance",
        {"customer_credit": 2500, "accounts_receivable": -2500},
    ),
    (
        postings_for_balance_applied("inv_1", eur(-900), fact="balance_returned", **AT),
        "invoice:inv_1:balance_returned",
        {"customer_credit": -900, "accounts_receivable": 900},
    ),
    (
        postings_for_adjustment("ben_1", eur(700), at=ISSUED_AT),
        "balance:ben_1:adjusted",
        {"goodwill": 700, "customer_credit": -700},
    ),
    (
        postings_for_write_off("inv_1", eur(300), **AT),
        "invoice:inv_1:written_off",
        {"bad_debt": 300, "accounts_receivable": -300},
    ),
    (
        postings_for_accrual("chg_1", eur(300), served_until=APRIL_FIRST, zone=ZONE),
        "charge:chg_1:accrued",
        {"contract_asset": 300, "revenue": -300},
    ),
    (
        postings_for_accrual_reversed("chg_1", eur(300), **AT),
        "charge:chg_1:accrual_reversed",
        {"contract_asset": -300, "revenue": 300},
    ),
    (
        postings_for_deposit_captured("dep_1", eur(50000), **AT),
        "deposit:dep_1:captured",
        {"cash": 50000, "deposit_liability": -50000},
    ),
    (
        postings_for_deposit_set_off("dep_1", "inv_2", eur(6000), ordinal=1, **AT),
        "deposit:dep_1:set_off:1",
        {"deposit_liability": 6000, "accounts_receivable": -6000},
    ),
    (
        postings_for_deposit_released("dep_1", eur(44000), ordinal=2, **AT),
        "deposit:dep_1:released:2",
        {"deposit_liability": 44000, "refunds_payable": -44000},
    ),
    (
        postings_for_balance_refund(A_REFUND, at=ISSUED_AT),
        "refund:rfd_1:requested",
        {"customer_credit": 44000, "refunds_payable": -44000},
    ),
    (
        postings_for_refund(A_REFUND, **AT),
        "refund:rfd_1:paid",
        {"refunds_payable": 44000, "cash": -44000},
    ),
    (
        postings_for_refund_returned(A_REFUND, **AT),
        "refund:rfd_1:returned:1",
        {"cash": 44000, "refunds_payable": -44000},
    ),
    (
        postings_for_refund(replace(A_REFUND, try_number=2), **AT),
        "refund:rfd_1:paid:2",
        {"refunds_payable": 44000, "cash": -44000},
    ),
    (
        postings_for_refund_canceled(A_REFUND, **AT),
        "refund:rfd_1:canceled",
        {"refunds_payable": 44000, "customer_credit": -44000},
    ),
]


@pytest.mark.parametrize(("postings", "key", "entries"), SIMPLE, ids=[case[1] for case in SIMPLE])
def test_what_each_fact_posts(postings: tuple[Posting, ...], key: str, entries: dict[str, int]) -> None:
    (posting,) = postings
    assert (posting.key, by_account(posting)) == (key, entries)


def test_of_nothing_there_is_no_set() -> None:
    assert postings_for_balance_applied("inv_1", eur(0), at=ISSUED_AT, zone=ZONE) == ()


def test_usage_is_accrued_on_the_last_day_on_which_it_was_used() -> None:
    (posting,) = postings_for_accrual("chg_1", eur(300), served_until=APRIL_FIRST, zone=ZONE)
    assert str(posting.posted_on) == "2026-03-31"
    assert posting.posted_at == datetime(2026, 3, 31, 21, 59, 59, tzinfo=UTC)


YEAR = EarnedLine(eur(120001), APRIL_FIRST, date(2027, 4, 1))
BEHIND = EarnedLine(eur(9000), date(2026, 3, 1))


def test_a_void_takes_back_what_was_earned_by_then_and_each_later_month_on_its_own_day() -> None:
    at = datetime(2026, 6, 15, 12, tzinfo=UTC)
    invoice = posted(YEAR, BEHIND, tax=27090)
    voided = postings_for_void("inv_1", invoice, at=at, zone=ZONE)
    earned = sum(by_account(p)["contract_liability"] for p in invoice[1:] if p.posted_at <= at)
    assert by_account(voided[0]) == {
        "accounts_receivable": -156091,
        "contract_liability": 120001 - earned,
        "revenue": 9000 + earned,
        "tax_payable": 27090,
    }
    assert [posting.key for posting in voided] == [
        "invoice:inv_1:voided",
        *(f"invoice:inv_1:voided:{month}" for month in MONTHS[2:]),
    ]
    assert [p.posted_on for p in voided[1:]] == [p.posted_on for p in invoice[3:]]
    assert by_account(*invoice, *voided) == {}


MONTHS = [*(f"2026-{month:02d}" for month in range(4, 13)), "2027-01", "2027-02", "2027-03"]


def test_a_void_leaves_payments_and_other_sets_alone() -> None:
    payment = postings_for_payment("pay_1", "inv_1", eur(100), at=ISSUED_AT, zone=ZONE)
    voided = postings_for_void("inv_1", [*posted(BEHIND), *payment], at=ISSUED_AT, zone=ZONE)
    assert by_account(*voided) == {"accounts_receivable": -9000, "revenue": 9000}


def noted(*lines: CreditedPart, tax: int = 0, at: datetime, to: tuple[int, int, int]) -> tuple[Posting, ...]:
    return postings_for_credit_note(
        "crn_1",
        "inv_1",
        invoiced_on=APRIL_FIRST,
        lines=lines,
        tax=eur(tax),
        to_invoice=eur(to[0]),
        to_balance=eur(to[1]),
        to_refund=eur(to[2]),
        at=at,
        zone=ZONE,
    )


def test_a_credit_note_takes_from_what_was_earned_and_from_what_would_be() -> None:
    """Half of a quarter's fee, in the middle of its second month."""
    line = EarnedLine(eur(9100), APRIL_FIRST, date(2026, 7, 1))
    note = noted(
        CreditedPart(line, eur(4550), eur(0)),
        tax=956,
        at=datetime(2026, 5, 15, tzinfo=UTC),
        to=(1000, 2506, 2000),
    )
    assert told(note) == [
        (
            "credit_note:crn_1:issued",
            "2026-05-15",
            {
                "revenue": 1500,
                "contract_liability": 3050,
                "tax_payable": 956,
                "accounts_receivable": -1000,
                "customer_credit": -2506,
                "refunds_payable": -2000,
            },
        ),
        ("credit_note:crn_1:issued:2026-05", "2026-05-31", {"contract_liability": -1550, "revenue": 1550}),
        ("credit_note:crn_1:issued:2026-06", "2026-06-30", {"contract_liability": -1500, "revenue": 1500}),
    ]


def test_imbalance_tells_each_currency_apart() -> None:
    entries = [
        LedgerEntry("cash", Money(5, "EUR")),
        LedgerEntry("revenue", Money(-5, "USD")),
        LedgerEntry("cash", Money(7, "JPY")),
        LedgerEntry("revenue", Money(-7, "JPY")),
    ]
    assert imbalance(entries) == {"EUR": 5, "USD": -5}


def test_a_set_that_does_not_balance_is_a_mistake_of_ours() -> None:
    with pytest.raises(AssertionError):
        postings_of("x", [("cash", 1)], "EUR", moment(ISSUED_AT))


def test_every_account_has_a_type() -> None:
    assert set(ACCOUNT_TYPES) == set(ACCOUNTS)


dates = st.dates(date(2026, 1, 1), date(2027, 12, 31))
earned_lines = st.builds(
    EarnedLine,
    st.integers(-(10**9), 10**9).map(eur),
    st.one_of(st.none(), dates),
    st.one_of(st.none(), dates),
    st.sampled_from(["revenue", "sla_reduction", "compensation_income"]),
)


@settings(max_examples=60)
@given(
    lines=st.lists(earned_lines, max_size=4),
    tax=st.integers(-(10**6), 10**6),
    shares=st.lists(st.integers(0, 100), min_size=4, max_size=4),
    days=st.integers(0, 500),
)
def test_books_balance_and_credits_of_everything_leave_nothing(
    lines: list[EarnedLine], tax: int, shares: list[int], days: int
) -> None:
    """An invoice, credited by two notes, in part and then in full: no account of it has anything in any month."""
    invoice = posted(*lines, tax=tax)
    assert all(not imbalance(posting.entries) for posting in invoice)
    assert all(posting.posted_at >= ISSUED_AT and posting.posted_on >= APRIL_FIRST for posting in invoice)
    assert len({posting.key for posting in invoice}) == len(invoice)
    assert "contract_liability" not in by_account(*invoice), "what is to be delivered is earned in the end"
    nothing = eur(0)
    first = [line.net.share(part, 100) for line, part in zip(lines, shares, strict=False)]
    at = datetime(2026, 4, 2, days % 24, tzinfo=UTC)
    notes: list[Posting] = []
    for number, (befores, credits, tax_part) in enumerate(
        [
            ([nothing] * len(lines), first, tax // 3),
            (first, [line.net - part for line, part in zip(lines, first, strict=True)], tax - tax // 3),
        ]
    ):
        whole = total(credits, "EUR") + eur(tax_part)
        parts = [CreditedPart(*part) for part in zip(lines, credits, befores, strict=True)]
        notes += postings_for_credit_note(
            f"crn_{number}",
            "inv_1",
            invoiced_on=APRIL_FIRST,
            lines=parts,
            tax=eur(tax_part),
            to_invoice=whole,
            to_balance=nothing,
            to_refund=nothing,
            at=at,
            zone=ZONE,
        )
    assert by_account(*invoice, *notes) == {}
    later = {p.posted_on.strftime("%Y-%m") for p in [*invoice, *notes] if p.posted_on > date(2026, 4, 30)}
    for month in later:
        assert by_account(*(p for p in [*invoice, *notes] if p.posted_on.strftime("%Y-%m") == month)) == {}
