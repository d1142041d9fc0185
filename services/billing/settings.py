"""Billing's environment variables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from libs.common.settings import InvalidSettings, Settings, secret, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingSettings(Settings):
    """`retry_days`: days of 24 hours between a failed payment and the next try, separated by commas.

    `gateway_accounts_file` names the accounts that tenants have at gateways, with their secrets. `stripe_url` is where
    Stripe is asked; `gateway_timeout_s` bounds one question.
    `spend_check_s`: how often the usage of a subscription with a spend threshold is looked at, by the wall.
    """

    PREFIX: ClassVar[str] = "PERENNIAL_BILLING_"

    retry_days: str = setting("1,3,5,7")
    payment_claim_s: float = setting(30.0, minimum=1, maximum=600)
    gateway_calls_at_once: int = setting(32, minimum=1, maximum=100)
    gateway_accounts_file: Path | None = setting(None)
    gateway_timeout_s: float = setting(20.0, minimum=1, maximum=120)
    stripe_url: str = setting("https://api.stripe.com")
    spend_check_s: float = setting(300.0, minimum=1, maximum=86_400)

    @property
    def retry_days_each(self) -> tuple[int, ...]:
        """Raises: InvalidSettings when one is no whole number of days."""
        days = [day.strip() for day in self.retry_days.split(",") if day.strip()]
        if not all(day.isdecimal() and 0 < int(day) < 366 for day in days):
            problem = 'must be whole numbers of days, such as "1,3,5,7"'
            raise InvalidSettings("BillingSettings", {f"{self.PREFIX}RETRY_DAYS": problem})
        return tuple(int(day) for day in days)


@dataclass(frozen=True, slots=True, kw_only=True)
class MailSettings(Settings):
    """How mails go out: over SMTP where `smtp_url` is given, else into files below `mail_folder`; with neither they wait.

    `mail_sender` stands in From for sellers whose own domain may not be sent for; the seller gets the answers. At most
    `mails_per_minute` of a tenant go out over SMTP; `mail_sandboxes`: those of sandbox tenants as well.
    `smtp_plaintext`: without encryption, to another machine.
    """

    PREFIX: ClassVar[str] = "PERENNIAL_BILLING_"

    smtp_url: str = setting("")
    smtp_plaintext: bool = setting(False)
    smtp_timeout_s: float = setting(30.0, minimum=1, maximum=300)
    mail_folder: Path | None = setting(None)
    mail_sender: str = setting("")
    mail_sandboxes: bool = setting(False)
    mails_per_minute: int = setting(300, minimum=1, maximum=100_000)
    mails_at_once: int = setting(4, minimum=1, maximum=32)
    mail_claim_s: float = setting(120.0, minimum=1, maximum=600)


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpCredentials(Settings):
    """Asked for where a user is named."""

    PREFIX: ClassVar[str] = "PERENNIAL_BILLING_SMTP_"

    user: str = setting()
    password: str = secret()
