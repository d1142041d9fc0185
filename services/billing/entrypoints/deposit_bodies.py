"""Request and response bodies of deposits and compensation notes, of voiding and of giving up."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from libs.common.web.bodies import Flag, Instant, MoneyBody, StrictBody, Zone, identifier
from services.billing.application.issue_compensation_note import IssueCompensationNote
from services.billing.application.make_deposit import MakeDeposit
from services.billing.domain.deposit import Deposit
from services.billing.entrypoints.bodies import CustomerId, SubscriptionId
from services.billing.entrypoints.credit_note_bodies import InvoiceId, PositiveMoney, Reason

DepositId = Annotated[str, identifier("dep")]
DepositStateText = Literal["requested", "held", "collected", "released", "canceled"]
What = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=400),
    Field(examples=["Deposit for ten desks"]),
]


class NewDepositBody(StrictBody):
    """A `collected` deposit is asked for with a document of its own. A `held` one is an authorisation that expires.

    It is set off against compensation notes only, unless `set_off` is `any`. `zone` says on which local date the document
    is issued, else the customer's does.
    """

    customer_id: CustomerId
    amount: PositiveMoney
    kind: Literal["collected", "held"] = "collected"
    description: What = "Deposit"
    subscription_id: SubscriptionId | None = None
    set_off: Literal["compensation", "any"] = "compensation"
    expires_at: Instant | None = None
    zone: Zone | None = None

    @model_validator(mode="after")
    def _expires_when_held(self) -> Self:
        if (self.kind == "held") != (self.expires_at is not None):
            raise ValueError("a deposit that is held says when it expires, and no other does")
        return self

    def to_command(self) -> MakeDeposit:
        return MakeDeposit(
            customer_id=self.customer_id,
            kind=self.kind,
            amount=self.amount.to_money(),
            description=self.description,
            set_off=self.set_off,
            zone=self.zone,
            subscription_id=self.subscription_id,
            expires_at=self.expires_at,
        )


class DepositReleaseBody(StrictBody):
    """Without an amount, all that remains. What is held on a card is given up."""

    reason: Reason
    amount: PositiveMoney | None = None


class DepositSetOffBody(StrictBody):
    """Without an amount, as much as is due on the document and remains of the deposit."""

    invoice_id: InvoiceId
    amount: PositiveMoney | None = None


class DepositCaptureBody(StrictBody):
    """Without an amount, all that is held."""

    amount: PositiveMoney | None = None


class DepositBody(StrictBody):
    """`remaining` is what is owed back: `collected` less what was `applied` to documents and `released`."""

    id: str
    customer_id: str
    subscription_id: str | None
    kind: Literal["collected", "held"]
    state: DepositStateText
    description: str
    amount: MoneyBody
    collected: MoneyBody
    applied: MoneyBody
    released: MoneyBody
    remaining: MoneyBody
    set_off: Literal["compensation", "any"]
    invoice_id: str | None
    expires_at: Instant | None
    test_clock_id: str | None
    version: int
    created_at: Instant

    @classmethod
    def from_domain(cls, deposit: Deposit) -> Self:
        amounts = ("amount", "collected", "applied", "released", "remaining")
        named = (*amounts, "test_clock_id")
        plain = {name: getattr(deposit, name) for name in cls.model_fields if name not in named}
        told = {name: MoneyBody.from_money(getattr(deposit, name)) for name in amounts}
        return cls.model_validate({**plain, **told, "test_clock_id": deposit.clock_id})


class NewCompensationNoteBody(StrictBody):
    """For damage or loss: outside the scope of tax. `asset` is what was damaged, by the name that you gave it."""

    customer_id: CustomerId
    amount: PositiveMoney
    description: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=400),
        Field(examples=["One chair beyond wear"]),
    ]
    subscription_id: SubscriptionId | None = None
    asset: (
        Annotated[
            str,
            StringConstraints(strip_whitespace=True, min_length=1, max_length=90),
            Field(examples=["chair-0042"]),
        ]
        | None
    ) = None
    zone: Zone | None = None

    def to_command(self) -> IssueCompensationNote:
        return IssueCompensationNote(
            customer_id=self.customer_id,
            amount=self.amount.to_money(),
            description=self.description,
            zone=self.zone,
            subscription_id=self.subscription_id,
            asset=self.asset,
        )


class VoidBody(StrictBody):
    reason: Reason


class WriteOffBody(StrictBody):
    reason: Reason


class ReissueBody(StrictBody):
    """The new document stays a draft, which can be changed, unless `finalize` says otherwise."""

    finalize: Flag = False
