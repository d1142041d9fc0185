"""Metering's environment variables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from libs.common.settings import Settings, setting
from services.metering.domain.meter import BUCKET_S
from services.metering.domain.usage_retention import DAYS_MAX


@dataclass(frozen=True)
class MeteringSettings(Settings):
    """`accept_past_s` None: events of whatever age are accepted.

    `results_kept_days`: for how long results of what came through the usage topic can be read. It is longer than
    the topic keeps its records, so that one that comes again is still recognised. `raw_kept_days`: for how long raw
    events are kept; None: for ever.
    """

    PREFIX: ClassVar[str] = "PERENNIAL_METERING_"

    grace_s: int = setting(3600, minimum=0, maximum=90 * 86_400)
    accept_past_s: int | None = setting(None, minimum=0)
    accept_future_s: int = setting(300, minimum=0, maximum=10 * 365 * 86_400)
    bucket_s: int = setting(BUCKET_S, minimum=60, maximum=BUCKET_S)
    request_events_max: int = setting(10_000, minimum=1, maximum=100_000)
    request_bytes_max: int = setting(10_000_000, minimum=1_000, maximum=100_000_000)
    queue_events_max: int = setting(50_000, minimum=1)
    queue_bytes_max: int = setting(64_000_000, minimum=1_000)
    commit_events_max: int = setting(2_000, minimum=1)
    writers: int = setting(2, minimum=1, maximum=16)
    results_kept_days: int = setting(30, minimum=8, maximum=3_650)
    raw_kept_days: int | None = setting(None, minimum=1, maximum=DAYS_MAX)


@dataclass(frozen=True)
class UsageSettings(Settings):
    """`ingest`: events are stored as they arrive (`direct`), or sent through the usage topic (`kafka`), on either bus."""

    PREFIX: ClassVar[str] = "PERENNIAL_USAGE_"

    ingest: str = setting("direct", choices=("direct", "kafka"))
