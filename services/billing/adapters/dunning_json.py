"""Schedules of dunning as JSON: what differs from the default, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from services.billing.domain.dunning_terms import AS_BY_DEFAULT, DunningTerms


def dunning_terms_to_json(terms: DunningTerms) -> dict[str, Any] | None:
    """None for the default one, as most have."""
    if terms == AS_BY_DEFAULT:
        return None
    told = {field.name: getattr(terms, field.name) for field in fields(terms)}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in told.items()
        if value != getattr(AS_BY_DEFAULT, name)
    }


def dunning_terms_from_json(stored: Mapping[str, Any] | None) -> DunningTerms:
    if not stored:
        return AS_BY_DEFAULT
    told: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()
    }
    return DunningTerms(**told)
