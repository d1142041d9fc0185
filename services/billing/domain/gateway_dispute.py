"""What a customer's bank took back of a payment, or asks back, as the gateway tells it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from libs.common.money import Money

DisputeState = Literal["inquiry", "open", "won", "lost"]


@dataclass(frozen=True, slots=True)
class GatewayDispute:
    """How a dispute stands by now. It is fetched from the gateway: whatever order its events came in, it is the newest.

    `inquiry`: the bank only asks, and no money has moved. `open`: the money is gone, until it is `won`; `lost`: it stays
    gone. An inquiry that is closed without consequence is `won`. `attempt_id` is the attempt whose payment it is, as the
    gateway kept it; `payment_reference` is that attempt's `gateway_reference`.
    """

    gateway: str
    reference: str
    payment_reference: str
    attempt_id: str | None
    amount: Money
    state: DisputeState
    reason: str
    opened_at: datetime
