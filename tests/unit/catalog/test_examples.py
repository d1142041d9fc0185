"""The examples that the OpenAPI document shows are good bodies."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest

from libs.common.web.bodies import StrictBody
from services.catalog import entrypoints


def shown() -> Iterator[Any]:
    for module in pkgutil.iter_modules(entrypoints.__path__, f"{entrypoints.__name__}."):
        for thing in vars(importlib.import_module(module.name)).values():
            if isinstance(thing, type) and issubclass(thing, StrictBody) and thing.__module__ == module.name:
                told = thing.model_config.get("json_schema_extra") or {}
                for number, example in enumerate(told.get("examples", ()) if isinstance(told, dict) else ()):
                    yield pytest.param(thing, example, id=f"{thing.__name__}-{number}")


@pytest.mark.parametrize(("body", "example"), list(shown()))
def test_an_example_is_a_body_of_its_kind(body: type[StrictBody], example: dict[str, Any]) -> None:
    read = body.model_validate_json(json.dumps(example))
    said = json.loads(read.model_dump_json(by_alias=True, exclude_unset=True))
    assert said.keys() == example.keys()
