"""A unit of work in which all that is done is seen at once, and nothing is written until all of it is right."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Generic, Protocol, TypeVar

from libs.common.clock import TestClock
from libs.common.contracts.envelope import Event
from services.catalog.application.ports import (
    Coupons,
    Features,
    KnownMeters,
    Plans,
    PlanVersions,
    Products,
    UnitOfWork,
)
from services.catalog.domain.coupon import Coupon
from services.catalog.domain.feature import Feature
from services.catalog.domain.known_meter import KnownMeter
from services.catalog.domain.plan import Plan
from services.catalog.domain.plan_version import PlanVersion, plan_version_id
from services.catalog.domain.product import Product


class Coded(Protocol):
    """What has an id, and a code that never changes."""

    @property
    def id(self) -> str: ...
    @property
    def code(self) -> str: ...


T = TypeVar("T", bound=Coded)

ID_PREFIX = "prd_"


class Stored(Protocol[T]):
    """What the repositories behind have in common."""

    async def get(self, id: str) -> T: ...
    async def get_for_update(self, id: str) -> T: ...
    async def load_for_update(self, ids: Iterable[str]) -> None: ...
    def add(self, aggregate: T) -> None: ...
    def save(self, aggregate: T) -> None: ...


class _Staged(Generic[T]):
    """Things of one kind as they have become here: each is read once from behind.

    With `lock` it is locked as well, so that what was decided of it can be written.
    """

    def __init__(
        self, behind: Stored[T], find: Callable[[Collection[str]], Awaitable[list[T]]], *, lock: bool
    ) -> None:
        self._behind, self._find, self._lock = behind, find, lock
        self._by_id: dict[str, T] = {}
        self._ids: dict[str, str | None] = {}  # by code; None: there is no such thing
        self._added: list[str] = []
        self._saved: list[str] = []

    async def get(self, id: str) -> T:
        if id not in self._by_id:
            read = self._behind.get_for_update if self._lock else self._behind.get
            self._put(await read(id))
        return self._by_id[id]

    async def get_for_update(self, id: str) -> T:
        return await self.get(id)

    async def load_for_update(self, ids: Iterable[str]) -> None:
        for id in ids:
            await self.get(id)

    async def find_by_codes(self, codes: Collection[str]) -> list[T]:
        """In the order of the codes, those that there are."""
        missing = set(codes) - self._ids.keys()
        if missing:
            self._ids |= dict.fromkeys(missing)
            await self._keep(await self._find(missing))
        return [self._by_id[id] for code in codes if (id := self._ids[code]) is not None]

    def add(self, aggregate: T) -> None:
        self._added.append(aggregate.id)
        self._put(aggregate)

    def save(self, aggregate: T) -> None:
        self._put(aggregate)
        if aggregate.id not in self._added and aggregate.id not in self._saved:
            self._saved.append(aggregate.id)

    def write(self) -> None:
        """Hand it on: what is new and what has changed, as it is in the end."""
        for id in self._added:
            self._behind.add(self._by_id[id])
        for id in self._saved:
            self._behind.save(self._by_id[id])

    def _put(self, thing: T) -> None:
        self._by_id[thing.id] = thing
        self._ids[thing.code] = thing.id

    async def _keep(self, found: Iterable[T]) -> None:
        """What was changed here stays as it has become."""
        new = {thing.id: thing for thing in found if thing.id not in self._by_id}
        if self._lock:
            await self._behind.load_for_update(new)
            new = {id: await self._behind.get_for_update(id) for id in new}
        for thing in new.values():
            self._put(thing)


class StagedProducts(_Staged[Product]):
    """What may be an id or a code is only asked for as an id if it looks like one."""

    def __init__(self, behind: Products, *, lock: bool) -> None:
        async def find(codes: Collection[str]) -> list[Product]:
            return await behind.find_named(ids=(), codes=codes)

        super().__init__(behind, find, lock=lock)
        self.list_page = behind.list_page
        self._find_any = behind.find_named

    async def find_named(self, *, ids: Collection[str], codes: Collection[str]) -> list[Product]:
        found = {product.id: product for product in await self.find_by_codes(codes)}
        missing = {id for id in ids if id not in self._by_id and id.startswith(ID_PREFIX)}
        if missing:
            await self._keep(await self._find_any(ids=missing, codes=()))
        return list((found | {id: self._by_id[id] for id in ids if id in self._by_id}).values())


class StagedFeatures(_Staged[Feature]):
    def __init__(self, behind: Features, *, lock: bool) -> None:
        super().__init__(behind, behind.find_named, lock=lock)
        self.list_page = behind.list_page
        self.find_named = self.find_by_codes


class StagedPlans(_Staged[Plan]):
    def __init__(self, behind: Plans, *, lock: bool) -> None:
        super().__init__(behind, behind.find_named, lock=lock)
        self.list_page = behind.list_page
        self.find_named = self.find_by_codes


class StagedCoupons(_Staged[Coupon]):
    def __init__(self, behind: Coupons, *, lock: bool) -> None:
        super().__init__(behind, behind.find_named, lock=lock)
        self.list_page = behind.list_page
        self.find_named = self.find_by_codes
        self.redeemed = behind.redeemed
        self.count_redemption = behind.count_redemption
        self.give_back_redemption = behind.give_back_redemption


class StagedPlanVersions:
    """Only ever added to, so that each is read once."""

    def __init__(self, behind: PlanVersions) -> None:
        self._behind = behind
        self._by_id: dict[str, PlanVersion] = {}
        self._added: list[PlanVersion] = []
        self.list_page = behind.list_page

    async def find(self, plan_id: str, number: int) -> PlanVersion | None:
        id = plan_version_id(plan_id, number)
        return (await self.find_by_ids([id])).get(id)

    async def find_by_ids(self, ids: Collection[str]) -> dict[str, PlanVersion]:
        missing = set(ids) - self._by_id.keys()
        if missing:
            self._by_id |= await self._behind.find_by_ids(missing)
        return {id: self._by_id[id] for id in ids if id in self._by_id}

    def add(self, version: PlanVersion) -> None:
        self._by_id[version.id] = version
        self._added.append(version)

    def write(self) -> None:
        for version in self._added:
            self._behind.add(version)


class StagedMeters:
    """Those that are known, and `defined`, which are taken for known."""

    def __init__(self, behind: KnownMeters, defined: Iterable[KnownMeter]) -> None:
        self._behind = behind
        self._by_code = {meter.code: meter for meter in defined}
        self.put = behind.put

    async def find_known(self, codes: Collection[str]) -> frozenset[str]:
        return frozenset(meter.code for meter in await self.find_named(codes))

    async def find_named(self, codes: Collection[str]) -> list[KnownMeter]:
        missing = set(codes) - self._by_code.keys()
        if missing:
            self._by_code |= {meter.code: meter for meter in await self._behind.find_named(missing)}
        return [self._by_code[code] for code in codes if code in self._by_code]


class StagedOutbox:
    def __init__(self) -> None:
        self.appended: list[tuple[Event, str, str | None]] = []

    def append(self, event: Event, *, key: str, traceparent: str | None = None) -> None:
        self.appended.append((event, key, traceparent))


class StagedCatalog:
    """The unit of work `uow` as use cases see it that are only tried; `write` hands on what they did."""

    def __init__(self, uow: UnitOfWork, *, lock: bool, meters: Iterable[KnownMeter] = ()) -> None:
        self._uow = uow
        self.tenant = uow.tenant
        self.products = StagedProducts(uow.products, lock=lock)
        self.features = StagedFeatures(uow.features, lock=lock)
        self.plans = StagedPlans(uow.plans, lock=lock)
        self.plan_versions = StagedPlanVersions(uow.plan_versions)
        self.coupons = StagedCoupons(uow.coupons, lock=lock)
        self.known_meters = StagedMeters(uow.known_meters, meters)
        self.outbox = StagedOutbox()
        self._recorded: list[tuple[str, str, int]] = []
        # What an import has nothing to do with.
        self.tenants, self.revoked_tokens = uow.tenants, uow.revoked_tokens
        self.plan_overlays, self.coupon_redemptions = uow.plan_overlays, uow.coupon_redemptions
        self.known_customers = uow.known_customers

    async def test_clock(self, clock_id: str | None) -> TestClock | None:
        return await self._uow.test_clock(clock_id)

    def record(self, action: str, aggregate_id: str, version: int = 1) -> None:
        self._recorded.append((action, aggregate_id, version))

    async def flush(self) -> None:
        """Nothing is written yet."""

    def write(self) -> None:
        """Hand on all that was done, each thing once and as it is in the end; events and records in their order."""
        for things in (self.products, self.features, self.plans, self.plan_versions, self.coupons):
            things.write()
        for recorded in self._recorded:
            self._uow.record(*recorded)
        for event, key, traceparent in self.outbox.appended:
            self._uow.outbox.append(event, key=key, traceparent=traceparent)
