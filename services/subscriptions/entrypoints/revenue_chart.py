"""Recurring revenue as a picture: MRR at the end of each month, and under it what moved it. SVG without scripts.

Colours tell apart on white and on black, and to eyes that see fewer of them. Positions are whole tenths of a pixel,
reckoned from exact amounts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from xml.sax.saxutils import escape

from libs.common.money import Money, exponent
from services.subscriptions.domain.recurring_revenue import KINDS, MovementKind, RevenueMonth, ShownMonth

WIDTH, HEIGHT = 960, 560
LEFT, RIGHT = 96, 936
TOP, MIDDLE = (92, 262), (314, 500)  # from y until y: MRR, and movements
MONTHS_Y = 528
LETTER = Fraction(13, 2)  # about as wide as a digit of 11 pixels is drawn, and a bit more
TICKS_MAX = 5

# Of Okabe and Ito, but for the grey.
COLOURS: dict[MovementKind, str] = {
    "new": "#0072b2",
    "reactivation": "#56b4e9",
    "expansion": "#009e73",
    "indexation": "#cc79a7",
    "contraction": "#e69f00",
    "churn": "#d55e00",
}
_STYLE = """
    .back { fill: #ffffff } .ink { fill: #1c1c1c } .pale { fill: #555555 } .mrr { fill: #7a8794 }
    .rule { stroke: #d5d5d5 } .zero { stroke: #555555 }
    text { font-family: system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif; font-size: 11px }
    .value { stroke: #ffffff; stroke-width: 3px; paint-order: stroke }
    .title { font-size: 16px; font-weight: 600 } .panel { font-size: 12px; font-weight: 600 }
    @media (prefers-color-scheme: dark) {
        .back { fill: #16181b } .ink { fill: #eeeeee } .pale { fill: #b5b5b5 } .mrr { fill: #93a1b0 }
        .rule { stroke: #3a3d42 } .zero { stroke: #b5b5b5 }
        .value { stroke: #16181b }
    }"""


@dataclass(frozen=True, slots=True)
class _Scale:
    """Amounts in minor units → y; `lowest` is zero or less, `highest` zero or more."""

    lowest: int
    highest: int
    step: int
    top: int
    bottom: int

    def y(self, amount_minor: int) -> Fraction:
        span = max(self.highest - self.lowest, 1)
        return self.bottom - Fraction(amount_minor - self.lowest, span) * (self.bottom - self.top)

    @property
    def ticks(self) -> list[int]:
        return list(range(self.lowest, self.highest + 1, self.step))


def revenue_chart(months: Sequence[RevenueMonth]) -> str:
    """A picture of the months of one currency; one that says so where there are none."""
    shown = [month.shown() for month in months]
    title, told = _words(months, shown)
    body = "\n".join(_drawn(months, shown, title))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" role="img" aria-labelledby="title told">\n'
        f'<title id="title">{escape(title)}</title>\n<desc id="told">{escape(told)}</desc>\n'
        f"<style>{_STYLE}\n</style>\n{body}\n</svg>\n"
    )


def _words(months: Sequence[RevenueMonth], shown: Sequence[ShownMonth]) -> tuple[str, str]:
    if not months:
        return "Monthly recurring revenue", "There was no recurring revenue in this time."
    currency = months[0].currency
    span = f"{_month(months[0])} to {_month(months[-1])}" if len(months) > 1 else _month(months[0])
    told = (
        f"MRR opened at {_money(shown[0].opening, currency)} {currency} "
        f"and closed at {_money(shown[-1].closing, currency)} {currency}. "
    )
    sums = {kind: sum(one.by_kind[kind] for one in shown) for kind in KINDS}
    moved = [f"{kind} {_money(amount, currency)}" for kind, amount in sums.items() if amount]
    told += f"Between: {', '.join(moved)}." if moved else "Nothing moved it."
    return f"Monthly recurring revenue in {currency}, {span}", told


def _drawn(months: Sequence[RevenueMonth], shown: Sequence[ShownMonth], title: str) -> Iterator[str]:
    yield f'<rect class="back" width="{WIDTH}" height="{HEIGHT}"/>'
    yield _text(title, 24, 32, "ink title", anchor="start")
    if not months:
        yield _text("There was no recurring revenue in this time.", WIDTH // 2, HEIGHT // 2, "pale")
        return
    currency = months[0].currency
    yield _text("MRR at the end of the month", 24, 72, "ink panel", anchor="start")
    yield from _legend()
    highest = max(one.closing for one in shown)
    above = max(sum(amount for amount in one.by_kind.values() if amount > 0) for one in shown)
    below = min(sum(amount for amount in one.by_kind.values() if amount < 0) for one in shown)
    upper = _scale(0, highest, TOP, currency)
    lower = _scale(below, above, MIDDLE, currency)
    for scale in (upper, lower):
        yield from _grid(scale, currency)
    slot = Fraction(RIGHT - LEFT, len(months))
    every = _every([_month(month) for month in months], slot)
    for place, (month, one) in enumerate(zip(months, shown, strict=True)):
        middle = LEFT + slot * place + slot / 2
        left, width = middle - slot * Fraction(3, 10), slot * Fraction(3, 5)
        said = _said(month, "MRR", one.closing)
        yield _bar(left, upper.y(one.closing), width, upper.y(0), said, css="mrr")
        yield from _stack(month, one, lower, left, width)
        if place % every == (len(months) - 1) % every:
            yield _text(_month(month), middle, MONTHS_Y, "pale")
    yield _line(lower.y(0), "zero")
    yield from _values(shown, upper, slot, currency)


def _values(shown: Sequence[ShownMonth], scale: _Scale, slot: Fraction, currency: str) -> Iterator[str]:
    """As many as have room, each over the highest bar that it reaches across."""
    labels = [_money(one.closing, currency, short=True) for one in shown]
    every = _every(labels, slot)
    for place in range((len(shown) - 1) % every, len(shown), every):
        reach = int(LETTER * len(labels[place]) / 2 / slot + Fraction(1, 2))
        highest = max(one.closing for one in shown[max(0, place - reach) : place + reach + 1])
        middle = LEFT + slot * place + slot / 2
        yield _text(labels[place], middle, scale.y(highest) - 5, "ink value")


def _stack(
    month: RevenueMonth, shown: ShownMonth, scale: _Scale, left: Fraction, width: Fraction
) -> Iterator[str]:
    up = down = 0
    for kind in KINDS:
        amount = shown.by_kind[kind]
        base = up if amount > 0 else down
        if amount > 0:
            up += amount
        else:
            down += amount
        if amount:
            high, low = max(base, base + amount), min(base, base + amount)
            said = _said(month, kind, amount)
            yield _bar(left, scale.y(high), width, scale.y(low), said, fill=COLOURS[kind])


def _legend() -> Iterator[str]:
    """One above the movements, in the order in which they are stacked."""
    y, x = MIDDLE[0] - 20, Fraction(24)
    yield _text("What moved it", x, y, "ink panel", anchor="start")
    x += 120
    for kind in KINDS:
        yield f'<rect x="{_at(x)}" y="{_at(Fraction(y - 9))}" width="10" height="10" fill="{COLOURS[kind]}"/>'
        yield _text(kind, x + 15, y, "ink", anchor="start")
        x += 15 + LETTER * len(kind) + 18


def _scale(lowest: int, highest: int, between: tuple[int, int], currency: str) -> _Scale:
    """Steps of 1, 2 or 5 of some power of ten, as few as fit, and whole major units where amounts are that large."""
    span = max(highest - lowest, 1)
    step = 10 ** exponent(currency) if span >= 10 ** exponent(currency) else 1
    while True:
        for factor in (1, 2, 5):
            wide = step * factor
            first, last = lowest // wide, -(-highest // wide)
            if last - first <= TICKS_MAX:
                return _Scale(first * wide, max(last, first + 1) * wide, wide, *between)
        step *= 10


def _grid(scale: _Scale, currency: str) -> Iterator[str]:
    for tick in scale.ticks:
        yield _line(scale.y(tick), "rule")
        yield _text(_money(tick, currency, short=True), LEFT - 8, scale.y(tick) + 4, "pale", anchor="end")


def _every(labels: Sequence[str], slot: Fraction) -> int:
    """Of so many labels one is drawn, so that none touches the next."""
    needed = max(len(label) for label in labels) * LETTER + 8
    return max(1, -(-needed // slot))


def _bar(
    x: Fraction, top: Fraction, width: Fraction, bottom: Fraction, said: str, *, css: str = "", fill: str = ""
) -> str:
    look = f'class="{css}"' if css else f'fill="{fill}"'
    return (
        f'<rect x="{_at(x)}" y="{_at(top)}" width="{_at(width)}" height="{_at(bottom - top)}" {look}>'
        f"<title>{escape(said)}</title></rect>"
    )


def _line(y: Fraction, css: str) -> str:
    return f'<line class="{css}" x1="{LEFT}" x2="{RIGHT}" y1="{_at(y)}" y2="{_at(y)}"/>'


def _text(said: str, x: int | Fraction, y: int | Fraction, css: str, *, anchor: str = "middle") -> str:
    place = f'x="{_at(Fraction(x))}" y="{_at(Fraction(y))}"'
    return f'<text class="{css}" text-anchor="{anchor}" {place}>{escape(said)}</text>'


def _at(position: Fraction) -> str:
    return format(Decimal(round(position * 10)).scaleb(-1), "f").removesuffix(".0")


def _month(month: RevenueMonth) -> str:
    return month.starts_on.isoformat()[:7]


def _said(month: RevenueMonth, what: str, amount_minor: int) -> str:
    return f"{_month(month)}: {what} {_money(amount_minor, month.currency)} {month.currency}"


def _money(amount_minor: int, currency: str, *, short: bool = False) -> str:
    """With all decimals, or (`short`) without those where they are none, or nothing beside hundreds."""
    amount = Money(amount_minor, currency).to_decimal()
    if short and (amount == amount.to_integral_value() or abs(amount) >= 100):
        return f"{amount:,.0f}"
    return f"{amount:,f}"
