"""A whole catalog is made as a document says: all of it at once, or nothing and a list of all that is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from libs.common.clock import Clock
from libs.common.errors import Conflict, DomainError, InputError, InvalidInput
from services.catalog.application import stage_entries as stage
from services.catalog.application.catalog_changes import CatalogImport, ThingChange
from services.catalog.application.catalog_document import (
    THINGS_MAX,
    CatalogChangedMeanwhile,
    CatalogDocument,
    CatalogInvalid,
    CatalogMeterUnknown,
    Entry,
    Name,
    Placed,
    PlanEntry,
    ThingKind,
    names_in,
)
from services.catalog.application.create_coupon import CreateCoupon
from services.catalog.application.create_feature import CreateFeature
from services.catalog.application.create_product import CreateProduct
from services.catalog.application.export_catalog import (
    all_plans,
    unarchived_coupons,
    unarchived_features,
    unarchived_products,
)
from services.catalog.application.ports import UnitOfWork
from services.catalog.application.staged_catalog import StagedCatalog
from services.catalog.domain.feature import FeatureMeterUnknown
from services.catalog.domain.known_meter import KnownMeter
from services.catalog.domain.plan_draft import MeterUnknown
from services.catalog.domain.plan_version import plan_version_id


@dataclass(frozen=True, slots=True)
class ImportCatalog:
    """`found` are faults that were seen while the document was read, and `unread` the things that have them.

    With `prune`, the document is the whole catalog: what is not in it is no longer sold.
    """

    document: CatalogDocument
    dry_run: bool = True
    prune: bool = False
    found: tuple[InputError, ...] = ()
    unread: frozenset[Name] = frozenset()


async def import_catalog(command: ImportCatalog, *, uow: UnitOfWork, clock: Clock) -> CatalogImport:
    """Make, change, publish and archive what it takes; a dry run only tells it. A repeat changes nothing.

    Meters that the document defines are taken for known in a dry run; otherwise metering must have told of them.
    Emits: what each change emits by itself: ProductChanged, FeatureChanged, PlanPublished,
    PlanVersionSalesChanged, CouponChanged.
    Raises: CatalogInvalid, with every fault; CatalogMeterUnknown, when unknown meters are the only ones;
    CatalogChangedMeanwhile, CatalogTooLarge.
    """
    staging = _Staging(command, uow, clock)
    things = await staging.run()
    if command.dry_run:
        return CatalogImport(applied=False, things=things)
    staging.staged.write()
    try:
        await uow.flush()
    except Conflict as taken:
        raise CatalogChangedMeanwhile(
            "somebody else made one of these things at the same time", remedy="Send it again."
        ) from taken
    return CatalogImport(applied=True, things=things)


class _Staging:
    """One import: every entry is tried, whatever was wrong with those before it."""

    def __init__(self, command: ImportCatalog, uow: UnitOfWork, clock: Clock) -> None:
        self._command, self._uow, self._clock = command, uow, clock
        meters = [meter for meter in command.document.meters if meter is not None]
        self.staged = StagedCatalog(uow, lock=not command.dry_run, meters=meters)
        self._sections = command.document.sections()
        self._in_document = {
            (kind, entry.code) for kind, placed in self._sections.items() for _, entry in placed
        } | command.unread
        self._faults = list(command.found)
        self._lacks_only_meters = not command.found
        self._failed = set(command.unread)
        self._things: dict[str, ThingChange] = {}

    async def run(self) -> tuple[ThingChange, ...]:
        """Raises: CatalogInvalid, CatalogMeterUnknown, CatalogTooLarge."""
        self._check_document()
        await self._look_up()
        for kind, placed in self._sections.items():
            for at, entry in _named_before_naming(placed):
                await asyncio.sleep(0)  # others want to be served meanwhile
                await self._try(kind, at, entry)
        pruned = [thing async for thing in self._prune()] if self._command.prune else []
        self._refuse()
        in_order = (self._things[at] for placed in self._sections.values() for at, _ in placed)
        return (*in_order, *pruned)

    def _check_document(self) -> None:
        """What is wrong with it by itself: its size, codes that stand twice, and names of what it would archive."""
        if (count := self._command.document.thing_count) > THINGS_MAX:
            detail = f"holds {count} things, and one document at most {THINGS_MAX}: make it several"
            self._add_faults("", [{"pointer": "", "detail": detail}])
        for kind, placed in self._sections.items():
            first_with: dict[str, str] = {}
            for at, entry in placed:
                if (first := first_with.setdefault(entry.code, at)) != at:
                    detail = f"the {kind} at {first} has this code already: choose another, or make them one"
                    self._add_faults(at, [{"pointer": "/code", "detail": detail}])
                if self._command.prune:
                    self._check_names(at, entry)

    def _check_names(self, at: str, entry: Entry) -> None:
        for pointer, (kind, code) in names_in(entry):
            if kind != "meter" and (kind, code) not in self._in_document:
                detail = f"with prune, what is not in the document is no longer sold: write the {kind} {code} there"
                self._add_faults(at, [{"pointer": pointer, "detail": detail}])

    async def _look_up(self) -> None:
        """All things of the document at once, in one statement for each kind."""
        for kind, find in (
            ("product", self.staged.products.find_by_codes),
            ("feature", self.staged.features.find_by_codes),
            ("plan", self.staged.plans.find_by_codes),
            ("coupon", self.staged.coupons.find_by_codes),
        ):
            await find([code for of_kind, code in self._in_document if of_kind == kind])
        plans = await self.staged.plans.find_by_codes([entry.code for _, entry in self._sections["plan"]])
        newest = [plan_version_id(plan.id, plan.published_number) for plan in plans if plan.published_number]
        await self.staged.plan_versions.find_by_ids(newest)
        codes = [code for kind, code in self._in_document if kind == "meter"]
        known = await self._uow.known_meters.find_named(codes) if codes else []
        self._known_meters = {meter.code: meter for meter in known}

    async def _try(self, kind: ThingKind, at: str, entry: Entry) -> None:
        try:
            self._things[at] = (await self._stage(entry)).at(at)
        except DomainError as refused:
            self._note((kind, entry.code), at, refused, entry)

    async def _stage(self, entry: Entry) -> ThingChange:
        match entry:
            case KnownMeter():
                return self._compare_meter(entry)
            case CreateProduct():
                return await stage.stage_product(entry, uow=self.staged, clock=self._clock)
            case CreateFeature():
                return await stage.stage_feature(entry, uow=self.staged, clock=self._clock)
            case PlanEntry():
                return await stage.stage_plan(entry, uow=self.staged, clock=self._clock)
            case CreateCoupon():
                return await stage.stage_coupon(entry, uow=self.staged, clock=self._clock)

    def _compare_meter(self, entry: KnownMeter) -> ThingChange:
        thing = stage.compare_meter(entry, self._known_meters.get(entry.code))
        if thing.action == "define" and not self._command.dry_run:
            detail = f"there is no meter {entry.code}: define it first (POST /v1/meters)"
            raise CatalogMeterUnknown("", errors=[{"pointer": "", "detail": detail}])
        return thing

    def _note(self, name: Name, at: str, refused: DomainError, entry: Entry) -> None:
        """What is wrong with it. That it names something which is itself wrong is said there, and not once more."""
        faults: Sequence[InputError] = refused.errors if isinstance(refused, InvalidInput) else ()
        if not faults:
            detail = f"{refused.message}: {refused.remedy}" if refused.remedy else refused.message
            faults = [{"pointer": refused.pointer or "", "detail": detail}]
        named = dict(names_in(entry))
        own = [fault for fault in faults if named.get(_as_written(fault["pointer"])) not in self._failed]
        self._failed.add(name)
        self._add_faults(
            at, own, only_meters=isinstance(refused, MeterUnknown | FeatureMeterUnknown | CatalogMeterUnknown)
        )

    def _add_faults(self, at: str, faults: Sequence[InputError], *, only_meters: bool = False) -> None:
        self._lacks_only_meters &= only_meters or not faults
        self._faults += [
            {"pointer": f"{at}{_as_written(fault['pointer'])}", "detail": fault["detail"]} for fault in faults
        ]

    async def _prune(self) -> AsyncIterator[ThingChange]:
        """Raises: CatalogTooLarge."""
        uow, staged, clock = self._uow, self.staged, self._clock
        for coupon in await unarchived_coupons(uow):
            if ("coupon", coupon.code) not in self._in_document:
                yield await stage.prune_coupon(coupon, uow=staged, clock=clock)
        for plan in await all_plans(uow):
            if ("plan", plan.code) not in self._in_document and plan.status == "published":
                withdrawn = await stage.prune_plan(plan, uow=staged, clock=clock)
                if withdrawn is not None:
                    yield withdrawn
        for feature in await unarchived_features(uow):
            if ("feature", feature.code) not in self._in_document:
                yield await stage.prune_feature(feature, uow=staged, clock=clock)
        for product in await unarchived_products(uow):
            if ("product", product.code) not in self._in_document:
                yield await stage.prune_product(product, uow=staged, clock=clock)

    def _refuse(self) -> None:
        if not self._faults:
            return
        count = len(self._faults)
        refusal = CatalogMeterUnknown if self._lacks_only_meters else CatalogInvalid
        raise refusal(
            f"the catalog has {count} fault{'s' if count > 1 else ''}: see errors",
            errors=self._faults,
            remedy="Correct what is listed and send the whole document again: nothing was changed.",
        )


def _named_before_naming(placed: Sequence[Placed]) -> list[Placed]:
    """Base plans before add-ons, which name them."""

    def is_add_on(found: Placed) -> bool:
        return isinstance(found[1], PlanEntry) and found[1].written.kind == "add_on"

    return sorted(placed, key=is_add_on)


def _as_written(pointer: str) -> str:
    """A document names products by their codes, hence has no ids to point to."""
    return pointer.removesuffix("_id") if pointer.endswith("/product_id") else pointer
