"""One entry of a catalog document → the use cases that make the catalog be as it says, and what they change.

They run on a unit of work that is only staged. An entry that says what is there already changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

from libs.common.clock import Clock
from services.catalog.application.archive_coupon import ArchiveCoupon, archive_coupon
from services.catalog.application.archive_feature import ArchiveFeature, archive_feature
from services.catalog.application.archive_product import ArchiveProduct, archive_product
from services.catalog.application.catalog_changes import (
    Action,
    ThingChange,
    archived,
    created,
    parts_of,
    unchanged,
    updated,
)
from services.catalog.application.catalog_document import CatalogInvalid, PlanEntry
from services.catalog.application.catalog_entries import coupon_entry, named_by, plan_entry
from services.catalog.application.change_coupon import ChangeCoupon, change_coupon
from services.catalog.application.change_feature import ChangeFeature, change_feature
from services.catalog.application.change_plan import ChangePlan, change_plan
from services.catalog.application.change_plan_sale import ChangePlanSale, change_plan_sale
from services.catalog.application.change_product import ChangeProduct, change_product
from services.catalog.application.create_coupon import CreateCoupon, create_coupon
from services.catalog.application.create_feature import CreateFeature, create_feature
from services.catalog.application.create_plan import CreatePlan, create_plan
from services.catalog.application.create_product import CreateProduct, create_product
from services.catalog.application.ports import UnitOfWork
from services.catalog.application.publish_plan import PublishPlan, publish_plan
from services.catalog.domain.coupon import Coupon, CouponTerms
from services.catalog.domain.document import document_of
from services.catalog.domain.feature import Feature, FeatureDetails
from services.catalog.domain.known_meter import KnownMeter
from services.catalog.domain.plan import Plan
from services.catalog.domain.plan_diff import Change, plan_changes, validity_changes
from services.catalog.domain.plan_draft import PlanDraft
from services.catalog.domain.plan_version import PlanVersion
from services.catalog.domain.product import Product, ProductDetails, details_of
from services.catalog.domain.publication import Published
from services.catalog.domain.sale import ALWAYS


def any_version(version: int) -> None:
    """A document names no versions: it says how things are to be, whatever they were."""


def compare_meter(entry: KnownMeter, known: KnownMeter | None) -> ThingChange:
    """Metering owns it: here it is only compared. Raises: CatalogInvalid."""
    if known is None:
        return ThingChange("meter", entry.code, "define", "is not defined yet: metering does that")
    for name in ("aggregation", "unit"):
        _refuse_other("meter", entry.code, name, getattr(known, name), getattr(entry, name))
    return unchanged("meter", entry.code)


async def stage_product(entry: CreateProduct, *, uow: UnitOfWork, clock: Clock) -> ThingChange:
    """Raises: CatalogInvalid, ProductArchived."""
    found = await uow.products.find_named(ids=(), codes=[entry.code])
    if not found:
        made = await create_product(entry, uow=uow, clock=clock)
        told = {"code": made.code, "kind": made.kind, **document_of(entry.details)}
        return created("product", made.code, told, f"is new: {made.name}, {made.kind}")
    (before,) = found
    _refuse_other("product", entry.code, "kind", before.kind, entry.kind)
    command = ChangeProduct(before.id, lambda _: entry.details)
    after = await change_product(command, uow=uow, clock=clock, check_version=any_version)
    if after is before:
        return unchanged("product", before.code, archived=before.archived)
    names = ProductDetails.__slots__
    return updated("product", before.code, details_of(before), details_of(after), names)


async def stage_feature(entry: CreateFeature, *, uow: UnitOfWork, clock: Clock) -> ThingChange:
    """Raises: CatalogInvalid, FeatureInvalid, FeatureMeterUnknown, FeatureArchived."""
    found = await uow.features.find_named([entry.code])
    if not found:
        made = await create_feature(entry, uow=uow, clock=clock)
        told = {"code": made.code, "kind": made.kind, "meter": made.meter, **document_of(entry.details)}
        return created("feature", made.code, told, f"is new: {made.details.name}, {made.kind}")
    (before,) = found
    for name in ("kind", "meter"):
        _refuse_other("feature", entry.code, name, getattr(before, name), getattr(entry, name))
    command = ChangeFeature(before.id, lambda _: entry.details)
    after = await change_feature(command, uow=uow, clock=clock, check_version=any_version)
    if after is before:
        return unchanged("feature", before.code, archived=before.archived)
    return updated("feature", before.code, before.details, after.details, FeatureDetails.__slots__)


async def stage_coupon(entry: CreateCoupon, *, uow: UnitOfWork, clock: Clock) -> ThingChange:
    """Raises: CouponInvalid, CouponArchived, CouponTermsFixed, CouponLimitTooLow."""
    found = await uow.coupons.find_named([entry.code])
    if not found:
        made = await create_coupon(entry, uow=uow, clock=clock)
        told = await _coupon_told(made, uow)
        worth = told["amount"] or f"{told['percent']} %"
        return created("coupon", made.code, document_of(told), f"is new: {made.terms.name}, {worth} off")
    (before,) = found
    if coupon_entry(before, await named_by([], [before], uow=uow)) == entry:
        return unchanged("coupon", before.code, archived=before.archived)
    command = ChangeCoupon(before.id, lambda _: entry.terms, products=entry.products)
    after = await change_coupon(command, uow=uow, clock=clock, check_version=any_version)
    if after is before:
        return unchanged("coupon", before.code)
    was, becomes = await _coupon_told(before, uow), await _coupon_told(after, uow)
    return updated("coupon", before.code, SimpleNamespace(**was), SimpleNamespace(**becomes), tuple(was))


async def stage_plan(entry: PlanEntry, *, uow: UnitOfWork, clock: Clock) -> ThingChange:
    """A plan to be published is on sale afterwards: as a new version, or the newest one put on sale again.

    Raises: PlanInvalid, MeterUnknown, PlanRetired, PlanTermsFixed, ValidityReversed, CatalogInvalid.
    """
    if entry.validity != ALWAYS and not entry.publish:
        detail = (
            "only what is published has bounds: leave valid_from and valid_until out, or publish the plan"
        )
        raise _refused("/publish", detail)
    found = await uow.plans.find_named([entry.code])
    if not found:
        made = await create_plan(CreatePlan(entry.code, entry.written), uow=uow, clock=clock)
        number = await _publish(entry, made, uow=uow, clock=clock)
        words = f"is new: {made.draft.name}, {f'on sale as version {number}' if number else 'a draft'}"
        parts = parts_of(await _with_codes(made.draft, uow))
        return ThingChange("plan", made.code, "create", words, parts, number)
    (before,) = found
    newest = await _newest(before, uow)
    if plan_entry(before, newest, await named_by([before], [], uow=uow)) == entry:
        return unchanged("plan", before.code)
    command = ChangePlan(before.id, lambda _: entry.written)
    after = await change_plan(command, uow=uow, check_version=any_version)
    published = await _publish(entry, after, uow=uow, clock=clock)
    reinstated = await _reinstate(entry, after, uow=uow, clock=clock)
    changes = [*await _plan_changed(before, after, uow)]
    if published and newest is not None:
        changes += validity_changes(newest.validity, entry.validity)
    if not (changes or published or reinstated):
        return unchanged("plan", before.code)
    action: Action = "update" if changes else "publish" if published else "reinstate"
    words = "changes" if changes else "stays as it is"
    if published or reinstated:
        words += f", on sale{' again' if reinstated else ''} as version {published or reinstated}"
    return ThingChange("plan", before.code, action, words, tuple(changes), published or reinstated)


async def prune_product(product: Product, *, uow: UnitOfWork, clock: Clock) -> ThingChange:
    await archive_product(ArchiveProduct(product.id), uow=uow, clock=clock, check_version=any_version)
    return archived("product", product.code)


async def prune_feature(feature: Feature, *, uow: UnitOfWork, clock: Clock) -> ThingChange:
    await archive_feature(ArchiveFeature(feature.id), uow=uow, clock=clock, check_version=any_version)
    return archived("feature", feature.code)


async def prune_coupon(coupon: Coupon, *, uow: UnitOfWork, clock: Clock) -> ThingChange:
    await archive_coupon(ArchiveCoupon(coupon.id), uow=uow, clock=clock, check_version=any_version)
    return archived("coupon", coupon.code)


async def prune_plan(plan: Plan, *, uow: UnitOfWork, clock: Clock) -> ThingChange | None:
    """Every version that is sold is withdrawn, so that none takes the place of another. None if there is none."""
    numbers = [n for n in range(1, plan.published_number + 1) if plan.sale_state(n) == "published"]
    if not numbers:
        return None
    for number in numbers:
        command = ChangePlanSale(plan.id, number, "withdrawn")
        await change_plan_sale(command, uow=uow, clock=clock, check=lambda _: None)
    which = f"version{'s' if numbers[1:] else ''} {', '.join(map(str, numbers))}"
    words = (
        f"is withdrawn ({which}), since it is not in the document: subscriptions go on, and it can come back"
    )
    return ThingChange("plan", plan.code, "withdraw", words)


async def _publish(entry: PlanEntry, plan: Plan, *, uow: UnitOfWork, clock: Clock) -> int | None:
    """The number of the version that was published, if one was."""
    if not entry.publish:
        return None
    command = PublishPlan(plan.id, entry.validity)
    outcome = await publish_plan(command, uow=uow, clock=clock, check_version=any_version)
    return outcome.plan_version.number if isinstance(outcome, Published) else None


async def _reinstate(entry: PlanEntry, plan: Plan, *, uow: UnitOfWork, clock: Clock) -> int | None:
    """The number of the version that was withdrawn and is sold again, if one is."""
    number = plan.published_number
    if not entry.publish or not number or plan.sale_state(number) != "withdrawn":
        return None
    (plan,) = await uow.plans.find_named([plan.code])
    if plan.published_number != number:  # a newer one was published just now
        return None
    command = ChangePlanSale(plan.id, number, "published")
    await change_plan_sale(command, uow=uow, clock=clock, check=lambda _: None)
    return number


async def _newest(plan: Plan, uow: UnitOfWork) -> PlanVersion | None:
    if not plan.published_number:
        return None
    return await uow.plan_versions.find(plan.id, plan.published_number)


async def _plan_changed(before: Plan, after: Plan, uow: UnitOfWork) -> Sequence[Change]:
    """Of the draft, and of what never becomes part of a version."""
    drafts = [await _with_codes(plan.draft, uow) for plan in (before, after)]
    noted = updated("plan", after.code, before, after, ("external_id", "metadata"))
    return (*plan_changes(*drafts), *noted.changes)


async def _with_codes(draft: PlanDraft, uow: UnitOfWork) -> PlanDraft:
    """The draft with the codes of its products in place of their ids, which mean nothing to a reader."""
    ids = {price.product_id for price in draft.prices}
    codes = {product.id: product.code for product in await uow.products.find_named(ids=ids, codes=())}
    return replace(
        draft,
        prices=tuple(replace(price, product_id=codes[price.product_id]) for price in draft.prices),
        features=tuple(replace(grant, feature_id=grant.code) for grant in draft.features),
    )


async def _coupon_told(coupon: Coupon, uow: UnitOfWork) -> dict[str, object]:
    """Its terms as the document has them."""
    terms = coupon.terms
    found = await uow.products.find_named(ids=terms.product_ids, codes=()) if terms.product_ids else []
    codes = {product.id: product.code for product in found}
    told = {name: getattr(terms, name) for name in CouponTerms.__slots__}
    told["products"] = tuple(codes[id] for id in told.pop("product_ids"))
    told["plans"] = told.pop("plan_codes")
    if terms.amount is not None:
        told["amount"] = f"{terms.amount.to_decimal():f} {terms.amount.currency}"
    return told


def _refuse_other(kind: str, code: str, name: str, before: object, after: object) -> None:
    if before != after:
        detail = (
            f"the {name} of the {kind} {code} is {before or 'none'} and never changes: "
            f"write it so, or choose another code for another {kind}"
        )
        raise _refused(f"/{name}", detail)


def _refused(pointer: str, detail: str) -> CatalogInvalid:
    return CatalogInvalid(
        "the entry cannot be as it is written", errors=[{"pointer": pointer, "detail": detail}]
    )
