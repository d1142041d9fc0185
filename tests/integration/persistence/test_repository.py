"""Aggregates of one unit of work: loaded once, locked in order, written together, forgotten with their tenant."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import asyncpg
import pytest
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError

from libs.common.errors import Conflict
from libs.common.messaging.inbox import claim
from libs.common.persistence.repository import Repository
from libs.common.persistence.unit_of_work import AlreadyExists, UnitsOfWork
from tests.support.small_service import (
    NOW,
    TENANT_A,
    TENANT_B,
    NoteTaken,
    SmallService,
    SmallUnitOfWork,
    Thing,
    ThingNotFound,
    UnitOfWorkThatNamesConstraints,
    shared,
    thing,
    thing_from_row,
    thing_to_row,
)


async def notes(service: SmallService) -> dict[str, str]:
    return {row[0]: row[1] for row in await service.rows("SELECT id, note FROM thing ORDER BY id")}


async def test_what_is_saved_is_found_again_as_it_was(service: SmallService) -> None:
    one = Thing("t1", "a note", 3, NOW, "clk_1")
    await service.make_things(one, Thing("t2"))
    async with service.units.open(TENANT_A, "test") as uow:
        assert await uow.things.find("t1") == one
        assert await uow.things.get_for_update("t1") == one
        uow.things.save(Thing("t1", "another", 4, None, None))
    async with service.units.open(TENANT_A, "test") as uow:
        assert await uow.things.get("t1") == Thing("t1", "another", 4)
        assert await uow.things.get("t2") == Thing("t2", "t2")


async def test_what_is_not_there_is_told(service: SmallService) -> None:
    async with service.units.open(TENANT_A, "test") as uow:
        assert await uow.things.find("t1") is None
        assert await uow.things.find_for_update("t1") is None
        with pytest.raises(ThingNotFound):
            await uow.things.get("t1")
        with pytest.raises(ThingNotFound):
            await uow.things.get_for_update("t1")


async def test_what_is_pending_is_seen_before_it_is_written(service: SmallService) -> None:
    await service.make_things(Thing("t1"))
    async with service.units.open(TENANT_A, "test") as uow:
        uow.things.add(Thing("t2", "new"))
        assert await uow.things.get("t2") == Thing("t2", "new")
        await uow.things.get_for_update("t1")
        uow.things.save(Thing("t1", "changed"))
        assert await uow.things.get("t1") == Thing("t1", "changed")
        assert await uow.things.get_for_update("t1") == Thing("t1", "changed")
        uow.things.save(Thing("t2", "changed while new"))
        assert await notes(service) == {"t1": "t1"}
    assert await notes(service) == {"t1": "changed", "t2": "changed while new"}


async def test_saving_what_was_not_locked_is_a_mistake_of_ours(service: SmallService) -> None:
    await service.make_things(Thing("t1"))
    async with service.units.open(TENANT_A, "test") as uow:
        one = await uow.things.get("t1")
        with pytest.raises(AssertionError, match="not locked"):
            uow.things.save(one)


async def test_a_batch_is_loaded_with_one_statement_and_written_with_one(service: SmallService) -> None:
    ids = [f"t{number:03}" for number in range(100)]
    await service.make_things(*(Thing(id) for id in ids))
    statements: list[str] = []

    def note(connection: object, cursor: object, statement: str, *more: object) -> None:
        statements.append(statement)

    engine = service.worker.engine.sync_engine
    async with service.units.open(TENANT_A, "test") as uow:
        event.listen(engine, "before_cursor_execute", note)
        await uow.things.load_for_update(ids)
        await uow.things.load_for_update(ids)
        for id in ids:
            one = await uow.things.get_for_update(id)
            uow.things.save(Thing(one.id, f"{id} changed"))
        event.remove(engine, "before_cursor_execute", note)
    assert len(statements) == 1
    assert len(await service.rows("SELECT DISTINCT xmin::text FROM thing")) == 1
    assert set((await notes(service)).values()) == {f"{id} changed" for id in ids}


async def test_rows_are_locked_in_the_order_of_their_ids(service: SmallService) -> None:
    """Two batches with the same rows in different orders wait for each other, and do not deadlock."""
    ids = [f"t{number:02}" for number in range(40)]
    await service.make_things(*(Thing(id, version=0) for id in ids))

    async def count_up(order: list[str]) -> None:
        async with service.units.open(TENANT_A, "test") as uow:
            await uow.things.load_for_update(order)
            for id in order:
                one = await uow.things.get_for_update(id)
                uow.things.save(Thing(one.id, one.note, one.version + 1))
            await asyncio.sleep(0.01)

    await asyncio.gather(*(count_up(order) for order in (ids, ids[::-1], ids[20:] + ids[:20]) * 2))
    assert [row[0] for row in await service.rows("SELECT DISTINCT version FROM thing")] == [6]


async def test_a_locked_aggregate_is_waited_for_and_seen_as_the_other_left_it(service: SmallService) -> None:
    await service.make_things(Thing("t1"))
    async with service.units.open(TENANT_A, "one") as one:
        await one.things.get_for_update("t1")

        async def second() -> Thing:
            async with service.units.open(TENANT_A, "two") as two:
                return await two.things.get_for_update("t1")

        waiting = asyncio.create_task(second())
        await asyncio.sleep(0.1)
        assert not waiting.done()
        one.things.save(Thing("t1", "changed"))
    assert await waiting == Thing("t1", "changed")


# The order of writing


async def test_what_gives_way_is_written_before_what_takes_its_place(service: SmallService) -> None:
    """A unique note passes from one thing to a new one in a single unit of work."""
    await service.make_things(Thing("t1", "the default"))
    async with service.units.open(TENANT_A, "test") as uow:
        uow.things.add(Thing("t2", "the default"))
        await uow.things.get_for_update("t1")
        uow.things.save(Thing("t1", "a former default"))
    assert await notes(service) == {"t1": "a former default", "t2": "the default"}


async def test_repositories_are_written_in_the_order_of_their_registration(service: SmallService) -> None:
    written: list[str] = []

    class Noting:
        def __init__(self, name: str) -> None:
            self.name = name

        async def flush(self) -> None:
            written.append(self.name)

        def reset(self) -> None:
            written.append(f"{self.name} forgets")

    async with service.units.open(TENANT_A, "test") as uow:
        uow.register(Noting("first"), Noting("second"))
        await uow.become(TENANT_B, "test")
        written.append("leave")
    assert written == ["first", "second", "first forgets", "second forgets", "leave", "first", "second"]


# Several tenants


async def test_becoming_another_tenant_writes_what_is_pending_and_forgets_what_was_loaded(
    service: SmallService,
) -> None:
    await service.make_things(Thing("a1"), tenant=TENANT_A)
    await service.make_things(Thing("b1"), tenant=TENANT_B)
    async with service.units.open_for_many() as uow:
        await uow.become(TENANT_A, "test")
        assert await uow.things.get_for_update("a1") == Thing("a1", "a1")
        assert await uow.things.find_for_update("b1") is None
        uow.things.save(Thing("a1", "changed"))
        uow.things.add(Thing("a2"))
        await uow.become(TENANT_B, "test")
        assert await uow.things.find("a1") is None
        assert await uow.things.find("a2") is None
        assert await uow.things.get_for_update("b1") == Thing("b1", "b1")
        uow.things.add(Thing("b2"))
        await uow.become(TENANT_A, "test")
        assert await uow.things.get("a1") == Thing("a1", "changed")
    found = await service.rows("SELECT id, tenant::text FROM thing ORDER BY id")
    assert [tuple(row) for row in found] == [
        ("a1", TENANT_A),
        ("a2", TENANT_A),
        ("b1", TENANT_B),
        ("b2", TENANT_B),
    ]


async def test_test_clocks_are_looked_up_once_and_forgotten_with_their_tenant(service: SmallService) -> None:
    await service.rows(
        "INSERT INTO known_clock (tenant, id, now, version) VALUES ($1, 'clk_1', $2, 1)", TENANT_A, NOW
    )
    async with service.units.open(TENANT_A, "test") as uow:
        found = await uow.test_clock("clk_1")
        assert found is not None
        assert found.now == NOW
        assert await uow.test_clock(None) is None
        assert await uow.test_clock("clk_2") is None
        await service.rows("UPDATE known_clock SET now = now + interval '1 hour'")
        assert await uow.test_clock("clk_1") is found
        await uow.become(TENANT_B, "test")
        assert await uow.test_clock("clk_1") is None
        await uow.become(TENANT_A, "test")
        assert await uow.test_clock("clk_1") != found


# What constraints say


async def add(
    service: SmallService, one: Thing, make: Callable[..., SmallUnitOfWork] = SmallUnitOfWork
) -> None:
    async with UnitsOfWork(service.worker, make).open(TENANT_A, "test") as uow:
        uow.things.add(one)


async def test_a_taken_key_is_a_conflict(service: SmallService) -> None:
    await service.make_things(Thing("t1", "note"))
    with pytest.raises(AlreadyExists) as same_id:
        await add(service, Thing("t1", "other"))
    with pytest.raises(Conflict) as same_note:
        await add(service, Thing("t2", "note"))
    assert same_id.value.facts == {"constraint": "pk_thing"}
    assert same_note.value.facts == {"constraint": "uq_thing_tenant_note"}
    assert await notes(service) == {"t1": "note"}


async def test_a_constraint_may_have_an_error_of_its_own(service: SmallService) -> None:
    await service.make_things(Thing("t1", "note"))
    with pytest.raises(NoteTaken):
        await add(service, Thing("t2", "note"), UnitOfWorkThatNamesConstraints)
    with pytest.raises(AlreadyExists):
        await add(service, Thing("t1", "other"), UnitOfWorkThatNamesConstraints)


async def test_a_change_that_collides_is_a_conflict_too(service: SmallService) -> None:
    await service.make_things(Thing("t1", "note"), Thing("t2"))

    async def rename() -> None:
        async with service.units.open(TENANT_A, "test") as uow:
            await uow.things.get_for_update("t2")
            uow.things.save(Thing("t2", "note"))

    with pytest.raises(AlreadyExists):
        await rename()


async def test_another_tenants_note_is_not_in_the_way(service: SmallService) -> None:
    await service.make_things(Thing("t1", "note"))
    await service.make_things(Thing("t2", "note"), tenant=TENANT_B)
    assert await notes(service) == {"t1": "note", "t2": "note"}


async def test_another_tenants_id_is_a_conflict_and_not_overwritten(service: SmallService) -> None:
    await service.make_things(Thing("t1", "theirs"), tenant=TENANT_B)
    with pytest.raises(AlreadyExists):
        await add(service, Thing("t1", "ours"))
    assert await notes(service) == {"t1": "theirs"}


async def test_other_broken_rules_are_mistakes_of_ours(service: SmallService) -> None:
    with pytest.raises((asyncpg.NotNullViolationError, IntegrityError)):
        await add(service, Thing("t1", version=None))  # type: ignore[arg-type]


async def test_existing_ones_are_left_alone_where_the_repository_says_so(service: SmallService) -> None:
    class Lenient(SmallUnitOfWork):
        def __init__(self, connection: object) -> None:
            super().__init__(connection)  # type: ignore[arg-type]
            self.things = Repository(
                self,
                thing,
                to_row=thing_to_row,
                from_row=thing_from_row,
                not_found=lambda id: ThingNotFound("no", id=id),
                insert_tail="ON CONFLICT DO NOTHING",
            )
            self.register(self.things)

    await service.make_things(Thing("t1", "first"))
    await add(service, Thing("t1", "second"), Lenient)
    assert await notes(service) == {"t1": "first"}


# The inbox


async def test_claims_say_what_is_new(service: SmallService) -> None:
    async def take(*ids: str, handler: str = "h") -> set[str]:
        async with service.units.open("", "test") as uow:
            return await claim(uow.connection, shared.inbox, handler=handler, message_ids=ids)

    assert await take("b", "a", "b") == {"a", "b"}
    assert await take("a", "c") == {"c"}
    assert await take("a", handler="other") == {"a"}
    assert await take() == set()
