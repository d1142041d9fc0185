"""Published versions at hand, in the memory of this process: they never change, so that each is read once."""

from __future__ import annotations

from collections import OrderedDict

from services.catalog.domain.plan_version import PlanVersion

VERSIONS_KEPT = 1_024


class PublishedVersions:
    """By tenant and id; of more than `count_max`, those go that nobody has asked for the longest.

    Whoever puts one in knows that it is committed.
    """

    def __init__(self, count_max: int = VERSIONS_KEPT) -> None:
        self._kept: OrderedDict[tuple[str, str], PlanVersion] = OrderedDict()
        self._count_max = count_max

    def find(self, tenant: str, id: str) -> PlanVersion | None:
        key = tenant, id
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, tenant: str, version: PlanVersion) -> None:
        self._kept[tenant, version.id] = version
        self._kept.move_to_end((tenant, version.id))
        while len(self._kept) > self._count_max:
            self._kept.popitem(last=False)
