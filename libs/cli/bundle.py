"""Proof bundles: what an invoice was made from, as one JSON document that needs nobody to be checked.

docs/proofs.md tells what is in it, and docs/verify_bundle.py checks it, with no code of ours.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from libs.cli.deployment import Deployment, Refused
from libs.common.merkle import leaf_hash, root_of

FORMAT = "perennial-proof-1"
LISTS = ("lines", "charges", "earlier_charges", "manual_lines", "ledger", "usage")
OF_EVENTS = ("leaves", "leaf_hashes")  # pinned by the root of their total
# What of an event is in its leaf, if it has it.
LEAF_FIELDS = (
    "contribution",
    "group",
    "id",
    "key",
    "level",
    "member",
    "operation",
    "seconds",
    "source",
    "subject",
    "time",
    "type",
    "value",
)
PAGE_LENGTH = 200

Thing = dict[str, Any]


def compose(
    deployment: Deployment,
    invoice_id: str,
    *,
    with_events: bool,
    made_at: str,
    say: Callable[[str], None] = lambda told: None,
) -> Thing:
    """The bundle of an issued invoice. Raises: Refused, Unreachable."""
    parts = deployment.get(f"/v1/invoices/{invoice_id}/proof")
    usage = []
    for seal in _by_total(parts.pop("seals")):
        say(f"the events behind {seal['item_id']} in {seal['window_id']}")
        usage.append(_total(deployment, seal, with_events=with_events))
    about = {"tenant": parts.pop("tenant"), "made_at": made_at, "with_events": with_events}
    return with_hashes({"bundle": FORMAT, "about": about, **parts, "usage": usage})


def with_hashes(bundle: Thing) -> Thing:
    """The bundle with a hash of each of its parts, and the root over them."""
    hashes = {pointer: leaf_hash(canonical([pointer, part])) for pointer, part in parts_of(bundle)}
    root = root_of(hashes[pointer] for pointer in sorted(hashes))
    return {
        **bundle,
        "hashes": {pointer: found.hex() for pointer, found in hashes.items()},
        "root": root.hex(),
    }


def parts_of(bundle: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What is hashed, by its JSON pointer: each field of each part."""
    for name, part in bundle.items():
        if name in LISTS:
            for place, item in enumerate(part):
                for field, value in item.items():
                    if name != "usage" or field not in OF_EVENTS:
                        yield f"/{name}/{place}/{field}", value
        elif isinstance(part, dict):
            for field, value in part.items():
                yield f"/{name}/{field}", value
        else:
            yield f"/{name}", part


def canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def leaf_of(event: Mapping[str, Any]) -> Thing:
    """What stands for an event in the tree of its total."""
    leaf = {name: event[name] for name in LEAF_FIELDS if event[name] not in (None, {})}
    if event["days"] is not None:
        leaf["days"] = str(event["days"])
    return leaf


def _by_total(seals: Sequence[Thing]) -> list[Thing]:
    """One for each total that is sealed, with the charges that were made of it."""
    found: dict[tuple[Any, ...], Thing] = {}
    for seal in seals:
        key = tuple(seal[name] for name in ("window_id", "revision", "seal", "item_id", "price_id"))
        plain = {name: value for name, value in seal.items() if name != "charge_id"}
        found.setdefault(key, {**plain, "charges": []})["charges"].append(seal["charge_id"])
    return list(found.values())


def _total(deployment: Deployment, seal: Thing, *, with_events: bool) -> Thing:
    window = f"/v1/usage-windows/{seal['window_id']}"
    sealed = deployment.get(f"{window}/digests", revision=seal["revision"])
    digest: Thing = next(
        (
            one
            for one in sealed["digests"]
            if (one["item_id"], one["price_id"]) == (seal["item_id"], seal["price_id"])
        ),
        {},
    )
    about = {name: sealed[name] for name in sealed if name not in ("digests", "is_current")}
    total = {**about, **digest, **seal, "leaf_hashes": None, "leaves": None}
    if not sealed["is_current"] or digest.get("root") != seal["root"]:
        return {**total, "not_shown": "the usage was corrected after it was billed"}
    try:
        leaves = list(_leaves(deployment, window, seal))
    except Refused as error:
        if error.problem.get("code") not in ("raw_events_gone", "too_many_steps"):
            raise
        return {**total, "not_shown": str(error.problem.get("title"))}
    hashes = [leaf_hash(canonical(leaf)) for leaf in leaves]
    if root_of(hashes).hex() != seal["root"]:
        return {**total, "not_shown": "the events are others by now, and will be sealed again"}
    total["leaf_hashes"] = [found.hex() for found in hashes]
    if with_events:
        total["leaves"] = leaves
    return total


def _leaves(deployment: Deployment, window: str, seal: Thing) -> Iterator[Thing]:
    cursor: str | None = None
    while True:
        page = deployment.get(
            f"{window}/events",
            item_id=seal["item_id"],
            price_id=seal["price_id"],
            limit=PAGE_LENGTH,
            cursor=cursor,
        )
        for event in page["data"]:
            yield leaf_of(event)
        cursor = page["next_cursor"]
        if cursor is None:
            return
