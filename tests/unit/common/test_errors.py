"""The error tree: stable codes, facts, everything wrong at once."""

from types import ModuleType

import pytest

from libs.common import errors, money, periods
from libs.common.errors import DomainError, InputError, InvalidInput, NotFound, ServiceError, TransientError


class WidgetNotFound(NotFound):
    code = "widget_not_found"
    title = "There is no such widget"


def descendants(kind: type[ServiceError]) -> set[type[ServiceError]]:
    found = set(kind.__subclasses__())
    return found.union(*(descendants(child) for child in found))


def test_an_error_carries_its_facts_and_what_to_do() -> None:
    error = WidgetNotFound("no such widget", pointer="/widget", remedy="list them first", widget="w_1")
    assert (error.message, error.pointer, error.remedy) == ("no such widget", "/widget", "list them first")
    assert error.facts == {"widget": "w_1"}
    assert str(error) == "no such widget (widget='w_1')"


def test_an_error_without_facts_reads_as_its_message() -> None:
    assert str(WidgetNotFound("no such widget")) == "no such widget"


def test_invalid_input_tells_everything_that_is_wrong() -> None:
    faults: list[InputError] = [
        {"pointer": "/a", "detail": "is missing"},
        {"pointer": "/b", "detail": "is not a number"},
    ]
    error = InvalidInput("cannot be read", errors=faults, field_count=2)
    assert error.errors == tuple(faults)
    assert error.facts == {"field_count": 2}


def test_refusals_and_outages_are_different_branches() -> None:
    assert issubclass(WidgetNotFound, DomainError)
    assert not issubclass(WidgetNotFound, TransientError)
    assert not issubclass(TransientError, DomainError)


@pytest.mark.parametrize("module", [errors, money, periods], ids=lambda module: module.__name__)
def test_every_error_has_a_code_and_a_title_of_its_own(module: ModuleType) -> None:
    kinds = [kind for kind in descendants(ServiceError) if kind.__module__ == module.__name__]
    assert kinds
    for attribute in ("code", "title"):
        values = [getattr(kind, attribute) for kind in kinds]
        assert len(set(values)) == len(values)
        assert all(attribute in vars(kind) for kind in kinds)
