"""What the catalog says: tenants, revoked tokens, plans as they were published."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from libs.common.contracts.envelope import Event


class Snapshot(BaseModel):
    """A part of an event that is copied whole."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class PriceTierV1(Snapshot):
    """`up_to` is the running total at which the tier ends, itself included; None on the last.

    `flat_amount` is charged once, when the tier is reached; `rate_percent` replaces `unit_amount` in tiers of
    percentages; `cap_amount` limits what the tier may come to.
    """

    up_to: Decimal | None = None
    unit_amount: Decimal = Decimal(0)
    flat_amount: Decimal | None = None
    rate_percent: Decimal | None = None
    cap_amount: Decimal | None = None


class MatrixCellV1(Snapshot):
    """What a unit costs whose dimensions have these values, in the order of the price's dimensions; * is any."""

    values: tuple[str, ...]
    unit_amount: Decimal


class RolloverV1(Snapshot):
    """Included units that were not used go on to later periods: at most `cap`, for `periods` periods."""

    cap: Decimal | None = None
    periods: int = 1


class PriceV1(Snapshot):
    """One immutable price, whole, so that no reader has to ask for it. Amounts are in major units.

    `interval_*` is how often it is charged, the plan's billing period when None; `allowance_interval_*` how
    often `included_quantity` begins anew, that of the charge when None. With an `allowance_pool` it is earned with
    time, and what goes beyond it is owed once, at the end of that interval or of the subscription. `phase` names
    the phase of the plan in which it holds, None for all of them. `minimum_amount` and `maximum_amount` bound what
    one charge comes to.
    """

    id: str
    code: str
    product_id: str
    description: str
    kind: Literal["recurring", "usage", "one_time"]
    timing: Literal["advance", "arrears"]
    model: Literal[
        "flat",
        "per_unit",
        "graduated",
        "volume",
        "package",
        "percentage",
        "graduated_percentage",
        "matrix",
        "dynamic",
        "capacity",
        "expression",
    ]
    currency: str
    unit_amount: Decimal | None = None
    tiers: tuple[PriceTierV1, ...] = ()
    charges_first_flat_at_zero: bool = True
    package_size: Decimal | None = None
    package_rounding: Literal["up", "down"] = "up"
    rate_percent: Decimal | None = None
    fixed_amount_per_event: Decimal | None = None
    free_events: int | None = None
    free_amount: Decimal | None = None
    minimum_amount_per_event: Decimal | None = None
    maximum_amount_per_event: Decimal | None = None
    dimensions: tuple[str, ...] = ()
    cells: tuple[MatrixCellV1, ...] = ()
    capacity_basis: Literal["peak", "time_weighted"] | None = None
    expression: str | None = None
    included_quantity: Decimal = Decimal(0)
    allowance_interval_unit: Literal["day", "week", "month", "year"] | None = None
    allowance_interval_count: int = 1
    allowance_pool: Literal["interval", "subscription"] | None = None
    rollover: RolloverV1 | None = None
    minimum_amount: Decimal | None = None
    maximum_amount: Decimal | None = None
    interval_unit: Literal["day", "week", "month", "year"] | None = None
    interval_count: int = 1
    tax_behavior: Literal["exclusive", "inclusive"] = "exclusive"
    tax_category: str | None = None
    phase: str | None = None
    meter: str | None = None
    unit: str | None = None
    proration: Literal["none", "day", "second", "full"] = "day"


class PhaseV1(Snapshot):
    """A stretch of a plan with prices of its own, `periods` billing periods long; None on the last."""

    code: str
    name: str
    periods: int | None = None


class TrialV1(Snapshot):
    """What comes before the first billing period: free, or for `amount` in the plan's currency."""

    interval_unit: Literal["day", "week", "month"]
    interval_count: int
    amount: Decimal | None = None
    requires_payment_method: bool = False


class CommitmentV1(Snapshot):
    """A least or a most that some prices come to together, in each billing period or each year.

    `price_codes` is empty where it is about the whole plan. `minimum_quantity` is priced at the unit amount of
    the one price that it names.
    """

    code: str
    description: str
    currency: str
    price_codes: tuple[str, ...] = ()
    per: Literal["period", "year"] = "period"
    minimum_amount: Decimal | None = None
    minimum_quantity: Decimal | None = None
    maximum_amount: Decimal | None = None


class FeatureGrantV1(Snapshot):
    """What the plan lets a customer do: a switch, a limit, or an allowance that `meter` counts."""

    feature_id: str
    code: str
    kind: Literal["switch", "limit", "metered"]
    limit: Decimal | None = None
    allowance: Decimal | None = None
    meter: str | None = None
    overage_allowed: bool = False
    interval_unit: Literal["day", "week", "month", "year"] | None = None
    interval_count: int = 1


LateUsagePolicy = Literal["next_invoice", "note_at_once", "draft_only"]


class LateUsageV1(Snapshot):
    """What becomes of usage that changes after its window has closed, and for how many days after the window's end.

    `next_invoice` puts it right on the next invoice, `note_at_once` on a document of its own, `draft_only` on a draft
    that a person finalizes. After `window_days` (None: without end) it is kept and reported, and not billed.
    """

    policy: LateUsagePolicy = "next_invoice"
    window_days: int | None = None


class DunningV1(Snapshot):
    """What becomes of an invoice that is not paid. `retry_days` are days of 24 hours after each failed try (None: the
    operator's), all others local dates after the invoice's due date.

    Subscriptions are suspended `suspend_after_days`, when the retries end where that is None, or, unless it `suspends`,
    never. `end_after_days` (None: never) they end; what is due is written off then if `writes_off`.
    """

    retry_days: tuple[int, ...] | None = None
    reminder_days: tuple[int, ...] = ()
    suspends: bool = True
    suspend_after_days: int | None = None
    end_after_days: int | None = None
    writes_off: bool = False


