"""documents: invoices as PDF, one after another: how many a second by one core, and the memory while 1,000 are made."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace
from pathlib import Path

from services.billing.adapters.document_sheet import sheet_of
from services.billing.adapters.typesetting import Typesetting
from tests.performance.bench import Bench
from tests.performance.results import Measured, alone
from tests.support.sample_documents import a_logo, latin

DOCUMENTS = 1_000
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


async def measure(bench: Bench) -> list[Measured]:
    each = bench.sized(DOCUMENTS // bench.runs, least=3)
    typesetting = Typesetting()
    try:
        figures = [
            await asyncio.to_thread(_a_second, typesetting, each, run * each) for run in range(bench.runs)
        ]
        most = _most_mb(typesetting)
    finally:
        typesetting.close()
    return [
        alone("documents made", figures, "PDFs/s"),
        alone("documents memory", [most], "MB", note=f"{each * bench.runs:,} made"),
    ]


def _a_second(typesetting: Typesetting, count: int, first: int) -> float:
    """By the time of the processor, of both processes: other processes want the core too."""
    logo = a_logo()
    typesetting.pdf(sheet_of(latin(), logo=logo))
    began = time.thread_time() + _spent(typesetting)
    for ordinal in range(first, first + count):
        document = replace(latin(), id=f"inv_{ordinal}", number=f"PE-{ordinal:06d}")
        typesetting.pdf(sheet_of(document, logo=logo))
    return count / (time.thread_time() + _spent(typesetting) - began)


def _spent(typesetting: Typesetting) -> float:
    told = Path(f"/proc/{typesetting.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(told[11]) + int(told[12])) / TICKS_A_SECOND


def _most_mb(typesetting: Typesetting) -> float:
    told = Path(f"/proc/{typesetting.pid}/status").read_text()
    return int(told.partition("VmHWM:")[2].split()[0]) / 1024
