"""Routes of the catalog as one document."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

from fastapi import Body, Query, Request
from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema
from starlette.responses import Response

from libs.common.documents.json_reading import keys_twice
from libs.common.documents.yaml_writing import yaml_text
from libs.common.web.calls import JSON
from libs.common.web.late_routes import LateRouter
from services.catalog.adapters.unit_of_work import CatalogUnitOfWork
from services.catalog.application.catalog_document import CatalogMeterUnknown
from services.catalog.application.export_catalog import export_catalog
from services.catalog.application.import_catalog import import_catalog
from services.catalog.entrypoints.catalog_bodies import CatalogDocumentBody, CatalogImportBody
from services.catalog.entrypoints.catalog_reading import read_document, tell_document
from services.catalog.entrypoints.dependencies import ClockDep, MakeCall, ReadCall

IMPORTS = "/v1/catalog-imports"
YAML = "application/yaml"
LATE_NEWS = (CatalogMeterUnknown,)

router = LateRouter(prefix="/v1", tags=["catalog documents"])


class AnyJson:
    """Whatever comes, which is told as `body`: it is read part by part, so that one fault hides no other."""

    def __init__(self, body: type) -> None:
        self._body = body

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.json_or_python_schema(
            handler.generate_schema(self._body), core_schema.any_schema()
        )


@router.post("/catalog-imports", response_model=CatalogImportBody, summary="Import a catalog")
async def post_catalog_import(
    body: Annotated[Any, AnyJson(CatalogDocumentBody), Body()],
    request: Request,
    call: MakeCall,
    clock: ClockDep,
    dry_run: Annotated[
        bool, Query(description="Only tell what would change. False: change it, in one transaction.")
    ] = True,
    prune: Annotated[
        bool,
        Query(description="What is not in the document is no longer sold: archived, and plans withdrawn."),
    ] = False,
) -> Response:
    """Make the catalog as the document says. The same document again changes nothing.

    Everything that is wrong is listed, each with its place in the document, and nothing is changed then. Things
    that are not in the document stay as they are, unless `prune`. Meters are not defined here but at metering
    (POST /v1/meters), before; a dry run takes those of the document for known.
    """
    command = read_document(body, dry_run=dry_run, prune=prune, keys_twice=keys_twice(await request.body()))

    async def work(uow: CatalogUnitOfWork) -> CatalogImportBody:
        return CatalogImportBody.from_domain(await import_catalog(command, uow=uow, clock=clock))

    return await call.once(work, status=200, awaiting=LATE_NEWS)


@router.get(
    "/catalog-export",
    response_model=CatalogDocumentBody,
    responses={200: {"content": {YAML: {"schema": {"type": "string"}, "example": "perennial_catalog: 1\n"}}}},
    summary="Export the catalog",
)
async def get_catalog_export(call: ReadCall, request: Request) -> Response:
    """All that is sold as one document, by code; importing it changes nothing. YAML if `Accept` asks for it.

    Meters are not in it: they are metering's (GET /v1/meters). A plan is told as a draft, `publish: false`, where that
    says something else than what is on sale.
    """
    document = tell_document(await call.run(lambda uow: export_catalog(uow=uow)))
    headers = {"vary": "accept"}
    if YAML in request.headers.get("accept", ""):
        told = await asyncio.to_thread(yaml_text, document)  # it may take long, and others want to be served
        return Response(told, headers=headers, media_type=YAML)
    told = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return Response(told, headers=headers, media_type=JSON)
