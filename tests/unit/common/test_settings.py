"""Settings: typed, bounded, and clear about what is wrong."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import pytest

from libs.common.settings import InvalidSettings, Settings, secret, setting


@dataclass(frozen=True)
class Everything(Settings):
    PREFIX: ClassVar[str] = "TEST_"

    seller_name: str
    api_secret: str = secret()
    batch_max: int = setting(500, minimum=1, maximum=1000)
    poll_s: float = setting(1.5, minimum=0)
    strict: bool = False
    folder: Path = Path("var")
    mode: str = setting("direct", choices=("direct", "kafka"))
    hosts: tuple[str, ...] = ()
    limit_records: int | None = None


NEEDED = {"TEST_SELLER_NAME": "Nordwind", "TEST_API_SECRET": "correct horse"}


def test_what_is_not_set_has_its_default() -> None:
    settings = Everything.from_environment(NEEDED)
    assert settings == Everything(seller_name="Nordwind", api_secret="correct horse")
    assert (settings.batch_max, settings.poll_s, settings.strict, settings.limit_records) == (
        500,
        1.5,
        False,
        None,
    )


def test_every_type_is_read() -> None:
    settings = Everything.from_environment(
        NEEDED
        | {
            "TEST_BATCH_MAX": " 20 ",
            "TEST_POLL_S": "0.25",
            "TEST_STRICT": "Yes",
            "TEST_FOLDER": "/srv/perennial",
            "TEST_MODE": "kafka",
            "TEST_HOSTS": "a, b,,c",
            "TEST_LIMIT_RECORDS": "7",
            "OTHER_BATCH_MAX": "1",
        }
    )
    assert (settings.batch_max, settings.poll_s, settings.strict) == (20, 0.25, True)
    assert (settings.folder, settings.mode, settings.hosts) == (
        Path("/srv/perennial"),
        "kafka",
        ("a", "b", "c"),
    )
    assert settings.limit_records == 7


class Case(NamedTuple):
    name: str
    variable: str
    value: str
    told: str


CASES = [
    Case("no_number", "TEST_BATCH_MAX", "many", "'many': give it a whole number, at least 1, at most 1000"),
    Case("no_whole_number", "TEST_BATCH_MAX", "1.5", "'1.5': give it a whole number"),
    Case("below_the_edge", "TEST_BATCH_MAX", "0", "at least 1"),
    Case("above_the_edge", "TEST_BATCH_MAX", "1001", "at most 1000"),
    Case("negative_time", "TEST_POLL_S", "-0.1", "a number, at least 0"),
    Case("not_a_number", "TEST_POLL_S", "nan", "'nan': give it a number"),
    Case("endless", "TEST_POLL_S", "inf", "'inf': give it a number"),
    Case("no_truth", "TEST_STRICT", "maybe", "'maybe': give it true or false"),
    Case("no_choice", "TEST_MODE", "pigeon", "one of direct, kafka"),
    Case("needed", "TEST_SELLER_NAME", "", "TEST_SELLER_NAME is not set: give it a text"),
    Case("secret_needed", "TEST_API_SECRET", "", "TEST_API_SECRET is not set: give it a secret"),
    Case("blank_is_not_set", "TEST_SELLER_NAME", "  ", "TEST_SELLER_NAME is not set"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_error_names_the_variable_the_problem_and_the_remedy(case: Case) -> None:
    with pytest.raises(InvalidSettings) as caught:
        Everything.from_environment(NEEDED | {case.variable: case.value})
    assert list(caught.value.problems) == [case.variable]
    assert case.variable in str(caught.value)
    assert case.told in str(caught.value)


@pytest.mark.parametrize("value", ["1", "1000"])
def test_the_edges_are_allowed(value: str) -> None:
    assert Everything.from_environment(NEEDED | {"TEST_BATCH_MAX": value}).batch_max == int(value)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(InvalidSettings) as caught:
        Everything.from_environment({"TEST_BATCH_MAX": "x", "TEST_MODE": "y"})
    assert set(caught.value.problems) == {
        "TEST_SELLER_NAME",
        "TEST_API_SECRET",
        "TEST_BATCH_MAX",
        "TEST_MODE",
    }


def test_a_secret_is_not_shown() -> None:
    @dataclass(frozen=True)
    class Pin(Settings):
        pin: int = secret()

    assert "correct horse" not in repr(Everything.from_environment(NEEDED))
    with pytest.raises(InvalidSettings) as caught:
        Pin.from_environment({"PERENNIAL_PIN": "12e4"})
    assert "12e4" not in str(caught.value)
    assert "PERENNIAL_PIN is unusable" in str(caught.value)


def test_settings_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        Everything.from_environment(NEEDED).batch_max = 1  # type: ignore[misc]


def test_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("correct horse\n", encoding="utf-8")
    settings = Everything.from_environment(
        {"TEST_SELLER_NAME": "Nordwind", "TEST_API_SECRET_FILE": str(file)}
    )
    assert settings.api_secret == "correct horse"


def test_a_secret_that_is_given_twice_is_the_variable_itself(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("another", encoding="utf-8")
    assert (
        Everything.from_environment(NEEDED | {"TEST_API_SECRET_FILE": str(file)}).api_secret
        == "correct horse"
    )


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "cannot be read: No such file"), (b" \n", "is empty"), (b"\xff", "it is no text")],
)
def test_a_file_without_a_secret_is_told_by_its_name(
    tmp_path: Path, content: bytes | None, told: str
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InvalidSettings) as caught:
        Everything.from_environment({"TEST_SELLER_NAME": "Nordwind", "TEST_API_SECRET_FILE": str(file)})
    assert str(file) in caught.value.problems["TEST_API_SECRET"]
    assert told in caught.value.problems["TEST_API_SECRET"]


def test_only_a_secret_is_looked_for_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "name"
    file.write_text("Nordwind", encoding="utf-8")
    with pytest.raises(InvalidSettings) as caught:
        Everything.from_environment({"TEST_API_SECRET": "x", "TEST_SELLER_NAME_FILE": str(file)})
    assert list(caught.value.problems) == ["TEST_SELLER_NAME"]