class PlanV1(Snapshot):
    """A published version of a plan. `interval` is the billing period, counted from the anchor.

    Prices may be in several currencies: a subscription takes those of its own, `currency` if it names none.
    An add-on is a plan beside another: `for_plans` names those that it goes with by code, none being any.
    `valid_from` and `valid_until` bound when it may be newly agreed to.
    """

    plan_id: str
    plan_version_id: str
    code: str
    name: str
    plan_version: int
    currency: str
    interval_unit: Literal["day", "week", "month", "year"]
    interval_count: int
    prices: tuple[PriceV1, ...]
    kind: Literal["base", "add_on"] = "base"
    for_plans: tuple[str, ...] = ()
    phases: tuple[PhaseV1, ...] = ()
    trial: TrialV1 | None = None
    commitments: tuple[CommitmentV1, ...] = ()
    features: tuple[FeatureGrantV1, ...] = ()
    valid_from: AwareDatetime | None = None
    valid_until: AwareDatetime | None = None
    late_usage: LateUsageV1 = LateUsageV1()
    dunning: DunningV1 = DunningV1()


class PlanOverlayV1(Snapshot):
    """A plan version as one customer has it: `plan` is whole, its changed prices with ids of their own.

    `term_*` is how long it is agreed for, None for as long as the subscription lasts.
    """

    overlay_id: str
    customer_id: str
    plan_version_id: str
    plan: PlanV1
    term_unit: Literal["day", "week", "month", "year"] | None = None
    term_count: int = 1


class CouponV1(Snapshot):
    """Money off: a percentage, or an amount in one currency; once, for `periods` billing periods, or for ever.

    Limited to products and plans by code, none being all. Coupons of one invoice apply in rising `stacking_order`,
    then by code, each to what the one before left; never below zero.
    """

    coupon_id: str
    coupon_version: int
    code: str
    name: str
    percent: Decimal | None = None
    amount: Decimal | None = None
    currency: str | None = None
    duration: Literal["once", "periods", "forever"]
    periods: int | None = None
    product_ids: tuple[str, ...] = ()
    plan_codes: tuple[str, ...] = ()
    stacking_order: int = 0
    redemptions_max: int | None = None
    redemptions_per_customer_max: int | None = None
    valid_from: AwareDatetime | None = None
    valid_until: AwareDatetime | None = None
    is_archived: bool = False


class FeatureV1(Snapshot):
    feature_id: str
    feature_version: int
    code: str
    name: str
    kind: Literal["switch", "limit", "metered"]
    meter: str | None = None
    unit: str | None = None
    is_archived: bool = False


class ProductV1(Snapshot):
    product_id: str
    product_version: int
    code: str
    name: str
    kind: Literal["goods", "service", "digital"]
    unit: str | None = None
    tax_category: str | None = None
    gtin: str | None = None
    is_archived: bool = False


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
    """There is a plan version, which can be sold within its bounds; it never changes."""

    TYPE: ClassVar[str] = "perennial.catalog.plan.published.v1"
    plan: PlanV1


class PlanRetiredV1(Event):
    """A plan is no longer sold; its subscriptions go on."""

    TYPE: ClassVar[str] = "perennial.catalog.plan.retired.v1"
    plan_id: str


class PlanVersionSalesChangedV1(Event):
    """A published version may no longer be newly agreed to, or may be again within its bounds, which never change.

    `status`: `published` (sold within its bounds), `withdrawn` (not sold now; may be again) or `archived`.
    Subscriptions on it go on in each case.
    """

    TYPE: ClassVar[str] = "perennial.catalog.plan_version.sales_changed.v1"
    plan_id: str
    plan_version_id: str
    plan_version: int
    status: Literal["published", "withdrawn", "archived"]
    valid_from: AwareDatetime | None = None
    valid_until: AwareDatetime | None = None


class PlanOverlaidV1(Event):
    """A customer has terms of its own for a plan version from now on."""

    TYPE: ClassVar[str] = "perennial.catalog.plan.overlaid.v1"
    overlay: PlanOverlayV1


class PlanOverlayWithdrawnV1(Event):
    """The terms are no longer offered; a subscription that has them keeps them."""

    TYPE: ClassVar[str] = "perennial.catalog.plan_overlay.withdrawn.v1"
    overlay_id: str
    customer_id: str


class ProductChangedV1(Event):
    TYPE: ClassVar[str] = "perennial.catalog.product.changed.v1"
    product: ProductV1


class FeatureChangedV1(Event):
    TYPE: ClassVar[str] = "perennial.catalog.feature.changed.v1"
    feature: FeatureV1


class CouponChangedV1(Event):
    """Made, altered or archived. What was redeemed before keeps what it was redeemed as."""

    TYPE: ClassVar[str] = "perennial.catalog.coupon.changed.v1"
    coupon: CouponV1


class CouponRedeemedV1(Event):
    """A customer has the coupon from now on, as it is told here, for one subscription or for all (None)."""

    TYPE: ClassVar[str] = "perennial.catalog.coupon.redeemed.v1"
    redemption_id: str
    customer_id: str
    subscription_id: str | None = None
    coupon: CouponV1


class CouponRedemptionWithdrawnV1(Event):
    """A redemption was taken back: it gives nothing off what is billed from now on."""

    TYPE: ClassVar[str] = "perennial.catalog.coupon.redemption_withdrawn.v1"
    redemption_id: str
    coupon_id: str
    customer_id: str
    subscription_id: str | None = None
