"""What the catalog says: tenants, revoked tokens, plans as they were published."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from libs.common.contracts.envelope import Event


class Snapshot(BaseModel):
    """A part of an event that is copied whole."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class PriceTierV1(Snapshot):
    """`up_to` is the running total at which the tier ends, itself included; None on the last."""

    up_to: Decimal | None = None
    unit_amount: Decimal
    flat_amount: Decimal | None = None


class PriceV1(Snapshot):
    """One immutable price, whole, so that no reader has to ask for it. Amounts are in major units."""

    id: str
    code: str
    product_id: str
    description: str
    kind: Literal["recurring", "usage"]
    timing: Literal["advance", "arrears"]
    model: Literal["flat", "per_unit", "graduated", "volume", "package"]
    currency: str
    unit_amount: Decimal | None = None
    tiers: tuple[PriceTierV1, ...] = ()
    package_size: Decimal | None = None
    included_quantity: Decimal = Decimal(0)
    meter: str | None = None
    unit: str | None = None
    proration: Literal["none", "day", "second", "full"] = "day"


class PlanV1(Snapshot):
    """A published version of a plan. `interval` is the billing period, counted from the anchor."""

    plan_id: str
    plan_version_id: str
    code: str
    name: str
    plan_version: int
    currency: str
    interval_unit: Literal["day", "week", "month", "year"]
    interval_count: int
    prices: tuple[PriceV1, ...]


class TenantChangedV1(Event):
    """A selling business was created or renamed. `mode` never changes."""

    TYPE: ClassVar[str] = "perennial.catalog.tenant.changed.v1"
    name: str
    mode: Literal["live", "sandbox"]


class TokenRevokedV1(Event):
    """A token id is refused from now on; it may be forgotten once `expires_at` has passed."""

    TYPE: ClassVar[str] = "perennial.catalog.token.revoked.v1"
    token_id: str
    expires_at: AwareDatetime


class PlanPublishedV1(Event):
    """A plan version can be sold from now on; it never changes."""

    TYPE: ClassVar[str] = "perennial.catalog.plan.published.v1"
    plan: PlanV1


class PlanRetiredV1(Event):
    """A plan is no longer sold; its subscriptions go on."""

    TYPE: ClassVar[str] = "perennial.catalog.plan.retired.v1"
    plan_id: str
