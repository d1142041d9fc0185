"""Requests and answers about minimum terms: how long, what then, what an early end costs, receipts for consumers."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from libs.common.periods import Interval
from libs.common.web.bodies import (
    BusinessDate,
    Code,
    DecimalText,
    Description,
    ExternalId,
    Instant,
    MoneyBody,
    Name,
    Quantity,
    StrictBody,
    WrittenIntervalUnit,
    Zone,
    identifier,
    in_months,
)
from services.subscriptions.application.agreed_terms import TermWanted
from services.subscriptions.application.declare_end import DeclareEnd
from services.subscriptions.application.quote_early_termination import QuoteEarlyTermination
from services.subscriptions.application.renew_term import RenewTerm, TermBegin
from services.subscriptions.domain.agreed_term import (
    AgreedTerm,
    EarlyTermination,
    EarlyTerminationKind,
    OnTermEnd,
)
from services.subscriptions.domain.earliest_end import (
    EarliestEnd,
    EndBound,
    early_end_words,
    has_early_termination,
)
from services.subscriptions.domain.early_termination import (
    QUOTE_DAYS,
    QUOTE_DAYS_MAX,
    EarlyTerminationQuote,
)
from services.subscriptions.domain.receipt import Receipt, ReceiptKind

RATES_MAX = 50
REMINDERS_MAX = 10
REMINDER_DAYS_MAX = 730
MONTHS_MAX = 1200
LENGTH_MAX = 1200

QuoteId = Annotated[str, identifier("etq"), Field(examples=["etq_01jz3v6m1qk0c8n4r2d5s7t9wx"])]
ReceiptId = Annotated[str, identifier("rcp"), Field(examples=["rcp_01jz3v6m1qk0c8n4r2d5s7t9wx"])]
Months = Annotated[int, Field(strict=True, ge=0, le=MONTHS_MAX)]


def _percent(value: Any) -> Any:
    if not 0 <= value <= 1000:
        raise ValueError("must lie between 0 and 1000")
    return value


def _in_order(days: list[int]) -> list[int]:
    if len(set(days)) != len(days):
        raise ValueError("names each number of days once")
    return sorted(days, reverse=True)


Percent = Annotated[DecimalText, AfterValidator(_percent), Field(examples=["75"])]
ReminderDays = Annotated[
    list[Annotated[int, Field(strict=True, ge=1, le=REMINDER_DAYS_MAX)]],
    Field(max_length=REMINDERS_MAX, examples=[[60, 30]]),
    AfterValidator(_in_order),
]


class LengthBody(StrictBody):
    """Calendar steps: a month is not 30 days. A quarter is kept as three months, half a year as six."""

    unit: WrittenIntervalUnit = Field(examples=["month"])
    count: Annotated[int, Field(strict=True, ge=1, le=LENGTH_MAX, examples=[12])] = 1

    _read = model_validator(mode="before")(in_months)

    def to_interval(self) -> Interval:
        return Interval(self.unit, self.count)

    @classmethod
    def from_interval(cls, interval: Interval) -> Self:
        return cls(unit=interval.unit, count=interval.count)


class RerateBody(StrictBody):
    """Who held the term for at least `months_held` pays `percent_more` than the agreed price for the time held."""

    months_held: Months
    percent_more: Percent


_NEEDED: dict[str, str] = {
    "fixed": "amount",
    "percentage": "percent",
    "months": "months",
    "rerate": "rates",
}


class EarlyTerminationBody(StrictBody):
    """What an end before the term's costs: nothing, a `fixed` amount, a `percentage` of the recurring fees that remain,
    the fees of so many `months`, the difference to the price of the term achieved (`rerate`); or it is `forbidden`.

    `amount` is in major units of the subscription's currency.
    """

    kind: EarlyTerminationKind = "forbidden"
    amount: Quantity | None = Field(default=None, examples=[None])
    percent: Percent | None = None
    months: Annotated[int, Field(strict=True, ge=1, le=MONTHS_MAX)] | None = Field(
        default=None, examples=[None]
    )
    rates: list[RerateBody] | None = Field(default=None, max_length=RATES_MAX, examples=[None])

    model_config = ConfigDict(json_schema_extra={"examples": [{"kind": "percentage", "percent": "75"}]})

    @model_validator(mode="after")
    def _says_how_much(self) -> Self:
        needed = _NEEDED.get(self.kind)
        for name in _NEEDED.values():
            given = getattr(self, name)
            if name == needed and not given and given != 0:
                raise ValueError(f"{self.kind} needs {name}")
            if name != needed and given is not None:
                raise ValueError(f"{name} does not go with {self.kind}")
        held = [rate.months_held for rate in self.rates or ()]
        if len(set(held)) != len(held) or (held and min(held) != 0):
            raise ValueError("rates begin with 0 months held, and name each number of months once")
        return self

    def to_domain(self) -> EarlyTermination:
        return EarlyTermination(
            kind=self.kind,
            amount=self.amount,
            percent=self.percent,
            months=self.months,
            rates=tuple(sorted((rate.months_held, rate.percent_more) for rate in self.rates or ())),
        )

    @classmethod
    def from_domain(cls, policy: EarlyTermination) -> Self:
        rates = [RerateBody(months_held=months, percent_more=percent) for months, percent in policy.rates]
        return cls(
            kind=policy.kind,
            amount=policy.amount,
            percent=policy.percent,
            months=policy.months,
            rates=rates or None,
        )


PlanVersionIdText = Annotated[str, identifier("plv"), Field(examples=["plv_4c0r1n8k2d5s7t9wx01jz3v6m1"])]


class StepDownPlanBody(StrictBody):
    """One of the two: the newest version on sale of a plan, or a version."""

    plan: Code | None = Field(default=None, examples=["light-basic"])
    plan_version_id: PlanVersionIdText | None = Field(default=None, examples=[None])

    @model_validator(mode="after")
    def _one_plan(self) -> Self:
        if (self.plan is None) == (self.plan_version_id is None):
            raise ValueError("needs either plan or plan_version_id")
        return self


class TermBody(StrictBody):
    """A minimum term, counted from the start of billing: after a trial, or on activation.

    `notice` must lie between a cancellation and the end. `on_end` is what happens when it is over, unless somebody
    canceled: the same term again (`renew`), none (`month_to_month`), on at another plan (`step_down`), or the `end`.
    """

    length: LengthBody
    notice: LengthBody | None = Field(default=None, examples=[{"unit": "month", "count": 3}])
    on_end: OnTermEnd = "month_to_month"
    step_down_plan: StepDownPlanBody | None = Field(default=None, examples=[None])
    early_termination: EarlyTerminationBody = EarlyTerminationBody()
    reminder_days: ReminderDays = Field(default_factory=list)

    @model_validator(mode="after")
    def _steps_down_to_something(self) -> Self:
        if (self.on_end == "step_down") != (self.step_down_plan is not None):
            raise ValueError("step_down_plan goes with on_end step_down, and that with it")
        return self

    def to_wanted(self) -> TermWanted:
        step_down = self.step_down_plan
        return TermWanted(
            length=self.length.to_interval(),
            notice=self.notice.to_interval() if self.notice is not None else None,
            on_end=self.on_end,
            step_down_plan=step_down.plan if step_down is not None else None,
            step_down_plan_version_id=step_down.plan_version_id if step_down is not None else None,
            early_termination=self.early_termination.to_domain(),
            reminder_days=tuple(self.reminder_days),
        )


class FollowingTermBody(StrictBody):
    """Agreed on, to begin when the term that runs is over."""

    length: LengthBody
    starts_on: BusinessDate
    ends_on: BusinessDate
    notice: LengthBody | None
    on_end: OnTermEnd
    early_termination: EarlyTerminationBody
    plan_version_id: str | None


class AgreedTermBody(StrictBody):
    """`ends_on` is the first day after the term; once `is_over`, only the notice holds on.

    `quote_id` is the quote that an earlier end was agreed at, `waiver` why the seller let one pass.
    """

    length: LengthBody
    starts_on: BusinessDate
    ends_on: BusinessDate
    notice: LengthBody | None
    on_end: OnTermEnd
    step_down_plan_version_id: str | None
    early_termination: EarlyTerminationBody
    reminder_days: list[int]
    renewals: int
    is_over: bool
    following: FollowingTermBody | None
    quote_id: str | None
    waiver: str | None

    @classmethod
    def from_domain(cls, term: AgreedTerm) -> Self:
        following = None
        if term.following is not None:
            last = term.last
            following = FollowingTermBody(
                length=LengthBody.from_interval(last.length),
                starts_on=last.starts_on,
                ends_on=last.ends_on,
                notice=_length(last.notice),
                on_end=last.on_end,
                early_termination=EarlyTerminationBody.from_domain(last.early_termination),
                plan_version_id=term.following_plan_version_id,
            )
        return cls(
            length=LengthBody.from_interval(term.length),
            starts_on=term.starts_on,
            ends_on=term.ends_on,
            notice=_length(term.notice),
            on_end=term.on_end,
            step_down_plan_version_id=term.step_down_plan_version_id,
            early_termination=EarlyTerminationBody.from_domain(term.early_termination),
            reminder_days=list(term.reminder_days),
            renewals=term.renewals,
            is_over=term.is_over,
            following=following,
            quote_id=term.accepted_quote_id,
            waiver=term.waiver,
        )


def _length(interval: Interval | None) -> LengthBody | None:
    return LengthBody.from_interval(interval) if interval is not None else None


class EarliestEndBody(StrictBody):
    """For a cancellation received on `received_on`: the first day after the agreement, at no cost, and what binds it.

    `early_termination` says how an earlier end can be had, if it can.
    """

    received_on: BusinessDate
    ends_on: date
    ends_at: datetime
    notice_ends_on: date
    bound_by: EndBound
    reason: str
    early_termination: EarlyTerminationKind | None
    early_termination_possible: bool
    early_termination_says: str

    @classmethod
    def from_domain(cls, earliest: EarliestEnd, term: AgreedTerm | None) -> Self:
        return cls(
            received_on=earliest.received_on,
            ends_on=earliest.on,
            ends_at=earliest.at,
            notice_ends_on=earliest.notice_ends_on,
            bound_by=earliest.bound_by,
            reason=earliest.words,
            early_termination=term.early_termination.kind if term is not None else None,
            early_termination_possible=term is not None and has_early_termination(term),
            early_termination_says=early_end_words(term),
        )


class NewQuoteBody(StrictBody):
    """`on` is the first day on which the subscription would be over; the quote is good for `valid_days`."""

    on: BusinessDate
    valid_days: Annotated[int, Field(strict=True, ge=1, le=QUOTE_DAYS_MAX)] = QUOTE_DAYS

    def to_command(self, subscription_id: str) -> QuoteEarlyTermination:
        return QuoteEarlyTermination(subscription_id, self.on, self.valid_days)


class QuoteStepBody(StrictBody):
    """`result` is what `formula` comes to: exact, or with ≈ to six decimals."""

    says: str
    formula: str
    result: str


class QuoteBody(StrictBody):
    """What an end on `ends_on` costs, net of tax, of what is bound until `bound_until`. It holds until `expires_at`.

    Cancel with its id (`quote_id`) to accept it. `steps` are how it was reckoned; the last gives the amount.
    """

    id: str
    subscription_id: str
    policy: EarlyTerminationKind
    ends_on: BusinessDate
    bound_until: BusinessDate
    amount: MoneyBody
    steps: list[QuoteStepBody]
    issued_at: Instant
    expires_at: Instant
    accepted_at: Instant | None
    version: int

    @classmethod
    def from_domain(cls, quote: EarlyTerminationQuote) -> Self:
        return cls(
            id=quote.id,
            subscription_id=quote.subscription_id,
            policy=quote.kind,
            ends_on=quote.ends_on,
            bound_until=quote.bound_until,
            amount=MoneyBody.from_money(quote.amount),
            steps=[
                QuoteStepBody(says=step.says, formula=step.formula, result=step.result)
                for step in quote.steps
            ],
            issued_at=quote.issued_at,
            expires_at=quote.expires_at,
            accepted_at=quote.accepted_at,
            version=quote.version,
        )


class RenewalBody(StrictBody):
    """A new term, which binds from now on. It begins when the one that runs is over (`term_end`), or `now`.

    With `plan` or `plan_version_id`, the subscription goes on with that from then on; quantities of prices with the same
    code stay.
    """

    term: TermBody
    begins: TermBegin = "term_end"
    plan: Code | None = Field(default=None, examples=[None])
    plan_version_id: PlanVersionIdText | None = Field(default=None, examples=[None])

    @model_validator(mode="after")
    def _at_most_one_plan(self) -> Self:
        if self.plan is not None and self.plan_version_id is not None:
            raise ValueError("names one of plan and plan_version_id at most")
        return self

    def to_command(self, subscription_id: str) -> RenewTerm:
        return RenewTerm(
            subscription_id=subscription_id,
            term=self.term.to_wanted(),
            begins=self.begins,
            plan_code=self.plan,
            plan_version_id=self.plan_version_id,
        )


class DeclarationBody(StrictBody):
    """The agreement is named by `subscription_id`, or by the seller's own id for it. `declared_by` says who declares, as
    they said it: a name, an address for electronic mail.
    """

    subscription_id: (
        Annotated[str, identifier("sub"), Field(examples=["sub_01jz3v6m1qk0c8n4r2d5s7t9wx"])] | None
    ) = None
    external_id: ExternalId | None = Field(default=None, examples=[None])
    declared_by: Name = Field(examples=["Ada Lovelace, ada@example.com"])
    statement: Annotated[Description, Field(min_length=1, examples=["I hereby withdraw."])]

    @model_validator(mode="after")
    def _one_agreement(self) -> Self:
        if (self.subscription_id is None) == (self.external_id is None):
            raise ValueError("needs either subscription_id or external_id")
        return self


class WithdrawalBody(DeclarationBody):
    """A consumer's withdrawal from the agreement."""

    def to_command(self) -> DeclareEnd:
        return DeclareEnd(
            kind="withdrawal",
            declared_by=self.declared_by,
            statement=self.statement,
            subscription_id=self.subscription_id,
            external_id=self.external_id,
        )


class ConsumerCancellationBody(DeclarationBody):
    """A consumer's cancellation, for the earliest end there is, or for a later date `ends_on`."""

    ends_on: BusinessDate | None = Field(default=None, examples=[None])

    def to_command(self) -> DeclareEnd:
        return DeclareEnd(
            kind="cancellation",
            declared_by=self.declared_by,
            statement=self.statement,
            subscription_id=self.subscription_id,
            external_id=self.external_id,
            ends_on=self.ends_on,
        )


class ReceiptBody(StrictBody):
    """It never changes. `text` is the whole of it in words, to keep; `ends_at` is null for what never began."""

    id: str
    kind: ReceiptKind
    subscription_id: str
    customer_id: str
    received_at: Instant
    zone: Zone
    declared_by: str
    statement: str
    ends_at: Instant | None
    text: str

    @classmethod
    def from_domain(cls, receipt: Receipt) -> Self:
        return cls(
            id=receipt.id,
            kind=receipt.kind,
            subscription_id=receipt.subscription_id,
            customer_id=receipt.customer_id,
            received_at=receipt.received_at,
            zone=receipt.zone,
            declared_by=receipt.declared_by,
            statement=receipt.statement,
            ends_at=receipt.ends_at,
            text=receipt.text,
        )
