"""Base of every settings group: typed values, read once from the environment and then passed on.

A group is a frozen dataclass. The variable of a field is the group's prefix and the field's name in capitals,
and the name ends in its unit:

    @dataclass(frozen=True)
    class RelaySettings(Settings):
        PREFIX: ClassVar[str] = "PERENNIAL_RELAY_"

        batch_records_max: int = setting(500, minimum=1, maximum=10_000)
        poll_s: float = setting(1.0, minimum=0.01)
        spool_folder: Path = setting(Path("var/spool"))
        webhook_secret: str = secret()

    RelaySettings.from_environment(os.environ)   # PERENNIAL_RELAY_BATCH_RECORDS_MAX=…

A field without a default must be set. An empty variable counts as not set. A secret has no default, ever, and
is shown neither in a repr nor in an error; it may also stand in a file, named by its variable with _FILE behind
it (PERENNIAL_RELAY_WEBHOOK_SECRET_FILE=…).
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from math import isfinite
from pathlib import Path
from typing import Any, ClassVar, Self, Union, get_args, get_origin, get_type_hints

from libs.common.errors import ServiceError

_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")
_MINIMUM, _MAXIMUM, _CHOICES, _SECRET = "minimum", "maximum", "choices", "secret"
_FILE = "_FILE"


class InvalidSettings(ServiceError):
    """Everything wrong with one group, at once. `problems`: variable → what is wrong, and what to do."""

    code: ClassVar[str] = "invalid_settings"
    title: ClassVar[str] = "The settings cannot be used"

    def __init__(self, group: str, problems: Mapping[str, str]) -> None:
        told = "; ".join(f"{variable} {problem}" for variable, problem in problems.items())
        super().__init__(f"{group}: {told}", remedy="Set the variables named, and start again.")
        self.problems = dict(problems)


class _Refused(Exception):
    """A value that cannot be used; says why, and what could be."""


def setting(
    default: Any = MISSING,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """A field with its bounds, both included."""
    bounds = {_MINIMUM: minimum, _MAXIMUM: maximum, _CHOICES: choices}
    return field(metadata=bounds) if default is MISSING else field(default=default, metadata=bounds)


def secret() -> Any:
    """A field that must be set from outside, and is never shown."""
    return field(repr=False, metadata={_SECRET: True})


@dataclass(frozen=True)
class Settings:
    """Of types str, int, float, bool, Path, tuple[str, ...] (separated by commas), and `… | None`."""

    PREFIX: ClassVar[str] = "PERENNIAL_"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """Raises: InvalidSettings, with every variable that is missing or cannot be used."""
        kinds = get_type_hints(cls)
        values: dict[str, Any] = {}
        problems: dict[str, str] = {}
        for each in fields(cls):
            variable = cls.variable(each.name)
            try:
                text = _text(environ, variable, each)
                if text:
                    values[each.name] = _read(text, kinds[each.name], each)
                elif each.default is MISSING and each.default_factory is MISSING:
                    raise _Refused(f"is not set: give it {_wanted(kinds[each.name], each)}")
            except _Refused as refusal:
                problems[variable] = str(refusal)
        if problems:
            raise InvalidSettings(cls.__name__, problems)
        return cls(**values)

    @classmethod
    def variable(cls, name: str) -> str:
        """The environment variable of a field."""
        return f"{cls.PREFIX}{name.upper()}"


def _text(environ: Mapping[str, str], variable: str, each: Field[Any]) -> str:
    """What the variable holds, or, for a secret, the file that it names."""
    text = environ.get(variable, "").strip()
    file = environ.get(f"{variable}{_FILE}", "").strip()
    if text or not file or not each.metadata.get(_SECRET):
        return text
    try:
        text = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise _Refused(f"stands in {file}, which cannot be read: {reason}") from None
    if not text:
        raise _Refused(f"stands in {file}, which is empty")
    return text


def _read(text: str, kind: Any, each: Field[Any]) -> Any:
    try:
        value = _convert(text, _plain(kind))
    except ValueError:
        raise _Refused(f"is {_shown(text, each)}: give it {_wanted(kind, each)}") from None
    bounds = each.metadata
    too_small = bounds.get(_MINIMUM) is not None and value < bounds[_MINIMUM]
    too_large = bounds.get(_MAXIMUM) is not None and value > bounds[_MAXIMUM]
    unknown = bool(bounds.get(_CHOICES)) and value not in bounds[_CHOICES]
    if too_small or too_large or unknown:
        raise _Refused(f"is {_shown(text, each)}: give it {_wanted(kind, each)}")
    return value


def _convert(text: str, kind: Any) -> Any:
    if kind is bool:
        return _convert_bool(text)
    if get_origin(kind) is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if kind in (str, int, Path):
        return kind(text)
    if kind is float:
        return _convert_float(text)
    raise TypeError(f"settings of type {kind} are not supported")


def _convert_bool(text: str) -> bool:
    if text.lower() not in _TRUE + _FALSE:
        raise ValueError(text)
    return text.lower() in _TRUE


def _convert_float(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError(text)
    return value


def _plain(kind: Any) -> Any:
    """`int | None` is read as `int`: None is what a variable that is not set leaves."""
    if get_origin(kind) in (Union, types.UnionType):
        [plain] = [part for part in get_args(kind) if part is not type(None)]
        return plain
    return kind


def _shown(text: str, each: Field[Any]) -> str:
    return "unusable" if each.metadata.get(_SECRET) else repr(text)


def _wanted(kind: Any, each: Field[Any]) -> str:
    """What a usable value is, in words."""
    bounds = each.metadata
    if bounds.get(_CHOICES):
        return "one of " + ", ".join(bounds[_CHOICES])
    names = {int: "a whole number", float: "a number", bool: "true or false", Path: "a path"}
    words = "a secret" if bounds.get(_SECRET) else names.get(_plain(kind), "a text")
    if get_origin(_plain(kind)) is tuple:
        words = "a list separated by commas"
    if bounds.get(_MINIMUM) is not None:
        words += f", at least {bounds[_MINIMUM]}"
    if bounds.get(_MAXIMUM) is not None:
        words += f", at most {bounds[_MAXIMUM]}"
    return words
