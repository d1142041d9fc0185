"""Events that a caller sends, to see what would come of them: read as strictly as any other body."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from libs.common.errors import InputError
from libs.common.web.bodies import YEAR_MAX, YEAR_MIN
from libs.common.web.validation import faults_of

INTEGER_MAX = 2**31 - 1
WHOLE_DIGITS_MAX = 20
DECIMALS_MAX = 18
TEXT_LENGTH_MAX = 4_000
LIST_LENGTH_MAX = 1_000

E = TypeVar("E", bound=BaseModel)


def read_sent_event(
    contract: type[E], data: Mapping[str, Any], *, tenant: str, at: str
) -> tuple[E | None, list[InputError]]:
    """The event, of `tenant` whatever it says itself, and all that is wrong with it; `at` is where it stands.

    What is published may have fields that its reader does not know, and numbers as its writer spells them. What is
    sent to us may not: an unknown field is an error, each value has the JSON type that it is published with, and no
    number, date or text is larger than any business has.
    """
    if too_long := list(_lists_too_long(data, at)):
        return None, too_long  # reading them item by item would take seconds, with a fault in each
    try:
        event = contract.model_validate({**data, "tenant": tenant})
    except ValidationError as error:
        return None, faults_of(error.errors(include_url=False, include_input=False), data, None, at)
    spelled = event.model_dump(mode="json", exclude_unset=True)
    given = {name: value for name, value in data.items() if name != "tenant"}
    return event, [*_spelling_faults(given, spelled, at), *_size_faults(event, at)]


def _lists_too_long(given: Any, at: str) -> Iterator[InputError]:
    if isinstance(given, list) and len(given) > LIST_LENGTH_MAX:
        yield _fault(at, f"has at most {LIST_LENGTH_MAX} items")
    elif isinstance(given, dict | list):
        items = given.items() if isinstance(given, dict) else enumerate(given)
        for name, inner in items:
            yield from _lists_too_long(inner, f"{at}/{_short(str(name))}")


def _spelling_faults(given: Any, spelled: Any, at: str) -> Iterator[InputError]:
    """Where what came is not of the type that it is published with, or is nothing that is published."""
    if type(given) is not type(spelled):
        yield _fault(at, f"must be {_NAMES.get(type(spelled), 'something else')}")
    elif isinstance(given, dict):
        for name, inner in given.items():
            if name in spelled:
                yield from _spelling_faults(inner, spelled[name], f"{at}/{name}")
            else:
                yield _fault(f"{at}/{_short(name)}", "is not a field of this event")
    elif isinstance(given, list):
        for position, (inner, other) in enumerate(zip(given, spelled, strict=True)):
            yield from _spelling_faults(inner, other, f"{at}/{position}")
    elif isinstance(given, str) and len(given) > TEXT_LENGTH_MAX:
        yield _fault(at, f"has at most {TEXT_LENGTH_MAX} characters")


_NAMES: Mapping[type, str] = {
    str: "a string",
    int: "a whole number",
    bool: "true or false",
    list: "a JSON array",
    dict: "a JSON object",
    type(None): "null",
}


def _size_faults(part: object, at: str) -> Iterator[InputError]:
    if isinstance(part, BaseModel):
        for name in type(part).model_fields:
            yield from _size_faults(getattr(part, name), f"{at}/{name}")
    elif isinstance(part, tuple):
        for position, each in enumerate(part):
            yield from _size_faults(each, f"{at}/{position}")
    elif isinstance(part, Decimal):
        if not _is_plain(part):
            yield _fault(
                at, f"has at most {WHOLE_DIGITS_MAX} digits before the point and {DECIMALS_MAX} after it"
            )
    elif isinstance(part, int):
        if not 0 <= part <= INTEGER_MAX:
            yield _fault(at, f"must be from 0 to {INTEGER_MAX}")
    elif isinstance(part, date) and not YEAR_MIN < part.year < YEAR_MAX:
        yield _fault(at, f"must lie between the years {YEAR_MIN} and {YEAR_MAX}")


def _is_plain(number: Decimal) -> bool:
    exponent = number.as_tuple().exponent
    return (
        isinstance(exponent, int)
        and -DECIMALS_MAX <= exponent <= WHOLE_DIGITS_MAX
        and (not number or number.adjusted() < WHOLE_DIGITS_MAX)
    )


def _short(name: str) -> str:
    cut = name if len(name) <= 64 else name[:63] + "…"
    return cut.replace("~", "~0").replace("/", "~1")


def _fault(pointer: str, detail: str) -> InputError:
    return {"pointer": pointer, "detail": detail}
