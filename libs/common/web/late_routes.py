"""Routes that are worked out when they are first asked for, and are found without that.

What FastAPI reads out of a route, how its parameters are read and what its answers look like, takes milliseconds. There
are hundreds of routes; a process that is asked for a few of them, or, as a worker, for none, need not wait for the rest
at its start.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from pydantic.warnings import UnsupportedFieldAttributeWarning
from starlette.routing import Match, compile_path
from starlette.types import Scope

# FastAPI gives the name of a body to whoever reads it, who has no use for it. It hides the warning of that, but not
# where a body is worked out when the first one comes.
warnings.filterwarnings("ignore", message="The 'alias' attribute", category=UnsupportedFieldAttributeWarning)

_CONVERTOR = re.compile(r":[a-z]+(?=\})")  # {message_id:path}


class LateRoute(APIRoute):
    """A route that knows its path, its methods and its name. Whoever reads anything else of it has it worked out.

    What is wrong with it is raised by whoever asks first: the OpenAPI document asks all of them.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        self.path, self.endpoint = path, endpoint
        self.name = options.get("name") or endpoint.__name__
        self.methods = {method.upper() for method in options.get("methods") or ("GET",)}
        self.path_format = _CONVERTOR.sub("", path)
        self._begins = path.partition("{")[0]
        self._options = options

    def __getattr__(self, name: str) -> Any:
        """Asked for what is not there yet."""
        if name in ("path_regex", "param_convertors"):
            self.path_regex, self.path_format, self.param_convertors = compile_path(self.path)
        elif name == "_options" or name.startswith("__"):
            raise AttributeError(name)
        else:
            super().__init__(self.path, self.endpoint, **self._options)
            del self._options  # what is missing from here on does not exist
        return object.__getattribute__(self, name)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Mostly no: told by how the path begins, before its pattern is made."""
        if not scope.get("root_path") and not scope.get("path", "").startswith(self._begins):
            return Match.NONE, {}
        return super().matches(scope)


class LateRouter(APIRouter):
    """A router of such routes, for `create_app`. Operations are called as their functions are."""

    def __init__(self, *, prefix: str = "", tags: Sequence[str] = ()) -> None:
        super().__init__(
            prefix=prefix,
            tags=list(tags),
            route_class=LateRoute,
            generate_unique_id_function=_operation_id,
        )


def _operation_id(route: APIRoute) -> str:
    """The function's name, which changes only when somebody means it to."""
    return route.name
