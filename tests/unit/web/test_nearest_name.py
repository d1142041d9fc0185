"""A misspelled field is told as it is spelled, wherever it stands."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import BaseModel, Field

from libs.common.web.nearest_name import nearest_field, nearest_name


class Tier(BaseModel):
    up_to: str | None = None
    unit_amount: str


class Price(BaseModel):
    tiers: Annotated[list[Tier], Field(max_length=9)] = Field(default_factory=list)
    unit_amount: str | None = None
    start: str | None = Field(default=None, alias="from")


class Plan(BaseModel):
    name: str
    prices: list[Price] | None = None
    notes: dict[str, str] = Field(default_factory=dict)


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        (["nmae"], "name"),
        (["Name"], "name"),
        (["colour"], None),
        (["prices", 0, "unit_amout"], "unit_amount"),
        (["prices", 0, "up_too"], None),  # a field of a tier, not of a price
        (["prices", 0, "tiers", 3, "up_too"], "up_to"),
        (["prices", 0, "frm"], "from"),
        (["prices", 0, "starts"], None),  # as it is called here, not in the document
        (["notes", "nmae"], None),
        (["nothing", "nmae"], None),
    ],
)
def test_the_field_most_like_it_is_meant(path: list[str | int], meant: str | None) -> None:
    assert nearest_field(Plan | None, path) == meant


def test_of_an_unknown_document_nothing_is_meant() -> None:
    assert nearest_field(None, ["nmae"]) is None


def test_the_same_letters_come_first() -> None:
    assert nearest_name("form", ["format", "from"]) == "from"
