"""A whole catalog as one document: everything is named by its code, and nothing by an id."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from libs.common.errors import Conflict, InvalidInput
from services.catalog.application.create_coupon import CreateCoupon
from services.catalog.application.create_feature import CreateFeature
from services.catalog.application.create_product import CreateProduct
from services.catalog.application.written_plan import WrittenPlan
from services.catalog.domain.known_meter import KnownMeter
from services.catalog.domain.sale import ALWAYS, Validity

FORMAT = 1
THINGS_MAX = 5_000  # of all kinds together, in a document and in a catalog that is told as one


class CatalogInvalid(InvalidInput):
    """The document cannot become the catalog. All that is wrong is listed, each with its place and what to do."""

    code = "catalog_invalid"
    title = "The catalog is invalid"


class CatalogMeterUnknown(CatalogInvalid):
    """All that is wrong is that the catalog has not heard of some meters (yet)."""

    code = "catalog_meter_unknown"
    title = "The catalog names meters that there are not"


class CatalogTooLarge(Conflict):
    """There are more things than one document may hold."""

    code = "catalog_too_large"
    title = "The catalog is too large for one document"


class CatalogChangedMeanwhile(Conflict):
    """Somebody else changed the same things at the same time."""

    code = "catalog_changed_meanwhile"
    title = "The catalog was changed meanwhile"


@dataclass(frozen=True, slots=True)
class PlanEntry:
    """A plan, to be on sale within its bounds; or a draft, unless `publish`."""

    code: str
    written: WrittenPlan
    publish: bool = True
    validity: Validity = ALWAYS


ThingKind = Literal["meter", "product", "feature", "plan", "coupon"]
Name = tuple[ThingKind, str]  # of a thing, within a document
Entry = KnownMeter | CreateProduct | CreateFeature | PlanEntry | CreateCoupon
Placed = tuple[str, Entry]  # with the pointer that leads to it


@dataclass(frozen=True, slots=True)
class CatalogDocument:
    """In the order in which it was written. What could not be read is None there, so that the rest keeps its place.

    Of meters it holds what the catalog knows of them; metering defines them.
    """

    meters: tuple[KnownMeter | None, ...] = ()
    products: tuple[CreateProduct | None, ...] = ()
    features: tuple[CreateFeature | None, ...] = ()
    plans: tuple[PlanEntry | None, ...] = ()
    coupons: tuple[CreateCoupon | None, ...] = ()

    @property
    def thing_count(self) -> int:
        return sum(len(getattr(self, name)) for name in self.__slots__)

    def sections(self) -> dict[ThingKind, list[Placed]]:
        """What could be read, kind by kind: what is named comes before what names it."""
        return {
            "meter": _placed("/meters", self.meters),
            "product": _placed("/products", self.products),
            "feature": _placed("/features", self.features),
            "plan": _placed("/plans", self.plans),
            "coupon": _placed("/coupons", self.coupons),
        }


def names_in(entry: Entry) -> Iterator[tuple[str, Name]]:
    """Everything that the entry names, with its place in the entry."""
    match entry:
        case CreateFeature(meter=str(meter)):
            yield "/meter", ("meter", meter)
        case PlanEntry(written=plan):
            for position, price in enumerate(plan.prices):
                yield f"/prices/{position}/product", ("product", price.product_code or "")
                if price.terms.meter is not None:
                    yield f"/prices/{position}/meter", ("meter", price.terms.meter)
            for position, grant in enumerate(plan.features):
                yield f"/features/{position}/feature", ("feature", grant.feature)
            for position, code in enumerate(plan.for_plans):
                yield f"/for_plans/{position}", ("plan", code)
        case CreateCoupon():
            for position, code in enumerate(entry.products):
                yield f"/products/{position}", ("product", code)
            for position, code in enumerate(entry.terms.plan_codes):
                yield f"/plans/{position}", ("plan", code)


def _placed(at: str, entries: Sequence[Entry | None]) -> list[Placed]:
    return [(f"{at}/{position}", entry) for position, entry in enumerate(entries) if entry is not None]
