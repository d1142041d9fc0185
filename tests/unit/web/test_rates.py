"""The token bucket."""

import pytest

from libs.common.web.rates import RateExceeded, RateLimiter


def test_a_bucket_empties_at_once_and_fills_slowly() -> None:
    now = 100.0
    limiter = RateLimiter(per_s=2, burst=3, timer=lambda: now)
    for _ in range(3):
        limiter.take("a")
    with pytest.raises(RateExceeded) as caught:
        limiter.take("a")
    assert caught.value.facts["retry_after_s"] == 1
    limiter.take("b")
    now += 0.5
    limiter.take("a")
    with pytest.raises(RateExceeded):
        limiter.take("a")
    now += 1000
    for _ in range(3):
        limiter.take("a")
    with pytest.raises(RateExceeded):
        limiter.take("a")


def test_asking_in_vain_costs_nothing() -> None:
    now = 0.0
    limiter = RateLimiter(per_s=1, burst=1, timer=lambda: now)
    limiter.take("a")
    for _ in range(100):
        with pytest.raises(RateExceeded):
            limiter.take("a")
    now = 1.0
    limiter.take("a")


def test_memory_is_bounded() -> None:
    limiter = RateLimiter(per_s=1, burst=1, callers_max=10, timer=lambda: 0.0)
    for n in range(1000):
        limiter.take(str(n))
    assert len(limiter._buckets) == 10
