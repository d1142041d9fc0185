"""Payment methods as they are sent and shown: by a token of the gateway, and never with what pays."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from libs.common.web.bodies import Flag, Instant, StrictBody, identifier
from services.billing.adapters.sandbox_gateway import Behaviour
from services.billing.domain.payment import MethodDetails, PaymentMethod
from services.billing.entrypoints.bodies import CustomerId

PaymentMethodId = Annotated[str, identifier("pm")]
GatewayText = Literal["sandbox", "stripe"]
GatewayToken = Annotated[
    str,
    StringConstraints(pattern=r"^pm_[A-Za-z0-9_]{8,250}$", max_length=255),
    Field(examples=["pm_1PgafmB7WZ01zgkWbQXGRvRR"]),
]
AccountCode = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$", max_length=40)]


class NewPaymentMethodBody(StrictBody):
    """Of Stripe: the `token` of a payment method that was set up there, and the tenant's `account` if it has several.

    Of the sandbox gateway, which moves no money: `behaviour` tells it what to do. `replaces` names a method of the
    customer that goes as this one comes. Numbers of cards are never sent here.
    """

    customer_id: CustomerId
    gateway: GatewayText = "sandbox"
    behaviour: Behaviour | None = None
    token: GatewayToken | None = None
    account: AccountCode | None = None
    replaces: PaymentMethodId | None = None

    @model_validator(mode="after")
    def _fits_its_gateway(self) -> Self:
        if self.gateway == "sandbox" and (self.token is not None or self.account is not None):
            raise ValueError("the sandbox gateway has a behaviour, and neither a token nor an account")
        if self.gateway == "stripe" and (self.token is None or self.behaviour is not None):
            raise ValueError("a payment method of Stripe has a token, and no behaviour")
        return self


class PaymentMethodChangesBody(StrictBody):
    """Another one becomes the default only when it is chosen: send `true`."""

    is_default: Annotated[Flag, Field(examples=[True])]

    @model_validator(mode="after")
    def _chooses(self) -> Self:
        if not self.is_default:
            raise ValueError("is_default can only become true; choose another method as the default")
        return self


class MethodDetailsBody(StrictBody):
    """A card holds until the end of the month of its expiry."""

    kind: str
    brand: str | None
    last4: str | None
    expiry_month: int | None
    expiry_year: int | None

    @classmethod
    def from_domain(cls, details: MethodDetails) -> Self:
        return cls(**{name: getattr(details, name) for name in cls.model_fields})


class PaymentMethodBody(StrictBody):
    """`behaviour` is the sandbox gateway's, `account` and `details` are of others."""

    id: str
    customer_id: str
    gateway: str
    behaviour: str | None
    account: str | None
    details: MethodDetailsBody | None
    is_default: bool
    version: int
    created_at: Instant

    @classmethod
    def from_domain(cls, method: PaymentMethod) -> Self:
        plain = {name: getattr(method, name) for name in cls.model_fields if name != "details"}
        details = None if method.details is None else MethodDetailsBody.from_domain(method.details)
        return cls(**plain, details=details)
