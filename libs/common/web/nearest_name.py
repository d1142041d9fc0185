"""Which field or parameter somebody may have meant who wrote another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel

LIKENESS_MIN = 0.6


def nearest_name(unknown: str, known: Sequence[str]) -> str | None:
    """The one most like it, those of the same letters first; None if none is like it."""
    letters = sorted(unknown.lower())
    same = next((name for name in known if sorted(name) == letters), None)
    found = get_close_matches(unknown.lower(), known, n=1, cutoff=LIKENESS_MIN)
    return same or (found[0] if found else None)


def nearest_field(annotation: Any, path: Sequence[str | int]) -> str | None:
    """The field most like the last part of `path`, which leads to one that there is not; None if none is like it.

    `annotation` is what the document is read as.
    """
    *within, unknown = path
    fields = [field for model in models_at([annotation], within) for field in _names_of(model)]
    return nearest_name(str(unknown), fields)


def models_at(annotations: Sequence[Any], path: Sequence[str | int]) -> list[type[BaseModel]]:
    """What may stand at the path: of a list or a union, whatever it may hold."""
    models = [model for annotation in annotations for model in _models_in(annotation)]
    for part in path:
        if isinstance(part, str):  # a place in a list leads to the same models
            fields = [field for model in models for field in _fields_of(model) if field[0] == part]
            models = [model for _, annotation in fields for model in _models_in(annotation)]
    return models


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        return
    for inner in get_args(annotation):
        yield from _models_in(inner)


def _names_of(model: type[BaseModel]) -> list[str]:
    return [name for name, _ in _fields_of(model)]


def _fields_of(model: type[BaseModel]) -> list[tuple[str, Any]]:
    return [(field.alias or name, field.annotation) for name, field in model.model_fields.items()]
