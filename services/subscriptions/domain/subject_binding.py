"""Which subscription item the usage of a metered subject counts for, from when until when.

On one meter a subject counts for one item at any instant. Bindings may be made late: they hold from `bound_from`,
which may lie before the subscription, before now, and before the first usage that they explain.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from libs.common.errors import Conflict, NotFound, RuleViolation
from libs.common.ids import derived_id


class SubjectBindingNotFound(NotFound):
    code = "subject_binding_not_found"
    title = "There is no such subject binding"


class BindingReversed(RuleViolation):
    code = "binding_reversed"
    title = "A binding that ends before it begins"


class BindingEndsEarlier(Conflict):
    """A release only ever cuts: what is over cannot be given back by it."""

    code = "binding_ends_earlier"
    title = "The binding ends earlier already"


@dataclass(frozen=True, slots=True)
class SubjectBinding:
    """Half-open from `bound_from` to `bound_until` (None: open); empty when it was released at its beginning.

    `asset_id` is the thing that the subject is, or is built into, by whatever id the business has for it.
    """

    id: str
    subject: str
    meter: str
    subscription_id: str
    item_id: str
    bound_from: datetime
    bound_until: datetime | None
    test_clock_id: str | None
    created_at: datetime
    version: int = 1
    asset_id: str | None = None

    def overlaps(self, bound_from: datetime, bound_until: datetime | None) -> bool:
        """Whether some instant lies in both."""
        ends = [at for at in (self.bound_until, bound_until) if at is not None]
        return not ends or max(self.bound_from, bound_from) < min(ends)

    def covers_after(self, at: datetime) -> bool:
        """Whether it would still hold at or after `at`."""
        return self.bound_until is None or self.bound_until > at


def binding_id(*, tenant: str, meter: str, subject: str, bound_from: datetime) -> str:
    """The id that follows from what the binding is: binding again from the same instant finds the same one."""
    return derived_id("bnd", tenant, meter, subject, bound_from.astimezone(UTC).isoformat())


def check_bounds(bound_from: datetime, bound_until: datetime | None) -> None:
    """Raises: BindingReversed."""
    if bound_until is not None and bound_until <= bound_from:
        raise BindingReversed("bound_until must be later than bound_from", pointer="/bound_until")


def agrees(existing: SubjectBinding, wanted: SubjectBinding) -> bool:
    """Whether a request for this item, thing and end, from the same instant, asks for nothing but what there is.

    A binding that was released since it was made agrees with the request that made it.
    """
    same = (existing.item_id, existing.asset_id) == (wanted.item_id, wanted.asset_id)
    return same and (existing.bound_until == wanted.bound_until or existing.version > 1)


def release(binding: SubjectBinding, at: datetime) -> SubjectBinding | None:
    """The binding cut at `at`; None when it ends there already. At its beginning it becomes empty.

    Raises: BindingReversed, BindingEndsEarlier.
    """
    if at < binding.bound_from:
        raise BindingReversed(
            "a binding cannot be released before it begins", pointer="/at", bound_from=binding.bound_from
        )
    if binding.bound_until == at:
        return None
    if not binding.covers_after(at):
        raise BindingEndsEarlier(
            "a release cannot lengthen a binding", pointer="/at", bound_until=binding.bound_until
        )
    return replace(binding, bound_until=at, version=binding.version + 1)


def release_at_end(binding: SubjectBinding, ended_at: datetime, *, began: bool) -> SubjectBinding | None:
    """The binding as the end of its subscription leaves it; None when it was over by then.

    What would only begin later becomes empty, and so does every binding of a subscription that never `began`.
    """
    at = max(ended_at, binding.bound_from) if began else binding.bound_from
    return release(binding, at) if binding.covers_after(at) else None
