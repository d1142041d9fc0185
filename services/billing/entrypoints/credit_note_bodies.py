"""Request and response bodies of credit notes."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from libs.common.money import Money
from libs.common.web.bodies import BusinessDate, DecimalText, Instant, MoneyBody, StrictBody, identifier
from services.billing.application.issue_credit_note import IssueCreditNote
from services.billing.domain.credit_note import CreditNote, CreditNoteLine, Split, WantedCredit
from services.billing.domain.credited_amounts import CreditedTax, LineCredit
from services.billing.entrypoints.bodies import (
    BilledCustomerBody,
    InvoicePartyBody,
    LineTaxBody,
    ServicePeriodBody,
)

CREDITED_LINES_MAX = 1_000

CreditNoteId = Annotated[str, identifier("crn")]
InvoiceId = Annotated[str, identifier("inv")]
LineId = Annotated[str, identifier("lin")]
Reason = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=500),
    Field(examples=["Two desks were never delivered"]),
]


def _above_zero(amount: MoneyBody) -> MoneyBody:
    if amount.to_money().amount_minor <= 0:
        raise ValueError("must be more than nothing")
    return amount


def _not_below_zero(amount: MoneyBody) -> MoneyBody:
    if amount.to_money().amount_minor < 0:
        raise ValueError("must not be less than nothing")
    return amount


PositiveMoney = Annotated[MoneyBody, AfterValidator(_above_zero)]
SplitMoney = Annotated[MoneyBody, AfterValidator(_not_below_zero)]


class LineCreditBody(StrictBody):
    """`amount` is in the terms of the line's own amount: before discount, and with the tax where the price includes it.

    Without one, all that is left of the line is credited.
    """

    line_id: LineId
    amount: MoneyBody | None = None

    def to_domain(self) -> LineCredit:
        return LineCredit(self.line_id, None if self.amount is None else self.amount.to_money())


class CreditSplitBody(StrictBody):
    """Where the total goes. The parts sum to it."""

    to_invoice: SplitMoney
    to_balance: SplitMoney
    to_refund: SplitMoney

    def to_domain(self) -> Split:
        return Split(self.to_invoice.to_money(), self.to_balance.to_money(), self.to_refund.to_money())


class NewCreditNoteBody(StrictBody):
    """Credits `lines`, or an `amount` with its tax, or, without either, all that is left of the invoice.

    Without a `split`, what is still due comes first; the rest goes to the customer's balance, or by `rest_to` `refund`
    is given back as far as it was paid with money.
    """

    invoice_id: InvoiceId
    reason: Reason
    lines: Annotated[list[LineCreditBody], Field(min_length=1, max_length=CREDITED_LINES_MAX)] | None = None
    amount: PositiveMoney | None = None
    split: CreditSplitBody | None = None
    rest_to: Literal["balance", "refund"] = "balance"

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if self.lines is not None and self.amount is not None:
            raise ValueError("name lines or an amount, not both")
        if self.lines is not None and len({line.line_id for line in self.lines}) < len(self.lines):
            raise ValueError("a line is named once")
        if self.split is not None and "rest_to" in self.model_fields_set:
            raise ValueError("a split leaves no rest: name one of split and rest_to")
        return self

    def to_command(self, now: Instant) -> IssueCreditNote:
        lines = None if self.lines is None else tuple(line.to_domain() for line in self.lines)
        return IssueCreditNote(
            invoice_id=self.invoice_id,
            wanted=WantedCredit(lines, None if self.amount is None else self.amount.to_money()),
            reason=self.reason,
            now=now,
            split=None if self.split is None else self.split.to_domain(),
            rest_to=self.rest_to,
        )


class CreditNoteLineBody(StrictBody):
    """What is credited of one line of the invoice. `net` is without tax and after discount, `quantity` x `unit_amount`.

    Where the price includes the tax, `unit_amount` does too. Of a line that was credited in part, it is one piece.
    """

    id: str
    invoice_line_id: str
    ordinal: int
    description: str
    quantity: DecimalText
    unit_amount: DecimalText
    amount: MoneyBody
    net: MoneyBody
    tax: LineTaxBody
    tax_behavior: Literal["exclusive", "inclusive"]
    service_period: ServicePeriodBody

    @classmethod
    def from_domain(cls, line: CreditNoteLine) -> Self:
        return cls(
            id=line.id,
            invoice_line_id=line.invoice_line_id,
            ordinal=line.ordinal,
            description=line.description,
            quantity=line.quantity,
            unit_amount=line.unit_amount,
            amount=_money(line.amount),
            net=_money(line.net),
            tax=LineTaxBody(
                category=line.tax_category,
                percent=line.tax_percent,
                reason_code=line.tax_reason_code,
                reason=line.tax_reason,
            ),
            tax_behavior=line.tax_behavior,
            service_period=ServicePeriodBody(start=line.service_start_on, end=line.service_end_on),
        )


class CreditedTaxBody(StrictBody):
    """The tax that is credited of one category and rate, or of one line where the seller rounds each line's."""

    category: str
    percent: DecimalText
    net: MoneyBody
    tax: MoneyBody

    @classmethod
    def from_domain(cls, tax: CreditedTax) -> Self:
        return cls(category=tax.category, percent=tax.percent, net=_money(tax.net), tax=_money(tax.tax))


