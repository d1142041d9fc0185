"""What shows how a document came about: the explanation of a line, and all that the document was made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from services.billing.domain.charge import Charge
from services.billing.domain.invoice import AppliedDiscount
from services.billing.domain.invoice_line import InvoiceLine
from services.billing.domain.manual_line import ManualLine
from services.billing.domain.window_digest import UsageDigest, WindowDigest


@dataclass(frozen=True, slots=True)
class PlanVersion:
    """The published version of a plan that a price is from."""

    id: str
    code: str
    number: int


@dataclass(frozen=True, slots=True)
class LineExplanation:
    """Everything a line came from: a charge, or what a person put on the document.

    `derived` is the line made again, now, from what is stored. `sealed` pins the events behind its usage. `discounts`
    are those of the whole document.
    """

    line: InvoiceLine
    charge: Charge | None
    manual: ManualLine | None
    derived: InvoiceLine | None
    plan_version: PlanVersion | None = None
    sealed: tuple[WindowDigest, UsageDigest] | None = None
    discounts: tuple[AppliedDiscount, ...] = ()


@dataclass(frozen=True, slots=True)
class ProofParts:
    """What billing holds of a document's proof, as it is stored: each a row, in JSON."""

    tenant: str
    invoice: dict[str, Any]
    lines: list[dict[str, Any]]
    charges: list[dict[str, Any]]
    earlier_charges: list[dict[str, Any]]
    manual_lines: list[dict[str, Any]]
    ledger: list[dict[str, Any]]
    seals: list[dict[str, Any]]
