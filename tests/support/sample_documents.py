"""Documents as the samples in docs/samples show them: `python -m tests.support.sample_documents` writes those anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from libs.common.money import Money, total
from services.billing.adapters.document_sheet import Sheet, sheet_of
from services.billing.adapters.statement_sheet import statement_sheet
from services.billing.adapters.typesetting import Typesetting
from services.billing.domain.agreement import Address, CustomerDetails
from services.billing.domain.contact_details import BankAccount, SellerDetails
from services.billing.domain.customer_statement import (
    AccountMovement,
    CustomerStatement,
    OpenInvoice,
    stated_account,
)
from services.billing.domain.invoice_totals import tax_on_net
from services.billing.domain.issued_document import DocumentLine, IssuedDocument, LineFacts, PrecedingDocument
from services.billing.domain.seller import Seller
from services.billing.domain.seller_logo import SellerLogo, seller_logo
from services.billing.domain.settlement import InvoiceTax

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "samples"
PIXELS_PER_INCH = 72
MADE_AT = datetime(2026, 2, 1, tzinfo=UTC)
LOGO_SVG = b"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 158 60">
<path d="M30 2a28 28 0 1 1-19.8 8.2" fill="none" stroke="#0a7f5a" stroke-width="4"/>
<path d="M30 14c9 8 9 24 0 32c-9-8-9-24 0-32z" fill="#0a7f5a"/><circle cx="30" cy="30" r="4" fill="#fff"/>
<path d="M76 18h12a9 9 0 0 1 0 18h-6v10h-6zM82 24v6h6a3 3 0 0 0 0-6z
M104 18h20v6h-14v5h12v6h-12v5h14v6h-20z" fill="#12352b"/>
<path d="M134 18h12a9 9 0 0 1 4 17l7 11h-7l-6-10h-4v10h-6zM140 24v6h6a3 3 0 0 0 0-6z" fill="#12352b"/>
</svg>"""


def a_logo() -> SellerLogo:
    return seller_logo("image/svg+xml", LOGO_SVG, now=MADE_AT)


def a_seller(**changes: object) -> Seller:
    details = SellerDetails(
        postal_address=Address(
            line1="Keizersgracht 123", postal_code="1015 CJ", city="Amsterdam", country="NL"
        ),
        legal_id="KvK 34567890",
        contact_name="Accounts receivable",
        email="billing@perennial-engines.example",
        phone="+31 20 555 0123",
        bank=BankAccount("NL91ABNA0417164300", "ABNANL2A"),
        language="en",
        colour="#0a7f5a",
        logo=a_logo().id,
    )
    seller = Seller(
        id="sel_1",
        code="engines",
        name="Perennial Engines B.V.",
        country="NL",
        number_prefix="PE-",
        payment_terms_days=30,
        is_default=True,
        version=1,
        created_at=MADE_AT,
        tax_number="NL123456789B01",
        footer="Registered office in Amsterdam. Our terms of 1 January 2026 apply.",
        details=details,
    )
    return replace(seller, **changes)  # type: ignore[arg-type]


def a_buyer(**changes: object) -> CustomerDetails:
    buyer = CustomerDetails(
        id="cus_1",
        version=1,
        name="Contoso Air",
        email="ap@contoso-air.example",
        external_id="K-10442",
        country="DE",
        legal_name="Contoso Luftverkehr GmbH",
        vat_id="DE123456788",
        address=Address(
            line1="Flughafenstraße 100",
            line2="Kreditorenbuchhaltung",
            postal_code="60549",
            city="Frankfurt am Main",
            country="DE",
        ),
        locale="en-GB",
    )
    return replace(buyer, **changes)  # type: ignore[arg-type]


