"""Sellers and buyers as lines on paper: the address in the window, the letterhead, the foot."""

from __future__ import annotations

from services.billing.adapters.document_texts import Texts, isolated
from services.billing.domain.agreement import Address, CustomerDetails
from services.billing.domain.contact_details import BankAccount, SellerDetails
from services.billing.domain.seller import Seller

LETTER_COUNTRIES = frozenset({"US", "CA", "MX", "PH", "CL", "CO", "VE"})  # where paper is of US Letter size
_WITH_VAT = """
AT BE BG CH CY CZ DE DK EE ES FI FR GB GR HR HU IE IS IT LI LT LU LV MT NL NO PL PT RO SE SI SK
"""
VAT_COUNTRIES = frozenset(_WITH_VAT.split())
_CITY_FIRST = frozenset({"US", "CA", "AU"})
_CODE_LAST = frozenset({"GB", "IE"})


def paper_of(seller: Seller) -> str:
    return "us-letter" if seller.country in LETTER_COUNTRIES else "a4"


def address_lines(address: Address, texts: Texts, *, home: str | None) -> list[str]:
    """In the order of its country, which stands there unless it is `home`."""
    country = address.country
    lines = [address.line1, address.line2]
    city, code, region = address.city, address.postal_code, address.region
    if country in _CITY_FIRST:
        beyond = _joined(" ", region, code)
        lines.append(_joined(", " if country == "US" else " ", city, beyond))
    elif country in _CODE_LAST:
        lines += [city, region, code]
    else:
        lines += [_joined(" ", code, city), region]
    if country is not None and country != home:
        lines.append(texts.country(country))
    return [isolated(line) for line in lines if line]


def recipient_lines(buyer: CustomerDetails, texts: Texts, *, home: str | None) -> list[str]:
    """The name that the law wants first; then that by which the buyer is known, where it is another."""
    names = [buyer.legal_name or buyer.name]
    if buyer.legal_name and buyer.name != buyer.legal_name:
        names.append(buyer.name)
    address = [] if buyer.address is None else address_lines(buyer.address, texts, home=home)
    return [isolated(name) for name in names] + address


def sender_line(seller: Seller, details: SellerDetails, texts: Texts) -> str:
    """The small line above the recipient, to which undeliverable mail goes back."""
    return " · ".join([isolated(seller.name), *_seller_address(seller, details, texts)])


def foot_columns(
    seller: Seller, details: SellerDetails, bank: BankAccount | None, texts: Texts, *, with_tax_number: bool
) -> list[list[str]]:
    """Who the seller is, how he is reached, where he is registered, where he is paid."""
    who = [isolated(seller.name), *_seller_address(seller, details, texts), texts.country(seller.country)]
    reached = [details.contact_name, details.email, details.phone]
    registered = []
    if details.legal_id:
        registered.append(texts("company_number", number=details.legal_id))
    if with_tax_number and seller.tax_number:
        key = "seller_vat_id" if seller.country in VAT_COUNTRIES else "seller_tax_number"
        registered.append(texts(key, number=seller.tax_number))
    paid = [] if bank is None else [f"IBAN {in_groups(bank.iban)}"]
    if bank is not None and bank.bic:
        paid.append(f"BIC {bank.bic}")
    columns = [who, [isolated(one) for one in reached if one], registered, paid]
    return [column for column in columns if column]


def in_groups(code: str) -> str:
    """An IBAN or a reference as it is printed, in groups of four that stay together."""
    return "\u00a0".join(code[start : start + 4] for start in range(0, len(code), 4))


def _seller_address(seller: Seller, details: SellerDetails, texts: Texts) -> list[str]:
    if details.postal_address is not None:
        return address_lines(details.postal_address, texts, home=seller.country)
    return [isolated(line.strip()) for line in (seller.address or "").splitlines() if line.strip()]


def _joined(between: str, *parts: str | None) -> str:
    return between.join(part for part in parts if part)
