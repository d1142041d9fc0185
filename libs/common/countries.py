"""Countries of ISO 3166-1, as the pinned tzdata lists them."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files


@lru_cache(maxsize=1)
def known_countries() -> frozenset[str]:
    """The two-letter codes, whatever the machine has of its own."""
    listed = files("tzdata.zoneinfo").joinpath("iso3166.tab").read_text(encoding="utf-8")
    return frozenset(line.split("\t")[0] for line in listed.splitlines() if line and line[0] != "#")
