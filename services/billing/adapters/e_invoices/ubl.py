"""E-invoices as UBL 2.1: Invoice and CreditNote. The order of elements is the schema's."""

from __future__ import annotations

from decimal import Decimal

from lxml import etree

from services.billing.adapters.e_invoices.identifiers import customization_id, process_id
from services.billing.adapters.e_invoices.xml_tree import (
    Namespace,
    add,
    add_said,
    amount,
    iso,
    number,
    scheme_of,
    written,
)
from services.billing.domain.e_invoice import (
    OUTSIDE_SCOPE,
    EInvoice,
    EInvoiceLine,
    EInvoiceParty,
    EInvoiceTax,
)

_UBL = "urn:oasis:names:specification:ubl:schema:xsd:"
CAC = Namespace(f"{_UBL}CommonAggregateComponents-2")
CBC = Namespace(f"{_UBL}CommonBasicComponents-2")

VAT = "VAT"
OTHER_TAX = "TAX"


def ubl_of(invoice: EInvoice) -> bytes:
    """Source: EN 16931-3-2; Peppol BIS Billing 3.0."""
    kind = "CreditNote" if invoice.is_credit_note else "Invoice"
    main = Namespace(f"{_UBL}{kind}-2")
    root = etree.Element(main(kind), nsmap={None: main.uri, "cac": CAC.uri, "cbc": CBC.uri})
    add(root, CBC("CustomizationID"), customization_id(invoice))
    add(root, CBC("ProfileID"), process_id(invoice))
    add(root, CBC("ID"), invoice.number)
    add(root, CBC("IssueDate"), iso(invoice.issued_on))
    if invoice.due_on is not None and not invoice.is_credit_note:
        add(root, CBC("DueDate"), iso(invoice.due_on))
    add(root, CBC(f"{kind}TypeCode"), invoice.type_code)
    add_said(root, CBC("Note"), invoice.notes)
    add(root, CBC("DocumentCurrencyCode"), invoice.currency)
    add_said(root, CBC("BuyerReference"), invoice.buyer_reference)
    if invoice.start_on is not None and invoice.last_on is not None:
        period = add(root, CAC("InvoicePeriod"))
        add(period, CBC("StartDate"), iso(invoice.start_on))
        add(period, CBC("EndDate"), iso(invoice.last_on))
    if invoice.purchase_order is not None:
        add(add(root, CAC("OrderReference")), CBC("ID"), invoice.purchase_order)
    for document in invoice.preceding:
        reference = add(add(root, CAC("BillingReference")), CAC("InvoiceDocumentReference"))
        add(reference, CBC("ID"), document.number)
        add(reference, CBC("IssueDate"), iso(document.issued_on))
    if invoice.contract is not None:
        add(add(root, CAC("ContractDocumentReference")), CBC("ID"), invoice.contract)
    _party(add(root, CAC("AccountingSupplierParty")), invoice.seller)
    _party(add(root, CAC("AccountingCustomerParty")), invoice.buyer)
    _delivery(root, invoice)
    _payment(root, invoice)
    _totals(root, invoice)
    for line in invoice.lines:
        _line(root, line, invoice)
    return written(root)


def _party(parent: etree._Element, party: EInvoiceParty) -> None:
    node = add(parent, CAC("Party"))
    if party.endpoint is not None:
        add(node, CBC("EndpointID"), party.endpoint.value, schemeID=party.endpoint.scheme)
    if party.identifier is not None:
        add(add(node, CAC("PartyIdentification")), CBC("ID"), party.identifier)
    if party.trading_name is not None:
        add(add(node, CAC("PartyName")), CBC("Name"), party.trading_name)
    address = add(node, CAC("PostalAddress"))
    street = (*party.street, None, None, None)
    add_said(address, CBC("StreetName"), street[0])
    add_said(address, CBC("AdditionalStreetName"), street[1])
    add_said(address, CBC("CityName"), party.city)
    add_said(address, CBC("PostalZone"), party.postal_code)
    add_said(address, CBC("CountrySubentity"), party.region)
    if street[2]:
        add(add(address, CAC("AddressLine")), CBC("Line"), street[2])
    add_said(add(address, CAC("Country")), CBC("IdentificationCode"), party.country)
    for tax_id, scheme in ((party.vat_id, VAT), (party.tax_number, OTHER_TAX)):
        if tax_id is not None:
            tax = add(node, CAC("PartyTaxScheme"))
            add(tax, CBC("CompanyID"), tax_id)
            add(add(tax, CAC("TaxScheme")), CBC("ID"), scheme)
    legal = add(node, CAC("PartyLegalEntity"))
    add(legal, CBC("RegistrationName"), party.name)
    add_said(legal, CBC("CompanyID"), party.legal_id, **scheme_of(party.legal_scheme))
    if party.contact_name or party.phone or party.email:
        contact = add(node, CAC("Contact"))
        add_said(contact, CBC("Name"), party.contact_name)
        add_said(contact, CBC("Telephone"), party.phone)
        add_said(contact, CBC("ElectronicMail"), party.email)


