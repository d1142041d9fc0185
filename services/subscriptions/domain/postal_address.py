"""A postal address: its parts as they are written, and the country that it lies in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PostalAddress:
    """Each part stands on a line of its own where an address is printed; none of them is looked up anywhere.

    `region` is a state, province or canton; `country` one of ISO 3166-1.
    """

    line1: str | None = None
    line2: str | None = None
    postal_code: str | None = None
    city: str | None = None
    region: str | None = None
    country: str | None = None