def a_line(
    ordinal: int,
    description: str,
    quantity: str,
    unit: str,
    amount: Money,
    *,
    percent: str = "21",
    category: str = "S",
    discount: int = 0,
    prepaid: int = 0,
    facts: LineFacts | None = None,
    subscription_id: str | None = "sub_1",
    start: date = date(2026, 1, 1),
    end: date = date(2026, 2, 1),
    formula: str | None = None,
    reason: tuple[str, str] | None = None,
) -> DocumentLine:
    currency = amount.currency
    return DocumentLine(
        id=f"lin_{ordinal}",
        ordinal=ordinal,
        description=description,
        quantity=Decimal(quantity),
        unit_amount=Decimal(unit),
        amount=amount,
        prepaid=Money(prepaid, currency),
        discount=Money(discount, currency),
        net=amount - Money(prepaid, currency) - Money(discount, currency),
        tax_behavior="exclusive",
        tax_category=category,  # type: ignore[arg-type]
        tax_percent=Decimal(percent),
        tax_reason_code=None if reason is None else reason[0],
        tax_reason=None if reason is None else reason[1],
        service_start_on=start,
        service_end_on=end,
        subscription_id=subscription_id,
        formula=formula,
        facts=facts or LineFacts(kind="advance"),
    )


def a_document(lines: Sequence[DocumentLine], currency: str = "EUR", **changes: object) -> IssuedDocument:
    """An issued invoice of these lines: totals and taxes follow from them."""
    zero = Money.zero(currency)
    groups: dict[tuple[str, Decimal], list[DocumentLine]] = {}
    for line in lines:
        groups.setdefault((line.tax_category, line.tax_percent), []).append(line)
    taxes = []
    for (category, percent), group in groups.items():
        taxable = total((line.net for line in group), currency)
        taxes.append(
            InvoiceTax(
                category=category,  # type: ignore[arg-type]
                percent=percent,
                taxable=taxable,
                tax=tax_on_net(taxable, percent),
                reason_code=group[0].tax_reason_code,
                reason=group[0].tax_reason,
            )
        )
    net, tax = total((line.net for line in lines), currency), total((one.tax for one in taxes), currency)
    document = IssuedDocument(
        id="inv_1",
        kind="invoice",
        document_kind="invoice",
        status="finalized",
        number="PE-000123",
        issued_on=date(2026, 2, 1),
        due_on=date(2026, 3, 3),
        currency=currency,
        zone="Europe/Amsterdam",
        seller=a_seller(),
        buyer=a_buyer(),
        lines=tuple(lines),
        taxes=tuple(taxes),
        subtotal=total((line.amount for line in lines), currency),
        prepaid=total((line.prepaid for line in lines), currency),
        discount=total((line.discount for line in lines), currency),
        net=net,
        tax=tax,
        total=net + tax,
        credits_applied=zero,
        balance_applied=zero,
        paid=zero,
        credited=zero,
        to_invoice=zero,
        to_balance=zero,
        to_refund=zero,
        bank=a_seller().details.bank if a_seller().details else None,
    )
    return replace(document, **changes)  # type: ignore[arg-type]


