"""What one billing period comes to: what is agreed on held against what has been charged, and the difference charged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from libs.common.money import Money, total
from services.billing.domain.agreed_levels import (
    Frame,
    Part,
    agreed_levels,
    frame_of,
    hull,
    limited,
    parts_of,
)
from services.billing.domain.agreement import Agreement, Bounds
from services.billing.domain.charge import (
    WHOLE,
    Charge,
    CountedBy,
    capped_at,
    charge_id,
    with_amount,
)
from services.billing.domain.levels import Levels, Stretch, differences
from services.billing.domain.rating.price import Price
from services.billing.domain.rating.rate import rate
from services.billing.domain.terms import PeriodTerms, TermSegment

Timing = Literal["advance", "arrears"]

NOTHING = Decimal(0)


def period_charges(
    agreement: Agreement,
    terms: PeriodTerms,
    recorded: Sequence[Charge],
    *,
    until: datetime,
    now: datetime,
    timings: Sequence[Timing] = ("advance", "arrears"),
) -> list[Charge]:
    """The charges and credits that bring what has been charged for a period to what is agreed on.

    `recorded` are the agreement's charges of this period, and those for prices that are charged once, of any period. A
    repeat finds nothing to add. What is charged in advance is charged for all of the period, once it has begun; in
    arrears, for what of it lies before `until`, and for all of it when it is over. What is charged once is charged in
    the period in which it begins, and given back where that was never agreed on after all.
    Of an item and price, in one period and kind, no more is given back than was charged.
    Rounding: each line once, half away from zero.
    Source: "Changes inside a period", services/billing/README.md.
    """
    if terms.period.start > until or _was_billed_elsewhere(agreement, terms, recorded):
        return []
    is_over = terms.is_over or terms.period.end <= until
    charges = list(_once(agreement, terms, recorded, now=now))
    settled = _Settled(agreement, terms, recorded, now)
    billed = [s for s in terms.segments if s.price.kind == "recurring" and s.price.timing in timings]
    is_ripe = is_over or all(segment.price.timing == "advance" for segment in billed)
    if not recorded and is_ripe and _is_plain(agreement, terms):
        return charges + [settled.whole(segment) for segment in billed]
    parts = parts_of(terms, agreement)
    items = dict.fromkeys([*parts, *(charge.item_id for charge in recorded if charge.kind in timings)])
    for item_id in items:
        for timing in timings:
            limit = until if timing == "arrears" and not is_over else None
            charges += settled.item(item_id, parts.get(item_id, []), timing, until=limit)
    return charges


def _is_plain(agreement: Agreement, terms: PeriodTerms) -> bool:
    """Whether each item is agreed on once, from end to end of a whole period: most are, and need no more thought."""
    period = terms.period
    return (
        agreement.billed_until is None
        and period.full is None
        and period.start < period.end
        and len({segment.item_id for segment in terms.segments}) == len(terms.segments)
        and all(
            segment.start == period.start and segment.end == period.end and segment.whole is None
            for segment in terms.segments
        )
    )


def _was_billed_elsewhere(agreement: Agreement, terms: PeriodTerms, recorded: Sequence[Charge]) -> bool:
    """A period that was charged here, and cut since, is not."""
    if any(charge.period_index == terms.period.index for charge in recorded):
        return False
    return agreement.billed_until is not None and terms.period.end <= agreement.billed_until


def _once(
    agreement: Agreement, terms: PeriodTerms, recorded: Sequence[Charge], *, now: datetime
) -> Iterator[Charge]:
    """What is charged once, when it is first agreed on. Time gives nothing of it back, but to take it back does."""
    once = [charge for charge in recorded if charge.kind == "once"]
    once.sort(key=lambda charge: (charge.period_index, charge.revision))
    standing = {(charge.item_id, charge.price.id): charge for charge in once}
    standing = {key: charge for key, charge in standing.items() if not charge.is_end}
    agreed = {(s.item_id, s.price.id): s for s in terms.segments if s.price.kind == "one_time"}
    index = terms.period.index
    for key, segment in agreed.items():
        if key in standing or (agreement.billed_until is not None and segment.start < agreement.billed_until):
            continue
        revision = sum((c.item_id, c.price.id, c.period_index) == (*key, index) for c in once)
        yield with_amount(
            Charge(
                id=charge_id(*key, index, "once", revision),
                subscription_id=agreement.id,
                item_id=segment.item_id,
                price=segment.price,
                period_index=index,
                kind="once",
                revision=revision,
                quantity=_quantity(segment),
                fraction=WHOLE,
                service_start=segment.start,
                service_end=segment.end,
                service_start_on=segment.start_on,
                service_end_on=segment.end_on,
                amount=Money.zero(segment.price.currency),
                created_at=now,
            )
        )
    for key, charge in standing.items():
        if charge.period_index != index or key in agreed:
            continue
        revision = charge.revision + 1
        back = replace(
            charge,
            id=charge_id(*key, index, "once", revision),
            revision=revision,
            quantity=NOTHING,
            quantity_before=charge.quantity,
            is_end=True,
            created_at=now,
            invoice_id=None,
        )
        yield with_amount(back)


def _quantity(segment: TermSegment) -> Decimal:
    return Decimal(1) if segment.quantity is None else segment.quantity


@dataclass(frozen=True, slots=True)
class _Settled:
    """What is known while one period is settled."""

    agreement: Agreement
    terms: PeriodTerms
    recorded: Sequence[Charge]
    now: datetime

    def whole(self, segment: TermSegment) -> Charge:
        """The first charge for what is agreed on from end to end."""
        price, quantity, index = segment.price, _quantity(segment), self.terms.period.index
        kind: Timing = price.timing
        return Charge(
            id=charge_id(segment.item_id, price.id, index, kind),
            subscription_id=self.agreement.id,
            item_id=segment.item_id,
            price=price,
            period_index=index,
            kind=kind,
            revision=0,
            quantity=quantity,
            fraction=WHOLE,
            service_start=segment.start,
            service_end=segment.end,
            service_start_on=segment.start_on,
            service_end_on=segment.end_on,
            amount=total((line.amount for line in rate(price, quantity)), price.currency),
            created_at=self.now,
            counted_by="day",
        )

    def item(
        self, item_id: str, parts: Sequence[Part], timing: Timing, *, until: datetime | None
    ) -> list[Charge]:
        """The charges for one item, price by price, in the order in which they came to be agreed on."""
        mine = [charge for charge in self.recorded if charge.item_id == item_id and charge.kind == timing]
        prices = {s.price.id: s.price for part in parts for s in part.segments if s.price.timing == timing}
        prices |= {charge.price.id: charge.price for charge in mine if charge.price.id not in prices}
        if not prices:
            return []
        by_price = {id: [charge for charge in mine if charge.price.id == id] for id in prices}
        agreed = [
            (
                part,
                agreed_levels(
                    part,
                    charged={id: charged_levels(part.frame, of_price) for id, of_price in by_price.items()},
                ),
            )
            for part in parts
        ]
        found: list[Charge] = []
        for price in prices.values():
            of_price = by_price[price.id]
            drafts = [
                draft
                for frame, part, levels in self._frames(agreed, of_price, price)
                for draft in self._differences(frame, part, levels, of_price, price, until, item_id, timing)
            ]
            found += _numbered(drafts, of_price)
        return found

    def _frames(
        self, agreed: Sequence[tuple[Part, dict[str, Levels]]], of_price: Sequence[Charge], price: Price
    ) -> Iterator[tuple[Frame, Part | None, Levels]]:
        """Where something is agreed on, and where something was charged that is agreed on no more."""
        seen: list[Frame] = []
        for part, levels in agreed:
            seen.append(part.frame)
            nothing = Levels.of_nothing(part.frame.start, part.frame.end)
            yield part.frame, part, levels.get(price.id, nothing)
        for charge in of_price:
            if not any(_is_of(charge, frame) for frame in seen):
                bounds = charge.whole or self.terms.period.whole
                seen.append(frame_of(bounds, self.terms, self.agreement))
                yield seen[-1], None, Levels.of_nothing(seen[-1].start, seen[-1].end)

    def _differences(
        self,
        frame: Frame,
        part: Part | None,
        agreed: Levels,
        of_price: Sequence[Charge],
        price: Price,
        until: datetime | None,
        item_id: str,
        timing: Timing,
    ) -> Iterator[Charge]:
        owed = limited(agreed, frame, price, since=self.agreement.billed_until, until=until)
        charged = charged_levels(frame, of_price)
        for stretch in differences(charged, owed):
            fraction = _counted_then(stretch, of_price) or frame.fraction(stretch.start, stretch.end)
            if fraction:
                yield self._charge(frame, part, stretch, fraction, price, item_id, timing)

    def _charge(
        self,
        frame: Frame,
        part: Part | None,
        stretch: Stretch,
        fraction: Fraction,
        price: Price,
        item_id: str,
        timing: Timing,
    ) -> Charge:
        start, end = stretch.start, stretch.end
        counted_by: CountedBy = "day"
        service = Bounds(start.on, end.on, start.told, max(start.told, end.told))
        if not (start.is_date and end.is_date):
            counted_by, service = "second", Bounds(start.on, end.on, start.at, end.at)
        if (
            part is not None
            and stretch.before is None
            and (start.at, end.at) == (frame.start.at, frame.end.at)
        ):
            first, last = hull(part, price.id)
            used = Bounds(first.start_on, last.end_on, first.start, last.end)
            if used != frame.bounds:
                service, counted_by = used, "whole"
        return with_amount(
            Charge(
                id="",
                subscription_id=self.agreement.id,
                item_id=item_id,
                price=price,
                period_index=self.terms.period.index,
                kind=timing,
                revision=0,
                quantity=NOTHING if stretch.after is None else stretch.after,
                fraction=WHOLE if fraction == 1 else fraction,
                service_start=service.start,
                service_end=service.end,
                service_start_on=service.start_on,
                service_end_on=service.end_on,
                amount=Money.zero(price.currency),
                created_at=self.now,
                quantity_before=stretch.before,
                is_end=stretch.after is None,
                counted_by=counted_by,
                whole=None if frame.bounds == self.terms.period.whole else frame.bounds,
            )
        )


def _is_of(charge: Charge, frame: Frame) -> bool:
    return frame.holds(charge.service_start_on if charge.whole is None else charge.whole.start_on)


def _counted_then(stretch: Stretch, of_price: Sequence[Charge]) -> Fraction | None:
    """Which part of the period was charged for the same dates before: in another zone they may be another part."""
    if stretch.before is None or not (stretch.start.is_date and stretch.end.is_date):
        return None
    dates = stretch.start.on, stretch.end.on
    for charge in sorted(of_price, key=lambda charge: -charge.revision):
        if charge.counted_by == "day" and (charge.service_start_on, charge.service_end_on) == dates:
            return charge.fraction
    return None


def charged_levels(frame: Frame, of_price: Sequence[Charge]) -> Levels:
    """What has been charged so far: each revision stands for its stretch of time, whatever was before it."""
    levels = Levels.of_nothing(frame.start, frame.end)
    for charge in sorted(of_price, key=lambda charge: charge.revision):
        if not _is_of(charge, frame):
            continue
        level = None if charge.is_end else charge.quantity
        counted_by = charge.counted_by or _counted_before(charge)
        if counted_by == "whole":
            levels.put(frame.start, level)
        elif counted_by == "day":
            levels.put(
                frame.on(charge.service_start_on, charge.service_start),
                level,
                frame.on(charge.service_end_on, charge.service_end),
            )
        else:
            levels.put(
                frame.at(charge.service_start, charge.service_start_on),
                level,
                frame.at(charge.service_end, charge.service_end_on),
            )
    return levels


def _counted_before(charge: Charge) -> CountedBy:
    """Of a charge that was recorded before it said so."""
    if charge.price.proration == "second":
        return "second"
    return "whole" if charge.price.proration == "full" else "day"


def _numbered(drafts: Sequence[Charge], recorded: Sequence[Charge]) -> Iterator[Charge]:
    """With their revisions, what is charged before what is given back; no credit exceeds what is left of the charges."""
    net = total((charge.amount for charge in recorded), drafts[0].price.currency) if drafts else None
    revision = len(recorded)
    for draft in sorted(drafts, key=lambda draft: draft.amount.amount_minor < 0):
        assert net is not None
        charge = draft
        is_change = draft.quantity_before is not None
        if is_change and charge.amount.amount_minor < min(-net.amount_minor, 0):
            charge = capped_at(charge, Money(max(net.amount_minor, 0), net.currency))
        if is_change and not charge.amount.amount_minor:
            continue
        net += charge.amount
        id = charge_id(charge.item_id, charge.price.id, charge.period_index, charge.kind, revision)
        yield replace(charge, id=id, revision=revision)
        revision += 1
