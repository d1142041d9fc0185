"""What pins the events behind the totals of a window, as metering said it when it sealed them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class UsageDigest:
    """The root of the tree over all events of one total, in hex. docs/proofs.md tells how it is made."""

    item_id: str
    price_id: str | None
    meter: str
    quantity: Decimal
    event_count: int
    leaf_count: int | None
    root: str
    algorithm: str


@dataclass(frozen=True, slots=True)
class WindowDigest:
    """One seal of a window, as `revision` counts it. Of one revision, the highest `seal` is the newest."""

    window_id: str
    subscription_id: str
    period_index: int
    revision: int
    seal: int
    sealed_at: datetime
    digests: tuple[UsageDigest, ...]

    def of(self, item_id: str, price_id: str) -> UsageDigest | None:
        """What seals the usage of an item at a price: a total that names none is of the one that held all the time."""
        mine = [digest for digest in self.digests if digest.item_id == item_id]
        return next((digest for digest in mine if digest.price_id in (None, price_id)), None)


def sealing(
    seals: Iterable[WindowDigest], item_id: str, price_id: str, *, quantity: Decimal
) -> tuple[WindowDigest, UsageDigest] | None:
    """The newest seal that has this quantity: later ones are of what became of the usage afterwards."""
    found: Sequence[WindowDigest] = sorted(seals, key=lambda seal: seal.seal, reverse=True)
    for seal in found:
        digest = seal.of(item_id, price_id)
        if digest is not None and digest.quantity == quantity:
            return seal, digest
    return None