class PrecedingInvoiceBody(StrictBody):
    """The invoice that the note corrects."""

    id: str
    number: str


class CreditNoteSummaryBody(StrictBody):
    """Amounts are positive: what is given back. `type_code` is that of EN 16931 for a credit note."""

    id: str
    number: str
    type_code: Literal["381"] = "381"
    preceding_invoice: PrecedingInvoiceBody
    customer_id: str
    currency: str
    reason: str
    net: MoneyBody
    tax: MoneyBody
    total: MoneyBody
    to_invoice: MoneyBody
    to_balance: MoneyBody
    to_refund: MoneyBody
    issued_at: Instant
    issued_on: BusinessDate
    test_clock_id: str | None
    created_at: Instant

    @classmethod
    def from_domain(cls, note: CreditNote) -> Self:
        return cls.model_validate({**_summary(note), "id": note.id, "number": note.number})


class CreditNoteBody(CreditNoteSummaryBody):
    seller: InvoicePartyBody
    customer: BilledCustomerBody
    taxes: list[CreditedTaxBody]
    lines: list[CreditNoteLineBody]

    @classmethod
    def from_domain(cls, note: CreditNote) -> Self:
        return cls.model_validate({**_summary(note), **_details(note), "id": note.id, "number": note.number})


class CreditNotePreviewBody(StrictBody):
    """The note as it would be issued now. Nothing is kept, and no number is taken."""

    preceding_invoice: PrecedingInvoiceBody
    customer_id: str
    currency: str
    reason: str
    net: MoneyBody
    tax: MoneyBody
    total: MoneyBody
    to_invoice: MoneyBody
    to_balance: MoneyBody
    to_refund: MoneyBody
    issued_at: Instant
    issued_on: BusinessDate
    seller: InvoicePartyBody
    customer: BilledCustomerBody
    taxes: list[CreditedTaxBody]
    lines: list[CreditNoteLineBody]

    @classmethod
    def from_domain(cls, note: CreditNote) -> Self:
        told = {**_summary(note), **_details(note)}
        return cls.model_validate({name: told[name] for name in cls.model_fields})


def _money(amount: Money) -> MoneyBody:
    return MoneyBody.from_money(amount)


def _summary(note: CreditNote) -> dict[str, object]:
    return {
        "preceding_invoice": PrecedingInvoiceBody(id=note.invoice_id, number=note.invoice_number),
        "customer_id": note.customer_id,
        "currency": note.currency,
        "reason": note.reason,
        **{
            name: _money(getattr(note, name))
            for name in ("net", "tax", "total", "to_invoice", "to_balance", "to_refund")
        },
        "issued_at": note.issued_at,
        "issued_on": note.issued_on,
        "test_clock_id": note.clock_id,
        "created_at": note.created_at,
    }


def _details(note: CreditNote) -> dict[str, object]:
    return {
        "seller": InvoicePartyBody.from_domain(note.seller),
        "customer": BilledCustomerBody.from_domain(note.customer),
        "taxes": [CreditedTaxBody.from_domain(tax) for tax in note.taxes],
        "lines": [CreditNoteLineBody.from_domain(line) for line in note.lines],
    }
