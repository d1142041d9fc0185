"""The square that a banking app reads: a SEPA transfer, filled in."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import Final

from libs.common.money import Money

_SEPA = """
AD AL AT BE BG CH CY CZ DE DK EE ES FI FR GB GI GR HR HU IE IS IT LI LT LU LV MC MD ME MK MT NL
NO PL PT RO RS SE SI SK SM VA
"""
# Countries whose accounts take SEPA transfers. Source: European Payments Council, EPC409-09.
SEPA_COUNTRIES: Final = frozenset(_SEPA.split())
NAME_LENGTH_MAX: Final = 70
AMOUNT_MINOR_MAX: Final = 99_999_999_999


@dataclass(frozen=True, slots=True)
class Transfer:
    name: str
    iban: str
    bic: str | None
    amount: Money
    reference: str


def can_be_coded(transfer: Transfer) -> bool:
    """Only of euros, to an account within SEPA, and of an amount that the code can hold."""
    amount = transfer.amount
    return (
        amount.currency == "EUR"
        and 0 < amount.amount_minor <= AMOUNT_MINOR_MAX
        and transfer.iban[:2] in SEPA_COUNTRIES
    )


def payment_qr(transfer: Transfer) -> bytes:
    """As SVG. Source: European Payments Council, EPC069-12, version 002."""
    from segno import helpers

    code = helpers.make_epc_qr(
        name=transfer.name[:NAME_LENGTH_MAX].strip(),
        iban=transfer.iban,
        bic=transfer.bic,
        amount=transfer.amount.to_decimal(),
        reference=transfer.reference,
        encoding="utf-8",
    )
    drawn = BytesIO()
    code.save(drawn, kind="svg", xmldecl=False, border=0)
    return drawn.getvalue()
