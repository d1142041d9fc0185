"""Two times, one source."""

from datetime import UTC, datetime, timedelta

from libs.common.clock import SystemClock, TestClock

THEN = datetime(2013, 1, 1, tzinfo=UTC)


def test_a_customer_lives_by_his_test_clock() -> None:
    assert SystemClock().business_now(TestClock("clk_1", THEN)) == THEN


def test_without_a_test_clock_business_goes_by_the_wall() -> None:
    clock = SystemClock()
    before = clock.system_now()
    assert before <= clock.business_now(None) <= clock.system_now()


def test_the_wall_shows_utc() -> None:
    assert SystemClock().system_now().utcoffset() == timedelta(0)
