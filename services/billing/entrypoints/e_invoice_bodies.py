"""What the check of an e-invoice answers."""

from __future__ import annotations

from typing import Self

from libs.common.web.bodies import StrictBody
from services.billing.application.make_e_invoice import EInvoiceCheck
from services.billing.domain.e_invoice_rules import EInvoiceProblem


class EInvoiceProblemBody(StrictBody):
    """`rule` is that of EN 16931 or of Peppol, `term` the business term it is about, `remedy` where to set it."""

    rule: str
    term: str
    detail: str
    remedy: str

    @classmethod
    def from_domain(cls, problem: EInvoiceProblem) -> Self:
        return cls(**{name: getattr(problem, name) for name in cls.model_fields})


class EInvoiceCheckBody(StrictBody):
    """`profile` is `peppol` where the document can travel there, else `en16931`.

    With `problems` it is no e-invoice at all; what is `missing_for_peppol` only keeps it from Peppol.
    """

    can_be_made: bool
    profile: str
    problems: list[EInvoiceProblemBody]
    missing_for_peppol: list[EInvoiceProblemBody]

    @classmethod
    def from_domain(cls, check: EInvoiceCheck) -> Self:
        return cls(
            can_be_made=not check.problems,
            profile=check.profile,
            problems=[EInvoiceProblemBody.from_domain(one) for one in check.problems],
            missing_for_peppol=[EInvoiceProblemBody.from_domain(one) for one in check.missing_for_peppol],
        )
