"""The page at /docs: Swagger UI, served from here, so that it works without any other network."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from libs.common.web.problem import RouteUnknown

_ASSETS = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
_POLICY = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'"
_START = """\
const documents = {documents};
const wanted = new URLSearchParams(location.search).get("service");
const url = documents[wanted] ?? Object.values(documents)[0];
if (window.SwaggerUIBundle) {{
  SwaggerUIBundle({{ url, dom_id: "#ui", deepLinking: true, tryItOutEnabled: true }});
}}
"""
_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
</head>
<body>
<nav aria-label="Services">{links}</nav>
<div id="ui"></div>
<noscript>This page needs JavaScript; the OpenAPI documents linked above do not.</noscript>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="{path}/start.js"></script>
</body>
</html>
"""


def docs_routes(title: str, documents: Mapping[str, str], *, path: str = "/docs") -> list[BaseRoute]:
    """`documents` are the OpenAPI documents to show: a name each, and the path at which it is served.

    `path` is that of the page; what the page is made of is below /docs in any case.
    """
    page = _PAGE.format(title=html.escape(title), links=_links(documents), path=path)
    start = _START.format(documents=json.dumps(dict(documents)))

    async def show(request: Request) -> Response:
        return HTMLResponse(page, headers={"content-security-policy": _POLICY})

    async def begin(request: Request) -> Response:
        return Response(start, media_type="text/javascript")

    async def asset(request: Request) -> Response:
        name, folder = request.path_params["name"], _assets_folder()
        if folder is None or name not in _ASSETS:
            raise RouteUnknown("there is no such file")
        return FileResponse(
            folder / name, media_type=_ASSETS[name], headers={"cache-control": "public, max-age=3600"}
        )

    return [
        Route(path, show, include_in_schema=False),
        Route(f"{path}/start.js", begin, include_in_schema=False),
        Route("/docs/assets/{name}", asset, include_in_schema=False),
    ]


def _links(documents: Mapping[str, str]) -> str:
    return " · ".join(
        f'<a href="/docs?service={html.escape(name)}">{html.escape(name)}</a> '
        f'(<a href="{html.escape(path)}">OpenAPI</a>)'
        for name, path in documents.items()
    )


@lru_cache(maxsize=1)
def _assets_folder() -> Path | None:
    """The package is looked up and not imported: all that is wanted of it are two static files."""
    found = find_spec("fastapi_offline")
    folder = Path(found.origin).parent / "static" if found and found.origin else None
    return folder if folder and all((folder / name).is_file() for name in _ASSETS) else None
