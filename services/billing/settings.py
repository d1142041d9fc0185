"""Billing's environment variables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from libs.common.settings import InvalidSettings, Settings, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingSettings(Settings):
    """`retry_days`: days of 24 hours between a failed payment and the next try, separated by commas.

    `spend_check_s`: how often the usage of a subscription with a spend threshold is looked at, by the wall.
    """

    PREFIX: ClassVar[str] = "PERENNIAL_BILLING_"

    retry_days: str = setting("1,3,5,7")
    payment_claim_s: float = setting(30.0, minimum=1, maximum=600)
    gateway_calls_at_once: int = setting(32, minimum=1, maximum=100)
    spend_check_s: float = setting(300.0, minimum=1, maximum=86_400)

    @property
    def retry_days_each(self) -> tuple[int, ...]:
        """Raises: InvalidSettings when one is no whole number of days."""
        days = [day.strip() for day in self.retry_days.split(",") if day.strip()]
        if not all(day.isdecimal() and 0 < int(day) < 366 for day in days):
            problem = 'must be whole numbers of days, such as "1,3,5,7"'
            raise InvalidSettings("BillingSettings", {f"{self.PREFIX}RETRY_DAYS": problem})
        return tuple(int(day) for day in days)
