"""How an e-invoice names the rules that it keeps (BT-24), and the process that it belongs to (BT-23)."""

from __future__ import annotations

from services.billing.domain.e_invoice import EInvoice

EN_16931 = "urn:cen.eu:en16931:2017"
PEPPOL = f"{EN_16931}#compliant#urn:fdc:peppol.eu:2017:poacc:billing:3.0"
PEPPOL_PROCESS = "urn:fdc:peppol.eu:2017:poacc:billing:01:1.0"


def customization_id(invoice: EInvoice) -> str:
    return PEPPOL if invoice.profile == "peppol" else EN_16931


def process_id(invoice: EInvoice) -> str:
    """The same for all: one invoice for one or more supplies."""
    return PEPPOL_PROCESS
