"""Documents of every kind as e-invoices: they pass the official rules, and tell the document's own amounts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from libs.common.money import Money
from services.billing.adapters.e_invoices.cii import RAM, cii_of
from services.billing.adapters.e_invoices.ubl import CBC, ubl_of
from services.billing.domain.credit_note import WantedCredit
from services.billing.domain.credited_amounts import LineCredit
from services.billing.domain.discount import Coupon
from services.billing.domain.e_invoice import e_invoice_of
from services.billing.domain.e_invoice_rules import problems_of
from services.billing.domain.issued_document import IssuedDocument, PrecedingDocument
from services.billing.domain.tax_treatment import TaxTreatment
from tests.support.e_invoices import faults_of
from tests.support.issued_documents import (
    APRIL,
    BUYER,
    EXEMPT,
    EXPORT,
    MARCH,
    OUTSIDE_SCOPE,
    PROFILE,
    REVERSE_CHARGE,
    S9,
    S21,
    SELLER,
    WITHIN_UNION,
    ZERO_RATED,
    Row,
    a_credit_note,
    a_document,
    an_invoice,
)

JANUARY_PART = (date(2026, 1, 15), date(2026, 2, 1))
BEFORE = PrecedingDocument("inv_0", "INV-000041", date(2026, 3, 1))
TEN_OFF = Coupon("SPRING", "Spring", percent=Decimal(10))
FIVE_OFF = Coupon("FIVE", "Five off", amount=Money(500, "EUR"))


def light_as_a_service() -> IssuedDocument:
    return a_document(
        Row("Service fee, 400 luminaires", "400", "3.28", unit="luminaire"),
        Row("Light delivered", "85000", "0.004305", period=MARCH, unit="klm·h"),
        Row("Minimum commitment shortfall", "15000", "0.004305", period=MARCH, unit="klm·h"),
        Row("SLA credit, availability 98.6 %", "-1", "65.60", period=MARCH),
    )


def furniture_first() -> IssuedDocument:
    return a_document(
        Row("Desks", "5.483871", "9", period=JANUARY_PART, amount="49.35", unit="piece"),
        Row("Chairs", "5.483871", "4.5", period=JANUARY_PART, amount="24.68", unit="piece"),
        Row("Delivery", "1", "120", period=JANUARY_PART),
    )


def furniture_swap() -> IssuedDocument:
    swap = (date(2026, 3, 10), date(2026, 4, 1))
    return a_document(
        Row("Chairs", "-1.419355", "4.5", period=swap, amount="-6.39", corrects=BEFORE),
        Row("Ergo chairs", "1.419355", "7.5", period=swap, amount="10.65"),
        Row("Swap fee", "1", "25", period=(date(2026, 3, 10), date(2026, 3, 11))),
        Row("Desks", "10", "9"),
        Row("Chairs", "8", "4.5"),
        Row("Ergo chairs", "2", "7.5"),
    )


def seats_by_reverse_charge() -> IssuedDocument:
    part = (date(2026, 4, 10), date(2026, 5, 1))
    may = (date(2026, 5, 1), date(2026, 6, 1))
    return a_document(
        Row("Seats", "9.8", "26", by=REVERSE_CHARGE, period=part, amount="254.80", unit="seat"),
        Row("Seats", "50", "30", by=REVERSE_CHARGE, period=may, unit="seat"),
        Row("Seats", "14", "26", by=REVERSE_CHARGE, period=may, unit="seat"),
        currency="USD",
    )


def credit_in_full() -> IssuedDocument:
    invoice, lines = an_invoice(
        Row("Desks", "10", "9"), Row("Books", "3", "9.99", by=S9, behavior="inclusive")
    )
    return a_credit_note(invoice, lines)


def credit_of_an_amount() -> IssuedDocument:
    invoice, lines = an_invoice(
        Row("Desks", "10", "9"), Row("Books", "3", "9.99", by=S9, behavior="inclusive")
    )
    return a_credit_note(invoice, lines, WantedCredit(amount=Money(1234, "EUR")))


def credit_of_a_line() -> IssuedDocument:
    invoice, lines = an_invoice(Row("Desks", "10", "9"), Row("Refit", "-1", "5"), coupons=[TEN_OFF])
    return a_credit_note(invoice, lines, WantedCredit(lines=(LineCredit(lines[0].id, Money(3333, "EUR")),)))


def without_addresses() -> IssuedDocument:
    seller = replace(SELLER, details=None, address="Straat 1\n1000 AA Amsterdam", footer=None)
    buyer = replace(BUYER, address=None, legal_name=None, vat_id=None)
    return a_document(Row("Desk", "1", "9"), seller=seller, buyer=buyer, profile=None)


class Case(NamedTuple):
    """`net`, `tax`, `total` and `due` are what the e-invoice tells, to the cent."""

    name: str
    document: Callable[[], IssuedDocument]
    net: str
    tax: str
    total: str
    due: str


def of(*rows: Row, **said: object) -> Callable[[], IssuedDocument]:
    return lambda: a_document(*rows, **said)  # type: ignore[arg-type]


DESK = Row("Desk", "1", "100")
THREE_DESKS = Row("Desk", "3", "3.33")
S10 = TaxTreatment("S", Decimal(10))
ALL_OFF = Coupon("ALL", "All", percent=Decimal(100))
PARTLY_PREPAID = Row("Book", "3", "10", behavior="inclusive", prepaid="10")
TWO_HUNDRED = [Row(f"Line {n}", f"{n}", "0.5") for n in range(1, 201)]
INCLUSIVE = Row("Book", "1", "10", behavior="inclusive")
CASES = [
    #    name, document, net, tax, total, due
    Case("worked_example_a", light_as_a_service, "1676.91", "352.15", "2029.06", "2029.06"),
    Case("worked_example_b_first", furniture_first, "194.03", "40.75", "234.78", "234.78"),
    Case("worked_example_b_swap", furniture_swap, "170.26", "35.75", "206.01", "206.01"),
    Case("worked_example_f", seats_by_reverse_charge, "2118.80", "0.00", "2118.80", "2118.80"),
    Case("standard_rate", of(Row("Desk", "3", "33.333")), "100.00", "21.00", "121.00", "121.00"),
    Case("zero_rated", of(Row("Bread", "4", "2", by=ZERO_RATED)), "8.00", "0.00", "8.00", "8.00"),
    Case("exempt", of(Row("Lesson", "2", "40", by=EXEMPT, unit="hours")), "80.00", "0.00", "80.00", "80.00"),
    Case("within_union", of(Row("Lamp", "1", "70", by=WITHIN_UNION)), "70.00", "0.00", "70.00", "70.00"),
    Case("export", of(Row("Lamp", "1", "70", by=EXPORT)), "70.00", "0.00", "70.00", "70.00"),
    Case(
        "outside_scope",
        of(Row("Damage", "1", "60", by=OUTSIDE_SCOPE), kind="compensation"),
        "60.00",
        "0.00",
        "60.00",
        "60.00",
    ),
    Case(
        "several_rates",
        of(Row("Desk", "1", "9.99"), Row("Book", "1", "9.99", by=S9), Row("Bread", "1", "1", by=ZERO_RATED)),
        "20.98",
        "3.00",
        "23.98",
        "23.98",
    ),
    Case("tax_inside_of_prices", of(Row("Book", "3", "9.99", behavior="inclusive")), "24.77", "5.20", "29.97", "29.97"),
    Case("tax_inside_that_no_rate_gives", of(INCLUSIVE), "8.26", "1.74", "10.00", "10.00"),
    Case(
        "tax_inside_and_on_top",
        of(INCLUSIVE, Row("Desk", "1", "9.95")),
        "18.21",
        "3.83",
        "22.04",
        "22.04",
    ),
    Case("discount", of(THREE_DESKS, Row("Pen", "1", "1"), coupons=[TEN_OFF]), "9.89", "2.08", "11.97", "11.97"),
    Case(
        "discounts_one_after_another",
        of(Row("Desk", "3", "33.33"), Row("Pen", "-1", "1"), coupons=[TEN_OFF, FIVE_OFF]),
        "84.59",
        "17.76",
        "102.35",
        "102.35",
    ),
    Case("discount_inside", of(INCLUSIVE, coupons=[TEN_OFF]), "7.44", "1.56", "9.00", "9.00"),
    Case("all_discounted", of(INCLUSIVE, coupons=[ALL_OFF]), "0.00", "0.00", "0.00", "0.00"),
    Case("prepaid_units", of(Row("Call", "100", "0.07", unit="minute", prepaid="3")), "4.00", "0.84", "4.84", "4.84"),
    Case("prepaid_inside", of(PARTLY_PREPAID), "16.53", "3.47", "20.00", "20.00"),
    Case("paid_by_balance", of(DESK, credits="20", balance="1000"), "100.00", "21.00", "121.00", "0.00"),
    Case("partly_paid", of(DESK, credits="20", balance="1"), "100.00", "21.00", "121.00", "100.00"),
    Case(
        "below_zero",
        of(Row("Desk", "-1", "50", corrects=BEFORE), kind="correction"),
        "-50.00",
        "-10.50",
        "-60.50",
        "-60.50",
    ),
    Case("tier_with_a_flat_amount", of(Row("Calls", "30", "0.1", amount="8")), "8.00", "1.68", "9.68", "9.68"),
    Case("price_of_twelve_decimals", of(Row("Calls", "7", "0.333333333333")), "2.33", "0.49", "2.82", "2.82"),
    Case("nothing_to_pay", of(Row("Trial", "1", "0")), "0.00", "0.00", "0.00", "0.00"),
    Case("yen", of(Row("机", "3", "333.5", by=S10), currency="JPY"), "1001", "100", "1101", "1101"),
    Case("credit_in_full", credit_in_full, "117.50", "21.37", "138.87", "138.87"),
    Case("credit_of_an_amount", credit_of_an_amount, "10.44", "1.90", "12.34", "12.34"),
    Case("credit_of_a_line", credit_of_a_line, "30.00", "6.30", "36.30", "36.30"),
    Case("without_addresses", without_addresses, "9.00", "1.89", "10.89", "10.89"),
    Case("many_lines", of(*TWO_HUNDRED), "10050.00", "2110.50", "12160.50", "12160.50"),
    Case(
        "odd_characters",
        of(
            Row("<Fish & \"chips\">\x00\x0b \u202eעברית\u202c 🐟 ]]>", "1", "9"),
            buyer=replace(BUYER, name="مثال & بنو\x07", legal_name=None),
            notes="first\nsecond\r\n<third/>",
            number="R/2026 № 7",
        ),
        "9.00",
        "1.89",
        "10.89",
        "10.89",
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_document_passes_the_official_rules_and_tells_its_own_amounts(case: Case) -> None:
    invoice = e_invoice_of(case.document())
    told = tuple(str(amount) for amount in (invoice.net, invoice.tax, invoice.gross, invoice.due))
    assert (case.net, case.tax, case.total, case.due) == told
    assert problems_of(invoice) == ()
    ubl, cii, embedded = ubl_of(invoice), cii_of(invoice), cii_of(invoice, is_embedded=True)
    assert faults_of(ubl) == []
    assert faults_of(cii) == []
    assert faults_of(embedded) == []
    totals = [_text(ubl, CBC(name)) for name in ("TaxExclusiveAmount", "TaxInclusiveAmount", "PayableAmount")]
    assert totals == [case.net, case.total, case.due]
    names = ("TaxBasisTotalAmount", "TaxTotalAmount", "GrandTotalAmount", "DuePayableAmount")
    assert [_text(cii, RAM(name)) for name in names] == [case.net, case.tax, case.total, case.due]


def _text(document: bytes, name: str) -> str | None:
    found = etree.fromstring(document).find(f".//{name}")
    return None if found is None else found.text


TREATMENTS = (S21, S9, ZERO_RATED, EXEMPT)
money_texts = st.decimals(Decimal("0.01"), Decimal(5000), places=2).map(str)
prices = st.decimals(Decimal(0), Decimal(900), places=6).map(str)
quantities = st.decimals(Decimal("0.000001"), Decimal(2000), places=6)


@st.composite
def rows(draw: st.DrawFn) -> Row:
    quantity = draw(quantities)
    return Row(
        f"x{draw(st.text(max_size=20))}",
        str(-quantity if draw(st.booleans()) else quantity),
        draw(prices),
        by=draw(st.sampled_from(TREATMENTS)),
        period=draw(st.sampled_from((APRIL, MARCH, JANUARY_PART))),
        behavior=draw(st.sampled_from(("exclusive", "inclusive"))),
        unit=draw(st.sampled_from((None, "hour", "GB", "klm·h"))),
        corrects=BEFORE,
    )


@settings(max_examples=20, deadline=None)
@given(
    lines=st.lists(rows(), min_size=1, max_size=6),
    percent=st.sampled_from((None, Decimal("12.5"), Decimal(100))),
    balance=money_texts,
    part=st.integers(1, 99),
)
def test_whatever_the_engine_issues_passes_the_official_rules_and_ours(
    lines: Sequence[Row], percent: Decimal | None, balance: str, part: int
) -> None:
    coupons = [] if percent is None else [Coupon("C", "Coupon", percent=percent)]
    documents = [a_document(*lines, coupons=coupons, balance=balance)]
    invoice, billed = an_invoice(*lines, coupons=coupons, balance=balance)
    if invoice.total.amount_minor > 0:
        amount = Money(max(invoice.total.amount_minor * part // 100, 1), "EUR")
        documents.append(a_credit_note(invoice, billed))
        documents.append(a_credit_note(invoice, billed, WantedCredit(amount=amount)))
    for document in documents:
        told = e_invoice_of(document)
        assert problems_of(told) == ()
        assert faults_of(ubl_of(told)) == []
        assert faults_of(cii_of(told)) == []


def test_a_document_that_cannot_travel_by_peppol_keeps_en_16931_alone() -> None:
    whole = e_invoice_of(a_document(Row("Desk", "1", "9")))
    assert whole.profile == "peppol"
    assert b"urn:fdc:peppol.eu:2017:poacc:billing:3.0" in ubl_of(whole)
    for profile in (
        None,
        replace(PROFILE, delivery=None),
        replace(PROFILE, purchase_order=None, buyer_reference=None),
    ):
        lacking = e_invoice_of(a_document(Row("Desk", "1", "9"), profile=profile))
        assert lacking.profile == "en16931"
        assert b"poacc:billing:3.0" not in ubl_of(lacking)


def test_a_file_is_the_same_each_time() -> None:
    assert ubl_of(e_invoice_of(light_as_a_service())) == ubl_of(e_invoice_of(light_as_a_service()))
