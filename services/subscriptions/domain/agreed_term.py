"""For how long a subscription was agreed on at least, and what happens when that time is over."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Literal

from libs.common.errors import RuleViolation
from libs.common.periods import DAY, Interval, boundary, index_on

OnTermEnd = Literal["renew", "month_to_month", "step_down", "end"]
EarlyTerminationKind = Literal["none", "fixed", "percentage", "months", "rerate", "forbidden"]

YEAR_MAX = 2200  # before which all dates lie


class TermTooLong(RuleViolation):
    code = "term_too_long"
    title = "A term that ends too far ahead"


@dataclass(frozen=True, slots=True)
class EarlyTermination:
    """What it costs to end before the term does: nothing, `amount`, `percent` of the fees that remain, the fees of
    `months`, the difference to the price of the term that was held (`rates`: months held at least, percent more), or
    it is not possible.
    """

    kind: EarlyTerminationKind = "forbidden"
    amount: Decimal | None = None
    percent: Decimal | None = None
    months: int | None = None
    rates: tuple[tuple[int, Decimal], ...] = ()


@dataclass(frozen=True, slots=True)
class AgreedTerm:
    """A minimum term of `length`, from `starts_on` until `ends_on` (local dates; the end is the first day after it).

    `notice` is what must lie between a cancellation and the end; it holds on when `is_over`: nothing else does then.
    `step_down_plan_version_id` is what the subscription goes on at where `on_end` is `step_down`. `renewals` counts how
    often the term was renewed; renewed ends are counted from `anchor_on` (None: from `starts_on`).
    `following` is the term that was agreed on to come after it, with the plan version that this begins with, if another.
    `accepted_quote_id` is the quote that an end before the term's was agreed at, `waiver` why the seller let one pass.
    """

    length: Interval
    starts_on: date
    ends_on: date
    notice: Interval | None = None
    on_end: OnTermEnd = "month_to_month"
    step_down_plan_version_id: str | None = None
    early_termination: EarlyTermination = EarlyTermination()
    reminder_days: tuple[int, ...] = ()
    renewals: int = 0
    anchor_on: date | None = None
    is_over: bool = False
    following: AgreedTerm | None = None
    following_plan_version_id: str | None = None
    accepted_quote_id: str | None = None
    waiver: str | None = None

    @property
    def plan_version_at_end(self) -> str | None:
        """The plan version that the subscription is moved to when the term is over, if it is."""
        if self.following is not None:
            return self.following_plan_version_id
        return self.step_down_plan_version_id if self.on_end == "step_down" else None

    @property
    def told_at_end(self) -> OnTermEnd:
        """What a reminder says of its end: a term that was agreed on to follow is a renewal."""
        return self.on_end if self.following is None else "renew"

    @property
    def last(self) -> AgreedTerm:
        """The last term that was agreed on by name: the following one, counted from the end of this, or this."""
        return self if self.following is None else self.following.begun(self.ends_on)

    @property
    def is_binding(self) -> bool:
        """Whether an end before the term's own is anything but free."""
        return not self.is_over and self.early_termination.kind != "none"

    def begun(self, on: date) -> AgreedTerm:
        """The term, counted from `on`.

        Raises: TermTooLong.
        """
        ends_on = boundary(on, self.length, 1)
        if ends_on.year >= YEAR_MAX:
            raise TermTooLong(
                f"it would end in {ends_on.year}: a term ends before {YEAR_MAX}",
                pointer="/term/length",
                ends_on=ends_on,
            )
        return replace(self, starts_on=on, ends_on=ends_on, anchor_on=None)

    def extended(self, days: int) -> AgreedTerm:
        return replace(self, ends_on=self.ends_on + days * DAY)

    def notice_ends_on(self, received_on: date) -> date:
        """The first day on which a cancellation received on that date may take effect, as far as notice goes."""
        return boundary(received_on, self.notice, 1) if self.notice is not None else received_on

    def end_from(self, on: date) -> date:
        """The first end of the term, renewed as often as need be, that is not before `on`."""
        if on <= self.ends_on:
            return self.ends_on
        anchor_on = self._renewals_anchor
        step = index_on(anchor_on, self.length, on)
        end_on = boundary(anchor_on, self.length, step)
        return end_on if end_on == on else boundary(anchor_on, self.length, step + 1)

    def renewed(self) -> AgreedTerm:
        """The same term again, counted so that month ends do not drift: 31 January, 28 February, 31 March."""
        return replace(
            self,
            starts_on=self.ends_on,
            ends_on=self.end_from(self.ends_on + DAY),
            anchor_on=self._renewals_anchor,
            renewals=self.renewals + 1,
        )

    def following_this(self, following: AgreedTerm, on: date) -> AgreedTerm:
        """`following` in its place, from `on`: a renewal too. What was agreed about the agreement's end stays."""
        return replace(
            following.begun(on),
            renewals=self.renewals + 1,
            accepted_quote_id=self.accepted_quote_id,
            waiver=self.waiver,
        )

    def after_end(self) -> AgreedTerm:
        """What holds from its end on: the term agreed on to follow, the same again, or nothing but the notice."""
        if self.following is not None:
            return self.following_this(self.following, self.ends_on)
        if self.on_end == "renew":
            return self.renewed()
        return replace(self, is_over=True)

    @property
    def _renewals_anchor(self) -> date:
        """A term that a pause made longer is counted from its later end."""
        anchor_on = self.anchor_on or self.starts_on
        counted = boundary(anchor_on, self.length, index_on(anchor_on, self.length, self.ends_on))
        return anchor_on if counted == self.ends_on else self.ends_on
