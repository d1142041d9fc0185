"""Which days are business days, country by country, as the library `holidays` knows them."""

from __future__ import annotations

import asyncio
from datetime import date
from functools import lru_cache

from services.billing.domain.payment_terms import BusinessCalendar

COUNTRIES_KEPT = 64
SATURDAY = 5


class WeekdaysOnly:
    """Of a country that the library does not know: Monday to Friday, without holidays."""

    def is_business_day(self, day: date) -> bool:
        return day.weekday() < SATURDAY


class CountryDays:
    """Public holidays of the whole country, and its own weekend; those of its regions are not counted."""

    def __init__(self, country: str) -> None:
        from holidays import country_holidays  # 26 MB and a quarter of a second: for those who ask for it

        self._days = country_holidays(country)

    def is_business_day(self, day: date) -> bool:
        return self._days.is_working_day(day)


@lru_cache(maxsize=COUNTRIES_KEPT)
def calendar_of(country: str) -> BusinessCalendar:
    """The same one for all who ask: it works each year out once."""
    try:
        return CountryDays(country)
    except NotImplementedError:
        return WeekdaysOnly()


class BusinessDays:
    async def of(self, country: str, *, around: date) -> BusinessCalendar:
        """In a thread, since reading a country, and working out a year of it, takes longer than others should wait."""

        def load() -> BusinessCalendar:
            calendar = calendar_of(country)
            for year in (around.year, around.year + 1):
                calendar.is_business_day(date(year, 1, 1))
            return calendar

        return await asyncio.to_thread(load)
