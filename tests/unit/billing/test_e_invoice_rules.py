"""Each of our own rules catches what breaks it, also what the official rules let pass; and says where to set it right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from services.billing.adapters.e_invoices.cii import cii_of
from services.billing.adapters.e_invoices.ubl import ubl_of
from services.billing.domain.contact_details import BankAccount
from services.billing.domain.e_invoice import EInvoice, LineAllowance, e_invoice_of
from services.billing.domain.e_invoice_rules import (
    EInvoiceImpossible,
    missing_for_peppol,
    problems_of,
    require_e_invoice,
)
from services.billing.domain.issued_document import PrecedingDocument
from services.billing.domain.tax_treatment import NOT_TAXED
from services.billing.domain.unit_codes import unit_code
from tests.support.e_invoices import faults_of
from tests.support.issued_documents import (
    BUYER,
    EXEMPT,
    OUTSIDE_SCOPE,
    PROFILE,
    REVERSE_CHARGE,
    S21,
    SELLER,
    WITHIN_UNION,
    ZERO_RATED,
    Row,
    a_credit_note,
    a_document,
    an_invoice,
)

CENT = Decimal("0.01")


def sold(by: Any = S21) -> EInvoice:
    return e_invoice_of(a_document(Row("Desk", "3", "33.33", by=by), Row("Chair", "2", "7", by=by)))


def credited() -> EInvoice:
    invoice, lines = an_invoice(Row("Desk", "10", "9"))
    return e_invoice_of(a_credit_note(invoice, lines))


def line(**changed: Any) -> Callable[[EInvoice], EInvoice]:
    def change(invoice: EInvoice) -> EInvoice:
        return replace(invoice, lines=(replace(invoice.lines[0], **changed), *invoice.lines[1:]))

    return change


def tax(**changed: Any) -> Callable[[EInvoice], EInvoice]:
    return lambda invoice: replace(invoice, taxes=(replace(invoice.taxes[0], **changed),))


def seller(**changed: Any) -> Callable[[EInvoice], EInvoice]:
    return lambda invoice: replace(invoice, seller=replace(invoice.seller, **changed))


def buyer(**changed: Any) -> Callable[[EInvoice], EInvoice]:
    return lambda invoice: replace(invoice, buyer=replace(invoice.buyer, **changed))


def whole(**changed: Any) -> Callable[[EInvoice], EInvoice]:
    return lambda invoice: replace(invoice, **changed)


def off_by_a_cent(name: str) -> Callable[[EInvoice], EInvoice]:
    return lambda invoice: replace(invoice, **{name: getattr(invoice, name) + CENT})


class Mutation(NamedTuple):
    rule: str
    of: EInvoice
    change: Callable[[EInvoice], EInvoice]


ALLOWANCE = LineAllowance(Decimal(1), " ")
YESTERDAY = date(2026, 3, 31)
MUTATIONS = [
    Mutation("BR-02", sold(), whole(number=" ")),
    Mutation("BR-04", sold(), whole(kind="deposit_request")),
    Mutation("BR-04", sold(), whole(status="void")),
    Mutation("BR-06", sold(), seller(name="")),
    Mutation("BR-07", sold(), buyer(name=" ")),
    Mutation("BR-09", sold(), seller(country=None)),
    Mutation("BR-11", sold(), buyer(country=None)),
    Mutation("BR-16", sold(), whole(lines=())),
    Mutation("BR-25", sold(), line(name="")),
    Mutation("BR-27", sold(), line(price=Decimal("-33.33"), quantity=Decimal(-3))),
    Mutation("BR-29", sold(), whole(start_on=date(2026, 5, 1), last_on=date(2026, 4, 1))),
    Mutation("BR-30", sold(), line(last_on=YESTERDAY)),
    Mutation("BR-41", sold(), line(allowances=(LineAllowance(Decimal(-1), "x"),))),
    Mutation("BR-42", sold(), line(allowances=(ALLOWANCE,))),
    Mutation("BR-44", sold(), line(allowances=(replace(ALLOWANCE, is_charge=True),))),
    Mutation("BR-55", credited(), whole(preceding=())),
    Mutation("BR-55", sold(), whole(gross=Decimal(-1))),
    Mutation("BR-55", credited(), whole(preceding=(PrecedingDocument("inv_1", " ", YESTERDAY),))),
    Mutation("BR-61", sold(), whole(bank=BankAccount(" "))),
    Mutation("BR-CO-09", sold(), seller(vat_id="123456789")),
    Mutation("BR-CO-09", sold(), buyer(vat_id="QQ1")),
    Mutation("BR-CO-10", sold(), off_by_a_cent("line_total")),
    Mutation("BR-CO-13", sold(), off_by_a_cent("net")),
    Mutation("BR-CO-14", sold(), off_by_a_cent("tax")),
    Mutation("BR-CO-15", sold(), off_by_a_cent("gross")),
    Mutation("BR-CO-16", sold(), off_by_a_cent("due")),
    Mutation("BR-CO-16", sold(), off_by_a_cent("prepaid")),
    Mutation("BR-CO-17", sold(), tax(tax=Decimal("23.95"))),
    Mutation("BR-CO-18", sold(), whole(taxes=())),
    Mutation("BR-CO-18", sold(), tax(percent=Decimal(9))),
    Mutation("BR-CO-25", sold(), whole(due_on=None)),
    Mutation("BR-CO-26", sold(), seller(identifier=None, legal_id=None, vat_id=None)),
    Mutation("BR-DEC-23", sold(), line(net=Decimal("99.995"))),
    Mutation("BR-DEC-23", sold(), whole(currency="BHD")),
    Mutation("BR-S-02", sold(), seller(vat_id=None)),
    Mutation("BR-S-05", sold(NOT_TAXED), whole()),
    Mutation("BR-S-08", sold(), tax(base=Decimal("114.00"))),
    Mutation("BR-S-10", sold(), tax(reason="because")),
    Mutation("BR-Z-02", sold(ZERO_RATED), seller(vat_id=None)),
    Mutation("BR-Z-05", sold(ZERO_RATED), tax(percent=Decimal(1))),
    Mutation("BR-E-02", sold(EXEMPT), seller(vat_id=None)),
    Mutation("BR-E-10", sold(EXEMPT), tax(reason=None, reason_code=None)),
    Mutation("BR-AE-02", sold(REVERSE_CHARGE), buyer(vat_id=None)),
    Mutation("BR-AE-10", sold(REVERSE_CHARGE), tax(reason=None, reason_code=None)),
    Mutation("BR-IC-02", sold(WITHIN_UNION), buyer(vat_id=None)),
    Mutation("BR-IC-12", sold(WITHIN_UNION), whole(deliver_to=None)),
    Mutation("BR-O-02", sold(OUTSIDE_SCOPE), seller(vat_id="NL123456789B01")),
    Mutation("BR-O-11", sold(OUTSIDE_SCOPE), line(category="S", percent=Decimal(21))),
    Mutation("PEPPOL-EN16931-R003", sold(), whole(buyer_reference=None, purchase_order=None)),
    Mutation("PEPPOL-EN16931-R010", sold(), buyer(endpoint=None)),
    Mutation("PEPPOL-EN16931-R020", sold(), seller(endpoint=None)),
    Mutation("PEPPOL-EN16931-R110", sold(), line(start_on=YESTERDAY)),
    Mutation("PEPPOL-EN16931-R111", sold(), line(last_on=date(2026, 5, 1))),
    Mutation("PEPPOL-EN16931-R120", sold(), line(net=Decimal("100.00"))),
    Mutation("PEPPOL-EN16931-R120", sold(), line(price=Decimal("33.34"))),
    Mutation("PEPPOL-EN16931-R120", sold(), line(quantity=Decimal(4))),
    Mutation("PEPPOL-EN16931-R121", sold(), line(base_quantity=Decimal(0))),
]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.rule)
def test_what_breaks_a_rule_is_found_by_its_name(mutation: Mutation) -> None:
    changed = mutation.change(mutation.of)
    assert mutation.rule in {problem.rule for problem in problems_of(changed)}
    assert all(problem.detail and problem.remedy and problem.term for problem in problems_of(changed))


def test_what_is_not_broken_is_not_complained_of() -> None:
    for invoice in (sold(), sold(EXEMPT), sold(REVERSE_CHARGE), sold(OUTSIDE_SCOPE), credited()):
        assert problems_of(invoice) == ()


def test_a_tax_that_is_a_cent_off_passes_the_official_rules_and_not_ours() -> None:
    wrong = replace(
        tax(tax=Decimal("23.95"))(sold()),
        tax=Decimal("23.95"),
        gross=Decimal("137.94"),
        due=Decimal("137.94"),
    )
    assert faults_of(ubl_of(wrong)) == []
    assert faults_of(cii_of(wrong)) == []
    assert [problem.rule for problem in problems_of(wrong)] == ["BR-CO-17"]


def test_everything_that_is_missing_is_told_at_once_with_where_to_set_it() -> None:
    seller = replace(SELLER, details=None, tax_number=None)
    buyer = replace(BUYER, country=None, address=None, vat_id=None)
    document = a_document(Row("Seats", "1", "9", by=REVERSE_CHARGE), seller=seller, buyer=buyer, profile=None)
    with pytest.raises(EInvoiceImpossible) as refused:
        require_e_invoice(e_invoice_of(document))
    assert [(one.rule, one.term) for one in refused.value.problems] == [
        ("BR-11", "BT-55"),
        ("BR-AE-02", "BT-31"),
        ("BR-AE-02", "BT-48"),
    ]
    assert refused.value.remedy is not None
    assert "PATCH /v1/customers/{id}" in refused.value.remedy
    assert "PATCH /v1/sellers/{id}" in refused.value.remedy
    lacking = [problem.rule for problem in missing_for_peppol(e_invoice_of(document))]
    assert lacking == ["PEPPOL-EN16931-R003", "PEPPOL-EN16931-R010", "PEPPOL-EN16931-R020"]


def test_what_no_setting_changes_is_told_alone() -> None:
    in_dinars = e_invoice_of(a_document(Row("Desk", "1", "9.125"), currency="BHD"))
    assert [problem.rule for problem in problems_of(in_dinars)] == ["BR-DEC-23"]
    deposit = e_invoice_of(a_document(Row("Deposit", "1", "500", by=OUTSIDE_SCOPE), kind="deposit"))
    assert [problem.rule for problem in problems_of(deposit)] == ["BR-04"]


@pytest.mark.parametrize(("rounding", "is_accepted"), [("group", True), ("line", False), ("document", True)])
def test_a_tax_that_is_rounded_in_another_way_is_refused_where_it_comes_to_something_else(
    rounding: Any, is_accepted: bool
) -> None:
    seller = replace(SELLER, tax_rounding=rounding)
    lines = [Row(f"Pen {n}", "1", "0.12") for n in range(5)]
    problems = problems_of(e_invoice_of(a_document(*lines, seller=seller)))
    assert [problem.rule for problem in problems] == ([] if is_accepted else ["BR-CO-17"])


def test_outside_the_scope_of_tax_no_vat_id_is_told() -> None:
    told = ubl_of(sold(OUTSIDE_SCOPE)) + cii_of(sold(OUTSIDE_SCOPE))
    assert b"NL123456789B01" not in told
    assert b"DE136695976<" not in told.replace(b'schemeID="9930">DE136695976<', b"")


def test_a_number_for_tax_without_a_country_is_no_vat_id() -> None:
    seller = replace(SELLER, country="DE", tax_number="12/345/67890", details=None)
    told = e_invoice_of(a_document(Row("Desk", "1", "9"), seller=seller, profile=None))
    assert (told.seller.vat_id, told.seller.tax_number) == (None, "12/345/67890")
    assert problems_of(told) == ()
    assert faults_of(ubl_of(told)) == []
    assert faults_of(cii_of(told)) == []


def test_the_invoicing_period_holds_all_periods_of_lines() -> None:
    first, last = date(2026, 1, 15), date(2026, 6, 1)
    invoice = e_invoice_of(
        a_document(
            Row("Usage", "1", "9", period=(first, date(2026, 2, 1))),
            Row("Fee", "1", "9", period=(date(2026, 5, 1), last)),
            Row("Delivery", "1", "9", period=(date(2026, 3, 3), date(2026, 3, 3))),
        )
    )
    assert (invoice.start_on, invoice.last_on) == (first, last - timedelta(days=1))
    assert problems_of(invoice) == ()


def test_references_of_the_buyer_are_told_where_there_are_any() -> None:
    told = ubl_of(sold())
    assert b"<cbc:BuyerReference>Dept 12</cbc:BuyerReference>" in told
    assert b"<cbc:ID>PO-7788</cbc:ID>" in told
    empty = replace(PROFILE, purchase_order=" ", buyer_reference="")
    assert b"BuyerReference" not in ubl_of(e_invoice_of(a_document(Row("Desk", "1", "9"), profile=empty)))


@pytest.mark.parametrize(
    ("word", "code"),
    [
        (None, "C62"),
        (" ", "C62"),
        ("seat", "C62"),
        ("Hours", "HUR"),
        ("kWh", "KWH"),
        ("GB", "E34"),
        ("square metres", "MTK"),
        ("MON", "MON"),
        ("klm·h", None),
    ],
)
def test_units_have_the_code_that_says_the_same(word: str | None, code: str | None) -> None:
    assert unit_code(word) == code
