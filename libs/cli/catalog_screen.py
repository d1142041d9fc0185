"""What an import changes, as lines: what comes, what goes, and what is otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.text import Text

_KINDS = {
    "meter": "meters",
    "product": "products",
    "feature": "features",
    "plan": "plans",
    "coupon": "coupons",
}
_SIGNS: Mapping[str, tuple[str, str]] = {
    "define": ("+", "green"),
    "create": ("+", "green"),
    "update": ("~", "yellow"),
    "publish": ("^", "cyan"),
    "reinstate": ("^", "cyan"),
    "withdraw": ("-", "red"),
    "archive": ("-", "red"),
}


def changes_anything(plan: Mapping[str, Any]) -> bool:
    return any(thing["action"] != "unchanged" for thing in plan["things"])


def lines_of(plan: Mapping[str, Any]) -> Iterator[Text]:
    """Everything that changes, kind by kind; then the count of all."""
    for kind, heading in _KINDS.items():
        changed = [t for t in plan["things"] if t["kind"] == kind and t["action"] != "unchanged"]
        if not changed:
            continue
        yield Text(heading, style="bold")
        for thing in changed:
            sign, style = _SIGNS.get(thing["action"], ("*", ""))
            yield Text.assemble("  ", (sign, style), " ", (thing["code"], "bold"), f"  {thing['words']}")
            for change in thing["changes"]:
                if change["words"] != thing["words"]:
                    yield Text(f"      {change['words']}")
    yield Text(plan["words"])
