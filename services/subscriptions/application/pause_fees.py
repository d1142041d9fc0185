"""What a pause costs, when it begins: by itself on its date, or because somebody asked for it now."""

from __future__ import annotations

from decimal import Decimal

from libs.common.contracts.subscriptions import FeeV1
from libs.common.ids import derived_id
from services.subscriptions.domain.renewal import Changed, Outcome


def fees_of(outcome: Outcome) -> tuple[FeeV1, ...]:
    """The fee that was agreed on for the pause that begins with this; its id follows from the pause."""
    if not isinstance(outcome, Changed) or outcome.kind != "paused":
        return ()
    subscription, pause = outcome.subscription, outcome.subscription.pause
    if pause is None or pause.fee is None:
        return ()
    fee = FeeV1(
        fee_id=derived_id("fee", subscription.id, "pause", pause.start.isoformat()),
        kind="pause",
        description=pause.fee_description,
        amount=Decimal(pause.fee),
        service_start_on=pause.start_on,
        service_end_on=pause.end_on or pause.start_on,
    )
    return (fee,)
