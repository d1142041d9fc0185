"""How commands speak: on a screen in colour, of errors in one line with what to do, never as a stack."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import typer
from rich.console import Console

from libs.common.errors import ServiceError

P = ParamSpec("P")
R = TypeVar("R")

ERROR = 2  # what click exits with itself, where a command is written wrongly

out = Console()
waiting = Console(stderr=True)  # what is said while something takes its time; on a screen only


def told(command: Callable[P, R]) -> Callable[P, R]:
    """Errors of ours in one line with their remedy."""
    return told_with(ERROR)(command)


def told_with(exit_code: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """The same, for a command whose errors have an exit code of their own."""

    def decorated(command: Callable[P, R]) -> Callable[P, R]:
        @wraps(command)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return command(*args, **kwargs)
            except ServiceError as error:
                say_error(str(error), error.remedy)
            except OSError as error:  # a file that cannot be written, a folder that is not there
                say_error(str(error))
            raise typer.Exit(exit_code)

        return run

    return decorated


def say_error(message: str, remedy: str | None = None) -> None:
    print(f"perennial: {message}", file=sys.stderr)
    if remedy:
        print(f"           {remedy}", file=sys.stderr)
