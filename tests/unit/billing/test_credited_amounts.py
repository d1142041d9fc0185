"""What a credit note gives back: in proportion, exactly the invoice in the end, and never more than was billed."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.money import Money, allocate, total
from services.billing.domain.credited_amounts import (
    Basis,
    Billed,
    CreditableLine,
    CreditBeyondBilled,
    Credited,
    LineCredit,
    NoSuchLine,
    NothingToCredit,
    credit_in_full,
    credit_of_amount,
    credit_of_lines,
)
from services.billing.domain.invoice_totals import tax_on_net

EXAMPLES = 120


def eur(minor: int) -> Money:
    return Money(minor, "EUR")


class Line(NamedTuple):
    """`paid` of None is the amount; `gross` lines have their tax inside."""

    amount: int
    percent: int = 20
    paid: int | None = None
    gross: bool = False


def an_invoice(*lines: Line) -> Billed:
    """With tax once for each rate, and of prices that include it what is inside of each."""
    found = []
    for position, line in enumerate(lines):
        paid = line.amount if line.paid is None else line.paid
        net = paid
        if line.gross:
            net = paid - eur(paid).share(line.percent, 100 + line.percent).amount_minor
        found.append(
            CreditableLine(
                f"lin_{position}", eur(line.amount), eur(paid), eur(net), f"S/{line.percent}", line.gross
            )
        )
    bases = []
    for percent in sorted({line.percent for line in lines}):
        nets = [
            one.net
            for one, line in zip(found, lines, strict=True)
            if line.percent == percent and not line.gross
        ]
        tax = tax_on_net(total(nets, "EUR"), Decimal(percent))
        bases.append(Basis(f"S/{percent}", "S", Decimal(percent), tax))
    return Billed("EUR", tuple(found), tuple(bases))


def of(*lines: tuple[int, int | None]) -> list[LineCredit]:
    return [LineCredit(f"lin_{place}", None if minor is None else eur(minor)) for place, minor in lines]


FOUR = an_invoice(*[Line(6833)] * 4)
COUPON = an_invoice(Line(17900, 10), Line(39900, 20, paid=14900))
TEN_PERCENT_OFF = an_invoice(*[Line(minor, 10, paid=minor * 9 // 10) for minor in (1000, 2000, 3000, 4000)])
TWO_COUPONS = an_invoice(
    *[
        Line(amount, 10, paid=amount - off.amount_minor)
        for amount, off in zip(
            (99290, 299770, 3130, 6460, 3130, 1999),
            allocate(eur(2000), (99290, 299770, 3130, 6460, 3130, 1999)),
            strict=True,
        )
    ]
)
WASHES = an_invoice(*[Line(999, 21, gross=True)] * 3)


class Case(NamedTuple):
    name: str
    invoice: Billed
    notes: Sequence[Sequence[LineCredit]]
    nets: Sequence[int]
    taxes: Sequence[int]


CASES = [
    Case(
        "taxes_in_proportion_each_rounded_once",
        FOUR,
        [of((0, 6833)), of((1, 6833)), of((2, 6833)), of((3, 1367)), of((3, 2233))],
        (6833, 6833, 6833, 1367, 2233),
        (1367, 1367, 1367, 273, 447),
    ),
    Case(
        "the_last_note_takes_what_is_left",
        FOUR,
        [of((0, None)), of((1, None)), of((2, None)), of((3, None))],
        (6833,) * 4,
        (1367, 1367, 1367, 1365),
    ),
    Case(
        "no_more_than_was_paid_of_a_discounted_line", COUPON, [of((0, 17900), (1, 39900))], (32800,), (4770,)
    ),
    Case(
        "a_discount_is_given_back_in_proportion",
        TEN_PERCENT_OFF,
        [of((0, 1000), (1, 2000)), of((2, 3000), (3, 4000))],
        (2700, 6300),
        (270, 630),
    ),
    Case(
        "a_part_of_a_discounted_line",
        TEN_PERCENT_OFF,
        [of((3, 2000)), of((3, 2000))],
        (1800, 1800),
        (180, 180),
    ),
    Case("parts_round_once_for_the_note", TWO_COUPONS, [of(*[(n, 100) for n in range(1, 6)])], (498,), (50,)),
    Case(
        "prices_that_include_tax_give_back_what_they_say",
        WASHES,
        [of((0, None)), of((1, 333)), of((1, None), (2, None))],
        (826, 275, 551 + 826),
        (173, 58, 115 + 173),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_credit_of_lines(case: Case) -> None:
    earlier: list[Credited] = []
    for wanted in case.notes:
        earlier.append(credit_of_lines(case.invoice, earlier, wanted))
    assert [note.net.amount_minor for note in earlier] == list(case.nets)
    assert [note.tax.amount_minor for note in earlier] == list(case.taxes)


def test_an_amount_is_spread_over_what_is_left_of_each_line() -> None:
    invoice = an_invoice(Line(10000), Line(5000), Line(3333, 10))
    first = credit_of_lines(invoice, [], of((0, 9000)))
    note = credit_of_amount(invoice, [first], eur(1000))
    assert note.total == eur(1000)
    # left: 12.00, 60.00 and 36.66, tax included: together 108.66
    assert [line.paid.amount_minor for line in note.lines] == [92, 460, 306]
    assert [tax.tax.amount_minor for tax in note.taxes] == [31, 111]


REFUSED = [
    ("beyond_the_line", of((0, 6834)), CreditBeyondBilled, "/lines/0/amount"),
    ("below_nothing", of((0, -1)), CreditBeyondBilled, "/lines/0/amount"),
    ("an_unknown_line", of((9, None)), NoSuchLine, "/lines/0/line_id"),
]


@pytest.mark.parametrize(("name", "wanted", "error", "pointer"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refused(name: str, wanted: list[LineCredit], error: type[Exception], pointer: str) -> None:
    with pytest.raises(error) as refused:
        credit_of_lines(FOUR, [], wanted)
    assert getattr(refused.value, "pointer") == pointer  # noqa: B009


def test_nothing_is_credited_twice() -> None:
    whole = credit_in_full(FOUR, [])
    for again in (
        lambda: credit_in_full(FOUR, [whole]),
        lambda: credit_of_lines(FOUR, [whole], of((0, None))),
    ):
        with pytest.raises(NothingToCredit):
            again()
    with pytest.raises(CreditBeyondBilled):
        credit_of_amount(FOUR, [whole], eur(1))


def test_what_gave_back_is_taken_back_with_the_rest_and_not_alone() -> None:
    """A line below zero lessens what was billed: it bounds the note, and comes off a note in full."""
    invoice = an_invoice(Line(10000), Line(-3000))
    with pytest.raises(CreditBeyondBilled):
        credit_of_lines(invoice, [], of((0, None)))
    with pytest.raises(NothingToCredit):
        credit_of_lines(invoice, [], of((1, None)))
    whole = credit_in_full(invoice, [])
    assert (whole.net, whole.tax, whole.total) == (eur(7000), eur(1400), eur(8400))


lines = st.builds(
    lambda amount, percent, off, gross: Line(amount, percent, amount - amount * off // 100, gross),
    st.integers(-50_000, 200_000),
    st.sampled_from([0, 7, 19, 21]),
    st.integers(0, 100),
    st.booleans(),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("amount"), st.integers(1, 100)),
        st.tuples(st.just("line"), st.integers(0, 100)),
        st.tuples(st.just("part"), st.integers(0, 100)),
    ),
    max_size=8,
)


def a_step(invoice: Billed, earlier: Sequence[Credited], how: str, number: int) -> Credited:
    if how == "amount":
        left = invoice.total - total((note.total for note in earlier), "EUR")
        return credit_of_amount(invoice, earlier, left.share(number, 100))
    line = invoice.lines[number % len(invoice.lines)]
    part = None if how == "line" else line.amount.share(number + 1, 300)
    return credit_of_lines(invoice, earlier, [LineCredit(line.id, part)])


@settings(max_examples=EXAMPLES)
@given(billed=st.lists(lines, min_size=1, max_size=6), taken=steps)
def test_notes_never_exceed_the_invoice_and_add_up_to_it(
    billed: list[Line], taken: list[tuple[str, int]]
) -> None:
    """Invariant 14: whatever notes came before, each line and the invoice bound the next; the last makes them equal."""
    invoice = an_invoice(*billed)
    notes: list[Credited] = []
    for how, number in taken:
        try:
            notes.append(a_step(invoice, notes, how, number))
        except (CreditBeyondBilled, NothingToCredit):
            continue
        assert notes[-1].total == notes[-1].net + notes[-1].tax
        assert total((line.net for line in notes[-1].lines), "EUR") == notes[-1].net
    try:
        notes.append(credit_in_full(invoice, notes))
    except NothingToCredit:
        assert (
            total((note.total for note in notes), "EUR").amount_minor >= invoice.total.amount_minor
            or not notes
        )
    for line in invoice.lines:
        net = sum(own.net.amount_minor for note in notes for own in note.lines if own.line_id == line.id)
        low, high = sorted((0, line.net.amount_minor))
        assert low <= net <= high, "no line is credited beyond what was paid for it"
    if notes and invoice.total.amount_minor > 0:
        assert total((note.total for note in notes), "EUR") == invoice.total
        for basis in invoice.bases:
            on_top = sum(
                t.tax_on_top.amount_minor for note in notes for t in note.taxes if t.basis == basis.key
            )
            assert on_top == basis.tax.amount_minor


@settings(max_examples=EXAMPLES)
@given(billed=st.lists(lines, min_size=1, max_size=6), hundredth=st.integers(1, 100))
def test_an_amount_comes_out_to_the_cent(billed: list[Line], hundredth: int) -> None:
    invoice = an_invoice(*billed)
    asked = invoice.total.share(hundredth, 100)
    if asked.amount_minor > 0:
        assert credit_of_amount(invoice, [], asked).total == asked


@settings(max_examples=EXAMPLES)
@given(nets=st.lists(st.integers(1, 400), min_size=1, max_size=4), cents=st.integers(1, 25))
def test_many_small_notes_stay_near_the_proportion(nets: list[int], cents: int) -> None:
    """A note of a cent owes no tax by itself: what many of them leave out is made good before the last."""
    invoice = an_invoice(*[Line(net, 21) for net in nets])
    notes: list[Credited] = []
    rate = Fraction(invoice.bases[0].tax.amount_minor, sum(nets))
    for _ in range(min(cents, nets[0])):
        notes.append(credit_of_lines(invoice, notes, of((0, 1))))
        tax = sum(note.tax.amount_minor for note in notes)
        assert abs(tax - len(notes) * rate) <= 2
