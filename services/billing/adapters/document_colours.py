"""The seller's colour, and what of it can be read on white."""

from __future__ import annotations

import re

USUAL_COLOUR = "#1f3a5f"
_COLOUR = re.compile(r"#[0-9a-f]{6}")
_CONTRAST_MIN = 4.5  # Source: WCAG 2.2, 1.4.3
_STEPS = 20


def colour_of(said: str | None) -> str:
    return said if said is not None and _COLOUR.fullmatch(said) else USUAL_COLOUR


def readable(colour: str) -> str:
    """The colour, as much darker as text in it must be."""
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    for step in range(_STEPS, -1, -1):
        parts = [part * step // _STEPS for part in (red, green, blue)]
        if 1.05 / (_luminance(parts) + 0.05) >= _CONTRAST_MIN:
            return "#" + "".join(f"{part:02x}" for part in parts)
    return "#000000"


def _luminance(parts: list[int]) -> float:
    linear = [_linear(part / 255) for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else float(((part + 0.055) / 1.055) ** 2.4)