def usual_lines(currency: str = "EUR") -> list[DocumentLine]:
    one = 10 ** (0 if currency == "JPY" else 3 if currency == "BHD" else 2)
    usage = LineFacts(kind="usage", unit="h", meter="flight_hours", event_count=412)
    return [
        a_line(
            1, "Engine health monitoring, Pro", "12", "180", Money(2160 * one, currency), discount=216 * one
        ),
        a_line(2, "Spare engine on site", "1", "2400", Money(2400 * one, currency), subscription_id="sub_1"),
        a_line(
            3,
            "Flight hours, up to 1,000",
            "1000",
            "2.5",
            Money(2500 * one, currency),
            facts=usage,
            formula="1000 * 2.50 = 2500.00",
        ),
        a_line(
            4,
            "Flight hours, above 1,000",
            "318.75",
            "1.8",
            Money(57375 * one // 100, currency),
            facts=usage,
            formula="318.75 * 1.80 = 573.75",
        ),
    ]


def latin() -> IssuedDocument:
    document = a_document(
        usual_lines(), purchase_order="PO-2026-00077", buyer_reference="Fleet 3 / A. Müller"
    )
    applied = Money(10_000, "EUR")
    return replace(document, balance_applied=applied, notes="Thank you for flying with us.")


def german() -> IssuedDocument:
    reverse = ("VATEX-EU-AE", "Reverse charge")
    lines = [
        replace(
            line, tax_category="AE", tax_percent=Decimal(0), tax_reason_code=reverse[0], tax_reason=reverse[1]
        )
        for line in usual_lines()
    ]
    return a_document(lines, buyer=a_buyer(locale="de-DE"))


def long_names() -> IssuedDocument:
    """Names, words and addresses that are longer than their places, in Polish and Vietnamese."""
    buyer = a_buyer(
        legal_name="Przedsiębiorstwo Usług Lotniczych i Obsługi Technicznej Silników Odrzutowych „Żółta Gęś” "
        "spółka z ograniczoną odpowiedzialnością spółka komandytowa",
        name="Công ty Trách nhiệm Hữu hạn Một Thành viên Dịch vụ Kỹ thuật Hàng không Nguyễn Huệ",
        address=Address(
            line1="Aleja Marszałka Józefa Piłsudskiego 1234/5678, budynek administracyjny, wejście od podwórza",
            line2="Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch",
            postal_code="90-368",
            city="Łódź",
            country="PL",
        ),
        locale="en-GB",
    )
    long = (
        "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft, maintenance of "
        "everything that turns, including inspections by borescope, replacement of blades and of bearings, "
        "and whatever else the manual of the manufacturer asks for at these hours"
    )
    lines = [
        a_line(1, long, "1", "12345678.9", Money(1_234_567_890, "EUR")),
        a_line(2, "A" * 120, "0.000001", "0.000123456", Money(1, "EUR")),
        *usual_lines()[2:],
    ]
    seller = a_seller(
        name="Perennial Turbine and Engine Leasing, Maintenance and Overhaul Company of the Netherlands B.V."
    )
    return a_document(lines, buyer=buyer, seller=seller, purchase_order="PO-" + "7" * 60)


def many_lines() -> IssuedDocument:
    """200 lines of three subscriptions, of two rates."""
    lines = []
    for place in range(200):
        percent = "9" if place % 7 == 0 else "21"
        lines.append(
            a_line(
                place + 1,
                f"Sensor PX-{place + 1:03d}, data plan",
                "1",
                "4.25",
                Money(425, "EUR"),
                percent=percent,
                subscription_id=f"sub_{place // 70 + 1}",
                start=date(2026, 1, 1) + timedelta(days=place % 28),
            )
        )
    return a_document(lines, subscription_ids=("sub_1", "sub_2", "sub_3"))


def right_to_left() -> IssuedDocument:
    buyer = a_buyer(
        name="אל־על טכנולוגיות (2020) בע״מ",
        legal_name="شركة المحركات الدائمة (ش.م.م)",
        address=Address(line1="רחוב הרצל 12, קומה 3", postal_code="6688101", city="תל אביב", country="IL"),
        country="IL",
        vat_id=None,
        locale="en",
    )
    lines = [
        a_line(
            1, "ניטור מנועים Pro 24/7 (ינואר)", "12", "180", Money(216_000, "EUR"), percent="0", category="G"
        ),
        a_line(2, "صيانة المحرك رقم 5", "1", "2400", Money(240_000, "EUR"), percent="0", category="G"),
        a_line(3, "株式会社 東京エンジン 保守", "3", "100", Money(30_000, "EUR"), percent="0", category="G"),
    ]
    return a_document(lines, buyer=buyer, notes="תודה רבה! שולם עד 3.3.2026.")


def yen() -> IssuedDocument:
    tokyo = Address(
        line1="1-9-1 Marunouchi", line2="Chiyoda-ku", postal_code="100-0005", city="Tokyo", country="JP"
    )
    details = replace(a_seller().details or SellerDetails(), bank=None, postal_address=tokyo, legal_id=None)
    buyer = a_buyer(
        name="東京航空株式会社",
        legal_name=None,
        country="JP",
        vat_id=None,
        address=Address(line1="千代田区丸の内1-9-1", postal_code="100-0005", city="東京都", country="JP"),
        locale="ja-JP",
    )
    seller = a_seller(
        details=details, country="JP", name="Perennial Engines K.K.", tax_number="T1234567890123"
    )
    lines = [replace(line, tax_percent=Decimal(10)) for line in usual_lines("JPY")]
    return a_document(lines, "JPY", buyer=buyer, seller=seller, bank=None)


def dinar() -> IssuedDocument:
    buyer = a_buyer(
        name="Gulf Wings W.L.L.", legal_name=None, country="BH", vat_id=None, address=None, locale="en"
    )
    lines = [replace(line, tax_percent=Decimal(10)) for line in usual_lines("BHD")]
    return a_document(lines, "BHD", buyer=buyer, bank=None)


def credit_note() -> IssuedDocument:
    lines = [a_line(1, "Spare engine on site", "1", "1200", Money(120_000, "EUR"), facts=LineFacts())]
    document = a_document(
        lines, kind="credit_note", document_kind=None, id="crn_1", number="CN-000007", due_on=None
    )
    return replace(
        document,
        preceding=(PrecedingDocument("inv_1", "PE-000123", date(2026, 2, 1)),),
        issued_on=date(2026, 2, 10),
        reason="The engine stood on site for half of the month.",
        to_invoice=Money(100_000, "EUR"),
        to_balance=Money(45_200, "EUR"),
        buyer=a_buyer(locale="nl-NL"),
    )


def compensation_note() -> IssuedDocument:
    lines = [
        a_line(
            1,
            "Damage to the cowling of engine 5, found on 12 January 2026",
            "1",
            "3500",
            Money(350_000, "EUR"),
            percent="0",
            category="O",
            facts=LineFacts(),
            reason=("VATEX-EU-O", "Compensation is no supply"),
        )
    ]
    return a_document(lines, kind="compensation_note", document_kind="compensation", number="CMP-000002")


def void() -> IssuedDocument:
    return replace(latin(), status="void", buyer=a_buyer(locale="fr-FR"))


def draft() -> IssuedDocument:
    return replace(latin(), status="draft", number=None, issued_on=None, due_on=None)


DOCUMENTS = {
    "invoice": latin,
    "invoice-reverse-charge-german": german,
    "invoice-long-names": long_names,
    "invoice-200-lines": many_lines,
    "invoice-right-to-left": right_to_left,
    "invoice-jpy": yen,
    "invoice-bhd": dinar,
    "credit-note": credit_note,
    "compensation-note": compensation_note,
    "invoice-void": void,
    "invoice-draft": draft,
}


def statement() -> CustomerStatement:
    def moved(
        posting: str, month: int, day: int, minor: int, number: str | None = None, due: date | None = None
    ) -> AccountMovement:
        return AccountMovement(posting, date(2026, month, day), Money(minor, "EUR"), "inv_1", number, due)

    movements = [
        moved("invoice:inv_8:final", 1, 1, 700_000, "PE-000098", date(2026, 1, 31)),
        moved("payment:pmt_1:received", 1, 28, -1_250_000),
        moved("invoice:inv_1:final", 2, 1, 897_548, "PE-000123", date(2026, 3, 3)),
        moved("credit_note:crn_1:issued", 2, 10, -145_200, "CN-000007"),
        moved("payment:pmt_2:received", 2, 20, -300_000),
        moved("invoice:inv_9:final", 3, 1, 412_050, "PE-000151", date(2026, 3, 31)),
    ]
    unpaid = [
        OpenInvoice("PE-000123", date(2026, 3, 3), Money(452_348, "EUR")),
        OpenInvoice("PE-000151", date(2026, 3, 31), Money(412_050, "EUR")),
    ]
    account = stated_account("EUR", Money(550_000, "EUR"), movements, unpaid, last_on=date(2026, 3, 31))
    return CustomerStatement(a_buyer(), a_seller(), date(2026, 1, 1), date(2026, 4, 1), (account,), "en-GB")


def sheets() -> dict[str, Sheet]:
    """By the names of the files."""
    found = {name: sheet_of(made(), logo=a_logo()) for name, made in DOCUMENTS.items()}
    return {**found, "statement": statement_sheet(statement(), logo=a_logo())}


def write() -> None:
    """PDFs, and the first page of each as a picture."""
    FOLDER.mkdir(exist_ok=True)
    typesetting = Typesetting()
    for name, sheet in sheets().items():
        (FOLDER / f"{name}.pdf").write_bytes(typesetting.pdf(sheet).content)
        (FOLDER / f"{name}.png").write_bytes(typesetting.pictures(sheet, pixels_per_inch=PIXELS_PER_INCH)[0])
    typesetting.close()


if __name__ == "__main__":
    write()
