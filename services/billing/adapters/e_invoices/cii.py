"""E-invoices as UN/CEFACT Cross Industry Invoice (D16B), as Factur-X and ZUGFeRD have them. The order of elements is the
schema's."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from lxml import etree

from services.billing.adapters.e_invoices.identifiers import EN_16931, customization_id, process_id
from services.billing.adapters.e_invoices.xml_tree import (
    Namespace,
    add,
    add_said,
    amount,
    basic,
    number,
    scheme_of,
    written,
)
from services.billing.domain.e_invoice import (
    OUTSIDE_SCOPE,
    EInvoice,
    EInvoiceLine,
    EInvoiceParty,
    LineAllowance,
)

RSM = Namespace("urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100")
RAM = Namespace("urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100")
UDT = Namespace("urn:un:unece:uncefact:data:standard:UnqualifiedDataType:100")
QDT = Namespace("urn:un:unece:uncefact:data:standard:QualifiedDataType:100")

VAT = "VAT"
VAT_ID, OTHER_TAX_NUMBER = "VA", "FC"
DAY_FORMAT = "102"


def cii_of(invoice: EInvoice, *, is_embedded: bool = False) -> bytes:
    """Where it is embedded in a PDF, it names EN 16931 and no network: that is what Factur-X calls by that name.

    Source: EN 16931-3-3; Factur-X 1.0.
    """
    root = etree.Element(
        RSM("CrossIndustryInvoice"),
        nsmap={"rsm": RSM.uri, "ram": RAM.uri, "udt": UDT.uri, "qdt": QDT.uri},
    )
    context = add(root, RSM("ExchangedDocumentContext"))
    if not is_embedded:
        process = add(context, RAM("BusinessProcessSpecifiedDocumentContextParameter"))
        add(process, RAM("ID"), process_id(invoice))
    guideline = add(context, RAM("GuidelineSpecifiedDocumentContextParameter"))
    add(guideline, RAM("ID"), EN_16931 if is_embedded else customization_id(invoice))
    document = add(root, RSM("ExchangedDocument"))
    add(document, RAM("ID"), invoice.number)
    add(document, RAM("TypeCode"), invoice.type_code)
    _day(document, "IssueDateTime", invoice.issued_on)
    if invoice.notes:
        add(add(document, RAM("IncludedNote")), RAM("Content"), invoice.notes)
    trade = add(root, RSM("SupplyChainTradeTransaction"))
    for line in invoice.lines:
        _line(trade, line, invoice)
    _agreement(trade, invoice)
    delivery = add(trade, RAM("ApplicableHeaderTradeDelivery"))
    if invoice.deliver_to is not None:
        address = add(add(delivery, RAM("ShipToTradeParty")), RAM("PostalTradeAddress"))
        add(address, RAM("CountryID"), invoice.deliver_to)
    _settlement(trade, invoice)
    return written(root)


def _agreement(trade: etree._Element, invoice: EInvoice) -> None:
    node = add(trade, RAM("ApplicableHeaderTradeAgreement"))
    add_said(node, RAM("BuyerReference"), invoice.buyer_reference)
    _party(add(node, RAM("SellerTradeParty")), invoice.seller)
    _party(add(node, RAM("BuyerTradeParty")), invoice.buyer)
    for name, reference in (
        ("BuyerOrderReferencedDocument", invoice.purchase_order),
        ("ContractReferencedDocument", invoice.contract),
    ):
        if reference is not None:
            add(add(node, RAM(name)), RAM("IssuerAssignedID"), reference)


def _party(node: etree._Element, party: EInvoiceParty) -> None:
    add_said(node, RAM("ID"), party.identifier)
    add(node, RAM("Name"), party.name)
    if party.legal_id is not None or party.trading_name is not None:
        legal = add(node, RAM("SpecifiedLegalOrganization"))
        add_said(legal, RAM("ID"), party.legal_id, **scheme_of(party.legal_scheme))
        add_said(legal, RAM("TradingBusinessName"), party.trading_name)
    if party.contact_name or party.phone or party.email:
        contact = add(node, RAM("DefinedTradeContact"))
        add_said(contact, RAM("PersonName"), party.contact_name)
        if party.phone:
            phone = add(contact, RAM("TelephoneUniversalCommunication"))
            add(phone, RAM("CompleteNumber"), party.phone)
        if party.email:
            add(add(contact, RAM("EmailURIUniversalCommunication")), RAM("URIID"), party.email)
    address = add(node, RAM("PostalTradeAddress"))
    add_said(address, RAM("PostcodeCode"), party.postal_code)
    for name, line in zip(("LineOne", "LineTwo", "LineThree"), party.street, strict=False):
        add_said(address, RAM(name), line)
    add_said(address, RAM("CityName"), party.city)
    add_said(address, RAM("CountryID"), party.country)
    add_said(address, RAM("CountrySubDivisionName"), party.region)
    if party.endpoint is not None:
        uri = add(node, RAM("URIUniversalCommunication"))
        add(uri, RAM("URIID"), party.endpoint.value, schemeID=party.endpoint.scheme)
    for tax_id, scheme in ((party.vat_id, VAT_ID), (party.tax_number, OTHER_TAX_NUMBER)):
        if tax_id is not None:
            add(add(node, RAM("SpecifiedTaxRegistration")), RAM("ID"), tax_id, schemeID=scheme)


def _settlement(trade: etree._Element, invoice: EInvoice) -> None:
    node = add(trade, RAM("ApplicableHeaderTradeSettlement"))
    asks = invoice.bank is not None and not invoice.is_credit_note
    if asks:
        add_said(node, RAM("PaymentReference"), invoice.payment_reference)
    add(node, RAM("InvoiceCurrencyCode"), invoice.currency)
    if asks:
        assert invoice.bank is not None
        means = add(node, RAM("SpecifiedTradeSettlementPaymentMeans"))
        add(means, RAM("TypeCode"), invoice.payment_means)
        account = add(means, RAM("PayeePartyCreditorFinancialAccount"))
        add(account, RAM("IBANID"), invoice.bank.iban)
        add_said(account, RAM("AccountName"), invoice.bank.holder or invoice.seller.name)
        if invoice.bank.bic is not None:
            add(
                add(means, RAM("PayeeSpecifiedCreditorFinancialInstitution")),
                RAM("BICID"),
                invoice.bank.bic,
            )
    for tax in invoice.taxes:
        part = add(node, RAM("ApplicableTradeTax"))
        _amount(part, "CalculatedAmount", tax.tax, invoice)
        add(part, RAM("TypeCode"), VAT)
        add_said(part, RAM("ExemptionReason"), tax.reason)
        _amount(part, "BasisAmount", tax.base, invoice)
        add(part, RAM("CategoryCode"), tax.category)
        add_said(part, RAM("ExemptionReasonCode"), tax.reason_code)
        if tax.category != OUTSIDE_SCOPE:
            add(part, RAM("RateApplicablePercent"), number(tax.percent))
    if invoice.start_on is not None and invoice.last_on is not None:
        _period(node, invoice.start_on, invoice.last_on)
    if invoice.terms or (invoice.due_on is not None and not invoice.is_credit_note):
        terms = add(node, RAM("SpecifiedTradePaymentTerms"))
        add_said(terms, RAM("Description"), invoice.terms)
        if invoice.due_on is not None and not invoice.is_credit_note:
            _day(terms, "DueDateDateTime", invoice.due_on)
    totals = add(node, RAM("SpecifiedTradeSettlementHeaderMonetarySummation"))
    _amount(totals, "LineTotalAmount", invoice.line_total, invoice)
    _amount(totals, "TaxBasisTotalAmount", invoice.net, invoice)
    add(
        totals,
        RAM("TaxTotalAmount"),
        amount(invoice.tax, invoice.decimals),
        currencyID=invoice.currency,
    )
    _amount(totals, "GrandTotalAmount", invoice.gross, invoice)
    if invoice.prepaid:
        _amount(totals, "TotalPrepaidAmount", invoice.prepaid, invoice)
    _amount(totals, "DuePayableAmount", invoice.due, invoice)
    for preceding in invoice.preceding:
        reference = add(node, RAM("InvoiceReferencedDocument"))
        add(reference, RAM("IssuerAssignedID"), preceding.number)
        issued = add(reference, RAM("FormattedIssueDateTime"))
        add(issued, QDT("DateTimeString"), basic(preceding.issued_on), format=DAY_FORMAT)


def _line(trade: etree._Element, line: EInvoiceLine, invoice: EInvoice) -> None:
    node = add(trade, RAM("IncludedSupplyChainTradeLineItem"))
    add(add(node, RAM("AssociatedDocumentLineDocument")), RAM("LineID"), line.id)
    product = add(node, RAM("SpecifiedTradeProduct"))
    add(product, RAM("Name"), line.name)
    add_said(product, RAM("Description"), line.description)
    agreement = add(node, RAM("SpecifiedLineTradeAgreement"))
    price = add(agreement, RAM("NetPriceProductTradePrice"))
    add(price, RAM("ChargeAmount"), number(line.price))
    if line.base_quantity is not None:
        add(price, RAM("BasisQuantity"), number(line.base_quantity), unitCode=line.unit_code)
    delivery = add(node, RAM("SpecifiedLineTradeDelivery"))
    add(delivery, RAM("BilledQuantity"), number(line.quantity), unitCode=line.unit_code)
    settlement = add(node, RAM("SpecifiedLineTradeSettlement"))
    tax = add(settlement, RAM("ApplicableTradeTax"))
    add(tax, RAM("TypeCode"), VAT)
    add(tax, RAM("CategoryCode"), line.category)
    if line.category != OUTSIDE_SCOPE:
        add(tax, RAM("RateApplicablePercent"), number(line.percent))
    _period(settlement, line.start_on, line.last_on)
    for allowance in line.allowances:
        _allowance(settlement, allowance, invoice)
    total = add(settlement, RAM("SpecifiedTradeSettlementLineMonetarySummation"))
    _amount(total, "LineTotalAmount", line.net, invoice)


def _allowance(settlement: etree._Element, allowance: LineAllowance, invoice: EInvoice) -> None:
    node = add(settlement, RAM("SpecifiedTradeAllowanceCharge"))
    add(add(node, RAM("ChargeIndicator")), UDT("Indicator"), "true" if allowance.is_charge else "false")
    _amount(node, "ActualAmount", allowance.amount, invoice)
    add_said(node, RAM("ReasonCode"), allowance.reason_code)
    add(node, RAM("Reason"), allowance.reason)


def _period(node: etree._Element, start_on: date, last_on: date) -> None:
    period = add(node, RAM("BillingSpecifiedPeriod"))
    _day(period, "StartDateTime", start_on)
    _day(period, "EndDateTime", last_on)


def _day(node: etree._Element, name: str, day: date) -> None:
    add(add(node, RAM(name)), UDT("DateTimeString"), basic(day), format=DAY_FORMAT)


def _amount(node: etree._Element, name: str, value: Decimal, invoice: EInvoice) -> None:
    add(node, RAM(name), amount(value, invoice.decimals))
