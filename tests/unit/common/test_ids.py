"""Ids sort by time, and natural keys give the same id for ever."""

import os
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

from hypothesis import given
from hypothesis import strategies as st

from libs.common.ids import ALPHABET, NAMESPACE, derived_id, new_id, new_uuid7, random_hex

AT = datetime(2026, 1, 1, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
instants = st.integers(0, 200 * 365 * 86_400_000).map(lambda ms: EPOCH + timedelta(milliseconds=ms))
parts = st.lists(st.text(max_size=8), max_size=4)


def test_a_new_id_is_its_prefix_and_26_letters() -> None:
    prefix, _, body = new_id("inv").partition("_")
    assert prefix == "inv"
    assert len(body) == 26
    assert set(body) <= set(ALPHABET)


def test_new_ids_differ_even_within_one_instant() -> None:
    assert len({new_id("inv", AT) for _ in range(1000)}) == 1000


@given(one=instants, other=instants)
def test_ids_sort_by_the_millisecond(one: datetime, other: datetime) -> None:
    earlier, later = sorted((one, other))
    if earlier < later:
        assert new_id("inv", earlier) < new_id("inv", later)
        assert new_uuid7(earlier) < new_uuid7(later)


def test_a_uuid7_says_its_version_and_variant() -> None:
    assert new_uuid7(AT).version == 7
    assert new_uuid7(AT).variant == "specified in RFC 4122"


def test_a_derived_id_never_changes() -> None:
    """Ids derived years ago stand in databases: another result here is a breaking change."""
    assert derived_id("chg", "a", "b") == "chg_1ff2q1nx3xa1kbf9xgv3fsy7dd"


@given(keys=parts)
def test_a_derived_id_is_a_uuid_of_version_5(keys: list[str]) -> None:
    name = "".join(f"{len(part)}:{part}" for part in ("chg", *keys))
    number = 0
    for letter in derived_id("chg", *keys).removeprefix("chg_"):
        number = number * 32 + ALPHABET.index(letter)
    assert UUID(int=number) == uuid5(NAMESPACE, name)


@given(one=parts, other=parts)
def test_derived_ids_are_equal_just_when_their_parts_are(one: list[str], other: list[str]) -> None:
    assert (derived_id("chg", *one) == derived_id("chg", *other)) == (one == other)


def test_the_prefix_is_part_of_what_is_derived_from() -> None:
    assert derived_id("a", "x").removeprefix("a") != derived_id("b", "x").removeprefix("b")


def test_a_forked_process_makes_ids_of_its_own() -> None:
    new_id("inv", AT)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, new_id("inv", AT).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 100).decode() != new_id("inv", AT)


def test_random_bytes_never_run_out_and_never_come_twice() -> None:
    assert len({random_hex() for _ in range(2_000)}) == 2_000
    assert {len(random_hex()) for _ in range(300)} == {32}
