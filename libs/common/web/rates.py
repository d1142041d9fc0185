"""How often one caller may ask: a token bucket for each, in memory."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import ClassVar

from libs.common.errors import TooManyRequests

CALLERS_MAX = 10_000


class RateExceeded(TooManyRequests):
    """More requests in a short time than one caller may send; Retry-After says how long to wait."""

    code: ClassVar[str] = "rate_exceeded"
    title: ClassVar[str] = "Too many requests"


class RateLimiter:
    """`per_s` requests a second on the long run, `burst` at once. Each process counts for itself.

    The callers that have been silent longest are forgotten first, which gives them a full bucket again.
    """

    def __init__(
        self,
        *,
        per_s: float,
        burst: int,
        callers_max: int = CALLERS_MAX,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_s = per_s
        self._burst = burst
        self._callers_max = callers_max
        self._timer = timer
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str) -> None:
        """Raises: RateExceeded when the caller's bucket is empty."""
        now = self._timer()
        left, seen_at = self._buckets.pop(caller, (float(self._burst), now))
        left = min(float(self._burst), left + (now - seen_at) * self._per_s)
        allowed = left >= 1
        self._buckets[caller] = (left - 1 if allowed else left, now)
        if len(self._buckets) > self._callers_max:
            self._buckets.popitem(last=False)
        if not allowed:
            wait_s = max(1, math.ceil((1 - left) / self._per_s))
            raise RateExceeded(
                f"more than {self._per_s:g} requests a second",
                retry_after_s=wait_s,
                remedy="Wait, then go on slower.",
            )
