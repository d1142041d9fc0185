"""Writing XML: what is empty is left out, and of texts what XML does not hold."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from lxml import etree

from libs.common.exact import text
from services.billing.domain.e_invoice import printable


class Namespace:
    """Names of one namespace: `Namespace(uri)("ID")`."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def __call__(self, name: str) -> str:
        return f"{{{self.uri}}}{name}"


def add(parent: etree._Element, name: str, value: str | None = None, **attributes: str) -> etree._Element:
    """A new element under `parent`, with this text."""
    element = etree.SubElement(parent, name, attributes)
    if value is not None:
        element.text = printable(value)
    return element


def add_said(parent: etree._Element, name: str, value: str | None, **attributes: str) -> None:
    """The element only where there is something to say."""
    if value is not None and printable(value):
        add(parent, name, value, **attributes)


def scheme_of(scheme: str | None) -> dict[str, str]:
    """The attribute that says of which list an identifier is."""
    return {} if scheme is None else {"schemeID": scheme}


def amount(value: Decimal, decimals: int) -> str:
    """With all the decimals of its currency."""
    return f"{value:.{decimals}f}"


def number(value: Decimal) -> str:
    """A quantity, price or rate, as short as it is exact."""
    return text(value)


def iso(day: date) -> str:
    return day.isoformat()


def basic(day: date) -> str:
    """Source: format 102 of UNTDID 2379."""
    return f"{day:%Y%m%d}"


def written(root: etree._Element) -> bytes:
    document: bytes = etree.tostring(root, encoding="UTF-8", xml_declaration=True, pretty_print=True)
    return document
