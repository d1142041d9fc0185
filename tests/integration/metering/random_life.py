"""A random life of a tenant's usage, told to the service and to a model that shares nothing with it, and compared.

Everything follows from the seed: which meters there are, what happened and when, and in which order and in what parts it
is told, corrected, bound and asked.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from libs.common.contracts.metering import UsageCorrectedV1, UsageWindowClosedV1
from libs.common.contracts.subscriptions import SubjectBoundV1, SubjectReleasedV1
from libs.common.messaging.bus import Bus
from services.metering.bootstrap import build
from tests.integration.metering.harness import Metering, Story
from tests.integration.metering.kinds_of_meters import BY_NAME, CHANGES, KINDS, Kind, amount
from tests.integration.metering.topic_harness import THROUGH_TOPIC, TopicMetering
from tests.model.usage.brute_force import (
    EVER,
    NEVER,
    Meter,
    Stay,
    dimensions_of,
    groups_of,
    read,
    stays_of,
    used,
)
from tests.model.usage.history import Binding, Fact, History
from tests.model.usage.local_windows import Window, windows
from tests.support.service_database import ServiceDatabase
from tests.support.service_under_test import serving

Thing = dict[str, Any]
Deed = Callable[[], Awaitable[None]]
Totals = dict[str | None, tuple[Fraction, int]]  # by price, where there is more than one
Row = tuple[datetime, datetime, tuple[str | None, ...], Fraction, int]

EVENT = "machine.ran"
SOURCES = ("plant/1", "plant/2")
SUBJECTS = ("pump", "press", "drill")
ITEMS = ("one", "other")
ZONES = (
    "UTC",
    "Asia/Kathmandu",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "America/St_Johns",
    "America/New_York",
    "Europe/Amsterdam",
    "Pacific/Tongatapu",
    "Pacific/Pago_Pago",
    "Pacific/Chatham",
)
# The turn of a month, and days on which the clocks of one of the zones are changed.
CENTRES = ("2025-01-31", "2025-03-09", "2025-03-30", "2025-04-06")
OFFSETS = tuple(timedelta(microseconds=us) for us in (0, 0, 1, -1, 1_000_000, 450_000_000, 899_999_999))
QUARTER, HOUR, DAY = timedelta(minutes=15), timedelta(hours=1), timedelta(days=1)
PERIODS = 4  # that are ended in the course of a life
WINDOWS: Mapping[str, tuple[timedelta, Sequence[timedelta]]] = {
    # How long is asked for, that there be a few windows and not hundreds.
    "none": (timedelta(0), (QUARTER, HOUR, 5 * HOUR, DAY, 40 * DAY, 150 * DAY)),
    "minute": (timedelta(minutes=1), (QUARTER, timedelta(minutes=29))),
    "hour": (HOUR, (5 * HOUR, DAY, 2 * DAY)),
    "day": (DAY, (DAY, 4 * DAY, 9 * DAY)),
    "week": (7 * DAY, (9 * DAY, 40 * DAY)),
    "month": (30 * DAY, (40 * DAY, 130 * DAY)),
    "quarter": (90 * DAY, (130 * DAY,)),
    "year": (365 * DAY, (150 * DAY,)),
}


class Processes(Protocol):
    """The one process that a life talks to, and how another one takes its place."""

    @property
    def metering(self) -> Metering: ...

    async def restart(self) -> None: ...

    async def settle(self) -> None:
        """Wait until what was accepted is stored."""


class Restartable:
    """Processes on one database, each in the place of the last one: what that kept in memory is gone.

    With a bus, usage goes through the usage topic.
    """

    def __init__(self, database: ServiceDatabase, folder: Path, tenant: str, bus: Bus | None) -> None:
        self._database, self._folder, self._tenant, self._bus = database, folder, tenant, bus
        self._running = AsyncExitStack()
        self.metering: Metering

    async def restart(self) -> None:
        await self._running.aclose()
        service = await self._running.enter_async_context(
            serving(
                self._database,
                "metering",
                build,
                folder=self._folder,
                environment=THROUGH_TOPIC if self._bus else None,
                bus=self._bus,
            )
        )
        kind = TopicMetering if self._bus else Metering
        self.metering = kind(service, self._tenant)
        await self._running.enter_async_context(self.metering.client)

    async def settle(self) -> None:
        if isinstance(self.metering, TopicMetering):
            await self.metering.store_all()

    async def close(self) -> None:
        await self._running.aclose()


@asynccontextmanager
async def restartable(
    database: ServiceDatabase, folder: Path, tenant: str, bus: Bus | None = None
) -> AsyncIterator[Restartable]:
    processes = Restartable(database, folder, tenant, bus)
    try:
        await processes.restart()
        yield processes
    finally:
        await processes.close()


class Version(NamedTuple):
    """What a meter reads from `start` on."""

    id: str
    kind: Kind
    start: datetime


@dataclass(frozen=True)
class Size:
    events: int = 40
    meters: int = 5
    questions: int = 8


class Life:
    """`told` is what has been said so far, to be read where the two disagree; `answers` what was answered."""

    def __init__(self, seed: int, processes: Processes, size: Size, names: Sequence[str] = ()) -> None:
        self.chance, self.processes, self.size = random.Random(seed), processes, size
        self.tenant = processes.metering.tenant
        self.history = History(self.tenant)
        self.centre = datetime.fromisoformat(self.chance.choice(CENTRES)).replace(tzinfo=UTC)
        chosen = [BY_NAME[name] for name in names] or self.chance.sample(KINDS, size.meters)
        self.kinds = {kind.name: kind for kind in chosen}
        self.versions: dict[str, list[Version]] = {}  # of what is defined
        self.stories = {(k, item): Story(self.tenant, meter=k) for k in self.kinds for item in ITEMS}
        self.bound: dict[tuple[str, str], SubjectBoundV1] = {}  # by kind and binding
        self.prices: dict[int, list[tuple[str, datetime, datetime]]] = {}  # by period, when which one held
        self.period = 0
        self.told: list[str] = []
        self.answers: list[Any] = []

    @property
    def metering(self) -> Metering:
        return self.processes.metering

    async def live(self) -> None:
        await self.metering.hear(*(story.started() for story in self.stories.values()))
        for happen in self._plot():
            await happen()
        await self._end()

    def _plot(self) -> Sequence[Deed]:
        """What happens, in any order."""
        deeds: list[Deed] = [partial(self.send, batch) for batch in self._batches()]
        deeds += [partial(self.define, kind) for kind in self.kinds.values()]
        deeds += [self.bind] * 4 + [self.rebind] * 3 + [self.void] * 3 + [self.amend] * 4 + [self.resend] * 2
        deeds += (
            [self.renew] * PERIODS + [self.revise] * 2 + [self.reprice] * 2 + [self.work] * 4 + [self.ask] * 3
        )
        deeds += [self.processes.restart] * self.chance.randint(0, 2)
        self.chance.shuffle(deeds)
        return deeds

    # What happened.

    def instant(self) -> datetime:
        """Dense about the edges of buckets near the centre, so that cuts inside of them are common; a few far away."""
        far = self.chance.choice([0, 0, 0, 0, 0, -60, -31, -1, 1, 20, 45])
        near = (
            self.centre + far * DAY + self.chance.randint(-12, 12) * self.chance.choice([1, 1, 8]) * QUARTER
        )
        return near + self.chance.choice(OFFSETS)

    def amount(self) -> str | int:
        chance = self.chance
        usual: list[str | int] = [
            chance.randint(-5, 20),
            f"{chance.randint(0, 30)}.{chance.randint(0, 99):02}",
        ]
        rare: list[str | int] = [
            f"{chance.randint(-9, 9)}.{chance.randint(0, 999):03}",
            "12345678901234567890.123456789012345678",
            "0.000000000000000001",
        ]
        return chance.choice(rare if chance.random() < 0.1 else usual)

    def data(self) -> Thing:
        data: Thing = {"amount": self.amount(), "user": self.chance.choice(["ann", "bob", "eve", "zoë"])}
        for name, values in (
            ("kind", ["x", "y"]),
            ("place", ["A", "B"]),
            ("did", ["add", "remove"]),
            ("free", [True, False]),
        ):
            if self.chance.random() < 0.8:
                data[name] = self.chance.choice(values)
        return data

    def fact(self, id: str) -> Fact:
        return Fact(
            self.chance.choice(SOURCES), id, self.chance.choice(SUBJECTS), self.instant(), self.data()
        )

    def _batches(self) -> list[list[Fact]]:
        """Each fact once, half of them twice, some with another payload; in any order, in parts of any length."""
        facts = [self.fact(f"e{n}") for n in range(self.size.events)]
        again = self.chance.sample(facts, len(facts) // 2)
        others = [
            replace(fact, data={**fact.data, "amount": 99})
            if self.chance.random() < 0.5
            else replace(fact, at=fact.at + HOUR)
            for fact in self.chance.sample(facts, len(facts) // 8)
        ]
        unreadable = [replace(self.fact(f"u{n}"), data={"amount": "many", "user": [n]}) for n in range(2)]
        deliveries = facts + again + others + unreadable
        self.chance.shuffle(deliveries)
        batches = []
        while deliveries:
            length = self.chance.choice([1, 2, 5, 12])
            batches.append(deliveries[:length])
            deliveries = deliveries[length:]
        return batches

    # What is told.

    async def define(self, kind: Kind) -> None:
        self.say(f"define {kind.name}")
        id = await self._define("/v1/meters", {"code": kind.name, **kind.said})
        self.versions[kind.name] = [Version(id, kind, EVER)]

    async def revise(self) -> None:
        """From some instant on, past as it is, a meter reads otherwise."""
        if not self.versions:
            return
        name = self.chance.choice(list(self.versions))
        last, effective_from = self.versions[name][-1], self.instant()
        if effective_from <= last.start:
            return
        kind = self.chance.choice(CHANGES)(last.kind)
        self.say(f"revise {name} from {effective_from}: {kind.said}")
        said = {**kind.said, "effective_from": effective_from.isoformat()}
        id = await self._define(f"/v1/meters/{last.id}/versions", said)
        self.versions[name].append(Version(id, kind, effective_from))

    async def _define(self, path: str, said: Thing) -> str:
        answer = await self.metering.client.post(path, json={"event_type": EVENT, **said})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def _defined(self) -> list[Kind]:
        return [versions[-1].kind for versions in self.versions.values()]

    def _model_of(self, name: str) -> list[Meter]:
        """Each version reads until the next one does."""
        versions = self.versions[name]
        ends = [*(version.start for version in versions[1:]), NEVER]
        return [
            replace(version.kind.model, valid_from=version.start, valid_until=end)
            for version, end in zip(versions, ends, strict=True)
        ]

    async def send(self, batch: Sequence[Fact]) -> None:
        """A fact that a meter could not read is stored as long as there is no such meter."""
        expected = [
            "rejected"
            if amount(fact.data) is None and any(kind.refuses for kind in self._defined())
            else self.history.send(fact)
            for fact in batch
        ]
        self.say(f"send {' '.join(f'{f.id}:{status}' for f, status in zip(batch, expected, strict=True))}")
        told = await self.metering.send(*(event_of(fact) for fact in batch))
        found = [result["status"] for result in told["results"]]
        assert found in (expected, ["accepted"] * len(batch)), (found, expected)

    async def resend(self) -> None:
        if fact := self._any_known():
            await self.send([fact])

    async def void(self) -> None:
        if fact := self._any_known():
            self.say(f"void {fact.id}")
            await self.processes.settle()
            self.history.void(fact.source, fact.id)
            entry = {"source": fact.source, "id": fact.id, "reason": "never was"}
            await self._correct("voids", entry)

    async def amend(self) -> None:
        """Mostly one thing that was said wrong; sometimes everything."""
        if fact := self._any_known():
            other = self.fact(fact.id)
            is_readable = amount(fact.data) is not None
            change = self.chance.choice(["amount", "time", "subject", "all"] if is_readable else ["all"])
            right = {
                "amount": replace(fact, data={**fact.data, "amount": other.data["amount"]}),
                "time": replace(fact, at=other.at),
                "subject": replace(fact, subject=other.subject),
                "all": replace(other, source=fact.source),
            }[change]
            self.say(f"amend {fact.id} {change}")
            await self.processes.settle()
            self.history.amend(right)
            await self._correct("amendments", {"event": event_of(right), "reason": "it was otherwise"})

    async def _correct(self, name: str, entry: Thing) -> None:
        answer = await self.metering.client.post(f"/v1/usage-events/{name}", json={name: [entry]})
        assert answer.status_code == 200, answer.text
        [result] = answer.json()["results"]
        assert result["status"] in ("voided", "amended", "unchanged"), result

    def _any_known(self) -> Fact | None:
        known = self.history.known()
        return self.chance.choice(known) if known else None

    async def bind(self) -> None:
        """As subscriptions sees to it: no two bindings of one subject overlap."""
        subject, item = self.chance.choice(SUBJECTS), self.chance.choice(ITEMS)
        start = self.instant()
        end = self.chance.choice([None, start + self.chance.choice([1, 9, 100, 4000]) * QUARTER])
        for other in self.history.bindings():
            overlaps = (end is None or other.start < end) and (other.end is None or start < other.end)
            if other.subject == subject and overlaps:
                return
        await self._bind(Binding(f"b{len(self.history.bindings())}", item, subject, start, end))

    async def rebind(self) -> None:
        """The rest of what was bound goes to the other item; who hears of it hears it in any order."""
        if not self.history.bindings():
            return
        binding = self.chance.choice(self.history.bindings())
        at = binding.start + self.chance.choice([1, 3, 50, 2000]) * QUARTER + self.chance.choice(OFFSETS)
        if at <= binding.start or (binding.end is not None and at >= binding.end):
            return
        other = ITEMS[1 - ITEMS.index(binding.item)]
        self.say(f"release {binding.id} at {at}")
        self.history.release(binding.id, at)
        released = [self._released(kind, binding.id, at) for kind in self.kinds]
        following = Binding(f"b{len(self.history.bindings())}", other, binding.subject, at, binding.end)
        if self.chance.random() < 0.5:
            await self.metering.hear(*released)
            await self._bind(following)
        else:
            await self._bind(following)
            await self.metering.hear(*released)

    async def _bind(self, binding: Binding) -> None:
        self.say(f"bind {binding.id} {binding.subject} to {binding.item} {binding.start} {binding.end}")
        self.history.bind(binding)
        for kind in self.kinds:
            bound = self.stories[kind, binding.item].bound(binding.subject)
            snapshot = bound.binding.model_copy(
                update={"bound_from": binding.start, "bound_until": binding.end}
            )
            self.bound[kind, binding.id] = bound.model_copy(update={"binding": snapshot})
        await self.metering.hear(*(self.bound[kind, binding.id] for kind in self.kinds))

    def _released(self, kind: str, id: str, at: datetime) -> SubjectReleasedV1:
        bound = self.bound[kind, id]
        binding = bound.binding.model_copy(update={"bound_until": at})
        self.bound[kind, id] = bound.model_copy(update={"binding": binding, "version": bound.version + 1})
        return SubjectReleasedV1(
            tenant=self.tenant,
            version=bound.version + 1,
            occurred_at=at,
            test_clock=None,
            binding=binding,
        )

    async def renew(self) -> None:
        self.period += 1
        self.say(f"renew {self.period}")
        await self.metering.hear(*(story.renewed(self.period) for story in self.stories.values()))

    async def reprice(self) -> None:
        """What the price of a period was, and whether it was paused: as it is known now."""
        index = self.chance.randrange(PERIODS)
        period = Story(self.tenant).period(index)
        cuts = {at for at in (self.instant(), self.instant()) if period.start < at < period.end}
        bounds = [period.start, *sorted(cuts), period.end]
        prices = [self.chance.choice(["p1", "p1", "p2", None]) for _ in bounds[1:]]
        held: list[tuple[str, datetime, datetime]] = []
        for price, start, end in zip(prices, bounds, bounds[1:], strict=False):
            if price is not None and held and held[-1][0] == price and held[-1][2] == start:
                held[-1] = price, held[-1][1], end
            elif price is not None:
                held.append((price, start, end))
        if not held:
            return
        self.say(f"reprice {index}: {held}")
        self.prices[index] = held
        changed = []
        for story in self.stories.values():
            segments = [story.segment(start, end, price=story.price(price)) for price, start, end in held]
            changed.append(story.changed(period.end, story.terms(period, *segments)))
        await self.metering.hear(*changed)

    async def work(self) -> None:
        self.say("work")
        await self.processes.settle()
        await self.metering.tick(turns_max=100)

    # What is asked.

    async def ask(self) -> None:
        await self.processes.settle()
        if self.versions:
            await self._ask_once(self.chance.choice(list(self.versions)))

    async def _end(self) -> None:
        await self.work()
        for name in self.kinds:
            for _ in range(self.size.questions):
                await self._ask_once(name)
        await self._check_windows()

    async def _ask_once(self, name: str) -> None:
        chance, meter = self.chance, self._model_of(name)
        length = chance.choice(list(WINDOWS))
        start = self.instant()
        span = start, start + chance.choice(WINDOWS[length][1]) + chance.choice(OFFSETS)
        if chance.random() < 0.2:  # long before, so that all there was is in it
            span = self.centre - 100 * DAY, self.centre + 50 * DAY
            length = chance.choice(["none", "month", "quarter", "year"])
        if span[0] >= span[1]:
            return
        zone = chance.choice(ZONES)
        whose, stays = self._whose(name, span)
        dimensions = dimensions_of(meter)
        by = chance.sample(dimensions, chance.randint(0, len(dimensions)))
        only: dict[str, list[str | None]] = {}
        if dimensions and chance.random() < 0.4:
            only[chance.choice(dimensions)] = list(
                chance.sample(["x", "y", "A", "B", "0", "1", None], chance.randint(1, 3))
            )
        question = {
            "meter": name,
            "from": span[0].isoformat(),
            "to": span[1].isoformat(),
            "window": length,
            "zone": zone,
            **whose,
        }
        wanted = {**question, "group_by": by, "filter": [f"{n}:{v or ''}" for n in only for v in only[n]]}
        found = without_nothing(await self._rows(wanted, by), by)
        self.answers.append(found)
        expected = without_nothing(self._expected(meter, stays, span, length, zone, by, only), by)
        assert found == expected, f"{wanted}\n{differences(found, expected)}"

    def _whose(self, meter: str, span: Window) -> tuple[Thing, list[Stay]]:
        if self.chance.random() < 0.4:
            subject = self.chance.choice(SUBJECTS)
            return {"subject": subject}, [Stay(subject, *span)]
        item = self.chance.choice(ITEMS)
        story = self.stories[meter, item]
        named = self.chance.choice(["item_id", "subscription_id", "customer_id"])
        whose = {named: getattr(story, named)}
        stays = stays_of(self.history.bindings_of(item), *span)
        if self.chance.random() < 0.2:
            subject = self.chance.choice(SUBJECTS)
            return {**whose, "subject": subject}, [stay for stay in stays if stay.subject == subject]
        return whose, stays

    async def _rows(self, wanted: Thing, by: Sequence[str]) -> list[Row]:
        rows: list[Row] = []
        cursor: Thing = {}
        while True:
            answer = await self.metering.client.get("/v1/usage", params={**wanted, **cursor})
            assert answer.status_code == 200, (wanted, answer.text)
            page = answer.json()
            if not page.get("is_complete", True):
                await self.work()
                continue
            rows += [
                (
                    datetime.fromisoformat(row["from"]),
                    datetime.fromisoformat(row["to"]),
                    tuple(row["group"][name] for name in by),
                    Fraction(row["quantity"]),
                    row["event_count"],
                )
                for row in page["data"]
            ]
            if page.get("next_cursor") is None:
                return rows
            cursor = {"cursor": page["next_cursor"]}

    def _expected(
        self,
        meter: Sequence[Meter],
        stays: Sequence[Stay],
        span: Window,
        length: str,
        zone: str,
        by: Sequence[str],
        only: Mapping[str, Sequence[str | None]],
    ) -> list[Row]:
        seen = read(meter, self.history.facts())
        rows = []
        for window in windows(*span, length, zone):
            for group in sorted(groups_of(meter, seen, by), key=repr) if by else [()]:

                def is_meant(of: Mapping[str, str | None], group: tuple[str | None, ...] = group) -> bool:
                    return all(of[name] in values for name, values in only.items()) and group == tuple(
                        of[name] for name in by
                    )

                rows.append((*window, group, *used(meter, seen, stays, window, zone=zone, where=is_meant)))
        return rows

    async def _check_windows(self) -> None:
        """What windows said when they closed, and the corrections since, come to what the model says of each period."""
        said = await self._said_of_windows()
        for (kind, item), story in self.stories.items():
            for index in range(self.period):
                expected = self._expected_of_window(kind, item, index)
                found = said[story.item_id, index]
                self.answers.append(sorted(found.items()))
                assert found == expected, (kind, item, index)

    def _expected_of_window(self, kind: str, item: str, index: int) -> Totals:
        period = self.stories[kind, item].period(index)
        stays = stays_of(self.history.bindings_of(item), period.start, period.end)
        meter = self._model_of(kind)
        seen = read(meter, self.history.facts())
        held = self.prices.get(index, [("p1", period.start, period.end)])
        totals: Totals = {}
        for price in dict.fromkeys(name for name, _, _ in held):
            spans = [(start, end) for name, start, end in held if name == price]
            within = [
                Stay(s.subject, max(s.start, start), min(s.end, end)) for s in stays for start, end in spans
            ]
            is_whole = spans[0][0] == period.start and spans[-1][1] == period.end and len(held) == 1
            add(totals, None if is_whole else price, used(meter, seen, within, (period.start, period.end)))
        return totals

    async def _said_of_windows(self) -> dict[tuple[str, int], Totals]:
        """By item and period: the totals that were said, to which the differences of all corrections are added."""
        said: dict[tuple[str, int], Totals] = {}
        items = {story.subscription_id: story.item_id for story in self.stories.values()}
        for closed in await self.metering.said(UsageWindowClosedV1):
            key = items[closed["subscription_id"]], closed["period_index"]
            assert key not in said, "a window closes once"
            said[key] = totals_of(closed["totals"])
        for corrected in await self.metering.said(UsageCorrectedV1):
            found = said[items[corrected["subscription_id"]], corrected["period_index"]]
            assert totals_of(corrected["before"]) == found, "a correction tells what was said before"
            for difference in corrected["differences"]:
                add(found, difference.get("price_id"), numbers(difference))
            assert totals_of(corrected["totals"]) == found, "a correction tells the difference"
        return said

    def say(self, what: str) -> None:
        self.told.append(what)


def event_of(fact: Fact) -> Thing:
    return {
        "specversion": "1.0",
        "id": fact.id,
        "source": fact.source,
        "type": EVENT,
        "subject": fact.subject,
        "time": fact.at.isoformat(),
        "data": dict(fact.data),
    }


def add(totals: Totals, price: str | None, more: tuple[Fraction, int]) -> None:
    """Of what comes to nothing, nothing is kept."""
    quantity, count = totals.pop(price, (Fraction(0), 0))
    quantity, count = quantity + more[0], count + more[1]
    if quantity or count:
        totals[price] = quantity, count


def totals_of(told: Sequence[Mapping[str, Any]]) -> Totals:
    totals: Totals = {}
    for total in told:
        add(totals, total.get("price_id"), numbers(total))
    return totals


def numbers(told: Mapping[str, Any]) -> tuple[Fraction, int]:
    return Fraction(told["quantity"]), told["event_count"]


def without_nothing(rows: Sequence[Row], by: Sequence[str]) -> list[Row]:
    """By groups, those that were not used may be left out."""
    kept = [row for row in rows if not by or any(row[3:])]
    return sorted(kept, key=lambda row: (row[0], repr(row[2])))


def differences(found: Sequence[Row], expected: Sequence[Row]) -> str:
    only_found = [row for row in found if row not in expected]
    only_expected = [row for row in expected if row not in found]
    return "\n".join(
        [
            *(f"found    {_shown(row)}" for row in only_found[:5]),
            *(f"expected {_shown(row)}" for row in only_expected[:5]),
        ]
    )


def _shown(row: Row) -> str:
    return f"{row[0]} {row[1]} {row[2]} {float(row[3])} {row[4]}"
