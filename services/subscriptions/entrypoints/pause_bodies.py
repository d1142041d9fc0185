"""Requests about pauses, resumptions, the activation of what waits for it, and winning a customer back."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from libs.common.web.bodies import BusinessDate, Code, ExternalId, Flag, MoneyBody, Name, Quantity, StrictBody
from services.subscriptions.application.activate_subscription import ActivateSubscription
from services.subscriptions.application.pause_subscription import (
    PauseFee,
    PauseSubscription,
    ResumeSubscription,
)
from services.subscriptions.application.win_back import WinBack
from services.subscriptions.entrypoints.bodies import QUANTITIES_MAX
from services.subscriptions.entrypoints.change_bodies import ProrationMethod, Settle


class PauseFeeBody(StrictBody):
    """What the pause costs, once; net of tax, in the subscription's currency."""

    amount: MoneyBody
    description: Name = "Pause"

    @model_validator(mode="after")
    def _positive(self) -> PauseFeeBody:
        if self.amount.to_money().amount_minor <= 0:
            raise ValueError("must be more than nothing: leave the fee out for none")
        return self

    def to_fee(self) -> PauseFee:
        return PauseFee(self.amount.to_money(), self.description)


class PauseCreateBody(StrictBody):
    """From the beginning of the day `on`, or from now on, until that of `resumes_on`, or until it is resumed.

    `extends_term`: a minimum term ends later by as many days. `proration` stands in place of that of the prices.
    `settle`: what is given back stands on the next invoice, or on a document of its own at once.
    """

    on: BusinessDate | None = None
    resumes_on: BusinessDate | None = None
    extends_term: Flag = True
    proration: ProrationMethod | None = None
    fee: PauseFeeBody | None = None
    settle: Settle = "next_invoice"

    def to_command(self, subscription_id: str) -> PauseSubscription:
        return PauseSubscription(
            subscription_id=subscription_id,
            on=self.on,
            resumes_on=self.resumes_on,
            extends_term=self.extends_term,
            proration=self.proration,
            fee=self.fee.to_fee() if self.fee is not None else None,
            settles=self.settle == "at_once",
        )


class ResumptionBody(StrictBody):
    """From the beginning of the day `on`, which may be to come, or from now on. `anchor_on`: its periods are counted
    from that day from then on.
    """

    on: BusinessDate | None = None
    anchor_on: BusinessDate | None = None
    settle: Settle = "next_invoice"

    def to_command(self, subscription_id: str) -> ResumeSubscription:
        return ResumeSubscription(subscription_id, self.on, self.anchor_on, self.settle == "at_once")


class ActivationBody(StrictBody):
    """What its beginning waited for came about on this day, in the subscription's zone."""

    on: BusinessDate
    reason: Literal["delivery", "acceptance"]

    def to_command(self, subscription_id: str) -> ActivateSubscription:
        return ActivateSubscription(subscription_id, self.on, self.reason)


class WinBackBody(StrictBody):
    """`starts_on` is today unless given. `quantities` take the place of those that it ended with, by the price's code."""

    starts_on: BusinessDate | None = None
    quantities: Annotated[dict[Code, Quantity], Field(max_length=QUANTITIES_MAX)] = Field(
        default_factory=dict
    )
    external_id: ExternalId | None = None

    def to_command(self, subscription_id: str) -> WinBack:
        return WinBack(subscription_id, self.starts_on, self.quantities, self.external_id)