def _delivery(root: etree._Element, invoice: EInvoice) -> None:
    if invoice.deliver_to is None:
        return
    location = add(add(root, CAC("Delivery")), CAC("DeliveryLocation"))
    country = add(add(location, CAC("Address")), CAC("Country"))
    add(country, CBC("IdentificationCode"), invoice.deliver_to)


def _payment(root: etree._Element, invoice: EInvoice) -> None:
    """How an invoice is paid. A credit note asks for nothing: it says what became of the amount."""
    if invoice.bank is not None and not invoice.is_credit_note:
        means = add(root, CAC("PaymentMeans"))
        add(means, CBC("PaymentMeansCode"), invoice.payment_means)
        add_said(means, CBC("PaymentID"), invoice.payment_reference)
        account = add(means, CAC("PayeeFinancialAccount"))
        add(account, CBC("ID"), invoice.bank.iban)
        add_said(account, CBC("Name"), invoice.bank.holder or invoice.seller.name)
        if invoice.bank.bic is not None:
            add(add(account, CAC("FinancialInstitutionBranch")), CBC("ID"), invoice.bank.bic)
    if invoice.terms:
        add(add(root, CAC("PaymentTerms")), CBC("Note"), invoice.terms)


def _totals(root: etree._Element, invoice: EInvoice) -> None:
    whole = add(root, CAC("TaxTotal"))
    _amount(whole, "TaxAmount", invoice.tax, invoice)
    for tax in invoice.taxes:
        part = add(whole, CAC("TaxSubtotal"))
        _amount(part, "TaxableAmount", tax.base, invoice)
        _amount(part, "TaxAmount", tax.tax, invoice)
        _tax_category(add(part, CAC("TaxCategory")), tax)
    totals = add(root, CAC("LegalMonetaryTotal"))
    _amount(totals, "LineExtensionAmount", invoice.line_total, invoice)
    _amount(totals, "TaxExclusiveAmount", invoice.net, invoice)
    _amount(totals, "TaxInclusiveAmount", invoice.gross, invoice)
    if invoice.prepaid:
        _amount(totals, "PrepaidAmount", invoice.prepaid, invoice)
    _amount(totals, "PayableAmount", invoice.due, invoice)


def _line(root: etree._Element, line: EInvoiceLine, invoice: EInvoice) -> None:
    kind = "Credited" if invoice.is_credit_note else "Invoiced"
    node = add(root, CAC("CreditNoteLine" if invoice.is_credit_note else "InvoiceLine"))
    add(node, CBC("ID"), line.id)
    add(node, CBC(f"{kind}Quantity"), number(line.quantity), unitCode=line.unit_code)
    _amount(node, "LineExtensionAmount", line.net, invoice)
    period = add(node, CAC("InvoicePeriod"))
    add(period, CBC("StartDate"), iso(line.start_on))
    add(period, CBC("EndDate"), iso(line.last_on))
    for allowance in line.allowances:
        off = add(node, CAC("AllowanceCharge"))
        add(off, CBC("ChargeIndicator"), "true" if allowance.is_charge else "false")
        add_said(off, CBC("AllowanceChargeReasonCode"), allowance.reason_code)
        add(off, CBC("AllowanceChargeReason"), allowance.reason)
        _amount(off, "Amount", allowance.amount, invoice)
    item = add(node, CAC("Item"))
    add_said(item, CBC("Description"), line.description)
    add(item, CBC("Name"), line.name)
    category = add(item, CAC("ClassifiedTaxCategory"))
    add(category, CBC("ID"), line.category)
    if line.category != OUTSIDE_SCOPE:
        add(category, CBC("Percent"), number(line.percent))
    add(add(category, CAC("TaxScheme")), CBC("ID"), VAT)
    price = add(node, CAC("Price"))
    add(price, CBC("PriceAmount"), number(line.price), currencyID=invoice.currency)
    if line.base_quantity is not None:
        add(price, CBC("BaseQuantity"), number(line.base_quantity), unitCode=line.unit_code)


def _tax_category(node: etree._Element, tax: EInvoiceTax) -> None:
    add(node, CBC("ID"), tax.category)
    if tax.category != OUTSIDE_SCOPE:
        add(node, CBC("Percent"), number(tax.percent))
    add_said(node, CBC("TaxExemptionReasonCode"), tax.reason_code)
    add_said(node, CBC("TaxExemptionReason"), tax.reason)
    add(add(node, CAC("TaxScheme")), CBC("ID"), VAT)


def _amount(parent: etree._Element, name: str, value: Decimal, invoice: EInvoice) -> None:
    add(parent, CBC(name), amount(value, invoice.decimals), currencyID=invoice.currency)
