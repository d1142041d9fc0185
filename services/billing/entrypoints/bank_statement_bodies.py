"""Request and response bodies of bank statements and their entries."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from libs.common.web.bodies import BusinessDate, Instant, MoneyBody, StrictBody, decimal_text, identifier
from services.billing.adapters.payment_queries import EntryView, StatementView
from services.billing.application.settle_statement_entry import MatchEntry
from services.billing.domain.statement_matching import Proposal
from services.billing.entrypoints.bodies import CustomerId
from services.billing.entrypoints.credit_note_bodies import Reason
from services.billing.entrypoints.payment_bodies import Parts, RestText, check_parts
from services.billing.entrypoints.refund_bodies import PaymentId

StatementId = Annotated[str, identifier("bst")]
EntryId = Annotated[str, identifier("bse")]
EntryStateText = Literal["pending", "unmatched", "matched", "ignored"]
DirectionText = Literal["credit", "debit"]


class StatementAccountBody(StrictBody):
    """`balances_agree`: the balances of the bank differ by what its entries come to; null where it tells none."""

    account: str
    statement_id: str | None
    currency: str | None
    opening_balance: str | None
    closing_balance: str | None
    balances_agree: bool | None
    passed_over_count: int


class EntryCountsBody(StrictBody):
    pending: int
    unmatched: int
    matched: int
    ignored: int


class BankStatementBody(StrictBody):
    """`new_count` are the entries of which no file told before: the others are where they were first told of.

    `passed_over_count` are those that are not booked yet, or of nothing. `state` is `matching` while entries are
    pending; `entries` counts the new ones by their state.
    """

    id: str
    format: Literal["camt.053", "csv"]
    state: Literal["matching", "done"]
    accounts: list[StatementAccountBody]
    entry_count: int
    new_count: int
    passed_over_count: int
    entries: EntryCountsBody
    created_at: Instant

    @classmethod
    def from_view(cls, view: StatementView) -> Self:
        statement, states = view.statement, view.states
        counts = {name: states.get(name, 0) for name in EntryCountsBody.model_fields}
        return cls(
            id=statement.id,
            format=statement.format,
            state="matching" if counts["pending"] else "done",
            accounts=[
                StatementAccountBody(
                    account=one.account,
                    statement_id=one.statement_id,
                    currency=one.currency,
                    opening_balance=None if one.opening is None else decimal_text(one.opening),
                    closing_balance=None if one.closing is None else decimal_text(one.closing),
                    balances_agree=one.balances_agree,
                    passed_over_count=one.passed_over_count,
                )
                for one in statement.accounts
            ],
            entry_count=statement.entry_count,
            new_count=statement.new_count,
            passed_over_count=statement.passed_over_count,
            entries=EntryCountsBody(**counts),
            created_at=statement.created_at,
        )


class ProposalBody(StrictBody):
    """`because`: the payer quoted the reference or the number, or its account or its name is the customer's."""

    invoice_id: str
    number: str
    customer_id: str
    customer_name: str
    invoice_status: str
    due: MoneyBody
    because: Literal["reference", "number", "account", "name"]
    is_exact: bool

    @classmethod
    def from_domain(cls, one: Proposal) -> Self:
        return cls(
            invoice_id=one.invoice.id,
            number=one.invoice.number,
            customer_id=one.invoice.customer_id,
            customer_name=one.invoice.customer_name,
            invoice_status=one.invoice.status,
            due=MoneyBody.from_money(one.invoice.due),
            because=one.why,
            is_exact=one.is_exact,
        )


class BankStatementEntryBody(StrictBody):
    """One movement of the account, and what became of it. `proposals` are for who looks at what is unmatched.

    `matched_by`: the `reference`, the `number`, the `account` of the payer, the `original` that it takes back, or a
    `person`. `payment_id` is the payment that it is, or that it took back.
    """

    id: str
    bank_statement_id: str
    account: str
    direction: DirectionText
    amount: MoneyBody
    booked_on: BusinessDate
    value_on: BusinessDate | None
    is_reversal: bool
    is_return: bool
    bank_reference: str | None
    end_to_end_id: str | None
    creditor_reference: str | None
    text: str
    payer_name: str | None
    payer_account: str | None
    instructed_amount: str | None
    state: EntryStateText
    matched_by: Literal["reference", "number", "account", "original", "person"] | None
    payment_id: str | None
    reason: str | None
    proposals: list[ProposalBody]
    version: int
    created_at: Instant

    @classmethod
    def from_view(cls, view: EntryView) -> Self:
        entry, told = view.entry, view.entry.told
        return cls(
            id=entry.id,
            bank_statement_id=entry.statement_id,
            account=entry.account,
            direction=told.direction,
            amount=MoneyBody.from_money(told.amount),
            booked_on=told.booked_on,
            value_on=told.value_on,
            is_reversal=told.is_reversal,
            is_return=told.is_return,
            bank_reference=told.bank_reference,
            end_to_end_id=told.end_to_end_id,
            creditor_reference=told.creditor_reference,
            text=told.text,
            payer_name=told.payer_name,
            payer_account=told.payer_account,
            instructed_amount=told.instructed,
            state=entry.state,
            matched_by=entry.matched_by,
            payment_id=entry.payment_id,
            reason=entry.reason,
            proposals=[ProposalBody.from_domain(one) for one in view.proposals],
            version=entry.version,
            created_at=entry.created_at,
        )


class EntryMatchBody(StrictBody):
    """What money that came pays: invoices, and the rest the balance. Of money that was taken back: the payment."""

    allocations: Parts = Field(default_factory=list)
    customer_id: CustomerId | None = None
    rest_to: RestText = "balance"
    payment_id: PaymentId | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        check_parts(self.allocations)
        if not self.allocations and self.customer_id is None and self.payment_id is None:
            raise ValueError("name invoices, a customer, or the payment that was taken back")
        return self

    def to_command(self, entry_id: str, now: Instant) -> MatchEntry:
        return MatchEntry(
            entry_id=entry_id,
            now=now,
            shares=[part.to_domain() for part in self.allocations],
            customer_id=self.customer_id,
            rest=self.rest_to,
            payment_id=self.payment_id,
        )


class EntryReasonBody(StrictBody):
    reason: Reason
