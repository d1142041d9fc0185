"""Customers and subscriptions of which subscriptions has told: terms and coupons can be given to them."""

from __future__ import annotations

from dataclasses import dataclass

from libs.common.errors import NotFound


class CustomerNotFound(NotFound):
    code = "customer_not_found"
    title = "There is no such customer"


class SubscriptionNotFound(NotFound):
    """The customer has no such subscription, or it has not begun yet."""

    code = "subscription_not_found"
    title = "There is no such subscription"


@dataclass(frozen=True, slots=True)
class KnownSubscription:
    """As it began. `clock_id` names the test clock that it lives by, if any."""

    id: str
    customer_id: str
    clock_id: str | None
